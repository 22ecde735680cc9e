"""The members of an ensemble: resolved to files, loaded, and held against the data before any training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lvm_lab.build import seen
from lvm_lab.build.load import CODEBOOKS, load
from lvm_lab.config.settings import Settings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.seen import Trainings
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.model import LatentVectorModel
from lvm_lab.runs import reading
from lvm_lab.runs.identity import as_cut
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.schedule import TOP

STATS = ("mean_D", "std_D", "normaliser.centre_D", "normaliser.scale_D", "normaliser.basis_DD", CODEBOOKS)


def resolve(settings: Settings) -> Settings:
    """Settings with an ensemble's members as checkpoint files, top3 looked up among the runs; others as they are.

    Raises UserError for a member that is no run's folder and no checkpoint.
    """
    arch = settings.config["arch"]
    if "members" not in arch:
        return settings
    members = arch["members"]
    if members == TOP:
        members = _best_architectures(Path(settings.run.root), 3, settings.config["data"])
    if not isinstance(members, list) or not members:
        raise UserError(f"arch.members={members!r} does not fit; list run folders or checkpoints, or say {TOP}.")
    files = [str(_file(member)) for member in members]
    return replace(settings, config=settings.config | {"arch": arch | {"members": files}})


def content(config: dict[str, Any]) -> dict[str, str]:
    """What an arch reads from files, for the fingerprint: an ensemble's members, an arch's own weights."""
    arch = config["arch"]
    files = {f"member_{i}": Path(member) for i, member in enumerate(arch.get("members", []))}
    if arch.get("weights"):
        files |= {f"weights_{file.name}": file for file in Path(arch["weights"]).glob("*.*") if file.is_file()}
    return {name: sha256(file) for name, file in files.items()}


def load_all(settings: Settings, dim: int, contract: dict[str, Any]) -> list[LatentVectorModel]:
    """Each member from its file.

    Raises UserError where a member's dims, context length, encoder or fold are not the data's: in another fold it was
    trained on what is validation and test here.
    """
    members = []
    for file in settings.config["arch"].get("members", []):
        member = load(file, allow=settings.allow)
        if conflict := _conflict(member, settings, dim, contract):
            raise UserError(f"{file} was trained on other vectors ({conflict}); leave it out of arch.members.")
        members.append(member)
    return members


def trainings(settings: Settings, ensemble: LatentVectorModel) -> dict[str, Trainings]:
    """What each member of a fresh model has seen, by its file; nothing for what is no ensemble."""
    files = settings.config["arch"].get("members", [])
    models: Any = getattr(ensemble.backbone, "members", [])
    return {file: seen.of(model, file) for file, model in zip(files, models, strict=True)}


def learns_a_mix(config: dict[str, Any]) -> bool:
    """Whether an ensemble learns how much each of its members counts."""
    return "members" in config["arch"] and config["arch"].get("mix", "mean") != "mean"


def describe(member: LatentVectorModel) -> dict[str, Any]:
    """What an ensemble's checkpoint has to say of a member, so that it can be built again without its file."""
    state = member.state_dict()
    shapes = {name: list(state[name].shape) for name in STATS if isinstance(state.get(name), torch.Tensor)}
    kept = ("config", "contract", "version", "fingerprint", "content", "ancestors")
    identity = {key: member.identity[key] for key in kept if key in member.identity}
    return identity | {"shapes": shapes, "loss_parameters": member.loss_parameters}


def _conflict(member: LatentVectorModel, settings: Settings, dim: int, contract: dict[str, Any]) -> str | None:
    """What of a member contradicts the data, in a user's words."""
    data, own_dim = member.config["data"], len(member.mean_D)
    length, fold = settings.data.context_length, settings.data.fold
    if member.tmd is not None:
        return f"data.tmd={data['tmd']}, and an ensemble reads vectors alone"
    if own_dim != dim:
        return f"dim {dim} against {own_dim}"
    if member.context_length != length:
        return f"context length {length} against {member.context_length}"
    if data.get("fold") != fold:
        return f"data.fold={json.dumps(fold)} against {json.dumps(data.get('fold'))}"
    if not (contract and member.contract):
        return None
    return EncoderContract(**contract).conflict(EncoderContract(**member.contract))


def _best_architectures(root: Path, count: int, data: dict[str, Any]) -> list[str]:
    """The best run of each of the best architectures under `root` on this data that pass their 5CAT preset on VAL."""
    rows = leaderboard.read(root) if root.is_dir() else []
    alike = [row for row in rows if _vectors(row.config.get("data", {})) == _vectors(data)]
    best = leaderboard.best_architectures(alike, count)
    if len(best) < count:
        raise UserError(
            f"arch.members={TOP} needs finished runs of {count} architectures under {root} on the same data that pass "
            f"their 5CAT preset on VAL and there are {len(best)}; train them first, or list members."
        )
    return [str(row.folder) for row in best]


def _vectors(data: dict[str, Any]) -> dict[str, Any]:
    """What a data node says of vectors and parts; a member may have seen fewer of them."""
    return as_cut(data) | {"train_windows": None}


def _file(member: Any) -> Path:
    path = Path(str(member))
    if not path.is_file() and reading.read(path).status == "missing":
        raise UserError(f"arch.members has {member}, which is no run's folder and no checkpoint; correct its path.")
    return reading.checkpoint_of(path)
