"""The model card: every gate and number as result.json has them, and limits that follow from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import run_files
from helpers.commands import TINY, call, only_run
from lvm_lab.card import main
from lvm_lab.reporting.card import CARD, text, write
from lvm_lab.reporting.limits import limits
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.reporting.plots.draw import draw
from lvm_lab.reporting.plots.record import read
from lvm_lab.runs.result import Result


def card_of(folder: Path) -> str:
    return text(read(folder))


def rows(card: str) -> list[list[str]]:
    """Every table row's cells, the pipes of a text left in place."""
    lines = [line for line in card.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def gates_agree(card: str, result: Result) -> None:
    found = rows(card)
    assert len(result.gates) == 5
    for letter, gate in result.gates.items():
        state = {True: "pass", False: "**FAIL**", None: "null"}[gate.state]
        assert [letter, state, gate.name] in [row[:3] for row in found], letter
        for part in ("val", "ood"):
            for name, number in result.numbers(part, letter).items():
                if number.threshold is None:
                    continue
                (row,) = (row for row in found if row[:3] == [letter, name, part.upper()])
                low, high = (float(x) for x in row[4].strip("()").split(" .. "))
                assert float(row[3]) == pytest.approx(number.value, abs=6e-4)
                assert [low, high] == pytest.approx(number.interval, abs=6e-4)
                assert float(row[5]) == pytest.approx(number.threshold, abs=1e-9)
                assert ("FAIL" in row[6]) != number.passed
                assert ("undecided" in row[6]) == number.undecided


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_files.write_run(tmp_path / "made-up")


def test_following_stands_where_unseen_does(folder: Path) -> None:
    assert "following" not in card_of(folder), "a result of before has none"
    with_it = run_files.result()
    with_it.val["following"], with_it.ood["following"] = run_files.following(0.45), run_files.following(None)
    summary = with_it.baselines["copy_last"]
    summary["val"]["following/mrr"] = 0.31
    summary["model_lift_val"]["following/mrr"] = run_files.number(0.14, 0.2)
    run_files.write_run(folder.parent / "with", with_it)
    found = rows(card_of(folder.parent / "with"))
    title = "following MRR (target and all later chunks, from row 16 on)"
    assert [title, "0.450 (0.430 .. 0.470)", "", "null"] in found
    assert ["targets / documents of that", "90 / 30", "", "0 / 0"] in found
    (heads,) = (row for row in found if row[-1] == "gates")
    (own,) = (row for row in found if row[0] == "**gru**")
    (other,) = (row for row in found if row[0] == "copy-last" and row[-1] == "1/5")
    place = heads.index("following")
    assert (own[place], other[place]) == ("0.450", "0.310")
    limit = "in ranking of the target among later chunks (following) on VAL it is not clearly better than copy-last"
    assert limit in card_of(folder.parent / "with")


def test_every_gate_and_number_is_in_the_card(folder: Path) -> None:
    card, result = card_of(folder), run_files.result()
    gates_agree(card, result)
    (row,) = (row for row in rows(card) if row[:2] == ["E", "normal bins"])
    assert row[2:] == ["VAL - OOD", "0.010", "(-0.020 .. 0.040)", "0.050", "pass"]
    assert f"**5CAT {result.gates and result.verdict.passed} of 5: fail**" in card


def test_what_it_is(folder: Path) -> None:
    found = dict(row for row in rows(card_of(folder)) if len(row) == 2)
    assert found["arch"] == "`gru`, 1,234,567 parameters"
    assert found["loss"] == "`infonce`: 1 infonce, 0.01 moment"
    assert found["encoder"] == "`all-MiniLM-L6-v2`, 12 dims, mean pooling, no dense layer, unit length, float16"
    assert found["fingerprint"] == f"`{'0123abcd' * 8}`"
    assert found["lvm_lab"].endswith("f" * 40)
    assert found["seed"] == "3"
    assert found["checkpoint"] == "`checkpoints/best_5cat.ckpt`"
    assert "train 900 of 42" in found["windows of documents"]


def test_baselines_and_parts(folder: Path) -> None:
    found = rows(card_of(folder))
    assert ["**gru**", "0.620", "0.110", "0.550", "0.550", "-0.110", "0.480", "3/5"] in found
    assert ["copy-last", "0.420", "0.090", "0.350", "0.350", "-0.110", "0.280", "1/5"] in found
    assert ["copy-last", *(f"{x} ({a} .. {b})" for x, a, b in LIFTS)] in found
    assert ["cos", *["0.300 (0.280 .. 0.320)"] * 3] in found
    assert ["std ratio, median (5% .. 95% of dims)", *["1.050 (0.900 .. 1.200)"] * 2, "1.400 (1.200 .. 1.700)"] in found


LIFTS = (
    ("0.200", "0.180", "0.220"),
    ("0.300", "0.280", "0.320"),
    ("0.010", "-0.010", "0.030"),
    ("0.200", "0.180", "0.220"),
)


def test_limits_follow_from_the_numbers(folder: Path) -> None:
    said = "\n".join(limits(read(folder)))
    assert "fails gate A (offset sweep) on VAL: its predictions are not clearly nearest" in said
    assert "fails gate B (retrieval rank) on VAL and OOD" in said
    assert "fails gate C" not in said
    assert "passed by a margin that chance could take back" not in said.split("gate D")[0]
    assert "unseen MRR) on VAL it is not clearly better than copy-last (+0.010)" in said
    assert "in cosine" not in said
    assert "more widely than the encoder's vectors on OOD (std ratio 1.40, wanted 0.8 to 1.25)" in said
    assert "on VAL (std ratio" not in said
    assert "60 documents are fewer than 200" in said
    assert "novel" in said
    assert "planted" not in said


def test_a_gate_that_passes_only_by_chance_is_told(tmp_path: Path) -> None:
    written = run_files.result()
    numbers = written.val["five_cat"]["halves"]["D"]["numbers"]
    numbers["rollout"] = run_files.number(0.455, 0.02, threshold=0.45)
    folder = run_files.write_run(tmp_path / "lucky", written)
    assert "gate D is passed by a margin that chance could take back: rollout on VAL" in list(limits(read(folder)))


def test_a_good_run_of_many_documents_has_fewer_limits(tmp_path: Path) -> None:
    written = run_files.result()
    good = {part: run_files.halves(part, 0.35) for part in ("val", "ood")}
    for half in (half for halves in good.values() for half in halves.values()):
        for number in half["numbers"].values():
            if "threshold" in number:
                number |= {"passed": True, "undecided": False}
    for gate in written.five_cat["gates"].values():
        gate |= {"state": True, "reason": None}
    written.ood = written.val | {"five_cat": run_files.scores("ood", good["ood"])}
    written.val = written.val | {"five_cat": run_files.scores("val", good["val"])}
    written.parts["documents"] = 5000
    written.baselines["copy_last"]["model_lift_val"]["B/mrr_unseen"] = run_files.number(0.2)
    found = list(limits(read(run_files.write_run(tmp_path / "good", written))))
    assert len(found) == 1
    assert "novel" in found[0]


def test_alarms_are_told_with_what_to_check(tmp_path: Path) -> None:
    written = run_files.result()
    alarm = {"name": "backward bias", "part": "val", "best_k": -1, "check": "the data gate, reversed documents"}
    written.five_cat["alarms"] = [alarm]
    finding = {"name": "collapsed", "measured": "effective rank 1.0 against 60.0", "check": "the learning rate"}
    written.val["alarms"] = [finding]
    card = card_of(run_files.write_run(tmp_path / "alarmed", written))
    assert "**backward bias** on VAL (best offset -1): check the data gate, reversed documents" in card
    assert "**collapsed** on VAL: effective rank 1.0 against 60.0; look at the learning rate" in card
    assert "not to be used before the data gate, reversed documents are checked" in card
    assert "no alarm" not in card


def test_a_failed_run_says_so(tmp_path: Path) -> None:
    written = run_files.without_model("failed", error="RuntimeError: a | bug\nof *ours*", epochs=0)
    card = card_of(run_files.write_run(tmp_path / "failed", written, rows=[]))
    assert "**This run failed and made no model to use**: RuntimeError: a \\| bug of \\*ours\\*." in card
    assert "the run failed: not to be used at all" in card
    assert "## Use" not in card
    assert "Not judged." in card


def test_a_diverged_run_says_so(tmp_path: Path) -> None:
    rows_ = [row | {"val/loss": None} for row in run_files.history(2)]
    card = card_of(run_files.write_run(tmp_path / "diverged", run_files.without_model("diverged", epochs=2), rows_))
    assert "**This run diverged in epoch 2: the loss became no number**" in card
    assert "the run diverged: not to be used at all" in card
    assert "validation loss" not in card


def test_an_unjudged_run_and_one_of_an_older_version(tmp_path: Path) -> None:
    folder = run_files.write_run(tmp_path / "off", run_files.result(five_cat={}, baselines={}))
    written = json.loads((folder / "result.json").read_text())
    del written["contract"], written["parts"]
    (folder / "result.json").write_text(json.dumps(written))
    card = card_of(folder)
    assert "not judged (`5cat=off`)" in card
    assert "5CAT was off: whether it predicts forwards at all is unknown" in card
    assert "batch x 5 x D" in card


def test_the_old_tool_is_named(tmp_path: Path) -> None:
    settings = {"five_cat": run_files.SETTINGS["five_cat"] | {"tool": "lnsp_compat"}}
    assert "judged by the old tool" in card_of(run_files.write_run(tmp_path / "old", settings=settings))


def test_plots_are_shown_where_they_are(folder: Path) -> None:
    assert "## Plots" not in card_of(folder)
    draw(read(folder))
    shown = re.findall(r"!\[.+\]\((.+)\)", card_of(folder))
    assert shown == [f"plots/{name}.png" for name in FIGURES]
    assert all((folder / file).is_file() for file in shown)


def test_tables_have_as_many_cells_as_heads(folder: Path) -> None:
    width = 0
    for before, line in zip([""] + (lines := card_of(folder).splitlines()), lines, strict=False):
        if not line.startswith("|"):
            continue
        cells = len(re.split(r"(?<!\\)\|", line))
        width = width if before.startswith("|") else cells
        assert cells == width, line


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / CARD)
    assert (folder / CARD).read_text() == card_of(folder)
    (tmp_path / "empty").mkdir()
    assert main([str(folder), str(tmp_path / "empty")]) == 2
    said = capsys.readouterr()
    assert said.out.strip() == str(folder / CARD)
    assert said.err.startswith(f"skipped {tmp_path}/empty: ")
    assert "empty has no result.json" in said.err
    assert said.err.endswith("error: 1 of 2 runs were skipped; mend them, or leave them out.\n")


@pytest.mark.slow
def test_runs_get_a_card_that_agrees_with_their_result(tmp_path: Path) -> None:
    said = call(tmp_path, *TINY, "run.cache=cache")
    assert said.code == 0, said.err
    folder = only_run(tmp_path / "outputs")
    result, card = read(folder).result, (folder / CARD).read_text()
    gates_agree(card, result)
    assert f"`{result.fingerprint}`" in card
    assert all(f"(plots/{name}.png)" in card for name in FIGURES)
    assert "planted world" in card
    write(read(folder))
    assert (folder / CARD).read_text() == card


@pytest.mark.slow
def test_the_use_section_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert call(tmp_path, *TINY, "run.cache=cache", "trainer.max_epochs=1").code == 0
    folder = only_run(tmp_path / "outputs")
    (code,) = re.findall(r"```python\n(.+?)```", (folder / CARD).read_text(), re.DOTALL)
    monkeypatch.chdir(folder.parent)
    given: dict[str, Any] = {"context_BLD": torch.randn(2, 5, 128)}
    exec(code, given)
    assert given["prediction"].raw_ND.shape == (2, 128)


@pytest.mark.slow
def test_diverged_and_failed_runs_get_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging = ("trainer.optim.lr=1e30", "trainer.optim.clip=0", "loss=mse", "run.cache=cache")
    assert call(tmp_path, *TINY, *diverging, "run.dir=diverged").code == 0
    assert "This run diverged" in (tmp_path / "diverged" / CARD).read_text()
    assert (tmp_path / "diverged" / "plots" / "training.png").is_file()

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("lvm_lab.training.module.LatentVectorModule.validation_step", broken)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        call(tmp_path, *TINY, "run.cache=cache", "run.dir=failed")
    assert "RuntimeError: a bug of ours" in (tmp_path / "failed" / CARD).read_text()


def test_a_config_that_was_changed_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(lines.replace("trainer:", "coach:"))
    assert main([str(folder)]) == 2
    assert "that was changed (KeyError: 'trainer'); give the training's command again" in capsys.readouterr().err
    assert not (folder / CARD).exists()
