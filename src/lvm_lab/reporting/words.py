"""What predictors, parts, states and numbers are called wherever they are shown; no torch."""

from __future__ import annotations

BASELINES = {
    "random": "random",
    "global_mean": "global mean",
    "copy_last": "copy-last",
    "mean_of_context": "mean-of-context",
    "exponential": "exponential",
    "nearest": "nearest",
    "ridge": "ridge",
    "linear_metric": "linear metric",
    "oracle": "oracle",
}
# What a gate or a half says: passed, failed, not measurable.
STATES = {True: "pass", False: "fail", None: "null"}
# The same where a failure has to be seen among many.
MARKS = {True: "pass", False: "FAIL", None: "null"}
# The numbers that predictors are compared by, by the head of their column.
COMPARED = (
    ("cos", "A/cos"),
    ("margin", "A/margin"),
    ("R@1", "B/r1"),
    ("unseen", "B/mrr_unseen"),
    ("left-out", "C/left_out"),
    ("rollout", "D/rollout"),
)


def predictor(name: str) -> str:
    """A baseline's title; a model's own name."""
    return BASELINES.get(name, name)


def part(name: str) -> str:
    """A part in a head: VAL and OOD are abbreviations, test is none."""
    return name if name == "test" else name.upper()
