"""What predictors, parts, states and numbers are called wherever they are shown; no torch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from lvm_lab.judge.baselines import TITLES

# Baselines, by the name of their file.
BASELINES = TITLES
# Between a baseline's name and how many vectors it reads.
READS = "-reads"
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


# What stands beside them where there is room.
FOLLOWING = ("following", "following/mrr")


def compared(numbers: Iterable[Container[str]]) -> tuple[tuple[str, str], ...]:
    """COMPARED, with `following` where any of these predictors' numbers has it: documents may be too short for it."""
    return (*COMPARED, FOLLOWING) if any(FOLLOWING[1] in some for some in numbers) else COMPARED


def predictor(name: str) -> str:
    """A baseline's title, with how much it reads where its name says so; a model's own name."""
    stem, sign, length = name.partition(READS)
    return BASELINES[stem] + (f" ({length})" if sign else "") if stem in BASELINES else name


def reading(length: int) -> str:
    """What a baseline's name ends with in a table of predictors that read contexts of different lengths."""
    return f"{READS}{length}"


def columns(reads: Sequence[int], judge_from: int) -> dict[str, str]:
    """What the ranks within a document are among, one line each, in a table of models that read so many vectors."""
    longest, alike = max(reads), len(reads) == 1
    readers = " and ".join(map(str, reads))
    apart = f"not to be compared between readers of {readers}"
    compares = "equal to unseen, since all models read as much" if alike else apart
    return {
        "unseen": f"MRR among the document's chunks without the {longest} that the longest reader has read",
        "following": f"MRR among the target and all later chunks, on targets from row {judge_from} on",
        "own": f"MRR among the document's chunks without those that the predictor itself has read; {compares}",
    }


def explained(data: Mapping[str, Any]) -> list[str]:
    """One line for each of these columns of a data set of evaluation.json, and why `following` is empty where it is."""
    parts = [part.get("following") or {} for one in data["predictors"] for part in one["parts"].values()]
    reasons = list(dict.fromkeys(part["reason"] for part in parts if part.get("reason")))
    lines = [f"{name}: {line}" for name, line in data["columns"].items()]
    return lines + [f"following is null where {reason}" for reason in reasons]


def part(name: str) -> str:
    """A part in a head: VAL and OOD are abbreviations, test is none."""
    return name if name == "test" else name.upper()
