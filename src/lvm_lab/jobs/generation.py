"""The body of `generate`: a run's model, with chunker, encoder and texts of its data, writes on from a text.

Shape suffixes: L chunks of the context, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from lvm_lab import logs
from lvm_lab.config import binding, targets
from lvm_lab.config.settings import cache_folder, nameless
from lvm_lab.data.joined import JoinedStore
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.files import write_report
from lvm_lab.reporting import generation as generation_report
from lvm_lab.runs import selecting as selection
from lvm_lab.text.choosing import best, sampled
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.decoder import Resources, open_decoder
from lvm_lab.text.encoder_choice import Option, encoder_for
from lvm_lab.text.generation import Generation, Lengths, Mode, Stop, Writer, totals
from lvm_lab.text.ingestion.record import read_records
from lvm_lab.text.smoother import open_smoother

if TYPE_CHECKING:
    from lvm_lab.model import LatentVectorModel
    from lvm_lab.types import Predictor

CHUNKERS = "text.chunkers"


@dataclass(frozen=True)
class GenerationSettings:
    """The settings of conf/generate.yaml. decoder, encoder, chunker, smoother: nodes of their options; None: the one by
    which the data came about, and no smoother. stop: no rule: `steps` alone. draws: None for one."""

    decoder: dict[str, Any]
    steps: int
    mode: Mode
    stop: list[Stop]
    temperature: float = 0.0
    draws: int | None = None
    seed: int = 0
    encoder: dict[str, Any] | None = None
    chunker: dict[str, Any] | None = None
    smoother: dict[str, Any] | None = None
    cache: str | None = None

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> GenerationSettings:
        """Raises UserError with the setting's name for what does not fit."""
        if config.get("decoder") is None:
            raise UserError("decoder=null leaves vectors without texts; take decoder=retrieval.")
        config = config | {"stop": _stops(config.get("stop"))}
        settings: GenerationSettings = binding.dataclass_from(cls, config, "")
        if settings.steps < 1:
            raise UserError(f"steps={settings.steps} writes nothing; set 1 or more.")
        if not 0 <= settings.temperature < float("inf"):
            raise UserError(f"temperature={settings.temperature:g} does not fit; set 0 or more.")
        if settings.seed < 0:
            raise UserError(f"seed={settings.seed} does not fit; set 0 or more.")
        if settings.draws is not None and settings.draws < 1:
            raise UserError(f"draws={settings.draws} does not fit; set 1 or more, or null.")
        if settings.draws is not None and not settings.temperature:
            raise UserError("draws are taken at a temperature above 0; add temperature=1, or leave draws out.")
        return settings


def _stops(setting: Any) -> list[str]:
    """The rules of a setting `stop`: one, several, or none."""
    if setting == "none":
        return []
    stops = setting if isinstance(setting, list) else [setting]
    if not all(stop in get_args(Stop) for stop in stops):
        raise UserError(f"stop={setting!r} does not fit; give it repetition, end, [repetition,end] or none.")
    return stops


@dataclass(frozen=True)
class Sampling:
    """What chance decides. by: head (its draws), candidates (of the decoder), or None at temperature 0."""

    temperature: float
    by: str | None
    draws: int | None
    seed: int


@dataclass(frozen=True)
class Written:
    """A generation, with what made it and what to know of its texts. smoother: None where there is none."""

    checkpoint: str
    decoder: str
    encoder: str
    mode: str
    stop: list[Stop]
    sampling: Sampling
    smoother: str | None
    notes: tuple[str, ...]
    generation: Generation

    @property
    def latency(self) -> dict[str, dict[str, Any]]:
        return totals(self.generation.seconds)

    def show(self, file: Path | None = None) -> None:
        """On the terminal, and in a file as JSON where one is named."""
        generation_report.show(self, self.latency, logs.to_terminal())
        if file is None:
            return
        node = asdict(self) | {"latency": self.latency}
        write_report(file, node)


def generate(
    run: str,
    text: str,
    config: dict[str, Any],
    option: Option,
    data: str | Path | None = None,
    device: str = "auto",
    allow: Sequence[str] = (),
) -> Written:
    """Write on from a text. config: of conf/generate.yaml; option, data, device, allow: as of
    `jobs.decoding.decode_all`.

    Raises UserError for what names no one checkpoint, for data without texts, and for parts that do not go together.
    """
    settings = GenerationSettings.from_dict(config)
    smoother = open_smoother(settings.smoother)
    checkpoints, skipped = selection.find([run])
    if len(checkpoints) != 1:
        reason = next(iter(skipped.values()), f"{run} names {len(checkpoints)} checkpoints; give one run.")
        raise UserError(reason)
    # Torch comes in only now: a mistake in the settings is told without it.
    from lvm_lab.jobs import candidates

    model, one, opened, where = candidates.on_data(checkpoints[0], data=data, device=device, allow=allow)
    candidates.check_encoder(one, opened.parts)
    if model.tmd is not None:
        raise UserError(f"{one.file} reads TMD codes, which a text that is written has none of; take another run.")
    name, contract = f"the data of {one.file}", opened.parts.contract
    store = opened.parts.stores["test"]
    encoder = encoder_for(contract, settings.encoder, option, name)
    cache = cache_folder(settings.cache) if settings.cache else opened.cache
    decoder = open_decoder(settings.decoder, Resources(name, contract, encoder, store, cache))
    made_by = f"{settings.decoder.get('name', 'decoder')} by {decoder.source}"
    lengths, sampling = model.windows_read.lengths, sampling_of(model, settings, str(one.file))
    if sampling.by == "candidates" and decoder.single:
        raise UserError(
            f"temperature={sampling.temperature:g} chooses among a decoder's candidates, and {made_by} gives one "
            "alone; leave temperature out, or take a decoder that gives several."
        )
    writer = Writer(
        chunker_of(store, settings.chunker, name),
        encoder,
        _predictor(_forward(model, sampling), bool(contract.normalised), where),
        Lengths(lengths[0], lengths[-1]),
        decoder,
        sampled(sampling.temperature, sampling.seed) if sampling.by == "candidates" else best,
        smoother,
    )
    generation = writer.write(text, settings.steps, settings.mode, settings.stop)
    return Written(
        str(one.file),
        made_by,
        encoder.contract().short(),
        settings.mode,
        settings.stop,
        sampling,
        None if smoother is None else smoother.source,
        decoder.notes,
        generation,
    )


def sampling_of(model: LatentVectorModel, settings: GenerationSettings, name: str) -> Sampling:
    """Where chance enters a model's texts. name: what messages call the model. UserError for draws that it has not."""
    if settings.draws is not None and not model.generative:
        head = model.config["head"]["name"]
        raise UserError(f"{name} has head={head}, which draws nothing; leave draws out.")
    by = ("head" if model.generative else "candidates") if settings.temperature else None
    return Sampling(settings.temperature, by, (settings.draws or 1) if by == "head" else None, settings.seed)


def _forward(model: LatentVectorModel, sampling: Sampling) -> Predictor:
    """The model as it predicts, or as its head draws."""
    if sampling.by != "head":
        return model.forward
    import torch

    from lvm_lab.nn.noise import Draws

    assert sampling.draws is not None
    generator = torch.Generator().manual_seed(sampling.seed)
    draws = Draws(sampling.temperature, sampling.draws, generator)
    return lambda context_BLD: model.draw(context_BLD, draws)


def _predictor(
    forward: Predictor, normalised: bool, device: str
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """context_LD to the model's raw_D and to what is fed back of it, as gate D does it: the vector as the encoder would
    give it, unit where its vectors have unit length, else raw."""
    from lvm_lab.judge.predictions import predict

    def predicted(context_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw_BD, unit_BD = predict(forward, context_LD[None], device=device)
        return raw_BD[0], (unit_BD if normalised else raw_BD)[0]

    return predicted


def chunker_of(store: Store, node: dict[str, Any] | None, name: str) -> Chunker:
    """The chunker that a node names, or the one that the store's ingestion recorded. name: what messages call the data.

    Raises UserError where nothing says which. A record may come from anywhere: on its word nothing but the lab's own
    chunkers are made.
    """
    if node is None:
        parts = store.stores if isinstance(store, JoinedStore) else (store,)
        nodes = [record.get("settings") for part in parts for record in read_records(part.path)]
        chunkers = (one.get("chunker") for one in nodes if isinstance(one, dict))
        node = next((one for one in chunkers if isinstance(one, dict)), None)
        if node is None or not all(target.startswith(targets.OURS) for target in targets.named(node)):
            raise UserError(f"{name} does not say how its texts were cut; name what cuts yours with chunker=OPTION.")
    chunker: Chunker = targets.make(nameless(node), CHUNKERS, "chunker", allow=targets.named(node))
    return chunker
