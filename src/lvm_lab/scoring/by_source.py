"""A ground's parts by where their documents are from: a row a source beside the whole part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvm_lab.config.thresholds import DOCUMENTS_FOR_INTERVAL
from lvm_lab.data.windows import Windows
from lvm_lab.scoring.ground import OF_A_SOURCE, Ground


def by_source(ground: Ground) -> Ground:
    """The ground with one part more for each source of each part, `PART: SOURCE`, held against the part's thresholds.

    Sources of too few documents for an interval have none, and neither has a part of one source; notes say so.
    """
    windows, later, sources = dict(ground.windows), dict(ground.later), dict(ground.sources)
    notes = list(ground.notes)
    for part, whole in ground.windows.items():
        source_W = np.asarray(ground.origins[part])[whole.document_W]
        names = np.unique(source_W).tolist()
        if len(names) < 2:
            notes.append(f"by=source: the documents of {part} are of one source ({', '.join(names)})")
            continue
        for name in names:
            own = _only(whole, np.unique(whole.document_W[source_W == name]))
            documents = len(np.unique(own.document_W))
            if documents < DOCUMENTS_FOR_INTERVAL:
                notes.append(
                    f"by=source: {name} has {documents} documents in {part}, and an interval needs "
                    f"{DOCUMENTS_FOR_INTERVAL}"
                )
                continue
            row = f"{part}{OF_A_SOURCE}{name}"
            windows[row], sources[row] = own, name
            later[row] = _only(ground.later[part], np.unique(own.document_W))
    return replace(ground, windows=windows, later=later, sources=sources, notes=tuple(notes))


def _only(windows: Windows, documents: np.ndarray) -> Windows:
    """The windows of some documents, with the stretches of these alone."""
    own = windows.select(np.flatnonzero(np.isin(windows.document_W, documents)))
    stretches_S3 = windows.stretches_S3
    if stretches_S3 is None:
        return own
    return replace(own, stretches_S3=stretches_S3[np.isin(stretches_S3[:, 0], documents)])
