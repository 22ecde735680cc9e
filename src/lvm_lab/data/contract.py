"""The encoder contract: what made a store's vectors, and whether two of them can have been made by the same encoder.

Shape suffixes: P probe sentences, D vector dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from lvm_lab.config import binding
from lvm_lab.errors import UserError

# What every ingestion encodes beside its texts. Changing one makes contracts of before and after incomparable in it.
PROBES: tuple[str, ...] = (
    "The cat sat on the mat.",
    "In 1905 Albert Einstein published four papers that changed physics.",
    "def add(a, b): return a + b",
    "Der Zug nach Zürich fährt um 14:35 Uhr von Gleis 7 ab.",
    "She closed the door, listened for a moment, and then ran down the stairs without looking back.",
    # Longer than any common limit of tokens, so that another limit shows.
    " ".join(
        f"On day {day} the expedition walked {3 + day % 5} miles along the river, counted {7 * day % 23} herons, and "
        f"camped at a height of {200 + 13 * day} metres."
        for day in range(1, 41)
    ),
)
# Two encoders are two where their mean cosine over the probes that both have is below.
SAME = 0.999
# How far from 1 lengths may be that are called normalised: float16 and int8 move them by less.
UNIT_TOLERANCE = 1e-2
# Fields that two contracts must not contradict each other in, in the order in which a conflict is told.
COMPARED = ("dim", "encoder", "library", "pooling", "dense", "normalised", "max_tokens", "revision")
# Fields that came later: what is written leaves them out where they are unknown, as it was before they came.
LATER = ("library", "max_tokens", "revision")


@dataclass(frozen=True)
class EncoderContract:
    """What made the vectors. `None` means that the file does not say.

    encoder: the model's name. library: what ran it. The same model through two libraries is two encoders, since they
    differ in what a name does not say. max_tokens: where a text is cut. revision: a digest or a name of the weights.
    probes: sentence to vector.
    """

    encoder: str | None = None
    pooling: str | None = None
    dense: bool | None = None
    normalised: bool | None = None
    dim: int = 0
    dtype: str = "float32"
    probes: dict[str, list[float]] = field(default_factory=dict)
    library: str | None = None
    max_tokens: int | None = None
    revision: str | None = None

    def conflict(self, other: EncoderContract) -> str | None:
        """The first field in which two contracts contradict each other, as a phrase, or None.

        Where one of them says which library made it, or both have probe sentences, the phrase goes on with both
        contracts and the measured cosine.
        """
        cosine, probes = self.agreement(other)
        field_of = next((name for name in COMPARED if self._contradicts(other, name)), None)
        if field_of is not None:
            told = f"{field_of.replace('_', ' ')} {getattr(self, field_of)} against {getattr(other, field_of)}"
        elif probes and cosine < SAME:
            told = "the probe sentences are encoded otherwise"
        else:
            return None
        if not (probes or self.library or other.library):
            return told
        sentences = f"{probes} probe sentence{'s' * (probes > 1)}"
        measured = f", with a mean cosine of {cosine:.3f} over {sentences}" if probes else ""
        return f"{told}: {self.short()} against {other.short()}{measured}"

    def agreement(self, other: EncoderContract) -> tuple[float, int]:
        """(the mean cosine over the probe sentences that both have, their number); NaN and 0 where there are none."""
        cosines = [
            cosine(np.asarray(self.probes[sentence]), np.asarray(other.probes[sentence]))
            for sentence in self.probes
            if len(self.probes[sentence]) == len(other.probes.get(sentence, ()))
        ]
        return (float(np.mean(cosines)) if cosines else float("nan")), len(cosines)

    def with_probes(self, vectors_PD: np.ndarray) -> EncoderContract:
        """This contract with the vectors of `PROBES`, in their order, to the six digits that a comparison needs."""
        rounded = [[float(f"{value:.6g}") for value in vector] for vector in np.asarray(vectors_PD, dtype=np.float64)]
        return replace(self, probes=dict(zip(PROBES, rounded, strict=True)))

    def recorded(self) -> dict[str, Any]:
        """What manifests, checkpoints and results hold of it; `read_contract` reads it back."""
        return {key: value for key, value in asdict(self).items() if key not in LATER or value is not None}

    def short(self) -> str:
        """What is known of it, for a sentence."""
        return ", ".join(self._facts())

    def _facts(self) -> Iterator[str]:
        yield self.encoder or "an unknown encoder"
        if self.revision:
            yield f"revision {self.revision}"
        if self.library:
            yield f"by {self.library}"
        yield f"{self.dim} dims"
        if self.pooling:
            yield f"{self.pooling} pooling"
        if self.dense is not None:
            yield "a dense layer" if self.dense else "no dense layer"
        if self.normalised is not None:
            yield "unit length" if self.normalised else "not normalised"
        if self.max_tokens is not None:
            yield f"{self.max_tokens} tokens"

    def _contradicts(self, other: EncoderContract, name: str) -> bool:
        mine, theirs = getattr(self, name), getattr(other, name)
        return mine is not None and theirs is not None and mine != theirs


def read_contract(recorded: dict[str, Any], name: str) -> EncoderContract:
    """What `recorded` gave, from a file that anybody may have written. name: the contract's place in the file.

    Raises ValueError for unknown fields and values of wrong types.
    """
    try:
        contract: EncoderContract = binding.dataclass_from(EncoderContract, recorded, name)
    except UserError as error:
        raise ValueError(str(error).rstrip(".")) from error
    if not all(binding.fits(vector, list[float]) for vector in contract.probes.values()):
        raise ValueError(f"{name}.probes has a vector that is no list of numbers")
    return contract


def cosine(a_D: np.ndarray, b_D: np.ndarray) -> float:
    """Of two vectors; 0 where one has no length."""
    lengths = float(np.linalg.norm(a_D) * np.linalg.norm(b_D))
    return float(a_D @ b_D) / lengths if lengths > 0 else 0.0


def distance_from_unit(vectors: np.ndarray) -> float:
    """How far from 1 the length of a vector along the last axis is, of the one that is farthest."""
    squares = np.square(vectors, dtype=np.float32).sum(axis=-1)
    return float(np.abs(np.sqrt(squares) - 1).max(initial=0))
