"""What a model was trained on: kept in its checkpoints, read from them, and held against the parts of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from lvm_lab.data.parts import Parts
from lvm_lab.data.seen import Trainings, hold_out
from lvm_lab.data.sketch import VERSION, Sketch
from lvm_lab.model import LatentVectorModel

# Where a checkpoint's identity has it.
TRAINED_ON = "trained_on"
HELD_OUT = ("val", "test", "ood")


def of(model: LatentVectorModel, name: str) -> Trainings:
    """What a loaded model has seen. name: what messages call it."""
    record = model.identity.get(TRAINED_ON)
    if record is None or any(sketch["version"] != VERSION for sketch in record["sketches"]):
        return Trainings(unrecorded=(name,))
    sketches = tuple(
        Sketch(sketch["dim"], sketch["codes_MC"].numpy(), sketch["digests_K"].numpy(), sketch["cut"])
        for sketch in record["sketches"]
    )
    return Trainings(sketches, tuple(record["unrecorded"]))


def record(parts: Parts, before: Sequence[Trainings]) -> dict[str, Any]:
    """What checkpoints of a training on `parts` say of it. before: what members or first weights have seen."""
    sketches = [*parts.sketches(), *(sketch for trainings in before for sketch in trainings.sketches)]
    arrays = ("codes_MC", "digests_K")
    return {
        TRAINED_ON: {
            "sketches": [
                vars(sketch)
                | {"version": VERSION}
                | {name: torch.from_numpy(getattr(sketch, name).copy()) for name in arrays}
                for sketch in sketches
            ],
            "unrecorded": [name for trainings in before for name in trainings.unrecorded],
        }
    }


def apart(parts: Parts, before: Mapping[str, Trainings]) -> Parts:
    """The parts without held-out windows that one of the models was trained on, by their names in messages.

    Raises UserError for a model that was trained on a part.
    """
    notes = list(parts.notes)
    for name, trainings in before.items():
        for part in HELD_OUT:
            windows = getattr(parts, part)
            if windows is not None and len(windows):
                way_out = "leave that model out, or give it documents that it has not seen"
                left = hold_out(windows, trainings, name, part, parts.cut.get(part), way_out).noted(notes)
                held_out: dict[str, Any] = {part: left}
                parts = replace(parts, **held_out)
        notes += [note for note in trainings.notes if note not in notes]
    return replace(parts, notes=tuple(notes))
