"""A model with its loss, fresh and ready to be trained, and everything that its run is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from lvm_lab.build import codebooks, members, origin, seen
from lvm_lab.build import data as build_data
from lvm_lab.build.model import assemble
from lvm_lab.config import binding, targets
from lvm_lab.config.settings import NO_STRATEGY, Settings, nameless
from lvm_lab.data.mixing import halves
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.judge import baselines, gates
from lvm_lab.model import LatentVectorModel, identity
from lvm_lab.runs.identity import CODES, fingerprint
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.training.strategies.base import Material, Stages, Strategy, check_epochs
from lvm_lab.types import Stats

GO_TOGETHER = (
    "loss=diffusion with head=diffusion or head=two_tower, loss=energy with head=energy, loss=codes with "
    "head=quantised, and every other loss with head=dual, head=residual, head=adaptive, head=linear or head=identity"
)
# Vectors of a document that come with each window of a batch.
MOST_NEGATIVES = 1024


class Training(NamedTuple):
    """content: the digests of all that data and model are read from, for the fingerprint. notes: what a reader of its
    numbers has to know of how it began."""

    data: Parts
    module: LatentVectorModule
    content: dict[str, str]
    notes: list[str]


def prepare(settings: Settings) -> Training:
    """Data and a model on it, fresh or with the weights that trainer.init_from or trainer.continue_from names.

    Raises UserError where data, arch, head, loss, supervision and those weights do not go together, and for unknown
    gates.
    """
    gates.check(settings.preset)
    baselines.check(settings.preset)
    strategy = _strategy(settings)
    parts = codebooks.given(settings, build_data.parts(settings))
    weights = origin.read(settings, parts)
    content = parts.content | members.content(settings.config) | (weights.content if weights else {})
    if settings.data.tmd is not None:
        assert parts.codes_content is not None, "data without codes were refused"
        content |= {CODES: parts.codes_content}
    recorded = {
        "fingerprint": fingerprint(settings.config, content),
        "content": content,
        "ancestors": weights.ancestors if weights else [],
    }
    if settings.data.tmd is not None and parts.tmd is not None:
        recorded["tmd"] = {"form": settings.data.tmd, "names": parts.tmd.recorded()}
    built = module(settings, parts.stats, parts.contract.recorded(), recorded)
    if strategy is not None:
        _follow(strategy, built, parts, settings)
    if weights:
        origin.give(weights, built, settings.config["loss"]["terms"])
    before = members.trainings(settings, built.model) | ({str(weights.file): weights.trainings} if weights else {})
    parts = seen.apart(parts, before)
    if members.learns_a_mix(settings.config):
        mixing = halves(parts.val)
        parts = replace(parts, mixing=mixing, notes=(*parts.notes, mixing.note))
    built.model.identity |= seen.record(parts, list(before.values()))
    for loss in built.loss.losses():
        _check_negatives(loss, parts)
    return Training(parts, built, content, [*parts.notes, *([weights.note] if weights else [])])


def module(
    settings: Settings, stats: Stats, contract: dict[str, Any], recorded: dict[str, Any] | None = None
) -> LatentVectorModule:
    """The model with fresh weights drawn from the seed, and its loss. contract: what made the vectors. recorded: what
    its checkpoints are to say of the run.

    Raises UserError where arch, head, loss and supervision do not go together.
    """
    config = settings.config
    dim = len(stats.mean_D)
    if settings.data.tmd is not None and "members" in config["arch"]:
        raise UserError("an ensemble's members read what they were trained on; set data.tmd=null.")
    models = members.load_all(settings, dim, contract)
    if models:
        # What the checkpoint says of the ensemble holds all that its members are, so that it needs no other file.
        config = config | {"arch": config["arch"] | {"members": [members.describe(member) for member in models]}}
    described = identity(config, contract, dim) | (recorded or {})
    model = assemble(config, stats, described, models, settings.allow)
    every_position = settings.trainer.supervision == "all"
    if settings.data.windows == "documents" and not model.backbone.causal:
        raise UserError(
            f"arch={config['arch']['name']} reads a context as a whole, and data.windows=documents supervises every "
            "place of a document; set data.windows=sliding."
        )
    if settings.data.windows == "sliding" and settings.data.shortest < settings.data.context_length:
        raise UserError(
            "data.windows=sliding trains on windows of one length, and data.min_context asks for shorter ones; set "
            "data.min_context=null, or data.windows=documents with a causal arch."
        )
    if settings.data.windows == "documents" and settings.trainer.accumulate > 1:
        raise UserError(
            f"trainer.accumulate={settings.trainer.accumulate} cuts a batch of windows, and data.windows=documents has "
            "segments, whose candidates belong to the whole batch; set trainer.accumulate=1 and a smaller "
            "trainer.batch_size."
        )
    if every_position and not model.backbone.causal:
        raise UserError(
            f"arch={config['arch']['name']} is not causal and has only a last position to supervise; "
            "set trainer.supervision=last."
        )
    loss = _loss(config["loss"], settings.allow)
    _check_pairing(model, loss)
    trainer = settings.trainer
    return LatentVectorModule(
        model, loss, trainer.optim, every_position, accumulate=trainer.accumulate, ema=trainer.ema
    )


def _loss(node: dict[str, Any], allow: Iterable[str], place: str = "loss") -> WeightedTerms:
    terms, weights = {}, {}
    if not binding.fits(node.get("negatives"), int) or not 0 <= node["negatives"] <= MOST_NEGATIVES:
        raise UserError(
            f"{place}.negatives={node.get('negatives')!r} does not fit; "
            f"give it a whole number from 0 to {MOST_NEGATIVES}."
        )
    if not isinstance(node.get("terms"), dict):
        raise UserError(f"{place}.terms={node.get('terms')!r} does not fit; start from an option of conf/loss/.")
    for name, term in node["terms"].items():
        path = f"{place}.terms.{name}"
        if not isinstance(term, dict):
            raise UserError(f"{path}={term!r} does not fit; give it a weight and its class, as conf/loss/ does.")
        weights[name] = term.get("weight", 1.0)
        if not binding.fits(weights[name], float) or weights[name] < 0:
            raise UserError(f"{path}.weight={weights[name]!r} does not fit; give it a number from 0.")
        terms[name] = targets.make({k: v for k, v in term.items() if k != "weight"}, "losses", path, allow=allow)
    if not any(weights.values()):
        raise UserError(f"{place}.terms has no term with a weight above 0; give one a weight.")
    return WeightedTerms(terms, weights)


def _strategy(settings: Settings) -> Strategy | None:
    """What the config's strategy names, held against the other settings."""
    node = settings.config.get("strategy", NO_STRATEGY)
    if node == NO_STRATEGY:
        return None
    strategy: Strategy = targets.make(nameless(node), "training.strategies", "strategy", allow=settings.allow)
    strategy.check(settings)
    return strategy


def _follow(strategy: Strategy, built: LatentVectorModule, parts: Parts, settings: Settings) -> None:
    """Give a module the strategy's stages and what it minimises."""
    allow = settings.allow
    material = Material(built.model, built.loss, parts, lambda node: _loss(node, allow, "strategy.loss"), settings.seed)
    built.loss = strategy.objective(material)
    stages = tuple(strategy.stages(parts, settings.trainer.max_epochs))
    if stages:
        check_epochs(sum(stage.epochs for stage in stages), settings)
        built.stages = Stages(stages)


def _check_pairing(model: LatentVectorModel, loss: WeightedTerms) -> None:
    """UserError unless the head feeds every term, a term learns from what only this head feeds, and the arch fits."""
    names = {group: model.config[group]["name"] for group in ("arch", "head", "loss")}
    feeds: frozenset[str] = model.head.feeds
    needed = {term.needs for name, term in loss.terms.items() if loss.weights[name]}
    unfed = [name for name, term in loss.terms.items() if term.needs not in feeds]
    if unfed:
        why = f"the term {unfed[0]} reads {loss.terms[unfed[0]].needs}, which this head does not feed"
    elif unread := feeds - needed - {"prediction"}:
        why = f"no term with a weight reads {', '.join(unread)}, which this head learns from"
    else:
        why = ""
    if why:
        pair = f"loss={names['loss']} does not go with head={names['head']}"
        raise UserError(f"{pair} ({why}); those that go together: {GO_TOGETHER}.")
    other_half = getattr(model.backbone, "needs_head", names["head"])
    if names["head"] != other_half:
        raise UserError(
            f"arch={names['arch']} is half of a model, and head={names['head']} is not its other half; "
            f"set head={other_half} loss=diffusion."
        )


def _check_negatives(loss: WeightedTerms, parts: Parts) -> None:
    """UserError for a loss within documents on data whose documents have no chunk beside a window."""
    others_W = parts.train.end_W - parts.train.start_W - parts.train.length_W - 1
    if any(getattr(term, "needs_others", False) for term in loss.terms.values()) and not (others_W > 0).any():
        raise UserError(
            "this loss tells a target from other chunks of its document, and no training window has any besides its "
            "own; set loss=infonce, or bring whole documents."
        )
