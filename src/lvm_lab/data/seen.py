"""Windows that a model was trained on: taken out of what it is judged on, and refused where they are many.

Shape suffixes: W windows, N rows of a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.config.thresholds import DOCUMENTS_FOR_INTERVAL
from lvm_lab.data.sketch import Sketch, sign_codes
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError

# The share of a part's windows that may be taken out: a part of which more was trained on is not held out.
MOST = 0.05


@dataclass(frozen=True)
class Trainings:
    """What a model has seen, its members' and its weights' earlier trainings included.

    unrecorded: the checkpoints of those whose rows nothing records.
    """

    sketches: tuple[Sketch, ...] = ()
    unrecorded: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a reader of numbers has to know, one sentence a checkpoint."""
        return [
            f"{name} records no training rows (an older version wrote it), so that only the names of its files say "
            "whether it was trained on what it is judged on"
            for name in self.unrecorded
        ]


def rows_of(windows: Windows) -> np.ndarray:
    """The rows of contexts and targets, each once and without those that stand in several documents.

    A licence that every document has is no target anywhere, and says of no document that it was trained on.
    """
    first_W, end_W = _spans(windows)
    size = len(windows.vectors_ND) + 1
    # How many windows cover each row: 1 more from each one's first row on, 1 less behind its target.
    covered_N = np.cumsum(np.bincount(first_W, minlength=size) - np.bincount(end_W, minlength=size))
    rows = np.flatnonzero(covered_N)
    return rows if windows.excluded_N is None else rows[~windows.excluded_N[rows]]


def trained_on(
    sketches: Sequence[Sketch], windows: Windows, cut: str | None = None, rows_N: np.ndarray | None = None
) -> np.ndarray:
    """A mask over the store's rows: true where a chunk of these windows is in any of the sketches.

    rows_N: the rows to look at; None: contexts and targets. cut: what makes the windows' part what it is (`Parts.cut`):
    a training that held out just these windows has seen none of them, whatever its codes say of their neighbours.
    """
    seen_N = np.zeros(len(windows.vectors_ND), dtype=bool)
    others = [sketch for sketch in sketches if cut is None or cut not in sketch.cut.values()]
    if others:
        rows_N = rows_of(windows) if rows_N is None else rows_N
        codes_NC = sign_codes(windows.vectors_ND, rows_N)
        text_N = None if windows.text_N is None else windows.text_N[rows_N]
        for sketch in others:
            seen_N[rows_N] |= sketch.holds(windows.dim, codes_NC, text_N)
    return seen_N


@dataclass(frozen=True)
class Cleaned:
    """windows: those that are left. note: what was taken out, in one sentence; empty where nothing was."""

    windows: Windows
    note: str = ""

    def noted(self, notes: list[str]) -> Windows:
        """The windows; the sentence goes to `notes`."""
        if self.note and self.note not in notes:
            notes.append(self.note)
        return self.windows


def hold_out(windows: Windows, trainings: Trainings, name: str, part: str, cut: str | None, way_out: str) -> Cleaned:
    """A part's windows without those that a model was trained on. name: the model's. cut: as in `trained_on`.

    What it was trained on is marked in them (`seen_N`), in all stretches of their documents, read by a window or not.
    Raises UserError as `take_out` does.
    """
    seen_N = trained_on(trainings.sketches, windows, cut, _rows_of_stretches(windows))
    marked = replace(windows, seen_N=seen_N if windows.seen_N is None else windows.seen_N | seen_N)
    return take_out(marked, seen_N, f"the {part} part", f"what {name} was trained on", way_out)


def take_out(windows: Windows, seen_N: np.ndarray, part: str, training: str, way_out: str) -> Cleaned:
    """The windows without those whose target or context has a chunk that was trained on.

    seen_N: a mask over the store's rows. part, training: what messages call the windows, and what was trained on.
    Raises UserError, with the way out, where more than 5% of them go or fewer than 5 documents remain.
    """
    first_W, end_W = _spans(windows)
    before_N = np.concatenate([[0], np.cumsum(seen_N)])
    seen_W = before_N[end_W] > before_N[first_W]
    out = int(seen_W.sum())
    if out == 0:
        return Cleaned(windows)
    left = windows.select(np.flatnonzero(~seen_W))
    documents = len(np.unique(left.document_W))
    count = f"{out} of {len(windows)} windows of {part} hold chunks of {training}"
    if out > MOST * len(windows) or documents < DOCUMENTS_FOR_INTERVAL:
        raise UserError(f"{count} ({documents} documents would remain), so that it is not held out; {way_out}.")
    return Cleaned(left, f"{count} and are taken out")


def _rows_of_stretches(windows: Windows) -> np.ndarray:
    """Every row of the windows' documents, without those that stand in several."""
    if windows.stretches_S3 is None:
        return rows_of(windows)
    spans = [np.arange(start, end) for _, start, end in windows.stretches_S3.tolist()]
    rows = np.concatenate([*spans, np.empty(0, dtype=np.int64)])
    return rows if windows.excluded_N is None else rows[~windows.excluded_N[rows]]


def _spans(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The first row that each window reads, and the row behind its target."""
    return windows.target_row_W - windows.length_W, windows.target_row_W + 1
