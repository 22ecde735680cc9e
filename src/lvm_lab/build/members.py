"""The members of an ensemble: found by path or by rank, loaded, and held against each other before any training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lvm_lab.data.store import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.runs import reading
from lvm_lab.runs.identity import as_cut
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.schedule import TOP
from lvm_lab.training.module import LatentVectorModule

STATS = ("mean_D", "std_D", "normaliser.centre_D", "normaliser.scale_D", "normaliser.basis_DD")

Listed = list[tuple[LatentVectorModule, dict[str, Any]]]


def found(config: dict[str, Any]) -> dict[str, Any]:
    """The config with its members as checkpoint files; one without members as it is.

    Raises UserError for a member that is no run's folder and no checkpoint.
    """
    arch = config["arch"]
    if not isinstance(arch, dict) or "members" not in arch:
        return config
    listed = arch["members"]
    if listed == TOP:
        listed = _best_architectures(Path(config["run"]["root"]), 3, config["data"])
    if not isinstance(listed, list) or not listed:
        raise UserError(f"arch.members={listed!r} does not fit; list run folders or checkpoints, or say {TOP}.")
    return config | {"arch": arch | {"members": [m if isinstance(m, dict) else str(_file(m)) for m in listed]}}


def content(config: dict[str, Any]) -> dict[str, str]:
    """What an arch reads from files, for the fingerprint: an ensemble's members, an arch's own weights."""
    arch = config["arch"]
    files = {f"member_{i}": Path(member) for i, member in enumerate(arch.get("members", []))}
    if arch.get("weights"):
        files |= {f"weights_{file.name}": file for file in Path(arch["weights"]).glob("*.*") if file.is_file()}
    return {name: sha256(file) for name, file in files.items()}


def load(
    listed: list[Any],
    from_file: Callable[[Path], LatentVectorModule],
    from_words: Callable[[dict[str, Any]], LatentVectorModule],
    dim: int,
    context_length: int,
    contract: dict[str, Any],
    fold: int | None,
) -> Listed:
    """Each member with what a checkpoint has to say of it, so that it can be built again without its file.

    Raises UserError where a member's dims, context length, encoder or fold are not the data's: in another fold it was
    trained on what is validation and test here.
    """
    result: Listed = []
    for member in listed:
        if isinstance(member, dict):
            result.append((from_words(member), member))
            continue
        model = from_file(Path(member))
        theirs = model.identity["contract"]
        conflict = EncoderContract(**contract).conflict(EncoderContract(**theirs)) if contract and theirs else None
        theirs_data = model.identity["config"]["data"]
        length, their_fold = theirs_data["context_length"], theirs_data.get("fold")
        if len(model.mean_D) != dim:  # type: ignore[arg-type]
            conflict = f"dim {dim} against {len(model.mean_D)}"  # type: ignore[arg-type]
        elif length != context_length:
            conflict = f"context length {context_length} against {length}"
        elif their_fold != fold:
            conflict = f"data.fold={json.dumps(fold)} against {json.dumps(their_fold)}"
        if conflict:
            raise UserError(f"{member} was trained on other vectors ({conflict}); leave it out of arch.members.")
        state = model.state_dict()
        shapes = {name: list(state[name].shape) for name in STATS if isinstance(state.get(name), torch.Tensor)}
        said = {k: model.identity[k] for k in ("config", "contract", "version")}
        result.append((model, said | {"shapes": shapes}))
    return result


def _best_architectures(root: Path, count: int, data: dict[str, Any]) -> list[str]:
    """The best run of each of the best architectures under `root` on this data that pass their 5CAT preset on VAL."""
    rows = leaderboard.read(root) if root.is_dir() else []
    alike = [r for r in rows if _vectors(r.config.get("data", {})) == _vectors(data)]
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
