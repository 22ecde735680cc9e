"""What a decoder is: vectors of one encoder in, texts out, each with a score.

Shape suffixes: N vectors, D vector dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lvm_lab.config.targets import make, named
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import Encoder

ROOM = "text.decoders"


@dataclass(frozen=True)
class Candidate:
    """A text for a vector. score: the cosine of the text's own vector to that one, as the decoder measures it.

    row: of the store, where the text is a chunk's. decoder: which of several it is from.
    """

    text: str
    score: float
    row: int | None = None
    decoder: str | None = None


@dataclass(frozen=True)
class Rivals:
    """Texts of a store that rank before another, or beside it. texts: they, the best first; whole: whether they are all
    of them; size: of the pool, which is the store's different texts and that one."""

    texts: list[str]
    whole: bool
    size: int


@dataclass(frozen=True)
class Resources:
    """What a command has for its decoders.

    name: what the vectors are of, for messages. contract: what made them. encoder: the same, for texts. store: whose
    texts are retrieved where a decoder's settings name no other. cache: for imported stores and digests.
    """

    name: str
    contract: EncoderContract
    encoder: Encoder
    store: Store | None
    cache: Path


class Decoder(ABC):
    """`decoder=...`: its constructor takes the settings of conf/decoder/<name>.yaml and loads nothing; `open` does.

    It gets a model's `raw_ND`, which lives in the encoder's own distribution, and never the normalised twin.
    places, secrets: as of an encoder. Once it is open, notes: what a reader of its texts has to know; expected: the
    least mean round-trip cosine that its weights are known to give, for `lvm-lab verify`; single: whether a vector gets
    one candidate alone.
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    notes: tuple[str, ...] = ()
    expected: float | None = None
    single: bool = False

    @abstractmethod
    def open(self, resources: Resources) -> None:
        """Reads what it decodes with. Raises UserError where that is not there or does not fit."""

    @property
    @abstractmethod
    def source(self) -> str:
        """What it decodes with (a store, a checkpoint), as messages call it."""

    @abstractmethod
    def contract(self) -> EncoderContract:
        """Of the encoder whose vectors it decodes, as far as that is known, once it is open."""

    @abstractmethod
    def decode(self, vectors_ND: np.ndarray) -> list[list[Candidate]]:
        """For each vector, of any length, at least one text, the best first."""

    def rivals(self, vector_D: np.ndarray, text: str, score: float, rows: int) -> Rivals | None:
        """What it gives a vector rather than this text, whose own vector has this cosine to it: of the nearest `rows`
        rows of its store those that score as much. None for a decoder that writes its texts."""
        return None

    def at_rest(self, candidate: Candidate) -> np.ndarray | None:
        """(D,) the vector that a store has of a candidate of the last `decode`; None for a text of no store."""
        return None

    def ends(self, candidate: Candidate) -> bool:
        """Whether a candidate of the last `decode` is the last chunk of a store's document."""
        return False


def open_decoder(node: dict[str, Any], resources: Resources, setting: str = "decoder") -> Decoder:
    """The decoder that the node of an option names, ready to decode. setting: the node's place in the config.

    Raises UserError for one of another encoder than the vectors'.
    """
    node = {key: value for key, value in node.items() if key != "name"}
    decoder: Decoder = make(node, ROOM, setting, allow=named(node))
    decoder.open(resources)
    conflict = decoder.contract().conflict(resources.contract)
    if conflict:
        raise UserError(
            f"{decoder.source} is of another encoder than {resources.name} ({conflict}); name one that was made with "
            f"the same encoder in {setting}=..."
        )
    return decoder


def round_trips(encoder: Encoder, texts: Sequence[str], vectors_ND: np.ndarray) -> np.ndarray:
    """(N,) the cosine of what the encoder makes of each text to the vector beside it."""
    return cosines(encoder.encode(texts), vectors_ND)


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """(N,) row by row; 0 where a vector has no length."""
    a_ND, b_ND = (np.asarray(x_ND, dtype=np.float64) for x_ND in (a_ND, b_ND))
    lengths_N = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    return (a_ND * b_ND).sum(1) / np.maximum(lengths_N, np.finfo(np.float64).tiny)
