"""The body of `verify`: a store's bytes against its manifest, its vectors against what an encoder makes of its texts,
and, where a decoder is named, against what the encoder makes of these vectors' decoded texts.

Shape suffixes: N chunks of a sample, D vector dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.config import binding
from lvm_lab.data.contract import PROBES, SAME, EncoderContract
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.round_trips import RoundTrips, go_round
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoder_choice import Option, encoder_of

# A chunk below is not the text of its vector. Float16 at rest and bfloat16 on a GPU stay above.
SAME_CHUNK = 0.99
# How far the lengths of two vectors that are one may be apart, as a share.
SAME_LENGTH = 0.01


@dataclass(frozen=True)
class VerifySettings:
    """The settings of conf/verify.yaml. encoder: a node of its option, None for the one that a store names. decoder: a
    node of its option, None for no round trips; round_trips: how many chunks of the sample are decoded."""

    store: list[str]
    sample: int
    seed: int
    encoder: dict[str, Any] | None
    decoder: dict[str, Any] | None = None
    round_trips: int = 20

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> VerifySettings:
        """Raises UserError with the setting's name for what does not fit."""
        node = config | {"store": [config["store"]] if isinstance(config.get("store"), str) else config.get("store")}
        settings = binding.dataclass_from(cls, {"encoder": None} | node, "")
        if not settings.store:
            raise UserError("verify needs a store; write lvm-lab verify STORE.")
        if settings.sample < 0:
            raise UserError(f"sample={settings.sample} does not fit; set 0 or more chunks.")
        if settings.round_trips < 1:
            raise UserError(f"round_trips={settings.round_trips} decodes nothing; set 1 or more, or decoder=null.")
        return settings


@dataclass(frozen=True)
class Agreement:
    """Vectors at rest beside those that were made anew: cosines, and how much longer those at rest are."""

    cosine_N: np.ndarray
    ratio_N: np.ndarray

    @classmethod
    def of(cls, rest_ND: np.ndarray, made_ND: np.ndarray) -> Agreement:
        rest_ND, made_ND = rest_ND.astype(np.float64), made_ND.astype(np.float64)
        rest_N, made_N = (np.maximum(np.linalg.norm(x_ND, axis=1), 1e-30) for x_ND in (rest_ND, made_ND))
        return cls((rest_ND * made_ND).sum(1) / (rest_N * made_N), rest_N / made_N)

    def __str__(self) -> str:
        cosines = f"cosine min {self.cosine_N.min():.6f}, mean {self.cosine_N.mean():.6f}"
        return f"{cosines}; length at rest / made anew {np.median(self.ratio_N):.4f}"

    def flaw(self) -> str | None:
        """What is wrong, as a phrase that follows the name of what was encoded."""
        # The median, since a few wrong texts among many are no other encoder.
        if np.median(self.cosine_N) < SAME:
            return f"have a median cosine of {np.median(self.cosine_N):.3f} to what is stored"
        if abs(np.median(self.ratio_N) - 1) > SAME_LENGTH:
            return f"are stored {np.median(self.ratio_N):.3g} times as long"
        return None


@dataclass(frozen=True)
class Report:
    """What one verification measured. encoder: None where nothing was encoded, for the reason in `skipped`.
    rows: those of the sample. conflict: what contradicts the store's contract."""

    path: Path
    contract: EncoderContract
    files: str
    encoder: EncoderContract | None = None
    skipped: str | None = None
    conflict: str | None = None
    probes: Agreement | None = None
    sample: Agreement | None = None
    rows: tuple[int, ...] = ()
    round_trips: RoundTrips | None = None

    def lines(self) -> Iterator[str]:
        yield f"{self.path}: {self.contract.short()}"
        yield f"  sha256    {self.files}"
        if self.skipped:
            yield f"  encoder   {self.skipped}"
        if self.encoder is not None:
            yield f"  encoder   {self.encoder.short()}"
        if self.probes is not None:
            yield f"  probes    {len(self.probes.cosine_N)} sentences: {self.probes}"
        if self.sample is not None:
            yield f"  sample    {len(self.sample.cosine_N)} chunks: {self.sample}"
        if self.round_trips is not None:
            yield from self.round_trips.lines()

    def refuse(self) -> None:
        """UserError where the store does not hold what the encoder makes."""
        if self.conflict:
            raise UserError(
                f"{self.path} is not of this encoder ({self.conflict}); name the one that made it with encoder=..., or "
                "ingest its texts again."
            )
        for name, agreement in (("probe sentences", self.probes), ("sampled chunks", self.sample)):
            if agreement is not None and (flaw := agreement.flaw()):
                raise UserError(
                    f"{self.path} is not of this encoder (its {name} {flaw}); name the one that made it with "
                    "encoder=..., or ingest its texts again."
                )
        if self.sample is not None and (worst := float(self.sample.cosine_N.min())) < SAME_CHUNK:
            row = self.rows[int(self.sample.cosine_N.argmin())]
            raise UserError(
                f"{self.path}: the text of chunk {row} is not that of its vector (cosine {worst:.3f}); ingest it again."
            )
        if self.round_trips is not None:
            self.round_trips.refuse(self.path)


def verify(path: Path, settings: VerifySettings, option: Option) -> Report:
    """Read every byte, encode the probes and a sample again.

    option: an encoder option's settings by its name. Raises UserError for a store whose bytes are not its manifest's.
    """
    store = open_store(path, verify=True)
    files = "all of them are those of the manifest"
    encoder = encoder_of(store.contract, settings.encoder, option)
    if encoder is None:
        return Report(path, store.contract, files, skipped=_unknown(store.contract))
    texts = store.texts() if settings.sample else None
    if not texts and not store.contract.probes:
        return Report(
            path, store.contract, files, skipped="none was asked: there are neither texts nor probe sentences"
        )
    made = encoder.contract().with_probes(encoder.encode(PROBES))
    conflict = store.contract.conflict(made)
    if made.dim != store.dim:
        return Report(path, store.contract, files, made, conflict=conflict)
    # As `EncoderContract.agreement` counts them.
    shared = [one for one, vector in store.contract.probes.items() if len(vector) == len(made.probes.get(one, ()))]
    at_rest, anew = ([one.probes[sentence] for sentence in shared] for one in (store.contract, made))
    rows = _rows(store, texts, settings)
    made_ND = encoder.encode([texts[row] for row in rows]) if texts and len(rows) else None
    return Report(
        path,
        store.contract,
        files,
        made,
        conflict=conflict,
        probes=Agreement.of(np.array(at_rest), np.array(anew)) if shared else None,
        sample=None if made_ND is None else Agreement.of(np.asarray(store.vectors_ND[rows]), made_ND),
        rows=tuple(rows.tolist()),
        round_trips=_round_trips(store, encoder, made_ND, settings) if settings.decoder and not conflict else None,
    )


def _unknown(contract: EncoderContract) -> str:
    named = f"{contract.encoder} is not known here" if contract.encoder else "the store does not say which"
    way = "encoder=OPTION (and encoder.model=NAME or FOLDER)"
    return f"{named}, so that no text was encoded; name it with {way} to have that compared too"


def _rows(store: Store, texts: list[str] | None, settings: VerifySettings) -> np.ndarray:
    """A seeded sample of the rows that have a text."""
    rows = np.flatnonzero([bool(text) for text in texts or ()])
    draws = np.random.default_rng(settings.seed)
    return np.sort(draws.choice(rows, min(settings.sample, len(rows)), replace=False))


def _round_trips(store: Store, encoder: Encoder, made_ND: np.ndarray | None, settings: VerifySettings) -> RoundTrips:
    """made_ND: what the encoder made of the sample's texts."""
    if made_ND is None:
        raise UserError(f"{store.path} has no texts in the sample to decode; leave decoder=... out, or raise sample.")
    assert settings.decoder is not None
    return go_round(store, encoder, settings.decoder, made_ND[: settings.round_trips])
