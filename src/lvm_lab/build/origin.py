"""The weights that a training begins with: a checkpoint's to start from, or those of a run that is trained longer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lvm_lab.build import seen
from lvm_lab.build.data import check_unseen
from lvm_lab.build.load import load
from lvm_lab.config import targets
from lvm_lab.config.settings import Settings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.parts import Parts
from lvm_lab.data.seen import Trainings
from lvm_lab.errors import UserError
from lvm_lab.model import LOSS, LatentVectorModel, read_checkpoint
from lvm_lab.runs import reading
from lvm_lab.runs.identity import computing, difference, of_data
from lvm_lab.training import averaging
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Stats

# What makes the model that weights fit, and what a run that is trained longer has to share with its parent besides.
MODEL = ("arch", "head", "normaliser")
KEPT = (*MODEL, "loss", "strategy", "data")
# Settings of arch and head that change no weight and nothing that a trained model computes.
FREE = ("name", "weights", "dropout")


@dataclass(frozen=True)
class Origin:
    """Where a training's weights come from.

    setting: init_from or continue_from. terms: the loss terms of its training by name. state: its weights by their
    names in a checkpoint. optimiser: the optimiser's state and groups to go on with; None begins a new one. content:
    what enters the fingerprint. ancestors: every training that these weights went through, oldest first, each with its
    setting, fingerprint, content and the digest of its weights. trainings: what all of these have seen.
    note: one sentence for the log and the result.
    """

    setting: str
    file: Path
    terms: dict[str, Any]
    state: dict[str, Tensor]
    optimiser: dict[str, Any] | None
    content: dict[str, str]
    ancestors: list[dict[str, Any]]
    trainings: Trainings
    note: str


def read(settings: Settings, parts: Parts) -> Origin | None:
    """What trainer.init_from or trainer.continue_from names, held against this training; None where neither is given.

    Writes nothing there. Raises UserError for what is no checkpoint or no finished run, and for one of another model,
    encoder or fold; to be trained longer, of another loss or of other data.
    """
    trainer = settings.trainer
    if trainer.init_from is None and trainer.continue_from is None:
        return None
    setting = "init_from" if trainer.init_from is not None else "continue_from"
    if "members" in settings.config["arch"]:
        raise UserError(
            f"an ensemble's weights are its members', and trainer.{setting} would give it others; leave it out, and "
            "list trained members in arch.members."
        )
    path = Path(str(getattr(trainer, setting)))
    if not path.exists():
        raise UserError(f"trainer.{setting}={path} does not exist; name a run's folder{_or_file(setting)}.")
    _check_apart(setting, path, settings)
    return _started(path, settings, parts) if setting == "init_from" else _continued(path, settings, parts)


def give(origin: Origin, module: LatentVectorModule, terms: dict[str, Any]) -> None:
    """The origin's weights and optimiser state to a fresh module; what its loss learned where the term is the same.

    terms: those of this training's loss, as its config has them. Statistics are part of a model's weights, which were
    learned with them; the loss goes on with those of this training's data.
    Raises UserError for the first weight of another name or shape.
    """
    kept = {name: value for name, value in origin.state.items() if not LOSS.search(name)}
    shapes = {name: list(value.shape) for name, value in module.model.state_dict().items()}
    there = {name: list(value.shape) for name, value in kept.items()}
    if conflict := difference(there, shapes):
        raise UserError(_unfit(origin.setting, origin.file, f"the shape of {conflict}"))
    same = [f"loss.terms.{name}." for name, term in terms.items() if _term(term) == _term(origin.terms.get(name))]
    kept |= {name: value for name, value in origin.state.items() if name.startswith(tuple(same))}
    if origin.setting == "continue_from":
        # What its strategy learns beside, which is this run's strategy too.
        kept |= {n: v for n, v in origin.state.items() if n.startswith("loss.") and not n.startswith("loss.terms.")}
    # Loading writes into the model's own.
    module.loss_stats = Stats(module.stats.mean_D.clone(), module.stats.std_D.clone())
    module.load_state_dict(kept, strict=False)
    module.optimiser_state = origin.optimiser


def _started(path: Path, settings: Settings, parts: Parts) -> Origin:
    file = reading.checkpoint_of(path)
    model = load(file, allow=settings.allow)
    _check_model("init_from", file, model, settings, parts)
    config, trained_on = model.config, _trained_on(file, model)
    _check_held_out(file, config["data"], trained_on["content"], settings, parts)
    state = read_checkpoint(file)["state_dict"]
    digest = _digest(state)
    return Origin(
        setting="init_from",
        file=file,
        terms=config["loss"]["terms"],
        state=state,
        optimiser=None,
        content={"init_from": digest},
        ancestors=_ancestors("init_from", model, trained_on, digest),
        trainings=seen.of(model, str(file)),
        note=f"began with the weights of {path} ({digest[:8]})",
    )


def _continued(path: Path, settings: Settings, parts: Parts) -> Origin:
    if not path.is_dir():
        raise UserError(
            f"trainer.continue_from={path} is no run's folder; name one, or start from a checkpoint with "
            "trainer.init_from."
        )
    run = reading.read(path)
    best, last = run.judged_checkpoint(), path / reading.CHECKPOINTS / "last.ckpt"
    file = last if last.is_file() else best
    model = load(file, allow=settings.allow)
    _check_model("continue_from", file, model, settings, parts)
    there, here = computing(run.config), computing(settings.config)
    conflict = difference({key: there.get(key) for key in KEPT}, {key: here.get(key) for key in KEPT})
    before = of_data(run.identity.content)
    conflict = conflict or (difference(before, parts.content) and "the content of its data has changed")
    if conflict:
        raise UserError(
            f"trainer.continue_from={path} would be trained on as another run ({conflict}); give it the settings of "
            "its config.yaml, or start from its weights with trainer.init_from."
        )
    checkpoint = read_checkpoint(file)
    state = averaging.trained(checkpoint)
    states = checkpoint.get("optimizer_states") if file == last else None
    optimiser = states[0] if states else None
    # Its groups are no part of what was learned, and older files name nothing in them.
    digest = _digest(state, optimiser and optimiser["state"])
    parent = _trained_on(file, model)
    how = (
        "with the weights of its last epoch and its optimiser's state"
        if optimiser is not None
        else f"whose last.ckpt is gone: with the weights of its {file.name} and a new optimiser"
    )
    return Origin(
        setting="continue_from",
        file=file,
        terms=model.config["loss"]["terms"],
        state=state,
        optimiser=optimiser,
        content={"continue_from": str(run.identity.fingerprint), "continue_from_weights": digest},
        ancestors=_ancestors("continue_from", model, parent, digest),
        trainings=seen.of(model, str(file)),
        note=f"trains {path} for {settings.trainer.max_epochs} epochs more, {how} ({digest[:8]})",
    )


def _check_apart(setting: str, path: Path, settings: Settings) -> None:
    """UserError for a run that is to be trained in the folder that its weights are in."""
    home = path if path.is_dir() else path.parent.parent
    if settings.run.dir and Path(settings.run.dir).resolve() == home.resolve():
        raise UserError(
            f"run.dir={settings.run.dir} is the folder that trainer.{setting} reads; choose another run.dir."
        )


def _check_model(setting: str, file: Path, model: LatentVectorModel, settings: Settings, parts: Parts) -> None:
    """UserError where a loaded model is of other dims, another encoder or another architecture than this training's."""
    conflict = difference({"the vectors' dim": len(model.mean_D)}, {"the vectors' dim": len(parts.stats.mean_D)})
    if conflict is None and model.contract:
        conflict = parts.contract.conflict(EncoderContract(**model.contract))
        conflict = conflict and f"its encoder is another: {conflict}"
    conflict = conflict or difference(_architecture(model.config), _architecture(settings.config))
    if conflict:
        raise UserError(_unfit(setting, file, conflict))


def _check_held_out(file: Path, its: dict[str, Any], content: dict[str, str], settings: Settings, parts: Parts) -> None:
    """UserError for weights that were trained on what is validation or test here: another fold of the same vectors."""
    check_unseen(file, its, settings.config["data"], content, parts)
    before, now = ({v for k, v in of_data(node).items() if k != "ood"} for node in (content, parts.content))
    conflict = difference({"data.fold": its.get("fold")}, {"data.fold": settings.data.fold})
    if before & now and conflict:
        raise UserError(
            f"{file} was trained on what is val or test here ({conflict}); set its fold, or start from other weights."
        )


def _architecture(config: dict[str, Any]) -> dict[str, Any]:
    nodes = {group: targets.identity(config.get(group, "none")) for group in MODEL}
    return {
        group: {key: value for key, value in node.items() if key not in FREE} if isinstance(node, dict) else node
        for group, node in nodes.items()
    }


def _unfit(setting: str, file: Path, conflict: str) -> str:
    return f"the weights of trainer.{setting}={file} do not fit ({conflict}); set what they need, or name others."


def _or_file(setting: str) -> str:
    return " or a .ckpt file" if setting == "init_from" else ""


def _term(node: Any) -> Any:
    """A loss term as it is set, without its weight."""
    return {k: v for k, v in targets.identity(node).items() if k != "weight"} if isinstance(node, dict) else None


def _trained_on(file: Path, model: LatentVectorModel) -> dict[str, Any]:
    """Fingerprint and content of the run that wrote a checkpoint; an older one's stand in its folder alone."""
    recorded = reading.read(file.parent.parent).identity
    return {
        "fingerprint": model.identity.get("fingerprint", recorded.fingerprint),
        "content": model.identity.get("content", recorded.content),
    }


def _ancestors(setting: str, model: LatentVectorModel, trained_on: dict[str, Any], digest: str) -> list[dict[str, Any]]:
    return [*model.identity.get("ancestors", []), {"setting": setting, **trained_on, "weights": digest}]


def _digest(*nodes: Any) -> str:
    """sha256 over names, shapes and numbers, whatever file they stand in."""
    digest = hashlib.sha256()

    def feed(node: Any) -> None:
        if isinstance(node, dict):
            for key in sorted(node, key=str):
                digest.update(f"{key}:".encode())
                feed(node[key])
        elif isinstance(node, Tensor):
            digest.update(f"{node.dtype}{list(node.shape)}".encode())
            digest.update(node.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(node).encode())

    for node in nodes:
        feed(node)
    return digest.hexdigest()
