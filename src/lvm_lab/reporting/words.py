"""What predictors, parts, states and numbers are called wherever they are shown; no torch."""

from __future__ import annotations

from lvm_lab.judge.baselines import TITLES

# Baselines, by the name of their file.
BASELINES = TITLES
# What a gate or a half says: passed, failed, not measurable.
STATES = {True: "pass", False: "fail", None: "null"}
# The same where a failure has to be seen among many.
MARKS = {True: "pass", False: "FAIL", None: "null"}
# Gates that need both parts: one part's half says nothing by itself.
OF_BOTH = ("E",)
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
