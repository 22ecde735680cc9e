"""How much work a run is, said before it: its model built without memory, its data opened and cut, nothing trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lvm_lab.config.settings import Settings
from lvm_lab.config.settings import settings as typed
from lvm_lab.errors import UserError
from lvm_lab.sweeps.plan import UnreadDataError, Work

if TYPE_CHECKING:
    from lvm_lab.data.parts import Parts


class Weigher:
    """Called with a run's config; the runs of a schedule share the data that they read."""

    def __init__(self) -> None:
        self._parts: dict[str, Parts] = {}

    def __call__(self, config: dict[str, Any]) -> Work:
        """Raises UnreadDataError, and UserError where data, arch, head, loss and supervision do not go together."""
        # Torch comes in only now: a dry run that weighs nothing answers without it.
        import torch

        from lvm_lab.build.training import module
        from lvm_lab.types import count_parameters

        settings = typed(config)
        try:
            parts = self._opened(settings)
            positions = _positions(settings, parts)
        except UserError as error:
            raise UnreadDataError(str(error)) from error
        with torch.device("meta"):
            model = module(settings, parts.stats, parts.contract.recorded()).model
        return Work(count_parameters(model), positions, settings.trainer.max_epochs)

    def _opened(self, settings: Settings) -> Parts:
        from lvm_lab.build import codebooks
        from lvm_lab.build import data as build_data

        key = json.dumps([settings.config["data"], settings.trainer.supervision, settings.normaliser], default=str)
        if key not in self._parts:
            self._parts[key] = build_data.parts(settings)
        return codebooks.given(settings, self._parts[key])


def _positions(settings: Settings, parts: Parts) -> int:
    """The vectors that the batches of an epoch read, padding aside.

    Raises UserError where the training part fills no batch.
    """
    from lvm_lab.data.sampler import count_batches
    from lvm_lab.data.segments import Cuts

    trainer, data = settings.trainer, settings.data
    if data.windows == "sliding":
        batches = count_batches(parts.train.document_W, trainer.batch_size, data.max_per_doc)
        return batches * trainer.batch_size * data.context_length
    segments = Cuts(parts.train, data.shortest).segments()
    batches = count_batches(segments.document_S, trainer.batch_size, data.max_per_doc, "segments")
    # A segment's last row is a target alone.
    read = int((segments.end_S - segments.first_S - 1).sum())
    return round(read * batches * trainer.batch_size / len(segments))
