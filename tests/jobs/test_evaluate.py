"""`lvm_lab.evaluate` as users give it: files, folders, patterns, many stores, and one sentence for every mistake."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import ENVIRONMENT, Outcome, call, tree
from helpers.run_files import without_model
from lvm_lab import diagnose
from lvm_lab import evaluate as command
from lvm_lab.judge.latency import latency
from lvm_lab.runs.selecting import find

QUICK = ("5cat=smoke", "5cat.resamples=50", "cache=cache", "device=cpu", "device.threads=1")


def bank(path: Path, documents: int, dim: int = 24, length: int = 12, seed: int = 0, **more: Any) -> Path:
    """An article bank of smooth walks."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((documents, length + 1, dim))
    vectors = (steps[:, 1:] + steps[:, :-1]).reshape(-1, dim).astype(np.float32)
    articles, chunks = np.repeat(np.arange(documents), length), np.tile(np.arange(length), documents)
    np.savez(path, vectors=vectors, article_indices=articles, chunk_indices=chunks, **more)
    return path


def evaluate(folder: Path, *arguments: str) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvm_lab.scoring.judging.latency", partial(latency, calls=20))
        return call(folder, *QUICK, *arguments, main=command.main)


def report(folder: Path, out: str = "evaluation") -> dict[str, Any]:
    return json.loads((folder / out / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vectors and two finished runs on them."""
    work = tmp_path_factory.mktemp("trained")
    bank(work / "bank.npz", 90)
    bank(work / "own_ood.npz", 12, seed=1)
    for arch in ("gru", "lstm"):
        said = call(
            work,
            *("data=npz", "data.path=bank.npz", "data.ood_path=own_ood.npz", "data.encoder=walks", f"arch={arch}"),
            *("arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=smoke", "5cat.resamples=20"),
            *("device=cpu", "device.threads=1", "logger=none", "run.cache=cache", f"run.dir=outputs/{arch}"),
        )
        assert said.code == 0, said.err
    return work


@pytest.fixture
def work(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    shutil.copytree(trained, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="module")
def done(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """One evaluation of both runs and two more OOD stores, at which most tests look."""
    work = tmp_path_factory.mktemp("done") / "work"
    shutil.copytree(trained, work)
    bank(work / "a.npz", 8, seed=2)
    (work / "b").mkdir()
    bank(work / "b" / "a.npz", 9, seed=3)
    said = evaluate(work, "outputs/*", "ood=[a.npz,b/a.npz]", "out=here/there")
    assert said.code == 0, said.err
    return work, said


def test_every_number_that_is_promised_is_there_for_every_model_and_baseline(done: tuple[Path, Outcome]) -> None:
    work, _ = done
    found = report(work, "here/there")
    (data,) = found["data"]
    assert list(data["parts"]) == ["val", "test", "ood", "a", "b/a"]
    assert [data["parts"][part]["documents"] for part in ("ood", "a", "b/a")] == [12, 8, 9]
    names = [p["name"] for p in data["predictors"]]
    assert names[:2] == ["gru", "lstm"]
    assert {"copy_last", "mean_of_context", "ridge"} <= set(names[2:])
    for predictor in data["predictors"]:
        is_model = predictor["kind"] == "model"
        assert (predictor["params"] is not None) == (predictor["checkpoint"] is not None) == is_model
        for batch in ("batch_1", "batch_64"):
            assert 0 < predictor["speed"][batch]["p50_ms"] <= predictor["speed"][batch]["p99_ms"]
        assert predictor["speed"]["windows_per_second"] > 0
        assert set(predictor["five_cat"]) == {"val", "test"}
        assert ("skill" in predictor) == is_model
        assert not is_model or set(predictor["skill"]) == set(data["parts"])
        for by_store in predictor["five_cat"].values():
            assert list(by_store) == ["ood", "a", "b/a"]
            assert all(
                said["passed"] == sum(g["state"] is True for g in said["gates"].values()) for said in by_store.values()
            )
        for part in data["parts"]:
            numbers = predictor["parts"][part]
            for group, name in (
                (None, "cos"),
                (None, "mse"),
                (None, "raw_norm"),
                ("contrastive", "in_batch"),
                ("contrastive", "chance_across_documents"),
                ("store", "r10"),
                ("store", "mrr_unseen"),
            ):
                number = (numbers[group] if group else numbers)[name]
                assert len(number["interval"]) == 2, (predictor["name"], part, name)
            halves = numbers["five_cat"]["halves"]
            assert {f"h{h}" for h in range(1, 6)} <= set(halves["D"]["numbers"])
            assert {"mrr", "mrr_unseen", "chance_mrr"} <= set(halves["B"]["numbers"])


def test_the_numbers_are_those_that_the_run_gave(done: tuple[Path, Outcome]) -> None:
    work, _ = done
    (data,) = report(work, "here/there")["data"]
    result = json.loads((work / "outputs" / "gru" / "result.json").read_text())
    (gru,) = (p for p in data["predictors"] if p["name"] == "gru")
    for part in ("val", "test", "ood"):
        mine, theirs = gru["parts"][part], result[part]
        assert mine["windows"] == theirs["windows"]
        for name in ("cos", "mse", "raw_norm"):
            # Not the intervals: the run drew another number of resamples.
            assert mine[name]["value"] == theirs[name]["value"]
    for letter, half in result["val"]["five_cat"]["halves"].items():
        numbers = gru["parts"]["val"]["five_cat"]["halves"][letter]["numbers"]
        assert {k: n["value"] for k, n in numbers.items()} == {k: n["value"] for k, n in half["numbers"].items()}
    evaluated, recorded = gru["five_cat"]["val"]["ood"]["gates"], result["five_cat"]["gates"]
    assert {k: g["state"] for k, g in evaluated.items()} == {k: g["state"] for k, g in recorded.items()}
    assert gru["params"] == result["params"]
    for key, share in result["skill"]["val"].items():
        assert gru["skill"]["val"][key]["over"] == share["over"]
        assert gru["skill"]["val"][key]["value"] == pytest.approx(share["value"], abs=1e-5)


def test_models_are_compared_with_the_best_on_the_same_windows(done: tuple[Path, Outcome]) -> None:
    work, _ = done
    (data,) = report(work, "here/there")["data"]
    by_name = {p["name"]: p["parts"]["val"] for p in data["predictors"]}
    ranks = {n: (by_name[n]["five_cat"]["passed"], by_name[n]["five_cat"]["margin"]) for n in ("gru", "lstm")}
    assert data["best"] == max(ranks, key=lambda n: ranks[n])
    seen = set()
    for apart in data["comparisons"]:
        assert apart["against"] == data["best"] != apart["name"]
        # The best was chosen on val, so that nothing is tested there.
        if apart["part"] == "val":
            assert (apart["p"], apart["p_holm"]) == (None, None)
        else:
            assert 0 <= apart["p"] <= apart["p_holm"] <= 1
        assert len(apart["interval"]) == 2
        if apart["part"] == "val" and apart["number"] == "cos":
            seen.add(apart["name"])
            expected = by_name[apart["name"]]["cos"]["value"] - by_name[data["best"]]["cos"]["value"]
            assert apart["value"] == pytest.approx(expected, abs=1e-9)
    assert seen == set(by_name) - {data["best"]}


def test_the_files_say_the_same_and_a_rerun_overwrites_them(done: tuple[Path, Outcome]) -> None:
    work, said = done
    out = work / "here" / "there"
    assert sorted(tree(out)) == ["evaluation.json", "evaluation.md", "table.csv"]
    found = report(work, "here/there")
    with open(out / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    (data,) = found["data"]
    assert [(r["name"], r["part"]) for r in rows] == [(p["name"], q) for p in data["predictors"] for q in p["parts"]]
    for row, predictor in zip(rows, [p for p in data["predictors"] for _ in p["parts"]], strict=True):
        assert float(row["metrics/cos"]) == predictor["parts"][row["part"]]["cos"]["value"]
    text = (out / "evaluation.md").read_text()
    assert "## b/a: b/a.npz" in text
    assert "choose nothing" in text
    assert "differences there describe and have no p-value" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| gru | test | ood |"))
    documents = data["parts"]["test"]["documents"]
    assert row.endswith(f"| test has {documents} documents and ood has 12 documents; 20 are needed |")
    assert "5CAT undecided: " in said.out
    value = data["predictors"][0]["parts"]["test"]["cos"]["value"]
    assert f"{value:.3f}" in text
    assert f"{value:.3f}" in said.out
    again = evaluate(work, "outputs/gru", "parts=[val]", "out=here/there")
    assert again.code == 0, again.err
    assert next(p["name"] for p in report(work, "here/there")["data"][0]["predictors"]) == "gru"
    assert list(report(work, "here/there")["data"][0]["parts"]) == ["val"]


def test_the_table_fits_a_terminal_of_80_columns(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = evaluate(work, "outputs/gru", "parts=[val]")
    table = [line for line in said.out.splitlines() if "copy-last" in line or " gru " in f" {line} "]
    assert table
    assert all(len(line.rstrip()) <= 80 and "…" not in line for line in table if "judging" not in line)


@pytest.mark.parametrize(
    "asked",
    [
        ["outputs/gru/checkpoints/best.ckpt"],
        ["outputs/gru"],
        ["outputs/g*"],
        ["checkpoints=[outputs/gru]"],
        ["outputs/gru", "outputs/gru/checkpoints/best_5cat.ckpt"],
    ],
)
def test_a_file_a_folder_and_a_pattern_name_the_same_model(work: Path, asked: Sequence[str]) -> None:
    said = evaluate(work, *asked, "parts=[val]", "5cat=off")
    assert said.code == 0, said.err
    predictors = report(work)["data"][0]["predictors"]
    assert [p["arch"] for p in predictors if p["kind"] == "model"] == ["gru"]
    assert all(p["parts"]["val"]["five_cat"] is None and p["five_cat"] == {} for p in predictors)


def test_what_cannot_be_judged_is_skipped_among_many_and_an_error_alone(work: Path) -> None:
    for name, status in (("diverged", "diverged"), ("failed", "failed"), ("started", None)):
        folder = work / "outputs" / name
        folder.mkdir()
        shutil.copy(work / "outputs" / "gru" / "config.yaml", folder)
        if status:
            (folder / "result.json").write_text(json.dumps(without_model(status, epochs=0).to_json()))
    (work / "outputs" / "torn.ckpt").write_bytes(b"no checkpoint")
    said = evaluate(work, "outputs", "outputs/torn.ckpt", "parts=[val]")
    assert said.code == 0, said.err
    found = report(work)
    assert [p["name"] for p in found["data"][0]["predictors"] if p["kind"] == "model"] == ["gru", "lstm"]
    reasons = {Path(s["path"]).name: s["reason"] for s in found["skipped"]}
    assert set(reasons) == {"diverged", "failed", "started", "torn.ckpt"}
    assert "is not finished" in reasons["started"]
    assert "diverged and has no checkpoint" in reasons["diverged"]
    assert reasons["failed"] in said.out
    for name, words in (("diverged", "diverged and has"), ("started", "is not finished"), ("torn.ckpt", "no readable")):
        alone = evaluate(work, f"outputs/{name}", "out=alone")
        assert alone.code == 2
        assert words in alone.sentence
    assert not (work / "alone").exists()


@pytest.mark.slow
def test_who_had_a_validation_set_of_its_own_is_not_judged_on_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With data.val_path, documents that would be val are trained on; without it they would be val here."""
    bank(tmp_path / "a.npz", 60)
    bank(tmp_path / "v.npz", 12, seed=1)
    bank(tmp_path / "b.npz", 60, seed=2)
    said = call(
        tmp_path,
        *("data=npz", "data.path=a.npz", "data.val_path=v.npz", "arch=gru", "arch.width=16", "trainer.max_epochs=1"),
        *("trainer.batch_size=64", "5cat=off", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache"),
        "run.dir=outputs/gru",
    )
    assert said.code == 0, said.err
    for path, code in (("a.npz", 2), ("b.npz", 0)):
        judged = evaluate(tmp_path, "outputs/gru", "data=npz", f"data.path={path}", "parts=[val]")
        assert judged.code == code, judged.err
        assert ("of the val part hold chunks of what" in judged.err) == (code == 2)
    assert evaluate(tmp_path, "outputs/gru", "parts=[val]").code == 0
    monkeypatch.chdir(tmp_path)
    for path, code in (("a.npz", 2), ("b.npz", 0)):
        assert diagnose.main(["outputs/gru", "--data", path, "--device", "cpu"]) == code
        assert ("of the val part hold chunks of what" in capsys.readouterr().err) == (code == 2)


def test_other_vectors_take_the_place_of_the_runs_own(work: Path) -> None:
    bank(work / "others.npz", 80, seed=7)
    said = evaluate(work, "outputs/gru", "data=npz", "data.path=others.npz")
    assert said.code == 0, said.err
    (data,) = report(work)["data"]
    assert list(data["parts"]) == ["val", "test"]
    assert {p["source"] for p in data["parts"].values()} == {"others.npz"}


@pytest.mark.slow
def test_runs_on_different_data_are_each_judged_on_their_own(work: Path) -> None:
    bank(work / "second.npz", 90, seed=5)
    said = call(
        work,
        *("data=npz", "data.path=second.npz", "arch=gru", "arch.width=16", "trainer.max_epochs=1", "seed=1"),
        *("5cat=off", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache", "run.dir=outputs/other"),
    )
    assert said.code == 0, said.err
    said = evaluate(work, "outputs", "parts=[val]", "5cat.baselines=cheap")
    assert said.code == 0, said.err
    first, second = report(work)["data"]
    assert [p["name"] for p in first["predictors"]][:2] == ["gru-infonce-seed0", "lstm-infonce-seed0"]
    assert second["predictors"][0]["name"] == "gru-infonce-seed1"
    assert [d["parts"]["val"]["source"] for d in (first, second)] == ["bank.npz", "second.npz"]
    assert {a["name"] for a in second["comparisons"]} == {p["name"] for p in second["predictors"][1:]}


@pytest.mark.slow
def test_folds_are_one_more_table_over_the_documents_of_all(work: Path) -> None:
    for fold in (0, 1):
        said = call(
            work,
            *("data=npz", "data.path=bank.npz", "data.ood_path=own_ood.npz", "data.encoder=walks", "arch=gru"),
            *("arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=smoke", "5cat.resamples=20"),
            *(f"data.fold={fold}", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache"),
            f"run.dir=folds/f{fold}",
        )
        assert said.code == 0, said.err
    said = evaluate(work, "folds", "outputs/lstm")
    assert said.code == 0, said.err
    *single, pool = report(work)["data"]
    assert len(single) == 3
    model, *baselines = pool["predictors"]
    folds = [p for table in single for p in table["predictors"] if p["name"] in model["folds"]]
    assert len(folds) == 2
    assert model["name"].endswith("(2 folds)")
    assert {b["kind"] for b in baselines} == {"baseline"}
    for part in ("val", "test"):
        numbers = [fold["parts"][part]["cos"] for fold in folds]
        cos = model["parts"][part]["cos"]
        assert cos["documents"] == sum(number["documents"] for number in numbers) == pool["parts"][part]["documents"]
        windows = [number["windows"] for number in numbers]
        assert cos["value"] == pytest.approx(np.average([number["value"] for number in numbers], weights=windows))
        assert cos["error"] < max(number["error"] for number in numbers)
        halves = model["parts"][part]["five_cat"]["halves"]
        assert {letter for letter, half in halves.items() if half["numbers"]} == set("ABCDE")
    assert model["parts"]["ood"]["cos"]["documents"] == 12
    assert model["five_cat"]["val"]["ood"]["verdict"] == "undecided", "OOD has 12 documents"
    assert "2 folds" in (work / "evaluation" / "evaluation.md").read_text()
    assert "2 folds" in said.out


@pytest.mark.slow
def test_an_ood_store_of_other_dims_is_skipped_by_name_and_the_rest_is_judged(work: Path) -> None:
    bank(work / "wide.npz", 90, dim=16)
    bank(work / "wide_ood.npz", 8, dim=16, seed=4)
    said = call(
        work,
        *("data=npz", "data.path=wide.npz", "arch=gru", "arch.width=16", "trainer.max_epochs=1", "5cat=off"),
        *("device=cpu", "device.threads=1", "logger=none", "run.cache=cache", "run.dir=outputs/wide", "seed=1"),
    )
    assert said.code == 0, said.err
    judged = evaluate(work, "outputs/gru", "outputs/wide", "ood=[wide_ood.npz]", "5cat.baselines=cheap")
    assert judged.code == 0, judged.err
    first, second = report(work)["data"]
    assert (list(first["parts"]), list(second["parts"])) == (["val", "test", "ood"], ["val", "test", "wide_ood"])
    (skipped,) = report(work)["skipped"]
    assert skipped["path"] == "wide_ood.npz"
    assert skipped["reason"].startswith("gru-infonce-seed0: wide_ood.npz does not come from the encoder of the data")
    assert f"skipped: {skipped['reason']}" in judged.out
    alone = evaluate(work, "outputs/lstm", "ood=[wide_ood.npz]", "5cat.baselines=cheap", "parts=[val,test]")
    assert alone.code == 0, alone.err
    assert list(report(work)["data"][0]["parts"]) == ["val", "test"]
    assert "(dim 24 against 16)" in alone.out


def test_a_store_is_judged_once_whatever_it_is_called(work: Path) -> None:
    shutil.copy(work / "own_ood.npz", work / "copy.npz")
    bank(work / "a.npz", 8, seed=2)
    shutil.copy(work / "a.npz", work / "z.npz")
    names = "ood=[own_ood.npz,a.npz,./a.npz,z.npz,copy.npz]"
    said = evaluate(work, "outputs/gru", names, "5cat=off", "5cat.baselines=cheap")
    assert said.code == 0, said.err
    assert list(report(work)["data"][0]["parts"]) == ["val", "test", "ood", "a"]
    reasons = {s["path"]: s["reason"] for s in report(work)["skipped"]}
    assert set(reasons) == {"own_ood.npz", "./a.npz", "z.npz", "copy.npz"}
    assert "z.npz has the content of a.npz, which is judged already" in reasons["z.npz"]
    assert "copy.npz has the content of ood" in reasons["copy.npz"]
    only = evaluate(work, "outputs/gru", names, "parts=[]", "5cat=off", "5cat.baselines=cheap")
    assert only.code == 0, only.err
    assert list(report(work)["data"][0]["parts"]) == ["own_ood", "a"]


@pytest.mark.parametrize("asked", [["outputs"], ["outputs/*"], None])
def test_what_report_wrote_among_the_runs_is_no_checkpoint(work: Path, asked: list[str] | None) -> None:
    outputs = work / "outputs"
    for name in ("leaderboard.json", "leaderboard.csv", "leaderboard.md", "index.html", "schedule.yaml"):
        (outputs / name).write_text("{}")
    # A shell makes outputs/* the names of everything there.
    typed = asked or [str(file.relative_to(work)) for file in sorted(outputs.iterdir())]
    said = evaluate(work, *typed, "parts=[val]", "5cat=off", "5cat.baselines=cheap")
    assert said.code == 0, said.err
    assert report(work)["skipped"] == []
    alone = evaluate(work, "outputs/leaderboard.json")
    assert "leaderboard.json is no readable checkpoint" in alone.sentence


MISTAKES = [
    (["nothing/*"], "nothing/* matches no file"),
    ([], "no checkpoint is named"),
    (["outputs/gru", "ood=[gone.npz]"], "gone.npz of ood does not exist"),
    (["outputs/gru", "parts=[]"], "leave nothing to judge on"),
    (["outputs/gru", "parts=[vall]"], "vall is no part (did you mean val?); choose among val, test, ood"),
    (["outputs/gru", "--foo"], "--foo is no flag of lvm-lab evaluate; see lvm-lab evaluate --help"),
    (["outputs/gru", "data=npz", "data.path=wide.npz"], "another encoder than the data's (dim 16 against 24)"),
    (["outputs/gru", "data=npz", "data.path=bank.npz", "data.encoder=other"], "(encoder other against walks)"),
    (
        ["outputs/gru", "ood=[wide.npz]", "parts=[]"],
        "wide.npz does not come from the encoder of the data (dim 24 against 16)",
    ),
    (["outputs/gru", "ood=[short.npz]"], "short.npz: no document is longer than the context of 5"),
    (
        ["outputs/gru", "ood=[few.npz]"],
        "the few part has 4 documents with windows, and a bootstrap over documents needs 5",
    ),
    (["outputs/gru", "data=npz", "data.path=few.npz"], "part has no window"),
    (["outputs/gru", "data=npz", "data.path=no_test.npz"], "the test part has no window, and a bootstrap"),
    (["outputs/gru", "data=npz", "data.path=gone.npz"], "gone.npz does not exist"),
    (["outputs/gru", "data.path=bank.npz"], "data does not exist"),
    (["outputs", "data=npz", "data.path=wide.npz"], "none of 2 can be judged: "),
    (["bank.npz"], "bank.npz is no readable checkpoint"),
    (["cache"], "cache holds no run"),
    (["outputs/gru", "out=bank.npz"], "bank.npz is a file where a folder is needed"),
    (["outputs/gru", "arch=lstm"], "arch does not exist"),
    (["outputs/gru", "zzz=1"], "zzz does not exist"),
    (["outputs/gru", "-m", "5cat=smoke"], "leave -m out"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(a) or "nothing" for a, _ in MISTAKES])
def test_a_mistake_is_one_sentence_before_any_work(work: Path, arguments: list[str], words: str) -> None:
    bank(work / "wide.npz", 80, dim=16)
    bank(work / "short.npz", 40, length=5)
    bank(work / "few.npz", 4)
    without_test(work / "no_test.npz")
    said = evaluate(work, *arguments)
    assert words in said.err, said.err
    assert len([line for line in said.err.strip().splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in said.err
    assert said.code == (1 if "-m" in arguments else 2)
    assert "judging" not in said.out
    assert not (work / "evaluation").exists()


def without_test(path: Path) -> None:
    """A bank of documents of which none falls into the test part."""
    from lvm_lab.data.importers.npz import DEFAULT_SOURCE
    from lvm_lab.data.split import part_of

    ids = np.array([i for i in range(200) if part_of(f"{DEFAULT_SOURCE}\x1f{i}") != "test"])
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(ids) * 12, 24)).astype(np.float32)
    np.savez(path, vectors=vectors, article_indices=np.repeat(ids, 12), chunk_indices=np.tile(np.arange(12), len(ids)))


def test_a_run_whose_file_changed_is_not_judged_on_the_new_one(work: Path) -> None:
    bank(work / "bank.npz", 90, seed=9)
    said = evaluate(work, "outputs/gru")
    assert said.code == 2
    assert "trained on other content than its data has now (store)" in said.sentence
    named = evaluate(work, "outputs/gru", "data=npz", "data.path=bank.npz", "parts=[val]")
    assert named.code == 0, named.err


def test_odd_names_reach_the_command_whole(tmp_path: Path) -> None:
    name = "it's, [an] odd=name \\ here"
    (tmp_path / name).mkdir()
    said = evaluate(tmp_path, f"./{name}")
    assert said.sentence.startswith(f"{name} holds no run"), said.err


def test_runs_of_a_sweep_are_found_below_its_folder(work: Path) -> None:
    sweep = work / "multirun" / "sweep"
    shutil.copytree(work / "outputs", sweep)
    wandb = sweep / "gru" / "wandb" / "files"
    wandb.mkdir(parents=True)
    shutil.copy(work / "outputs" / "gru" / "config.yaml", wandb)
    found, skipped = find([str(work / "multirun")])
    assert [f.file.parent.parent.name for f in found] == ["gru", "lstm"]
    assert skipped == {}
    assert all("store" in f.content for f in found)


GUARD = """
import runpy, sys
sys.argv = ["lvm_lab.evaluate", *sys.argv[1:]]
try:
    runpy.run_module("lvm_lab.evaluate", run_name="__main__", alter_sys=True)
except SystemExit as leaving:
    assert not leaving.code, leaving.code
assert not {"torch", "pytorch_lightning", "faiss"} & set(sys.modules)
"""


@pytest.mark.parametrize(("arguments", "answer"), [(["--help"], "PATH..."), (["a", "--cfg", "job"], "- a")])
def test_help_and_config_need_no_torch(tmp_path: Path, arguments: list[str], answer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARD, *arguments],
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout
    assert tree(tmp_path) == {}
