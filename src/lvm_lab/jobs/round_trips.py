"""Whether a decoder's texts come back: what the encoder makes of them beside the vectors that were decoded.

Shape suffixes: N vectors, D vector dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.config.settings import cache_folder
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.text.decoder import Resources, open_decoder, round_trips
from lvm_lab.text.encoder import Encoder


@dataclass(frozen=True)
class RoundTrips:
    """decoder: what it is, for a reader. expected: the least mean cosine that its weights give, None where that is not
    known. notes: what to know of its texts."""

    decoder: str
    cosine_N: np.ndarray
    expected: float | None
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        cosines = f"cosine min {self.cosine_N.min():.3f}, mean {self.cosine_N.mean():.3f}"
        expected = "" if self.expected is None else f" ({self.expected:.2f} or more is expected)"
        yield f"  decoded   {len(self.cosine_N)} chunks by {self.decoder} and encoded again: {cosines}{expected}"
        for note in self.notes:
            yield f"  note      {note}"

    def refuse(self, path: Path) -> None:
        """UserError where the texts of the store at `path` come back less well than is expected."""
        mean = float(self.cosine_N.mean())
        if self.expected is not None and mean < self.expected:
            raise UserError(
                f"{path}: decoded by {self.decoder} and encoded again, its texts have a mean cosine of {mean:.3f} and "
                f"{self.expected:.2f} is expected; cut them into shorter chunks, or name other models of its encoder."
            )


def go_round(store: Store, encoder: Encoder, node: dict[str, Any], vectors_ND: np.ndarray) -> RoundTrips:
    """The vectors decoded and encoded again. node: of the decoder's option. Raises UserError for a decoder of another
    encoder than the store's."""
    decoder = open_decoder(node, Resources(str(store.path), store.contract, encoder, store, cache_folder(None)))
    texts = [candidates[0].text for candidates in decoder.decode(vectors_ND)]
    name = f"{node.get('name', 'decoder')} by {decoder.source}"
    return RoundTrips(name, round_trips(encoder, texts, vectors_ND), decoder.expected, decoder.notes)
