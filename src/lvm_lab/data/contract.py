"""The encoder contract: what made a store's vectors, and whether two of them can have been made by the same encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class EncoderContract:
    """What made the vectors. `None` means that the file does not say."""

    encoder: str | None = None
    pooling: str | None = None
    dense: bool | None = None
    normalised: bool | None = None
    dim: int = 0
    dtype: str = "float32"
    probes: dict[str, list[float]] = field(default_factory=dict)

    def conflict(self, other: EncoderContract) -> str | None:
        """The first field in which two contracts contradict each other, as a phrase, or None."""
        for name in ("dim", "encoder", "pooling", "dense", "normalised"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None and mine != theirs:
                return f"{name} {mine} against {theirs}"
        for sentence in self.probes.keys() & other.probes.keys():
            a, b = np.asarray(self.probes[sentence]), np.asarray(other.probes[sentence])
            cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
            if cosine < 0.999:
                return f"the probe sentence {sentence!r} has cosine {cosine:.3f}"
        return None
