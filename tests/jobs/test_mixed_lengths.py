"""Models that read 5 and 16 vectors in one table: the same windows, the same candidates, each reading its own."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lvm_lab
from helpers.commands import Outcome, call
from lvm_lab import compare as compare_command
from lvm_lab import evaluate as command
from lvm_lab.data.importers.npz import DEFAULT_SOURCE
from lvm_lab.data.split import part_of
from lvm_lab.judge.latency import latency
from lvm_lab.sweeps import leaderboard

LENGTH, FROM = 26, 16
READS = (5, 16)
Json = dict[str, Any]


def bank(path: Path, documents: int, seed: int, dim: int = 16) -> None:
    steps = np.random.default_rng(seed).standard_normal((documents, LENGTH + 1, dim))
    vectors = (steps[:, 1:] + steps[:, :-1]).reshape(-1, dim).astype(np.float32)
    places = np.arange(documents * LENGTH)
    np.savez(path, vectors=vectors, article_indices=places // LENGTH, chunk_indices=places % LENGTH)


def run(work: Path, reads: int, *more: str) -> Outcome:
    return call(
        work,
        *("data=npz", "data.path=bank.npz", "data.ood_path=ood.npz", f"data.context_length={reads}", "arch=gru"),
        *("arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=smoke", "5cat.resamples=20"),
        *("device=cpu", "device.threads=1", "logger=none", "run.cache=cache", f"run.dir=outputs/gru{reads}", *more),
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, and their evaluation together."""
    work = tmp_path_factory.mktemp("mixed")
    bank(work / "bank.npz", 90, 0)
    bank(work / "ood.npz", 12, 1)
    for reads in READS:
        done = run(work, reads)
        assert done.code == 0, done.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvm_lab.scoring.judging.latency", partial(latency, calls=5))
        settings = ("5cat=smoke", "5cat.resamples=50", "cache=cache", "device=cpu", "device.threads=1")
        said = call(work, *settings, "outputs/*", main=command.main)
    assert said.code == 0, said.err
    (work / "said.txt").write_text(said.out)
    return work


def result(work: Path, reads: int) -> Json:
    return json.loads((work / "outputs" / f"gru{reads}" / "result.json").read_text())


def table(work: Path) -> Json:
    (data,) = json.loads((work / "evaluation" / "evaluation.json").read_text())["data"]
    return data


def test_every_result_has_following_on_the_same_targets(work: Path) -> None:
    for part in ("val", "test", "ood"):
        one, other = (result(work, reads)[part]["following"] for reads in READS)
        assert one["digest"] == other["digest"] is not None
        assert one["targets"] == other["targets"] == one["documents"] * (LENGTH - FROM - 5)
        assert one["judge_from"] == FROM
        assert one["reason"] is None
        for numbers in (one["numbers"], other["numbers"]):
            assert set(numbers) == {"mrr", "r1", "r5", "chance_mrr", "chance_r1", "chance_r5"}
            assert 0 < numbers["chance_mrr"]["value"] < 1
            low, high = numbers["mrr"]["interval"]
            assert low < numbers["mrr"]["value"] < high
    baselines = result(work, 5)["baselines"]
    for name in ("copy_last", "ridge", "mean_of_context"):
        for part in ("val", "ood"):
            assert 0 < baselines[name][part]["following/mrr"] < 1
        assert {"value", "interval", "p", "p_holm"} <= set(baselines[name]["model_lift_val"]["following/mrr"])
    own = result(work, 5)["val"]["following"]["numbers"]["mrr"]["value"]
    lift = baselines["ridge"]["model_lift_val"]["following/mrr"]["value"]
    assert lift == pytest.approx(own - baselines["ridge"]["val"]["following/mrr"])
    both = [result(work, reads)["baselines"]["copy_last"]["val"]["following/mrr"] for reads in READS]
    assert both[0] == pytest.approx(both[1], abs=1e-12), "who reads the last alone is one predictor at any length"


def test_runs_of_both_lengths_take_places_and_another_target_set_stands_apart(work: Path) -> None:
    entries = leaderboard.read(work / "outputs")
    assert [e.name for e in leaderboard.comparable(entries)] == ["gru16", "gru5"]
    ranks = {e.name: e.rank for e in entries}
    assert all(rank is not None and rank[2] for rank in ranks.values())
    best = max(entries, key=lambda e: e.rank or ())
    assert next(e.name for e in leaderboard.ranked(entries, gated=False)) == best.name


def test_evaluate_puts_them_in_one_table_on_the_same_windows(work: Path) -> None:
    data = table(work)
    reads = {p["name"]: p["reads"] for p in data["predictors"]}
    models = [p for p in data["predictors"] if p["kind"] == "model"]
    assert sorted(p["reads"] for p in models) == [5, 16]
    assert reads["copy_last-reads5"] == 5
    assert reads["ridge-reads16"] == 16
    assert set(data["columns"]) == {"unseen", "following", "own"}
    assert "16" in data["columns"]["unseen"]
    for part, size in data["parts"].items():
        targets = size["documents"] * (LENGTH - 16)
        assert size["windows"] == min(targets, 200)
        for one in data["predictors"]:
            numbers = one["parts"][part]
            assert numbers["windows"] == size["windows"]
            assert numbers["five_cat"]["windows"] == size["windows"]
            assert numbers["unseen"]["mrr"]["windows"] == size["windows"]
            assert numbers["following"]["digest"] == data["predictors"][0]["parts"][part]["following"]["digest"]
            own = numbers["five_cat"]["halves"]["B"]["numbers"]["mrr_unseen"]["value"]
            same = own == pytest.approx(numbers["unseen"]["mrr"]["value"], abs=1e-9)
            assert same == (one["reads"] == 16), "unseen leaves out what 16 have read, for everybody"
        by_name = {p["name"]: p["parts"][part] for p in data["predictors"]}
        copies = [by_name[f"copy_last-reads{length}"] for length in READS]
        for name in ("unseen", "store"):
            key = "mrr" if name == "unseen" else "mrr_unseen"
            assert copies[0][name][key]["value"] == pytest.approx(copies[1][name][key]["value"], abs=1e-9)


def test_unseen_is_that_of_plain_loops(work: Path) -> None:
    """Of every shared window of val, from the files alone."""
    data = table(work)
    saved = np.load(work / "bank.npz")
    vectors, article = saved["vectors"], saved["article_indices"]
    val = [d for d in range(90) if part_of(f"{DEFAULT_SOURCE}\x1f{d}") == "val"]
    rows = [int(np.flatnonzero(article == d)[0]) + place for d in val for place in range(16, LENGTH)]
    assert len(rows) == data["parts"]["val"]["windows"], "all of them are in the sample"
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for one in (p for p in data["predictors"] if p["kind"] == "model"):
        model = lvm_lab.load(one["checkpoint"] if Path(one["checkpoint"]).is_absolute() else work / one["checkpoint"])
        reciprocal = []
        for row in rows:
            said = model.predict(torch.from_numpy(vectors[None, row - one["reads"] : row])).unit_ND[0].detach().numpy()
            document = np.flatnonzero(article == article[row])
            fresh = [r for r in document if r != row and not row - 16 <= r < row]
            reciprocal.append(1 / (1 + sum(said @ unit[r] >= said @ unit[row] - 1e-6 for r in fresh)))
        assert one["parts"]["val"]["unseen"]["mrr"]["value"] == pytest.approx(np.mean(reciprocal), abs=1e-6)


def test_comparisons_are_paired_over_both_lengths(work: Path) -> None:
    data = table(work)
    other = next(p["name"] for p in data["predictors"] if p["kind"] == "model" and p["name"] != data["best"])
    mine, best = ({p["name"]: p for p in data["predictors"]}[name]["parts"]["val"] for name in (other, data["best"]))
    found = {c["number"]: c for c in data["comparisons"] if (c["part"], c["name"]) == ("val", other)}
    expected = {
        "cos": mine["cos"]["value"] - best["cos"]["value"],
        "mrr_unseen": mine["unseen"]["mrr"]["value"] - best["unseen"]["mrr"]["value"],
        "following/mrr": mine["following"]["numbers"]["mrr"]["value"] - best["following"]["numbers"]["mrr"]["value"],
    }
    for number, value in expected.items():
        assert found[number]["value"] == pytest.approx(value, abs=1e-9)
        assert len(found[number]["interval"]) == 2


def test_every_table_names_and_explains_its_columns(work: Path) -> None:
    data, said = table(work), (work / "said.txt").read_text()
    page = (work / "evaluation" / "evaluation.md").read_text()
    for name, line in data["columns"].items():
        assert f"{name}: {line}" in said
        assert f"- {name}: {line}" in page
    assert "| unseen | following | own |" in page
    with open(work / "evaluation" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["reads"] in ("5", "16")
        assert row["explained/unseen"] == data["columns"]["unseen"]
        assert float(row["unseen/mrr"]) > 0
        assert float(row["following/mrr"]) > 0
        assert float(row["B/mrr_unseen"]) > 0


def test_compare_pairs_them_on_windows_that_both_have(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    names = ["outputs/gru5", "outputs/gru16"]
    assert compare_command.main([*names, "--device", "cpu", "--json", "x.json", "--part", "val"]) == 0
    report = json.loads(Path("x.json").read_text())
    assert report["reason"] is None
    assert report["config"]["data.context_length"] == [5, 16]
    numbers = report["parts"]["val"]["numbers"]
    assert "B/mrr_unseen" not in numbers, "each without its own context compares nothing"
    evaluated = {p["reads"]: p["parts"]["val"] for p in table(work)["predictors"] if p["kind"] == "model"}
    for key, of in (
        ("mrr_unseen", lambda part: part["unseen"]["mrr"]["value"]),
        ("following/mrr", lambda part: part["following"]["numbers"]["mrr"]["value"]),
        ("A/cos", lambda part: part["five_cat"]["halves"]["A"]["numbers"]["cos"]["value"]),
    ):
        assert numbers[key]["values"] == pytest.approx([of(evaluated[reads]) for reads in READS], abs=1e-9)
        assert numbers[key]["value"] == pytest.approx(of(evaluated[16]) - of(evaluated[5]), abs=1e-9)
        assert len(numbers[key]["interval"]) == 2
    said = capsys.readouterr().out
    assert "following" in said


def test_card_and_closing_table_have_a_line_of_following(work: Path) -> None:
    card = (work / "outputs" / "gru16" / "MODEL_CARD.md").read_text()
    assert "| following MRR (target and all later chunks, from row 16 on) |" in card
    assert "following |" in card.split("## Beside the baselines (VAL)")[1]
    again = run(work, 5)
    assert again.code == 0, again.err
    mrr = result(work, 5)["val"]["following"]["numbers"]["mrr"]["value"]
    assert "following (MRR among the target and all later chunks, " in " ".join(again.out.split())
    assert f"gru {mrr:.3f}, random " in " ".join(again.out.split())
