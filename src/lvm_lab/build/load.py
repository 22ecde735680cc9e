"""A trained model back from its checkpoint, with neither trainer nor config library: the body of `lvm_lab.load`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lvm_lab.build import exported
from lvm_lab.build.model import assemble
from lvm_lab.data.contract import read_contract
from lvm_lab.errors import UserError
from lvm_lab.model import KEY, LatentVectorModel, read_checkpoint, restore
from lvm_lab.runs import reading
from lvm_lab.runs.exports import weights_in
from lvm_lab.runs.identity import check_own
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.types import Stats

NORMALISER = ("centre_D", "scale_D", "basis_DD")
CODEBOOKS = "head.quantiser.codes_QKS"


def load(path: str | Path, device: str = "cpu", allow: Iterable[str] = ()) -> LatentVectorModel:
    """The model of a run's folder, of a checkpoint or of an export, built from the config it carries; see
    `lvm_lab.load`."""
    file = checkpoint_file(Path(path))
    is_export = file == weights_in(file.parent)
    checkpoint = exported.read(file) if is_export else read_checkpoint(file)
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise UserError(f"{file} was not written by lvm_lab; take a checkpoint of a run's folder.")
    if lacking := _lacking(checkpoint):
        raise UserError(f"{file} is no whole checkpoint of lvm_lab ({lacking} is missing); take another one.")
    try:
        if not is_export:
            check_own(file, checkpoint[KEY], reading.read(file.parent.parent).config)
        model = _unloaded(checkpoint[KEY], _stats(checkpoint["state_dict"]), tuple(allow))
        restore(model, checkpoint, str(file))
    except UserError:
        raise
    except Exception as error:  # what its values raise where a class takes them is without end
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{file} describes no model that can be made ({reason}); take another one.") from error
    return model.eval().to(device)


def checkpoint_file(path: Path) -> Path:
    """A file as it is; of an export its weights; of a run's folder the checkpoint that its result names, else
    best_5cat.ckpt, else best.ckpt.

    Raises UserError for a folder that has none, or whose result is damaged.
    """
    if not path.is_dir():
        return path
    if (weights := weights_in(path)) is not None:
        return weights
    run = reading.read(path)
    # best_5cat.ckpt need not be what a result is of that cannot be read.
    if run.damage and run.result is None and (path / RESULT).exists():
        raise UserError(run.damage.sentence)
    file = run.checkpoint
    if file is None:
        raise UserError(f"{path} has no checkpoint of a run; name a .ckpt file or a run's folder.")
    return file


def _lacking(checkpoint: dict[str, Any]) -> str | None:
    """The first of what a model is built from that a checkpoint has not, or has as something else."""
    state, identity = checkpoint.get("state_dict"), checkpoint[KEY]
    for name, node, keys in (
        ("state_dict", state, ("mean_D", "std_D")),
        (KEY, identity, ("config", "contract", "version", "golden_input", "golden_output")),
        ("config", identity.get("config") if isinstance(identity, dict) else None, ("arch", "head", "data", "seed")),
    ):
        if not isinstance(node, dict):
            return name
        for key in keys:
            if key not in node or (name == "config" and key != "seed" and not isinstance(node[key], dict)):
                return f"{name}.{key}"
    return None


def _unloaded(identity: dict[str, Any], stats: Stats, allow: tuple[str, ...]) -> LatentVectorModel:
    """A model as its checkpoint describes it, still without its weights; those of members are in the same file."""
    config = identity["config"]
    if identity.get("contract"):
        # Held against its types here, so that who compares encoders later need not.
        read_contract(identity["contract"], "contract")
    # The files that a training's weights began from are needed no more.
    arch = {key: None if key == "weights" else value for key, value in config["arch"].items()}
    described = config["arch"].get("members", [])
    members = [_unloaded(member, _stats_of_shapes(member["shapes"]), allow) for member in described]
    model = assemble(config | {"arch": arch}, stats, identity, members, allow)
    model.loss_parameters = identity.get("loss_parameters", 0)
    return model


def _stats(state: dict[str, Tensor]) -> Stats:
    # A run of trainer.precision=64-true saved them in float64, and what is loaded computes in float32.
    normaliser = {name: state[key].float() for name in NORMALISER if (key := f"normaliser.{name}") in state}
    codes_QKD = state[CODEBOOKS].float() if CODEBOOKS in state else None
    return Stats(state["mean_D"].float(), state["std_D"].float(), **normaliser, codes_QKD=codes_QKD)


def _stats_of_shapes(shapes: dict[str, list[int]]) -> Stats:
    return _stats({name: torch.ones(shape) for name, shape in shapes.items()})
