"""A run's objective, read from its result: what Hydra's sweepers and W&B maximise; no torch."""

from __future__ import annotations

from lvm_lab.config import objective
from lvm_lab.runs.result import Result

# Where 5CAT has the numbers on VAL, by the names that sweep.objective knows.
KEYS = {"margin": "A/margin", "unseen_mrr": "B/mrr_unseen", "mrr": "B/mrr", "r1": "B/r1", "rollout": "D/rollout"}


def of_result(expression: str, result: Result) -> float | None:
    """The objective of a finished run, always finite.

    None for one that diverged or failed, or of which a number that the expression names could not be measured: a
    sweeper counts the trial as failed, where any number, even a bad one, would be a value to compare.
    """
    return objective.value(expression, numbers(result)) if result.status == "finished" else None


def numbers(result: Result) -> dict[str, float | None]:
    """By the names that sweep.objective knows; nothing is read of test and OOD."""
    part, scores = result.part("val"), result.scores("val")
    judged = scores.values() if scores else {}
    cos = part.numbers.get("cos") if part else None
    return {
        "halves": float(scores.passed) if scores else None,
        "cos": cos.value if cos else None,
        **{name: judged.get(key) for name, key in KEYS.items()},
    }
