"""Predictors of which it is known what a judge ought to say, each with the documents that it is judged on.

Shape suffixes: B batch, L context length, D vector dim, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from helpers.judge_data import Leaky
from lvm_lab.config.presets import Preset
from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.global_mean import GlobalMean
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.baselines.random import Random
from lvm_lab.judge.results import FiveCat, PartScores
from lvm_lab.types import Prediction, Predictor

CHANGES = ("shuffled", "reversed", "left_out", "repeated", "foreign")
ARRANGEMENTS = ("reversed", "shuffled", "no_signal")


@dataclass(frozen=True)
class Case:
    """A row of the table: a predictor and the windows it is judged on."""

    name: str
    predictor: Predictor
    val: Windows
    ood: Windows


class Shown:
    """Is shown the target whatever is done to the context.

    It finds the document by any of the context's vectors and returns the vector after the furthest of them, so that
    order means nothing to it. Zeros where it knows none.
    """

    def __init__(self, *parts: Windows) -> None:
        self.next: dict[bytes, tuple[int, int, np.ndarray]] = {}
        for number, windows in enumerate(parts):
            for start, end in sorted(set(zip(windows.start_W.tolist(), windows.end_W.tolist(), strict=True))):
                vectors_ND = windows.vectors(np.arange(start, end))
                for place, vector in enumerate(vectors_ND[:-1]):
                    self.next[vector.tobytes()] = (2 * start + number, place, vectors_ND[place + 1])

    def __call__(self, context_BLD: torch.Tensor) -> Prediction:
        found = torch.from_numpy(np.stack([self._after(context_LD) for context_LD in context_BLD.numpy()]))
        return Prediction(found, found)

    def _after(self, context_LD: np.ndarray) -> np.ndarray:
        known = [self.next[vector.tobytes()] for vector in context_LD if vector.tobytes() in self.next]
        if not known:
            return np.zeros(context_LD.shape[1], dtype=np.float32)
        documents = [document for document, _, _ in known]
        most = max(documents, key=documents.count)
        return max((entry for entry in known if entry[0] == most), key=lambda entry: entry[1])[2]


def rearranged(windows: Windows, how: str, seed: int = 0) -> Windows:
    """The same windows over documents whose chunks stand otherwise; `data.variant` does that to the training part.

    reversed: every document turned round. shuffled: the chunks of each mixed. no_signal: the chunks of all documents
    mixed, so that neither rule nor topic ties a chunk to its neighbours.
    """
    rng = np.random.default_rng(seed)
    stretches = sorted(set(zip(windows.start_W.tolist(), windows.end_W.tolist(), strict=True)))
    rows = [np.arange(start, end) for start, end in stretches]
    if how == "reversed":
        taken = np.concatenate([r[::-1] for r in rows])
    elif how == "shuffled":
        taken = np.concatenate([rng.permutation(r) for r in rows])
    elif how == "no_signal":
        taken = rng.permutation(np.concatenate(rows))
    else:
        raise ValueError(f"{how} is no arrangement; choose among {', '.join(ARRANGEMENTS)}")
    vectors_ND = np.array(windows.vectors_ND)
    vectors_ND[np.concatenate(rows)] = windows.vectors_ND[taken]
    return replace(windows, vectors_ND=vectors_ND)


def cases(parts: Parts, trained: Predictor | None = None) -> Iterator[Case]:
    """Every row, from the best that can be had to those who were shown the answer."""
    assert parts.oracle is not None
    assert parts.ood is not None
    val, ood, oracle = parts.val, parts.ood, parts.oracle("cpu")
    yield Case("planted oracle", oracle, val, ood)
    if trained is not None:
        yield Case("trained model", trained, val, ood)
    for how in ARRANGEMENTS:
        said = how.replace("_", "-")
        yield Case(f"planted oracle, {said} documents", oracle, rearranged(val, how), rearranged(ood, how, 1))
    yield Case("copy-last", CopyLast(), val, ood)
    yield Case("mean-of-context", MeanOfContext(), val, ood)
    yield Case("global mean", GlobalMean(parts.stats.mean_D), val, ood)
    yield Case("random", Random(parts.stats), val, ood)
    yield Case("leaky oracle: is shown the target", Shown(val, ood), val, ood)
    yield Case("leaky oracle: knows every window by heart", Leaky(val, ood), val, ood)
    yield Case("knows the vector after the target by heart", Leaky(val, ood, offset=2), val, ood)


def states(judged: FiveCat) -> str:
    """The five gates in a word: + passed, - failed, 0 not measurable."""
    return "".join({True: "+", False: "-", None: "0"}[gate.state] for gate in judged.gates.values())


def line(case: Case, judged: FiveCat, preset: Preset) -> str:
    """A row of the Markdown table: each gate's verdict with its number on VAL and OOD."""
    alarms = sorted({alarm.name for alarm in judged.alarms})
    cells = [case.name, *(_cell(letter, judged, preset) for letter in "ABCDE"), f"{judged.passed}/5", ", ".join(alarms)]
    return "| " + " | ".join(cells) + " |"


def _cell(letter: str, judged: FiveCat, preset: Preset) -> str:
    gate, parts = judged.gates[letter], [judged.val, *([] if judged.ood is None else [judged.ood])]
    word = {True: "pass", False: "**fail**", None: "null"}[gate.state]
    if letter == "E":
        return word if not gate.numbers else f"{word} {gate.numbers['difference'].value:+.3f}"
    name = {"A": "margin", "B": "mrr", "D": "rollout"}.get(letter) or _tightest(parts, preset)
    shown = " / ".join(_number(part, f"{letter}/{name}") for part in parts)
    return f"{word} {name.replace('_', '-')} {shown}" if letter == "C" else f"{word} {shown}"


def _number(part: PartScores, name: str) -> str:
    value = part.values().get(name)
    return "not measured" if value is None else f"{value:.3f}" if name in ("B/mrr", "D/rollout") else f"{value:+.3f}"


def _tightest(parts: list[PartScores], preset: Preset) -> str:
    """The change of gate C that has the least to spare, or lacks the most, on either part."""
    both = list(zip(parts, (preset.thresholds["c"]["val"], preset.thresholds["c"]["ood"]), strict=False))

    def over(name: str) -> float:
        return max(part.values().get(f"C/{name}", -np.inf) - limits[name] for part, limits in both)

    return max(CHANGES, key=over)
