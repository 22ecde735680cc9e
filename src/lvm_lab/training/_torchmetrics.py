"""Imports torchmetrics, which Lightning needs for two class names, without the libraries of its other metrics."""

from __future__ import annotations

import sys
from unittest.mock import patch

from lightning_utilities.core import imports


def import_torchmetrics() -> None:
    """torchmetrics imports transformers, SciPy, matplotlib and more where they are installed: as long as torch takes.

    Who wants its metrics of texts or audio imports torchmetrics before lvm_lab's training; it is then left as it is.
    """
    if "torchmetrics" in sys.modules:
        return
    is_met = imports.RequirementCache.__bool__

    def is_torch_and_met(self: imports.RequirementCache) -> bool:
        return (self.requirement or "").startswith(("torch>", "torch<")) and is_met(self)

    with (
        patch.object(imports.RequirementCache, "__bool__", is_torch_and_met),
        patch.object(imports, "package_available", lambda name: False),
    ):
        import torchmetrics  # noqa: F401
