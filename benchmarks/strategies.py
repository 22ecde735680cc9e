"""Trains with each strategy and plainly for as many steps, judged on the test part: docs/strategies.md's tables.

    python benchmarks/strategies.py DATA_FOLDER [RUN_ROOT] [planted] [peps] [STRATEGY...] [KEY=VALUE...]

DATA_FOLDER has peps_minilm.npz. Runs that are finished under RUN_ROOT (outputs/strategies) are not repeated, one that
was killed goes on. Nothing is chosen on VAL: the weights of the last epoch are judged. With some of the strategies, or
settings of your own, the table is printed and the page is left as it is.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import settings
from parity_table import ROOT, replace_between
from real_text import Scores, cell, mean_of, table, window_scores

import lvm_lab
from lvm_lab.build.data import parts as cut
from lvm_lab.data.parts import Parts
from lvm_lab.data.sampler import count_batches
from lvm_lab.judge.bootstrap import Number, means, paired_difference
from lvm_lab.judge.following import following_scores, later_windows, units
from lvm_lab.runs import reading

PAGE = ROOT / "docs" / "strategies.md"
SEEDS = (0, 1, 2)
MODELS = {
    "planted": ("arch=gru",),
    # A sequence model that begins where the linear metric does.
    "peps": ("recipe=real_text", "arch=gru", "head=residual", "data.context_length=5"),
}
# What both runs of a comparison have, and what the plain one has besides.
SHARED = {"progressive": ("data.max_per_doc=32",), "pretrained": ("loss=cosine",)}
PLAIN = {"progressive": ("data.train_windows=10000",)}
EPOCHS = {"progressive": 35, "curriculum": 20, "multi_resolution": 20, "pretrained": 20}
# As many as plain training has beside a curriculum, so that the same plain runs stand beside both.
FEWER = {"peps": {"multi_resolution": 10, "pretrained": 10}}
NUMBERS = {"following": "following MRR", "unseen": "unseen MRR", "cos": "cos"}
# Rows that every target of `following` has before it: planted documents have no more than the context and a few.
READ = {"planted": 5, "peps": 16}


@dataclass(frozen=True)
class Bench:
    """Where the data lie and where runs land; own: further settings of every run."""

    data: Path
    root: Path
    own: tuple[str, ...] = ()

    def overrides(self, name: str) -> list[str]:
        source = [] if name == "planted" else ["data=npz", f"data.path={self.data / f'{name}_minilm.npz'}"]
        return [*MODELS[name], *source, f"run.cache={self.root / 'cache'}"]

    def train(self, name: str, overrides: Sequence[str], seed: int) -> Path:
        """The folder of a run of these settings, trained now or found trained."""
        words = [word.partition("=")[2] or word for word in (*overrides, *self.own)]
        place = self.root / re.sub(r"[^\w.-]+", "-", "-".join([name, *words, f"seed{seed}"]))
        common = ["5cat=off", "logger=none", "device=cpu", "device.threads=1", f"run.dir={place}"]
        command = [*self.overrides(name), *common, *overrides, *self.own, f"seed={seed}"]
        subprocess.run([sys.executable, "-m", "lvm_lab.train", *command], check=True)
        return place

    @functools.lru_cache(maxsize=32)  # noqa: B019
    def parts(self, name: str, *overrides: str) -> Parts:
        return cut(settings(*self.overrides(name), *overrides, *self.own))

    def epoch(self, name: str, *overrides: str) -> int:
        """The batches of an epoch of plain training."""
        run_settings = settings(*self.overrides(name), *overrides, *self.own)
        documents_W = self.parts(name, *overrides).train.document_W
        return count_batches(documents_W, run_settings.trainer.batch_size, run_settings.data.max_per_doc)

    def scores(self, name: str, run: Path) -> dict[str, Scores]:
        """Of the weights of a run's last epoch on the test part: each number's values with their documents."""
        predict, test = lvm_lab.load(run / "checkpoints" / "last.ckpt").predict, self.parts(name).test
        every, later = window_scores(predict, test), later_windows(test, READ[name])
        following = following_scores(units(predict, later), later)["mrr"]
        values = {key: {"values": every[key], "document": every["document"]} for key in ("unseen", "cos")}
        return values | {"following": {"values": following, "document": later.document_W}}


def steps(run: Path) -> int:
    return int(reading.read_history(run)[-1]["step"])


def mean(scores: Scores) -> Number:
    return means({"mean": scores["values"]}, scores["document"])["mean"]


def over(mine: Scores, theirs: Scores) -> Number:
    return paired_difference(mine["values"], theirs["values"], mine["document"])


def line(bench: Bench, name: str, strategy: str) -> list[str]:
    """A strategy against plain training of as many steps, to the nearest epoch."""
    shared, plain = SHARED.get(strategy, ()), [*SHARED.get(strategy, ()), *PLAIN.get(strategy, ())]
    theirs, mine = [], []
    for seed in SEEDS:
        epochs = FEWER.get(name, {}).get(strategy, EPOCHS[strategy])
        with_it = [f"strategy={strategy}", f"trainer.max_epochs={epochs}", *shared]
        mine.append(bench.train(name, with_it, seed))
        epochs = max(1, round(steps(mine[-1]) / bench.epoch(name, *plain)))
        theirs.append(bench.train(name, [*plain, f"trainer.max_epochs={epochs}"], seed))
    scores = [[bench.scores(name, run) for run in runs] for runs in (mine, theirs)]
    cells = [name, strategy, f"{steps(mine[0])} / {steps(theirs[0])}"]
    for key in NUMBERS:
        ours, plains = ([one[key] for one in several] for several in scores)
        above = sum(over(one, other).low > 0 for one, other in zip(ours, plains, strict=True))
        with_it, without = mean_of(ours), mean_of(plains)
        cells += [f"{mean(without).value:.3f}", f"{mean(with_it).value:.3f}"]
        cells.append(f"{cell(over(with_it, without), '+')}, {above} of {len(SEEDS)}")
    return cells


def main(arguments: Sequence[str]) -> None:
    own = tuple(a for a in arguments if "=" in a)
    names = [a for a in arguments if a in MODELS] or list(MODELS)
    strategies = [a for a in arguments if a in EPOCHS] or list(EPOCHS)
    places = [Path(a) for a in arguments if a not in (*MODELS, *EPOCHS, *own)]
    root = places[1] if len(places) > 1 else Path("outputs/strategies")
    bench = Bench(places[0].resolve(), root.resolve(), own)
    heads = "data, strategy, steps / plain"
    heads += "".join(f", {title} plain, with it, difference and seeds above 0" for title in NUMBERS.values())
    for name in names:
        lines = table(heads, [line(bench, name, strategy) for strategy in strategies])
        if own or len(strategies) < len(EPOCHS):
            print(lines)
        else:
            replace_between(PAGE, name, lines)


if __name__ == "__main__":
    main(sys.argv[1:])
