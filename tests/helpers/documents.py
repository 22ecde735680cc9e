"""Documents of a made-up store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvm_lab.data.store import Documents


def make_documents(lengths: Sequence[int], ids: Sequence[str] | None = None, source: str = "test") -> Documents:
    """Documents of the given lengths, one after the other; equal ids make stretches of one document."""
    ids = [f"d{i}" for i in range(len(lengths))] if ids is None else list(ids)
    ends = np.cumsum(lengths).astype(np.int64)
    return Documents(ids, [f"title of {i}" for i in ids], [source] * len(ids), ends - lengths, np.array(lengths))
