"""Grounds of models that read contexts of different lengths, brought to the windows that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from lvm_lab.config.thresholds import DOCUMENTS_FOR_INTERVAL
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.scoring.ground import Ground


def shared(grounds: Sequence[Ground]) -> list[Ground]:
    """The same grounds, whose every part has the targets that all of them have: the longest reader is given each of
    them in full, or, where it reads shorter contexts too, from row judge_from on. The others read the end of what it
    reads. The targets of `following` are shared alike.

    The grounds are of one data set, cut alike but for how far back is read. A part of which too few documents are left
    is dropped, with a note. Raises UserError where no part is left.
    """
    notes = list(dict.fromkeys(note for ground in grounds for note in ground.notes))
    windows: list[dict[str, Windows]] = [{} for _ in grounds]
    later: list[dict[str, Windows]] = [{} for _ in grounds]
    lengths = " and ".join(str(ground.context_length) for ground in grounds)
    fewest = min(grounds[0].judge_from, max(ground.context_length for ground in grounds))
    parts = [part for part in grounds[0].windows if all(part in ground.windows for ground in grounds)]
    for part in parts:
        common = [_read(some, fewest) for some in _on_common_rows([ground.windows[part] for ground in grounds])]
        documents = len(np.unique(common[0].document_W))
        if documents < DOCUMENTS_FOR_INTERVAL:
            notes.append(
                f"{part} is left out: {documents} of its documents have windows for all that read {lengths} vectors, "
                f"and a bootstrap over documents needs {DOCUMENTS_FOR_INTERVAL}"
            )
            continue
        for place, targets in enumerate(_on_common_rows([ground.later[part] for ground in grounds])):
            windows[place][part], later[place][part] = common[place], targets
    if not windows[0]:
        raise UserError(
            f"models that read {lengths} vectors share no windows; bring longer documents, or evaluate them apart."
        )
    return [
        replace(ground, windows=windows[place], later=later[place], notes=tuple(notes))
        for place, ground in enumerate(grounds)
    ]


def _on_common_rows(windows: Sequence[Windows]) -> list[Windows]:
    rows = reduce(np.intersect1d, (some.target_row_W for some in windows))
    return [some.select(np.flatnonzero(np.isin(some.target_row_W, rows))) for some in windows]


def _read(windows: Windows, fewest: int) -> Windows:
    """Those with so many vectors before their target."""
    return windows.select(np.flatnonzero(windows.target_row_W - windows.start_W >= fewest))
