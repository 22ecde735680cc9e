"""lvm_lab: a declarative experiment framework for latent vector models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvm_lab.model import LatentVectorModel

__version__ = "0.1.0"


def load(path: str | Path, device: str = "cpu", allow: Iterable[str] = ()) -> LatentVectorModel:
    """The trained model of a run's folder, a checkpoint or an export: a plain `nn.Module` in eval mode, its golden pair
    compared.

    `model.predict(context_BLD)`: a float32 tensor, windows x length x dim, of vectors of the encoder that
    `model.contract` names, oldest first, to `Prediction(raw_ND, unit_ND)`. allow: packages of your own that arch and
    head may come from, for instance `["my_package"]`; a checkpoint itself is allowed the lab's classes alone. Raises
    UserError for a path without a checkpoint or one that does not fit.
    """
    # Torch comes in only now: commands that show and list import the package without it.
    from lvm_lab.build.load import load as built

    return built(path, device, allow)
