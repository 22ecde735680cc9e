"""What fitted baselines share: how much of the training part they read, and how they come back from a cache."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError

TRAINING_WINDOWS = 20_000
# Contexts of this many windows are held at once.
SLICE = 2048


def training_sample(train: Windows, what: str, seed: int) -> Windows:
    """At most 20,000 windows, drawn evenly over documents; UserError, which names `what`, where there is none."""
    if len(train) == 0:
        raise UserError(f"the {what} needs training windows; bring longer documents.")
    return sample_evenly(train, TRAINING_WINDOWS, seed)


def load_arrays(path: Path, what: str, *names: str) -> dict[str, np.ndarray]:
    """The named arrays of an .npz that holds a fitted `what`; UserError where it does not."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            return {name: saved[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no saved {what} ({error}); delete it to have it fitted again.") from error
