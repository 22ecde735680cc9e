"""Lightning, without the libraries of metrics that its torchmetrics would import: the room takes it from here.

torchmetrics, of which Lightning needs two class names, imports transformers, SciPy, matplotlib and more wherever they
are installed, which takes as long as torch does. Who wants its metrics imports it first; it is then left whole.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from lightning_utilities.core import imports

if "torchmetrics" not in sys.modules:
    is_met = imports.RequirementCache.__bool__

    def _is_torch_and_met(self: imports.RequirementCache) -> bool:
        return (self.requirement or "").startswith(("torch>", "torch<")) and is_met(self)

    with (
        patch.object(imports.RequirementCache, "__bool__", _is_torch_and_met),
        patch.object(imports, "package_available", lambda name: False),
    ):
        import torchmetrics  # noqa: F401

import pytorch_lightning as pl
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import StrategyRegistry
from pytorch_lightning.utilities.exceptions import MisconfigurationException

__all__ = ["MisconfigurationException", "StrategyRegistry", "TorchCheckpointIO", "pl"]
