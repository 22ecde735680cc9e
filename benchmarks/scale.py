"""Linear metric against sequence models on whole documents, by amount of data and kind of text: docs/scale.md's tables.

    python benchmarks/scale.py DATA_FOLDER [RUN_ROOT] [MODEL ...] [SIZE ...]

DATA_FOLDER has an article bank a kind of text (.npz). Runs that are finished under RUN_ROOT (outputs/scale) are not
repeated, numbers of a checkpoint that are there are not computed again, and the tables are written anew after each run,
with what is there: stopped at any moment, the same command goes on. Without names everything is made; `tables` alone
trains nothing.

Shape suffixes: W test windows.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common import settings
from parity_table import ROOT, replace_between
from real_text import table

import lvm_lab
from lvm_lab.build.data import parts as cut
from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows
from lvm_lab.files import write_arrays
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.bootstrap import Number, combine, means
from lvm_lab.judge.following import following_scores, later_windows, targets_of, units
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.types import Predictor

PAGE = ROOT / "docs" / "scale.md"
# Rows that every judged target has before it, and the most that any model here reads.
READ, LONGEST = 16, 64
TARGETS_A_KIND = 2_000
SIZES = (10_000, 30_000, 100_000, None)
SEEDS = {("metric", 100_000): (0, 1, 2), ("transformer", 100_000): (0, 1, 2)}
# Passes over the targets. One matrix goes through few targets more often; with 16 and 20 passes a transformer was best
# on VAL after 2 (30,000) and 4 (10,000), and no better for them: .887 and .941 of the loss; with 8, .937 on 10,000.
METRIC_EPOCHS = {10_000: 20, 30_000: 16, 100_000: 10, None: 6}
SEQUENCE_EPOCHS = {10_000: 5, 30_000: 4, 100_000: 4, None: 5}
SEQUENCE = ("recipe=real_text_sequence", "arch.width=256", "arch.layers=4", "arch.dropout=0.1")
MODELS = {
    "metric": ("recipe=real_text", "data.windows=documents", "data.context_length=16", "trainer.batch_size=64"),
    "transformer": (*SEQUENCE, "arch=transformer"),
    "gru": (*SEQUENCE, "arch=gru"),
    "mamba2": (*SEQUENCE, "arch=mamba2"),
    "lcm_base": (*SEQUENCE, "arch=lcm_base"),
}
MARKS = ("following", "unseen")
GOAL = 1.10

Scores = dict[str, np.ndarray]


def size_name(size: int | None) -> str:
    return "all" if size is None else f"{size // 1000}k"


@dataclass(frozen=True)
class Bench:
    """The data folder, and where runs and numbers land."""

    data: Path
    root: Path

    @functools.cached_property
    def kinds(self) -> list[str]:
        return sorted(file.stem for file in self.data.glob("*.npz"))

    def overrides(self, *kinds: str) -> list[str]:
        files = ",".join(str(self.data / f"{kind}.npz") for kind in kinds or self.kinds)
        return ["data=npz", f"data.path=[{files}]", f"run.cache={self.root / 'cache'}"]

    def folder(self, model: str, size: int | None, seed: int) -> Path:
        return self.root / f"{model}-{size_name(size)}-seed{seed}"

    def train(self, model: str, size: int | None, seed: int) -> None:
        """A run of these settings, begun, gone on with or found finished."""
        epochs = METRIC_EPOCHS if model == "metric" else SEQUENCE_EPOCHS
        few = [] if size is None else [f"data.train_windows={size}"]
        command = [*MODELS[model], f"trainer.max_epochs={epochs[size]}", *few, f"seed={seed}"]
        common = ["5cat=off", "logger=none", "device=cpu", f"run.dir={self.folder(model, size, seed)}"]
        subprocess.run([sys.executable, "-m", "lvm_lab.train", *self.overrides(), *command, *common], check=True)

    @functools.lru_cache(maxsize=32)  # noqa: B019
    def parts(self, kind: str) -> Parts:
        reads = ("data.windows=documents", f"data.context_length={LONGEST}")
        return cut(settings(*self.overrides(kind), *reads))

    def judged(self, kind: str) -> Windows:
        """Test targets of one kind of text that READ chunks or more stand before."""
        later = later_windows(self.parts(kind).test, READ)
        return targets_of(later, READ, TARGETS_A_KIND, seed=0).windows

    def scores(self, name: str, predictor: Predictor, reads: int) -> Scores:
        """Each target's ranks, its document and its kind, computed once for a name."""
        file = self.root / "scores" / f"{name}.npz"
        if file.exists():
            with np.load(file, allow_pickle=False) as kept:
                return dict(kept)
        pieces = []
        for number, kind in enumerate(self.kinds):
            windows = self.judged(kind)
            unit_WD = units(predictor, replace(windows, context_length=reads))
            pieces.append(
                {
                    "following": following_scores(unit_WD, windows)["mrr"],
                    "unseen": retrieval_scores(unit_WD, windows)["mrr_unseen"],
                    "document": windows.document_W + 1_000_000 * number,
                    "kind": np.full(len(windows), number),
                }
            )
        whole = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(file, **whole)
        return whole

    def of_model(self, model: str, size: int | None, seed: int) -> Scores | None:
        """The numbers of a finished run; None where it is not finished."""
        folder = self.folder(model, size, seed)
        if not (folder / "result.json").exists():
            return None
        loaded = lvm_lab.load(folder / "checkpoints" / "best.ckpt")
        return self.scores(folder.name, loaded.predict, loaded.context_length)

    def mean(self, model: str, size: int | None) -> tuple[Scores, int] | None:
        """The mean of each target's ranks over the seeds that are there, and how many these are."""
        every = [self.of_model(model, size, seed) for seed in SEEDS.get((model, size), (0,))]
        there = [one for one in every if one is not None]
        if not there:
            return None
        return {key: np.mean([one[key] for one in there], axis=0) for key in there[0]}, len(there)

    def targets(self, size: int | None) -> int:
        """How many targets a run of this size trains on."""
        return size or len(cut(settings(*self.overrides(), "data.windows=documents", "data.context_length=64")).train)


def number(scores: Scores, mark: str, kind: int | None = None) -> Number:
    of_W = np.ones(len(scores["kind"]), bool) if kind is None else scores["kind"] == kind
    return means({mark: scores[mark][of_W]}, scores["document"][of_W])[mark]


def ratio(mine: Scores, theirs: Scores, mark: str, kind: int | None = None) -> Number:
    """How many times the other's mean mine is, paired by target and resample."""
    return combine(lambda x, y: x / y, number(mine, mark, kind), number(theirs, mark, kind))


def cell(value: Number, digits: int = 3) -> str:
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def by_size(bench: Bench) -> None:
    """Every model at every size, and how many times the metric's number its own is."""
    lines = []
    for size in SIZES:
        metric = bench.mean("metric", size)
        for model in MODELS:
            if (mine := bench.mean(model, size)) is None:
                lines.append([size_name(size), model, "", *["not run"] * 4])
                continue
            cells = [size_name(size), model, str(mine[1])]
            for mark in MARKS:
                cells.append(cell(number(mine[0], mark)))
                cells.append("" if metric is None or model == "metric" else cell(ratio(mine[0], metric[0], mark)))
            lines.append(cells)
    for baseline in (CopyLast(), MeanOfContext()):
        scores = bench.scores(baseline.name, baseline, READ)
        pairs = ((cell(number(scores, mark)), "") for mark in MARKS)
        lines.append(["", baseline.name.replace("_", "-"), "", *(cell for pair in pairs for cell in pair)])
    heads = "targets, model, seeds, following, / metric, unseen, / metric"
    replace_between(PAGE, "sizes", table(heads, lines))


def by_kind(bench: Bench) -> None:
    """The ratio to the metric among following chunks by kind of text, at the largest size where both are there."""
    lines = []
    for kind_number, kind in enumerate(bench.kinds):
        documents = len(np.unique(bench.judged(kind).document_W))
        cells = [kind, str(documents)]
        for model in MODELS:
            if model != "metric":
                cells.append(_of_kind(bench, model, kind_number))
        lines.append(cells)
    replace_between(PAGE, "kinds", table(", ".join(["kind", "documents", *list(MODELS)[1:]]), lines))


def _of_kind(bench: Bench, model: str, kind: int) -> str:
    for size in reversed(SIZES):
        mine, metric = bench.mean(model, size), bench.mean("metric", size)
        if mine and metric:
            return f"{cell(ratio(mine[0], metric[0], 'following', kind), 2)} ({size_name(size)})"
    return "not run"


def slope(bench: Bench) -> None:
    """What ten times the targets add to the ratio, and at how many it would reach GOAL: a line through the sizes."""
    lines = []
    for model in list(MODELS)[1:]:
        pairs = [(size, bench.mean(model, size), bench.mean("metric", size)) for size in SIZES]
        there = [(size, mine[0], metric[0]) for size, mine, metric in pairs if mine and metric]
        if len(there) < 3:
            lines.append([model, "not run", ""])
            continue
        at = np.log10([bench.targets(size) for size, _, _ in there])
        ratios = [ratio(mine, metric, "following") for _, mine, metric in there]
        rise = combine(functools.partial(_rise, at), *ratios)
        lines.append([model, cell(rise), _reached(at, ratios, rise)])
    replace_between(PAGE, "slope", table(f"model, ratio for ten times the targets, {GOAL:.2f} at", lines))


def _rise(at: np.ndarray, *ratios: np.ndarray) -> np.ndarray:
    return np.polyfit(at, np.asarray(ratios, dtype=float), 1)[0]


def _reached(at: np.ndarray, ratios: Sequence[Number], rise: Number) -> str:
    """The targets at which the line reaches GOAL, with the middle 95% of resamples; unknown where it may not rise."""
    if not rise.low > 0:
        return "unknown"
    rises, starts = np.polyfit(at, np.stack([one.samples_R for one in ratios]), 1)
    low, middle, high = np.percentile((GOAL - starts) / rises, [2.5, 50, 97.5])
    return f"10^{middle:.1f} targets [10^{low:.1f}, 10^{high:.1f}]"


def wanted(names: Sequence[str]) -> Iterator[tuple[str, int | None, int]]:
    """The runs that these names mean, the cheap ones first."""
    models = [model for model in MODELS if model in names] or list(MODELS)
    sizes = [size for size in SIZES if size_name(size) in names] or list(SIZES)
    for size in sizes:
        for model in models:
            for seed in SEEDS.get((model, size), (0,)):
                yield model, size, seed


def main(arguments: Sequence[str]) -> None:
    known = {*MODELS, *(size_name(size) for size in SIZES), "tables"}
    places = [Path(a) for a in arguments if a not in known]
    names = [a for a in arguments if a in known]
    bench = Bench(places[0].resolve(), (places[1] if len(places) > 1 else Path("outputs/scale")).resolve())
    if "tables" not in names:
        for run in wanted(names):
            bench.train(*run)
            by_size(bench)
    for write in (by_size, by_kind, slope):
        write(bench)


if __name__ == "__main__":
    main(sys.argv[1:])
