"""Curriculum (Bengio et al. 2009): windows whose target is like their context first, then the less alike, then all.

Shape suffixes: W windows, B a batch of them, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lvm_lab.config.settings import Settings
from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.training.strategies.base import Stage, Strategy, check_patience, nodes

KEYS = {"name": str, "begin": float, "end": float, "epochs": int}
# Windows whose vectors are read at once.
SLICE = 4096


class Curriculum(Strategy):
    """stages: each {name, begin, end, epochs}: the windows from `begin` to `end` in the order of their similarity, as
    shares of all of them from 0, the most alike, to 1. similarity: the target's cosine with the last vector of the
    context, or with the context's mean. Only the training part is looked at.
    """

    def __init__(self, stages: list[dict[str, Any]], similarity: Literal["last", "mean"] = "last") -> None:
        self.nodes, self.similarity = nodes(stages, KEYS), similarity
        for number, stage in enumerate(self.nodes):
            if not 0 <= stage["begin"] < stage["end"] <= 1:
                raise UserError(
                    f"strategy.stages[{number}] goes from {stage['begin']} to {stage['end']}; set begin and end as "
                    "shares from 0 to 1, begin below end."
                )

    def epochs(self) -> int:
        return sum(stage["epochs"] for stage in self.nodes)

    def check(self, settings: Settings) -> None:
        super().check(settings)
        check_patience(settings)

    def stages(self, parts: Parts, max_epochs: int) -> Sequence[Stage]:
        order_W = np.argsort(-similarities(parts.train, self.similarity), kind="stable")
        stages = []
        for number, stage in enumerate(self.nodes):
            first, last = (round(stage[edge] * len(order_W)) for edge in ("begin", "end"))
            if first == last:
                raise UserError(
                    f"strategy.stages[{number}] has none of the {len(order_W)} training windows; set begin and end "
                    "further apart."
                )
            positions = None if last - first == len(order_W) else np.sort(order_W[first:last])
            stages.append(Stage(stage["name"], stage["epochs"], positions))
        return stages


def similarities(windows: Windows, of: Literal["last", "mean"]) -> np.ndarray:
    """The cosine of each target with the last vector of its context, or with the context's mean."""
    cosine_W = np.empty(len(windows), dtype=np.float32)
    for positions, alike in windows.by_length():
        for begin in range(0, len(alike), SLICE):
            some = np.arange(begin, min(begin + SLICE, len(alike)))
            target_BD = alike.vectors(alike.target_row_W[some])
            other_BD = alike.vectors(alike.rows(0)[some]) if of == "last" else alike.context(some).mean(1)
            lengths_B = np.linalg.norm(target_BD, axis=1) * np.linalg.norm(other_BD, axis=1)
            cosine_W[positions[some]] = (target_BD * other_BD).sum(1) / np.maximum(lengths_B, 1e-12)
    return cosine_W
