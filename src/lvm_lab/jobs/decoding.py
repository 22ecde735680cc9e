"""The body of `diagnose RUN decoder=...`: what a decoder makes of three vectors for each of some windows.

They are the encoder's own vector of the target (A), its twin of unit length (B) and the model's raw prediction (C).
Where A comes back and C does not, the model is what fails; where A fails, it is the decoder.

Shape suffixes: W windows, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvm_lab import logs
from lvm_lab.config import binding
from lvm_lab.config.settings import cache_folder
from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.files import write_report
from lvm_lab.reporting import decoding as decoding_report
from lvm_lab.runs import selecting as selection
from lvm_lab.text.decoder import Decoder, Resources, cosines, open_decoder
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoder_choice import Option, encoder_for

if TYPE_CHECKING:
    from lvm_lab.jobs.candidates import Subject

VECTORS = ("encoder", "unit", "raw")


@dataclass(frozen=True)
class DecodingSettings:
    """The settings of conf/diagnose.yaml. decoder, encoder: nodes of their options; encoder None: the one that the
    data's contract names. samples: windows whose vectors are decoded."""

    decoder: dict[str, Any]
    samples: int
    encoder: dict[str, Any] | None = None
    cache: str | None = None

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> DecodingSettings:
        """Raises UserError with the setting's name for what does not fit."""
        if config.get("decoder") is None:
            raise UserError("texts need a decoder; add decoder=retrieval, or leave the settings out.")
        settings: DecodingSettings = binding.dataclass_from(cls, config, "")
        if settings.samples < 1:
            raise UserError(f"samples={settings.samples} leaves nothing to decode; set 1 or more.")
        return settings


@dataclass(frozen=True)
class Decoded:
    """The best text for a vector. round_trip: the cosine of the text's own vector to that one; to_target: to the
    encoder's vector of the target."""

    text: str
    score: float
    round_trip: float
    to_target: float


@dataclass(frozen=True)
class DecodedWindow:
    """What the vectors of one window (`VECTORS`) became. row: of the target in the store; target: its text, where the
    store has it."""

    row: int
    target: str | None
    decoded: dict[str, Decoded]


@dataclass(frozen=True)
class Decoding:
    """One checkpoint's windows. decoder, encoder: what they are, for a reader; notes: what to know of the texts."""

    checkpoint: str
    part: str
    decoder: str
    encoder: str
    notes: tuple[str, ...]
    windows: list[DecodedWindow]

    def means(self, vector: str) -> dict[str, float | None]:
        """Of one of `VECTORS` over the windows: mean cosines, and how often the text is the target's own."""
        decoded = [window.decoded[vector] for window in self.windows]
        same = [w.decoded[vector].text == w.target for w in self.windows if w.target]
        return {
            "round_trip": float(np.mean([one.round_trip for one in decoded])),
            "to_target": float(np.mean([one.to_target for one in decoded])),
            "same_text": float(np.mean(same)) if same else None,
        }


@dataclass(frozen=True)
class Decodings:
    """skipped: by path, why it was passed over."""

    decodings: list[Decoding]
    skipped: dict[str, str]

    def show(self, file: Path | None = None) -> None:
        """On the terminal, and in a file as JSON where one is named."""
        decoding_report.show(self.decodings, self.skipped, logs.to_terminal())
        if file is None:
            return
        by_checkpoint = {
            one.checkpoint: asdict(one) | {"means": {vector: one.means(vector) for vector in VECTORS}}
            for one in self.decodings
        }
        write_report(file, by_checkpoint)


def decode_all(
    models: list[str],
    part: str,
    config: dict[str, Any],
    option: Option,
    data: str | Path | None,
    device: str,
    allow: Sequence[str] = (),
) -> Decodings:
    """Every checkpoint that `models` name. config: of conf/diagnose.yaml; option, allow: as of `jobs.verification` and
    `jobs.diagnose`.

    Raises UserError where there is none, and for a decoder of another encoder than a checkpoint's data.
    """
    settings = DecodingSettings.from_dict(config)
    checkpoints, skipped = selection.find(models)
    if not checkpoints:
        raise UserError(next(iter(skipped.values())))
    # Torch comes in only now: a mistake in the settings is told without it.
    from lvm_lab.jobs import candidates

    subjects = (candidates.subject(one, part, data=data, device=device, allow=allow) for one in checkpoints)
    return Decodings([_decode(subject, part, settings, option) for subject in subjects], skipped)


def _decode(subject: Subject, part: str, settings: DecodingSettings, option: Option) -> Decoding:
    # With torch, as the model that is here by now.
    from lvm_lab.judge.predictions import predict_windows

    contract, store = subject.data.parts.contract, subject.data.parts.stores[part]
    name = f"the data of {subject.candidate.file}"
    encoder = encoder_for(contract, settings.encoder, option, name)
    cache = cache_folder(settings.cache) if settings.cache else subject.data.cache
    decoder = open_decoder(settings.decoder, Resources(name, contract, encoder, store, cache))
    windows = subject.sample(settings.samples)
    target_WD = windows.vectors(windows.target_row_W)
    raw_WD, _ = predict_windows(subject.model.forward, windows, subject.device)
    if not np.isfinite(raw_WD).all():
        raise UserError(f"{subject.candidate.file} predicts what is not finite on {part}; take another checkpoint.")
    length_W1 = np.linalg.norm(target_WD, axis=1, keepdims=True)
    vectors = dict(zip(VECTORS, (target_WD, target_WD / length_W1, raw_WD), strict=True))
    decoded = {vector: _decoded(decoder, encoder, vectors_WD, target_WD) for vector, vectors_WD in vectors.items()}
    texts = store.texts()
    return Decoding(
        str(subject.candidate.file),
        part,
        f"{settings.decoder.get('name', 'decoder')} by {decoder.source}",
        encoder.contract().short(),
        (*decoder.notes, *_notes(contract)),
        [
            DecodedWindow(row, texts[row] if texts else None, {vector: decoded[vector][place] for vector in VECTORS})
            for place, row in enumerate(windows.target_row_W.tolist())
        ],
    )


def _decoded(decoder: Decoder, encoder: Encoder, vectors_WD: np.ndarray, target_WD: np.ndarray) -> list[Decoded]:
    best = [candidates[0] for candidates in decoder.decode(vectors_WD)]
    made_WD = encoder.encode([one.text for one in best])
    measured = zip(best, cosines(made_WD, vectors_WD).tolist(), cosines(made_WD, target_WD).tolist(), strict=True)
    return [Decoded(one.text, one.score, round_trip, to_target) for one, round_trip, to_target in measured]


def _notes(contract: EncoderContract) -> list[str]:
    return ["the encoder's vectors have unit length, so that A and B are the same"] if contract.normalised else []
