"""Several checkpoints on the data of the first, or on other data: windows that none was trained on and all can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs import candidates
from lvm_lab.model import LatentVectorModel
from lvm_lab.runs.selecting import Checkpoint
from lvm_lab.scoring.ground import KINDS, Ground, open_ground, source_of
from lvm_lab.scoring.sharing import shared


def grounds_of(
    models: Sequence[LatentVectorModel],
    checkpoints: Sequence[Checkpoint],
    parts: Sequence[str],
    preset: Preset,
    *,
    instead: str,
    data: dict[str, Any] | None = None,
    cache: str | Path | None = None,
    allow: Iterable[str] = (),
) -> list[Ground]:
    """The ground of each model: one for those that read equally far back, of the same windows for all.

    data: a data node in place of the first's own, cut as the first's was. instead: as of `candidates.check`.

    Raises UserError for a part that the data has not, and for a checkpoint that the data do not fit.
    """
    kinds = [kind for kind in KINDS if kind in parts]
    own = [candidates.candidate(*pair) for pair in zip(models, checkpoints, strict=True)]
    judged = [candidates.candidate(models[0], checkpoints[0], data)]
    # The first's data for all, whatever each was trained on besides, read as far back as each reads.
    cut = {key: value for key, value in judged[0].node.items() if key not in candidates.READING}
    for model, checkpoint, one in list(zip(models, checkpoints, own, strict=True))[1:]:
        reads = {key: value for key, value in one.node.items() if key in candidates.READING}
        judged.append(candidates.candidate(model, checkpoint, cut | reads))
    grounds: dict[str, Ground] = {}
    keys = [json.dumps(one.cut, sort_keys=True) for one in judged]
    for key, one in zip(keys, judged, strict=True):
        if key not in grounds:
            run = {"cache": str(cache)} if cache else None
            opened = candidates.open_data(one, DeviceSettings(accelerator="cpu"), run, allow)
            for kind in kinds:
                if not getattr(opened.parts, kind):
                    raise UserError(f"the data of {one.file} has no {kind} part; leave that out.")
            sources: dict[str, str] = {kind: source_of(one.node, kind) for kind in kinds}
            grounds[key] = open_ground(
                opened.parts, opened.settings, preset, opened.cache, kinds=kinds, sources=sources, stores=()
            )
        candidates.check(one, grounds[key].parts, instead=instead)
    for key, ground in grounds.items():
        for one in own:
            ground = ground.apart_from(str(one.file), one.trainings)
        grounds[key] = ground
    listed = [grounds[key] for key in keys]
    return shared(listed) if len(grounds) > 1 else listed
