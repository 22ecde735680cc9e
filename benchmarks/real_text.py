"""Trains on PEPs and Wikipedia together and judges each store's test part and a novel: docs/real_text.md's tables.

    python benchmarks/real_text.py DATA_FOLDER [RUN_ROOT] [grid] [recipe] [folds] [scaling]

DATA_FOLDER has peps_minilm.npz, wikipedia_minilm.npz and novel_minilm.npz. Runs that are finished under RUN_ROOT
(outputs/real_text) are not repeated; without names all tables are made.

Shape suffixes: W windows of a test part.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import settings
from parity_table import ROOT, replace_between

import lvm_lab
from lvm_lab.build.data import parts as cut
from lvm_lab.config.data import FOLDS
from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number, means, paired_difference
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.predictions import predict
from lvm_lab.scoring import baselines as fitted_baselines
from lvm_lab.types import Predictor

PAGE = ROOT / "docs" / "real_text.md"
STORES = ("peps", "wikipedia", "novel")
ARCHS = ("lstm", "gru", "transformer", "amn", "mamba2")
LOSSES = ("mse", "cosine", "infonce", "hybrid")
GRID = ("arch.width=256", "trainer.max_epochs=5")
SEEDS = (0, 1, 2)
CONTEXTS = (5, 16)
RECIPE = "recipe (linear metric)"
SEQUENCE = "GRU beside the metric"
SEQUENCE_MODEL = ("recipe=real_text", "arch=gru", "head=residual")
# Training windows and how often they are gone through; None: all of them.
PASSES = {1000: 20, 3000: 15, 10000: 8, None: 5}

Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Bench:
    """The data folder, and where runs and everything fitted land."""

    data: Path
    root: Path

    def overrides(self, *names: str, fold: int | None = None) -> list[str]:
        """Settings that read these stores together, with the novel as the other domain."""
        files = ",".join(str(self.data / f"{name}_minilm.npz") for name in names)
        ood = self.data / "novel_minilm.npz"
        overrides = ["data=npz", f"data.path=[{files}]", f"data.ood_path={ood}", f"run.cache={self.root / 'cache'}"]
        return overrides if fold is None else [*overrides, f"data.fold={fold}"]

    def trained(self, overrides: Sequence[str], seed: int, fold: int | None = None) -> Predictor:
        """A model of these settings, trained now or found trained."""
        words = [o for o in overrides if not o.startswith("trainer.max_epochs")]
        name = [*(o.partition("=")[2] for o in words), f"seed{seed}"] + ([] if fold is None else [f"fold{fold}"])
        place = self.root / "-".join(name)
        data = self.overrides("peps", "wikipedia", fold=fold)
        common = [*data, "5cat=off", "logger=none", "device=cpu", "device.threads=1"]
        command = [*common, *overrides, f"seed={seed}", f"run.dir={place}"]
        subprocess.run([sys.executable, "-m", "lvm_lab.train", *command], check=True)
        return lvm_lab.load(place / "checkpoints" / "best.ckpt").predict

    @functools.lru_cache(maxsize=32)  # noqa: B019
    def parts(self, length: int, *names: str, fold: int | None = None) -> Parts:
        run_settings = settings(*self.overrides(*names, fold=fold), f"data.context_length={length}")
        return cut(run_settings)

    def judged(self, length: int, fold: int | None = None) -> dict[str, Windows]:
        """The test windows of each store."""
        tests = {name: self.parts(length, name, fold=fold).test for name in STORES[:2]}
        novel = self.parts(length, "peps", "wikipedia", fold=fold).ood
        assert novel is not None
        return tests | {"novel": novel}

    @functools.lru_cache(maxsize=32)  # noqa: B019
    def baselines(self, length: int, fold: int | None = None) -> dict[str, dict[str, Scores]]:
        """Every baseline of the closing tables, fitted on the training part of both stores."""
        parts = self.parts(length, "peps", "wikipedia", fold=fold)
        fitted = fitted_baselines.baselines(parts, self.root / "cache", "cpu")
        return {name: self.scores(predictor, length, fold) for name, predictor in fitted.items()}

    def scores(self, predictor: Predictor, length: int, fold: int | None = None) -> dict[str, Scores]:
        return {name: window_scores(predictor, windows) for name, windows in self.judged(length, fold).items()}

    def seeds(self, overrides: Sequence[str], length: int, seeds: Sequence[int]) -> list[dict[str, Scores]]:
        return [self.scores(self.trained(overrides, seed), length) for seed in seeds]


def window_scores(predictor: Predictor, windows: Windows) -> Scores:
    """Numbers of every window, with the document it is from."""
    _, unit_WD = predict(predictor, windows.context())
    retrieved = retrieval_scores(unit_WD, windows)
    return {
        "unseen": retrieved["mrr_unseen"],
        "r1": retrieved["r1"],
        "cos": cosines(unit_WD, windows.vectors(windows.target_row_W)),
        "document": windows.document_W,
    }


def mean_of(several: Sequence[Scores]) -> Scores:
    """Each window's mean over seeds."""
    return {key: np.mean([scores[key] for scores in several], axis=0) for key in several[0]}


def cell(number: Number, sign: str = "") -> str:
    return f"{number.value:{sign}.3f} [{number.low:{sign}.3f}, {number.high:{sign}.3f}]"


def mean(scores: Scores, key: str = "unseen") -> Number:
    return means({key: scores[key]}, scores["document"])[key]


def over(mine: Scores, theirs: Scores) -> Number:
    return paired_difference(mine["unseen"], theirs["unseen"], mine["document"])


def table(heads: str, lines: Sequence[Sequence[str]]) -> str:
    names = heads.split(", ")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *lines))


def grid(bench: Bench) -> None:
    """Five architectures under four losses."""
    fitted = bench.baselines(5)
    rows = dict(fitted)
    for arch in ARCHS:
        for loss in LOSSES:
            rows[f"{arch}, {loss}"] = bench.scores(bench.trained([f"arch={arch}", f"loss={loss}", *GRID], 0), 5)
    lines = []
    for name, stores in rows.items():
        cells = [name.replace("_", "-"), f"{mean(stores['peps'], 'cos').value:.3f}"]
        for store in STORES:
            cells.append(cell(mean(stores[store])))
            cells.append("" if name in fitted else cell(over(stores[store], fitted["copy_last"][store]), "+"))
        lines.append(cells)
    heads = "model, cos (peps), peps, over copy-last, wikipedia, over copy-last, novel, over copy-last"
    replace_between(PAGE, "grid", table(heads, lines))


def recipe(bench: Bench) -> None:
    """The recipe beside all baselines and a sequence model that begins at the same place, at two context lengths."""
    lines, differences = [], []
    for length in CONTEXTS:
        at = f"data.context_length={length}"
        seeds = {RECIPE: bench.seeds(["recipe=real_text", at], length, SEEDS)}
        if length == CONTEXTS[0]:
            seeds[SEQUENCE] = bench.seeds([*SEQUENCE_MODEL, at], length, SEEDS[:2])
        rows = bench.baselines(length) | {
            name: {store: mean_of([one[store] for one in each]) for store in STORES} for name, each in seeds.items()
        }
        best = rows[RECIPE]
        for name, stores in rows.items():
            cells, apart = [str(length), name.replace("_", "-")], [str(length), name.replace("_", "-")]
            for store in STORES:
                cells.append(cell(mean(stores[store])))
                cells.append(f"{mean(best[store]).value / mean(stores[store]).value:.2f}")
                above = sum(over(mine[store], stores[store]).low > 0 for mine in seeds[RECIPE])
                apart.append(f"{cell(over(best[store], stores[store]), '+')}, {above} of {len(SEEDS)}")
            lines.append(cells)
            if name != RECIPE:
                differences.append(apart)
    heads = "context, model, peps, recipe / it, wikipedia, recipe / it, novel, recipe / it"
    replace_between(PAGE, "recipe", table(heads, lines))
    replace_between(PAGE, "differences", table("context, over, peps, wikipedia, novel", differences))


def folds(bench: Bench) -> None:
    """The recipe in five folds, so that every document is tested once, beside the baselines fitted in each fold."""
    length = CONTEXTS[-1]
    at = ["recipe=real_text", f"data.context_length={length}"]
    names = STORES[:2]
    chosen_on = {name: set(bench.parts(length, name).val.document_W.tolist()) for name in names}
    seeds = [
        joined([bench.scores(bench.trained(at, seed, fold), length, fold) for fold in range(FOLDS)], chosen_on)
        for seed in SEEDS
    ]
    every = [bench.baselines(length, fold) for fold in range(FOLDS)]
    rows = {name: joined([one[name] for one in every], chosen_on) for name in every[0]}
    best = {store: mean_of([one[store] for one in seeds]) for store in names}
    lines = []
    for name, stores in {RECIPE: best, **rows}.items():
        cells = [name.replace("_", "-")]
        for store in names:
            cells.append(cell(mean(stores[store])))
            if name == RECIPE:
                cells.append("")
                continue
            above = sum(over(mine[store], stores[store]).low > 0 for mine in seeds)
            cells.append(f"{cell(over(best[store], stores[store]), '+')}, {above} of {len(SEEDS)}")
        lines.append(cells)
    replace_between(PAGE, "folds", table("model, peps, recipe over it, wikipedia, recipe over it", lines))


def joined(by_fold: Sequence[dict[str, Scores]], without: dict[str, set[int]]) -> dict[str, Scores]:
    """The windows of all folds together, without those documents."""
    clear = {}
    for store, left_out in without.items():
        whole = {key: np.concatenate([one[store][key] for one in by_fold]) for key in by_fold[0][store]}
        kept = ~np.isin(whole["document"], list(left_out))
        clear[store] = {key: values[kept] for key, values in whole.items()}
    return clear


def scaling(bench: Bench) -> None:
    """What more training windows bring to the recipe's linear metric and to a sequence model beside it."""
    length, lines = CONTEXTS[0], []
    copy_last = bench.baselines(length)["copy_last"]
    total = len(bench.parts(length, "peps", "wikipedia").train)
    for size, epochs in PASSES.items():
        few = [f"data.context_length={length}"]
        few += (
            []
            if size is None
            else [f"data.train_windows={size}", "data.max_per_doc=32", f"trainer.max_epochs={epochs}"]
        )
        metric = bench.seeds(["recipe=real_text", *few], length, SEEDS[:1])[0]
        model = bench.seeds([*SEQUENCE_MODEL, *few], length, SEEDS[:1])[0]
        cells = [f"{size or total:,}", str(epochs)]
        for store in STORES[:2]:
            cells += [cell(over(one[store], copy_last[store]), "+") for one in (metric, model)]
            cells.append(cell(over(model[store], metric[store]), "+"))
        lines.append(cells)
    columns = "metric over copy-last, GRU over copy-last, GRU over metric"
    replace_between(PAGE, "scaling", table(f"windows, epochs, peps: {columns}, wikipedia: {columns}", lines))


TABLES = {"grid": grid, "recipe": recipe, "folds": folds, "scaling": scaling}


def main(arguments: Sequence[str]) -> None:
    named = [a for a in arguments if a in TABLES]
    places = [Path(a) for a in arguments if a not in TABLES]
    bench = Bench(places[0].resolve(), (places[1] if len(places) > 1 else Path("outputs/real_text")).resolve())
    for name in named or TABLES:
        TABLES[name](bench)


if __name__ == "__main__":
    main(sys.argv[1:])
