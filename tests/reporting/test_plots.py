"""The figures of a run: what stands in them, from which files, and that no run is lost by drawing."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text

from helpers import run_files
from helpers.commands import ENVIRONMENT, PATIENCE, TINY, call, finish, fork, only_run, tree
from lvm_lab.config.thresholds import STD_RATIO
from lvm_lab.judge.gates import coherence as gate_e
from lvm_lab.judge.gates.retrieval import RANKS
from lvm_lab.plots import main
from lvm_lab.reporting.plots import FIGURES, _style, coherence
from lvm_lab.reporting.plots.draw import DRAW, draw, figures
from lvm_lab.reporting.plots.record import Record, read
from lvm_lab.runs.result import WAY_OUT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_files.write_run(tmp_path / "made-up")


def line(axes: Axes, start: str) -> Line2D:
    (found,) = (one for one in axes.get_lines() if str(one.get_label()).startswith(start))
    return found


def intervals(axes: Axes, part: str) -> list[list[float]]:
    """low and high of each upright line in a part's colour."""
    wanted = matplotlib.colors.to_rgba(_style.COLOURS[part], 0.8)
    for one in axes.collections:
        if isinstance(one, LineCollection) and np.allclose(one.get_colors()[0], wanted):
            return [[segment[0][1], segment[1][1]] for segment in one.get_segments() if len(segment)]
    raise AssertionError(f"no intervals of {part}")


def levels(axes: Axes, part: str) -> list[float]:
    """Where a part's light dashed threshold lines lie."""
    dashed = [one for one in axes.get_lines() if one.get_alpha() == 0.45 and one.get_color() == _style.COLOURS[part]]
    return sorted(float(one.get_ydata()[0]) for one in dashed)


def drawn_texts(figure: matplotlib.figure.Figure) -> list[Text]:
    """All but legends; matplotlib has tick labels beyond the axes too, which it does not draw."""
    shown = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for axes in (one for one in figure.axes if one.get_visible()):
        shown += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            shown += [label for place, label in ticks if low <= place <= high]
    return list(dict.fromkeys(shown))


def words(figure: matplotlib.figure.Figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def values(run: Record, letter: str, part: str, names: list[str]) -> list[float]:
    return [run.result.numbers(part, letter)[name].value for name in names]


def test_every_name_has_a_figure_and_every_figure_a_name(folder: Path) -> None:
    assert set(DRAW) == set(FIGURES)
    assert list(figures(read(folder))) == list(FIGURES)


def test_offsets(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["offsets"](run)
    (axes,) = figure.axes
    names = [f"k{k:+d}" for k in range(-3, 4)]
    for part in ("val", "ood"):
        drawn = line(axes, part.upper())
        assert drawn.get_xdata().tolist() == list(range(-3, 4))
        assert drawn.get_ydata().tolist() == values(run, "A", part, names)
        numbers = run.numbers("A", part)
        np.testing.assert_allclose(intervals(axes, part), [numbers[name].interval for name in names])
        best_other = max(numbers[name].value for name in names if name != "k+1")
        expected = sorted([numbers["cos"].threshold, best_other + numbers["margin"].threshold])
        assert levels(axes, part) == pytest.approx(expected)
    assert list(line(axes, "copy-last").get_ydata()) == [run.baseline("copy_last", "A")[name] for name in names]
    assert "Gate A, offset sweep: FAIL" in words(figure)
    assert "reaches 0.50 / 0.48 and leads every other offset by 0.12 / 0.10 (VAL / OOD)" in words(figure)
    assert "+1 is the target" in axes.get_xlabel()


def test_offsets_of_the_old_tool_say_where_they_start(tmp_path: Path) -> None:
    settings = {"five_cat": run_files.SETTINGS["five_cat"] | {"tool": "lnsp_compat"}}
    figure = DRAW["offsets"](read(run_files.write_run(tmp_path / "old", settings=settings)))
    assert figure.axes[0].get_xlabel() == "offset from the target, as the old tool counts"


def test_retrieval(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["retrieval"](run)
    for axes, suffix in zip(figure.axes, ("", "_unseen"), strict=True):
        for part in ("val", "ood"):
            mrr = run.numbers("B", part)[f"mrr{suffix}"].value
            drawn = line(axes, f"{part.upper()}, MRR {mrr:.3f}")
            assert drawn.get_xdata().tolist() == list(RANKS)
            assert drawn.get_ydata().tolist() == values(run, "B", part, [f"r{k}{suffix}" for k in RANKS])
            chance = line(axes, f"{part.upper()}, chance")
            assert chance.get_ydata().tolist() == values(run, "B", part, [f"chance_r{k}{suffix}" for k in RANKS])
            asked = run_files.THRESHOLDS[part]
            assert levels(axes, part) == ([] if suffix else [asked["r1"], asked["r5"]])
        assert not any("following" in str(one.get_label()) for one in axes.get_lines())
    assert "R@1 reaches 0.60 / 0.55, R@5 0.95 / 0.92 and MRR 0.80 / 0.75" in words(figure)


def test_following_stands_in_words_beside_the_unseen_ranks(tmp_path: Path) -> None:
    result = run_files.result()
    result.val["following"], result.ood["following"] = run_files.following(0.45), run_files.following(None)
    left, right = DRAW["retrieval"](read(run_files.write_run(tmp_path / "run", result))).axes
    labels = [str(one.get_label()) for one in right.get_lines() if "following" in str(one.get_label())]
    assert labels == ["VAL, following: MRR 0.450, chance 0.300"]
    assert not any("following" in str(one.get_label()) for one in left.get_lines())


def test_rollout(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["rollout"](run)
    (axes,) = figure.axes
    for part, mean in (("val", 0.48), ("ood", 0.47)):
        drawn = line(axes, f"{part.upper()}, mean {mean}")
        assert drawn.get_xdata().tolist() == [1, 2, 3, 4, 5]
        assert drawn.get_ydata().tolist() == values(run, "D", part, [f"h{h}" for h in range(1, 6)])
        assert levels(axes, part) == [run_files.THRESHOLDS[part]["rollout"]]
    assert "Gate D, rollout: pass" in words(figure)


def test_coherence(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["coherence"](run)
    (axes,) = figure.axes
    for part in ("val", "ood"):
        assert line(axes, part.upper()).get_ydata().tolist() == values(run, "E", part, ["low", "normal", "high"])
        assert len(intervals(axes, part)) == 3
    (band,) = (one for one in axes.collections if not isinstance(one, LineCollection))
    ends = band.get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((0.55, 0.65))
    assert "differ by at most 0.05; they differ by +0.010" in words(figure)
    assert [text.get_text() for text in axes.texts] == ["400"] * 6


def test_the_bins_are_those_that_the_judge_cuts() -> None:
    assert coherence.BINS == {"low": "low (below .45)", "normal": "normal (.45 to .55)", "high": "high (above .55)"}
    assert tuple(coherence.BINS) == gate_e.BINS


def test_an_unmeasured_coherence_gate_says_why(tmp_path: Path) -> None:
    written = run_files.result()
    gate = written.five_cat["gates"]["E"]
    del gate["difference"]
    gate |= {"state": None, "reason": "OOD: the normal bin has 4 windows of 2 documents; 30 of 10 are needed"}
    figure = DRAW["coherence"](read(run_files.write_run(tmp_path / "unmeasured", written)))
    assert "not measurable" in words(figure)
    assert "4 windows of 2 documents" in words(figure)


def test_moments(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["moments"](run)
    for axes, name in zip(figure.axes, ("mean", "std"), strict=True):
        for points, part in zip(axes.collections, ("val", "ood"), strict=True):
            expected = np.stack([run.moments[f"{part}_{x}_{name}_D"] for x in ("target", "raw")], axis=1)
            np.testing.assert_array_equal(points.get_offsets(), expected)
            np.testing.assert_allclose(expected[:, 1], run_files.moments()[part][f"raw_{name}_D"], rtol=1e-6)
        slopes = [one.get_ydata()[1] / one.get_xdata()[1] for one in axes.get_lines()]
        assert slopes == pytest.approx([1.0] if name == "mean" else [1.0, *STD_RATIO])
    assert "its median is VAL 1.05, OOD 1.40" in words(figure)


def test_training(folder: Path) -> None:
    run = read(folder)
    figure = DRAW["training"](run)
    shown = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(shown) == ["loss", "infonce", "moment", "cos", "share of the gradient at raw", "5CAT margin"]
    for part in ("loss", "infonce", "moment"):
        for side in ("train", "val"):
            drawn = line(shown[part], side)
            assert drawn.get_xdata().tolist() == list(range(run_files.EPOCHS))
            assert drawn.get_ydata().tolist() == [row[f"{side}/{part}"] for row in run.history]
    shares = shown["share of the gradient at raw"]
    assert line(shares, "moment").get_ydata().tolist() == [0.07] * run_files.EPOCHS
    margin = line(shown["5CAT margin"], "val")
    assert (margin.get_xdata().tolist(), margin.get_ydata().tolist()) == ([4, 5], [0.08, 0.1])
    assert levels(shown["5CAT margin"], "val") == [0.12]


def test_training_that_diverged_leaves_a_gap(tmp_path: Path) -> None:
    rows = run_files.history(3)
    rows[-1] |= {"train/loss": None, "val/loss": None}
    folder = run_files.write_run(tmp_path / "diverged", run_files.without_model("diverged", epochs=3), rows)
    (folder / "moments.npz").unlink()
    found = figures(read(folder))
    assert list(found) == ["training"]
    drawn = line(found["training"].axes[0], "val").get_ydata()
    assert np.isnan(drawn[-1])
    assert not np.isnan(drawn[:-1]).any()
    assert "checkpoint: none, the run diverged" in words(found["training"])


def test_what_could_not_be_measured_is_left_out(tmp_path: Path) -> None:
    written = run_files.result()
    written.ood["five_cat"] = None
    halves = written.val["five_cat"]["halves"]
    for letter in "AD":
        halves[letter] |= {"state": None, "reason": "isolated windows", "numbers": {}}
    # Bootstrap intervals need not hold the point estimate, and one document has none.
    numbers = halves["B"]["numbers"]
    numbers["r2"]["interval"] = None
    numbers["r3"]["interval"] = [0.9, 0.95]
    numbers["r4"]["value"] = None
    folder = run_files.write_run(tmp_path / "unmeasured", written)
    drawn = figures(read(folder))
    assert list(drawn) == ["retrieval", "coherence", "moments", "training"]
    axes = drawn["retrieval"].axes[0]
    assert line(axes, "VAL, MRR").get_xdata().tolist() == [k for k in RANKS if k != 4]
    assert [0.9, 0.95] in intervals(axes, "val")
    assert not [one for one in axes.get_lines() if str(one.get_label()).startswith("OOD")]
    assert draw(read(folder)).keys() == drawn.keys()


@pytest.mark.slow
def test_drawing_again_gives_the_same_files_from_the_folder_alone(folder: Path) -> None:
    first = {name: file.read_bytes() for name, file in draw(read(folder)).items()}
    assert set(first) == set(FIGURES)
    assert main([str(folder)]) == 0
    assert {name: (folder / "plots" / f"{name}.png").read_bytes() for name in FIGURES} == first
    for name, data in first.items():
        assert imread(io.BytesIO(data)).ndim == 3, name
    assert {p.name for p in (folder / "plots").iterdir()} == {f"{name}.png" for name in FIGURES}


def test_colours_differ_in_lightness_too() -> None:
    def lightness(colour: str) -> float:
        return float(np.dot(matplotlib.colors.to_rgb(colour), (0.2126, 0.7152, 0.0722)))

    assert len({marker for marker in _style.MARKERS.values()}) == 3
    assert abs(lightness(_style.COLOURS["val"]) - lightness(_style.COLOURS["ood"])) > 0.05


MISTAKES = {
    "no result": (lambda f: (f / "result.json").unlink(), "has no result.json, so it is no finished run's folder"),
    "torn result": (lambda f: (f / "result.json").write_text('{"name": '), "result.json cannot be read"),
    "other result": (lambda f: (f / "result.json").write_text("{}"), "is no result of lvm_lab"),
    "a list": (lambda f: (f / "result.json").write_text("[]"), "is no result of lvm_lab"),
    "no config": (lambda f: (f / "config.yaml").unlink(), "config.yaml is missing"),
    "other config": (lambda f: (f / "config.yaml").write_text("3"), "is no config of lvm_lab"),
    "a key": (lambda f: (f / "result.json").write_text('{"schema": 2, "name": 3}'), "(arch is missing)"),
    "zeroed moments": (lambda f: (f / "moments.npz").write_bytes(bytes(500)), "moments.npz is damaged; delete it"),
    "torn moments": (lambda f: (f / "moments.npz").write_bytes(b"PK half"), "moments.npz is damaged"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_draws_nothing(
    mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, told = MISTAKES[mistake]
    spoil(folder)
    assert main([str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert told in said.err
    assert not (folder / "plots").exists()


def test_a_damaged_run_keeps_no_other_from_being_drawn(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvm_lab.reporting.plots._style.png", lambda figure: b"a figure")
    good = run_files.write_run(tmp_path / "good")
    (folder / "result.json").write_text("{")
    assert main([str(folder), str(tmp_path / "nowhere"), str(good)]) == 2
    told = capsys.readouterr()
    assert {Path(line).parents[1] for line in told.out.splitlines()} == {good}
    torn, missing, count = told.err.splitlines()
    assert torn.startswith(f"skipped {folder}: {folder}/result.json cannot be read")
    assert torn.endswith(WAY_OUT + ".")
    assert missing.startswith(f"skipped {tmp_path}/nowhere: ")
    assert count == "error: 2 of 3 runs were skipped; mend them, or leave them out."


def test_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert "has no result.json" in capsys.readouterr().err


WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "pytorch_lightning", *sys.argv[2:3]):
    sys.modules[name] = None
sys.argv = [sys.argv[1], *sys.argv[3:]]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["lvm_lab.plots", "lvm_lab.card"])
def test_commands_need_no_torch_and_their_help_no_matplotlib(module: str, folder: Path) -> None:
    def answer(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TORCH, module, *arguments]
        return subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)

    helped = answer("matplotlib", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "a finished run's folder" in helped.stdout
    made = answer("wandb", str(folder))
    assert (made.returncode, made.stderr) == (0, "")
    assert all(Path(file).is_file() for file in made.stdout.splitlines())


@pytest.mark.slow
def test_training_starts_without_the_figures(tmp_path: Path) -> None:
    # Lightning's metrics import matplotlib themselves where it is installed; ours comes in to draw.
    code = "import sys, lvm_lab.jobs.session; sys.exit('lvm_lab.reporting.plots._style' in sys.modules)"
    script = tmp_path / "script.py"
    script.write_text(code)
    assert finish(fork(tmp_path, script=script, figures=True)).code == 0


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by the command, mirrored to W&B without an account."""
    work = tmp_path_factory.mktemp("run")
    said = finish(fork(work, *TINY, "run.cache=cache", "logger=wandb", figures=True))
    assert (said.code, said.err) == (0, ""), said
    return only_run(work / "outputs")


@pytest.mark.slow
def test_a_run_ends_with_every_figure_and_drawing_again_changes_none(done: Path) -> None:
    before = {name: (done / "plots" / f"{name}.png").read_bytes() for name in FIGURES}
    assert main([str(done)]) == 0
    assert {name: (done / "plots" / f"{name}.png").read_bytes() for name in FIGURES} == before
    names = [f"k{k:+d}" for k in range(-3, 4)]
    seen = read(done)
    drawn = line(DRAW["offsets"](seen).axes[0], "VAL").get_ydata()
    assert drawn.tolist() == values(seen, "A", "val", names)
    assert seen.moments["val_raw_mean_D"].shape == (128,)


@pytest.mark.slow
def test_moments_agree_with_the_std_ratio_of_the_result(done: Path) -> None:
    seen = read(done)
    for part in ("val", "test", "ood"):
        ratio_D = seen.moments[f"{part}_raw_std_D"] / seen.moments[f"{part}_target_std_D"]
        assert np.median(ratio_D) == pytest.approx(seen.result.part(part).spreads["std_ratio"]["median"], rel=1e-5)


@pytest.mark.slow
def test_r_at_k_rises_and_holds_what_the_gate_asks_for(done: Path) -> None:
    for part in ("val", "ood"):
        numbers = read(done).numbers("B", part)
        for suffix in ("", "_unseen"):
            curve = [numbers[f"r{k}{suffix}"].value for k in RANKS]
            assert curve == sorted(curve)
        assert numbers["r1"].threshold
        assert numbers["chance_r10"].value == pytest.approx(0.5)


@pytest.mark.slow
def test_history_has_no_points_of_the_curve(done: Path) -> None:
    names = {name for row in read(done).history for name in row}
    assert {"5cat/val/B/r1", "5cat/val/B/r5_unseen", "5cat/val/B/mrr"} <= names
    assert not {"5cat/val/B/r2", "5cat/val/B/r10", "5cat/val/B/chance_r3", "5cat/val/B/r4_unseen"} & names


@pytest.mark.slow
def test_wandb_has_the_figures(done: Path) -> None:
    images = [p.name for p in done.glob("wandb/offline-run-*/files/media/images/plots/*.png")]
    assert sorted(name.split("_")[0] for name in images) == sorted(FIGURES)


@pytest.mark.slow
def test_a_figure_that_fails_costs_no_run_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        assert not list(tmp_path.rglob("result.json")), "result.json has to be the last file"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lvm_lab.reporting.plots.draw.draw", full)
    said = call(tmp_path, *TINY, "run.cache=cache", "trainer.max_epochs=1")
    assert said.code == 0, said.err
    folder = only_run(tmp_path / "outputs")
    assert "lvm-lab plots" in (folder / "train.log").read_text()
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"
    assert (folder / "MODEL_CARD.md").exists()
    assert not (folder / "plots").exists()
    monkeypatch.undo()
    assert main([str(folder)]) == 0
    assert len(list((folder / "plots").iterdir())) == len(FIGURES)


@pytest.mark.slow
def test_killed_while_drawing_the_same_command_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(seen: Record) -> None:
        (seen.folder / "plots").mkdir()
        (seen.folder / "plots" / ".offsets.png.77").write_bytes(b"half")
        raise KeyboardInterrupt

    command = (*TINY, "run.cache=cache", "trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr("lvm_lab.reporting.plots.draw.draw", killed)
        assert call(tmp_path, *command).code == 130
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    said = call(tmp_path, *command)
    assert said.code == 0, said.err
    assert {p for p in tree(folder) if p.startswith("plots/")} == {f"plots/{name}.png" for name in FIGURES}


@pytest.mark.slow
def test_no_two_texts_of_a_figure_touch(folder: Path) -> None:
    file = folder / "result.json"
    result = json.loads(file.read_text())
    reason = "VAL: 12 windows of 9 documents in the normal bin, and 30 of 10 are needed; " * 3
    result["five_cat"]["gates"]["E"] |= {"state": None, "difference": None, "reason": reason}
    file.write_text(json.dumps(result))
    for name, figure in figures(read(folder)).items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        labels = [text for text in drawn_texts(figure) if text.get_text().strip()]
        boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in labels]
        page = figure.bbox
        for text, box in boxes:
            assert page.x0 <= box.x0 < box.x1 <= page.x1, (name, text)
            assert page.y0 <= box.y0 < box.y1 <= page.y1, (name, text)
        for (text, box), (other, second) in itertools.combinations(boxes, 2):
            # Less than a pixel is the blank around a letter.
            across = min(box.x1, second.x1) - max(box.x0, second.x0)
            upwards = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert min(across, upwards) < 1, (name, text, other)


def test_the_counts_of_windows_stand_clear_of_their_markers(folder: Path) -> None:
    figure = DRAW["coherence"](read(folder))
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    counts = [t for t in axes.texts if t.get_text() == "400"]
    assert len(counts) == 6
    for text in counts:
        extent = text.get_window_extent(renderer)
        for drawn in axes.get_lines():
            for x, y in drawn.get_transform().transform(drawn.get_xydata()):
                # The markers' radius in pixels.
                assert not (extent.x0 - 5 < x < extent.x1 + 5 and extent.y0 < y < extent.y1)
