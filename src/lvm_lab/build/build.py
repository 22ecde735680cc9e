"""Makes the parts of a run from its config: the only caller of hydra.utils.instantiate."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class, instantiate
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lvm_lab.build import members
from lvm_lab.config import binding, loggers, targets
from lvm_lab.config.data import DataSettings
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import DeviceSettings, RunSettings, TrainerSettings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.stats import Normaliser
from lvm_lab.errors import UserError
from lvm_lab.judge import baselines, gates
from lvm_lab.nn.head import Head
from lvm_lab.training import checkpoint
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Stats

GROUPS = ("arch", "head", "loss", "data", "device", "five_cat", "trainer", "run")
# Groups that a config may do without, as those of older versions do.
OPTIONAL = ("logger", "callbacks")
VALUES = ("seed", "normaliser")
NAMED = ("arch", "head", "loss", "data")
DATA_KEYS = tuple(DataSettings.__dataclass_fields__)
GO_TOGETHER = (
    "loss=diffusion with head=diffusion or head=two_tower, loss=energy with head=energy, "
    "and every other loss with head=dual, head=residual, head=linear or head=identity"
)


@dataclass(frozen=True)
class Settings:
    """A resolved config, typed. `config` is the same in plain containers."""

    config: dict[str, Any]
    seed: int
    normaliser: Normaliser
    trainer: TrainerSettings
    data: DataSettings
    run: RunSettings
    device: DeviceSettings
    logger: loggers.Nodes
    preset: Preset

    @property
    def cache(self) -> Path:
        if self.run.cache:
            return Path(self.run.cache)
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(home) / "lvm_lab"


def settings(config: dict[str, Any]) -> Settings:
    """Every setting held against its type.

    Raises UserError with the setting's name and what it may be.
    """
    typed = binding.dataclass_from
    _check_groups(config)
    if not binding.fits(config["seed"], int) or config["seed"] < 0:
        raise UserError(f"seed={config['seed']!r} does not fit; give it a whole number from 0.")
    if not binding.fits(config["normaliser"], Normaliser):
        raise UserError(f"normaliser={config['normaliser']!r} does not fit; give it {binding.describe(Normaliser)}.")
    result = Settings(
        config=members.found(config),
        seed=config["seed"],
        normaliser=config["normaliser"],
        trainer=typed(TrainerSettings, config["trainer"], "trainer"),
        data=typed(DataSettings, {k: v for k, v in config["data"].items() if k in DATA_KEYS}, "data"),
        run=typed(RunSettings, config["run"], "run"),
        device=typed(DeviceSettings, config["device"], "device"),
        logger=loggers.by_name(config.get("logger", {})),
        preset=Preset.from_dict(config["five_cat"]),
    )
    gates.check(result.preset)
    baselines.check(result.preset)
    check_device(result.device)
    return result


def parts(chosen: Settings) -> Parts:
    """Open the data and cut it into parts."""
    node = {k: v for k, v in _named(chosen.config["data"]).items() if k not in DATA_KEYS}
    opened = _make(node, "data").open(chosen.cache, chosen.data)
    every_position = chosen.trainer.supervision == "all"
    return cut_parts(opened, chosen.data, chosen.cache, every_position=every_position, normaliser=chosen.normaliser)


def module(chosen: Settings, stats: Stats, contract: dict[str, Any]) -> LatentVectorModule:
    """The model with fresh weights drawn from the seed.

    Raises UserError where arch, head, loss and supervision do not go together.
    """
    config, length = chosen.config, chosen.data.context_length
    dim = len(stats.mean_D)
    arch = _named(config["arch"])
    given: dict[str, Any] = {"dim": dim, "context_length": length}
    if "members" in arch:
        listed = members.load(arch.pop("members"), load, _rebuilt, dim, length, contract, chosen.data.fold)
        given["members"] = [member for member, _ in listed]
        # What the checkpoint says of the ensemble holds all that its members are, so that it needs no other file.
        config = config | {"arch": config["arch"] | {"members": [said for _, said in listed]}}
    torch.manual_seed(chosen.seed)
    backbone = _make(arch, "arch", **given)
    every_position = chosen.trainer.supervision == "all"
    if every_position and not backbone.causal:
        raise UserError(
            f"arch={config['arch']['name']} is not causal and has only a last position to supervise; "
            "set trainer.supervision=last."
        )
    head = _make(_named(config["head"]), "head", width=backbone.width, stats=stats)
    loss = _loss(config["loss"])
    _check_pairing(config, backbone, head, loss)
    model = LatentVectorModule(backbone, head, loss, stats, chosen.trainer.optim, every_position)
    model.identity = checkpoint.identity(config, contract, dim, length)
    return model


def on_other_data(own: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Another data node for a model: how data is cut, and how much of it is read at once, goes with the model."""
    return {key: value for key, value in own.items() if key in DATA_KEYS} | data


def as_judged(config: dict[str, Any], node: dict[str, Any], device: DeviceSettings) -> Settings:
    """A model's own settings on the data of `node`: how training went through the data changes nothing there."""
    trainer = config["trainer"] | {"supervision": "last"}
    return settings(config | {"data": node, "trainer": trainer, "normaliser": "none", "device": asdict(device)})


def check_unseen(
    file: Path, own: dict[str, Any], node: dict[str, Any], trained_on: dict[str, str], data: Parts
) -> None:
    """UserError for a model with a validation set of its own on the vectors that it was trained on, cut without it.

    own, node: the data nodes of its training and of now; trained_on: the content that its run recorded.
    """
    alone = own.get("val_path") and not node.get("val_path")
    if alone and trained_on.get("store") == data.content.get("store"):
        raise UserError(
            f"{file} had a validation set of its own and was trained on what is val here; add data.val_path."
        )


def check_negatives(model: LatentVectorModule, parts: Parts) -> None:
    """UserError for a loss within documents on data whose documents have no chunk beside a window."""
    others_W = parts.train.end_W - parts.train.start_W - parts.train.context_length - 1
    if any(getattr(term, "needs_others", False) for term in model.loss.terms.values()) and not (others_W > 0).any():
        raise UserError(
            "this loss tells a target from other chunks of its document, and no training window has any besides its "
            "own; set loss=infonce, or bring whole documents."
        )


def load(path: Path, device: str = "cpu") -> LatentVectorModule:
    """The model of a checkpoint, built from the config it carries, its golden pair compared."""
    saved = checkpoint.read(path)
    if checkpoint.KEY not in saved:
        raise UserError(f"{path} was not written by lvm_lab; take a checkpoint of a run's folder.")
    said = saved[checkpoint.KEY]
    state = saved["state_dict"]
    chosen = settings(_by_itself(said["config"]))
    model = module(chosen, _stats_in(state), said["contract"])
    checkpoint.restore(model, saved, str(path))
    return model.eval().to(device)


def _by_itself(config: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's config without what its run had around it: the device, and the files that weights began from."""
    arch = {k: None if k == "weights" else v for k, v in config["arch"].items()}
    return config | {"device": asdict(DeviceSettings()), "arch": arch}


def _stats_in(state: dict[str, Any]) -> Stats:
    normaliser = (state.get(f"normaliser.{name}") for name in ("centre_D", "scale_D", "basis_DD"))
    return Stats(state["mean_D"], state["std_D"], *normaliser)


def _rebuilt(said: dict[str, Any]) -> LatentVectorModule:
    """A member of a saved ensemble, still without its weights: the ensemble's own checkpoint has them."""
    chosen = settings(_by_itself(said["config"]))
    shapes = said["shapes"]
    state = {name: torch.ones(shape) for name, shape in shapes.items()}
    return module(chosen, _stats_in(state), said["contract"])


def trainer(chosen: Settings, callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
    """Lightning's trainer, quiet: progress, history and checkpoints are callbacks of ours."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    if chosen.device.threads:
        torch.set_num_threads(chosen.device.threads)
    try:
        return pl.Trainer(
            max_epochs=chosen.trainer.max_epochs,
            accelerator=chosen.device.accelerator,
            devices=chosen.device.devices,
            strategy=chosen.device.strategy,
            precision=chosen.trainer.precision,
            gradient_clip_val=chosen.trainer.optim.clip or None,
            callbacks=callbacks,
            plugins=[checkpoint.AtomicCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        refused = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"these device settings do not work ({refused}); set device=cpu or device=auto.") from error


def judged_on(device: DeviceSettings) -> str:
    """The device that models are judged on, as torch names it."""
    if device.accelerator == "mps":
        return "mps"
    return "cuda" if device.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


def contract_of(data: Parts) -> dict[str, Any]:
    return asdict(data.contract)


def _check_groups(config: dict[str, Any]) -> None:
    for key in (*GROUPS, *VALUES):
        if key not in config:
            raise UserError(f"{key} is taken away, and a run needs it; leave ~{key} out.")
    for key in config:
        if key not in (*GROUPS, *OPTIONAL, *VALUES):
            raise UserError(binding.unknown_key(key, (*GROUPS, *OPTIONAL, *VALUES)))
    for group in (*GROUPS, *(group for group in OPTIONAL if group in config)):
        node = config[group]
        if not isinstance(node, dict):
            raise UserError(f"{group}={node!r} does not fit; set its keys, for instance {group}.KEY=VALUE.")
        if group in NAMED and not isinstance(node.get("name"), str):
            raise UserError(f"{group}.name={node.get('name')!r} does not fit; give it a text.")


def _loss(node: dict[str, Any]) -> WeightedTerms:
    terms, weights = {}, {}
    if not binding.fits(node.get("negatives"), int) or node["negatives"] < 0:
        raise UserError(f"loss.negatives={node.get('negatives')!r} does not fit; give it a whole number from 0.")
    if not isinstance(node.get("terms"), dict):
        raise UserError(f"loss.terms={node.get('terms')!r} does not fit; start from an option of conf/loss/.")
    for name, term in node["terms"].items():
        path = f"loss.terms.{name}"
        weights[name] = term.get("weight", 1.0)
        if not binding.fits(weights[name], float) or weights[name] < 0:
            raise UserError(f"{path}.weight={weights[name]!r} does not fit; give it a number from 0.")
        terms[name] = _make({k: v for k, v in term.items() if k != "weight"}, path)
    if not any(weights.values()):
        raise UserError("loss.terms has no term with a weight above 0; give one a weight.")
    return WeightedTerms(terms, weights)


def _check_pairing(config: dict[str, Any], backbone: Any, head: Head, loss: WeightedTerms) -> None:
    """UserError unless the head feeds every term, a term learns from what only this head feeds, and the arch fits."""
    names = {group: config[group]["name"] for group in ("arch", "head", "loss")}
    needed = {term.needs for name, term in loss.terms.items() if loss.weights[name]}
    lacking = [name for name, term in loss.terms.items() if term.needs not in head.feeds]
    if lacking:
        why = f"the term {lacking[0]} reads {loss.terms[lacking[0]].needs}, which this head does not feed"
    elif unread := head.feeds - needed - {"prediction"}:
        why = f"no term with a weight reads {', '.join(unread)}, which this head learns from"
    else:
        why = ""
    if why:
        pair = f"loss={names['loss']} does not go with head={names['head']}"
        raise UserError(f"{pair} ({why}); those that go together: {GO_TOGETHER}.")
    wanted = getattr(backbone, "needs_head", names["head"])
    if names["head"] != wanted:
        raise UserError(
            f"arch={names['arch']} is half of a model, and head={names['head']} is not its other half; "
            f"set head={wanted} loss=diffusion."
        )


def _make(node: dict[str, Any], path: str, **given: Any) -> Any:
    node = targets.current(node)
    target: Callable[..., Any] = get_class(node["_target_"])
    binding.check({k: v for k, v in node.items() if k != "_target_"}, target, path, given)
    # Called as a partial, so that what code gives (tensors, statistics) never passes through OmegaConf.
    return instantiate({**node, "_partial_": True}, _convert_="all")(**given)


def _named(node: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in node.items() if k != "name"}


def check_device(device: DeviceSettings) -> None:
    """Raises UserError for an accelerator that this machine has not."""
    available = {
        "gpu": torch.cuda.is_available(),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.accelerator, True):
        raise UserError(f"this machine has no {device.accelerator} device that PyTorch can use; set device=cpu.")
