"""A plain model from a config: classes by their names, sizes from the data's statistics, weights from the seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from lvm_lab.config import targets
from lvm_lab.config.settings import nameless
from lvm_lab.errors import UserError
from lvm_lab.model import LatentVectorModel
from lvm_lab.nn.condition import CONDITIONS
from lvm_lab.types import Stats

# What PyTorch says where the machine has no such memory, in a RuntimeError like any other.
NO_MEMORY = "can't allocate memory"


def assemble(
    config: dict[str, Any],
    stats: Stats,
    identity: dict[str, Any],
    members: Sequence[nn.Module] = (),
    allow: Iterable[str] = (),
) -> LatentVectorModel:
    """Normaliser, backbone and head with weights drawn from the seed. members: an ensemble's, loaded. allow: of which
    packages, beside the lab's own, arch and head may be.

    Raises UserError for values that do not fit arch or head.
    """
    arch = nameless(config["arch"])
    form = config["data"].get("tmd")
    widens = CONDITIONS[form].widens if form else 0
    parts: dict[str, Any] = {"dim": len(stats.mean_D) + widens, "context_length": config["data"]["context_length"]}
    if "members" in arch:
        del arch["members"]
        parts["members"] = members
    torch.manual_seed(config["seed"])
    try:
        backbone = targets.make(arch, "archs", "arch", allow=allow, **parts)
        head = targets.make(nameless(config["head"]), "heads", "head", allow=allow, width=backbone.width, stats=stats)
    except RuntimeError as error:
        if NO_MEMORY not in str(error):
            raise
        raise UserError("the model does not fit into this machine's memory; set arch and head smaller.") from error
    # Last, so that the other weights are those of the same model without codes.
    condition = CONDITIONS[form](len(stats.mean_D)) if form else None
    return LatentVectorModel(backbone, head, stats, identity, condition)
