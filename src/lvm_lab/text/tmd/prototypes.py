"""`tmd=prototypes`: zero-shot, the name whose sentences are nearest to the chunk by cosine, for each field by itself.

Shape suffixes: N chunks, K names, D vector dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lvm_lab.data import tmd
from lvm_lab.text.coder import Coder, Table
from lvm_lab.text.encoder import Encoder

BLOCK = 65_536


class Prototypes(Coder):
    """The sentences of each name are encoded as the chunks were, and their mean is the name's prototype.

    centre: take the mean of a field's prototypes from each of them first. What all of them share (that they are short
    sentences about a kind of text) would otherwise make those that have most of it near to every chunk.
    """

    needs_encoder = True

    def __init__(self, centre: bool = True) -> None:
        self.centre = centre
        self._kept: tuple[Table, Encoder, dict[str, np.ndarray]] | None = None

    @property
    def by(self) -> str:
        return f"prototypes{', centred' if self.centre else ''}"

    def codes(
        self, table: Table, vectors_ND: np.ndarray, texts: Sequence[str] | None, encoder: Encoder | None
    ) -> Iterator[np.ndarray]:
        assert encoder is not None, "prototypes are encoded"
        prototypes = self._of(table, encoder)
        codes = [np.empty(0, np.uint16)]
        for first in range(0, len(vectors_ND), BLOCK):
            unit_ND = _unit(np.asarray(vectors_ND[first : first + BLOCK], np.float32))
            codes.append(tmd.pack(**{key: (unit_ND @ of_KD.T).argmax(axis=1) for key, of_KD in prototypes.items()}))
        yield np.concatenate(codes)

    def _of(self, table: Table, encoder: Encoder) -> dict[str, np.ndarray]:
        """By field, K x D; made once for a table and an encoder, since a server asks for a few chunks at a time."""
        if self._kept is None or self._kept[0] is not table or self._kept[1] is not encoder:
            self._kept = table, encoder, {key: self._prototypes(table[key], encoder) for key in tmd.FIELDS}
        return self._kept[2]

    def _prototypes(self, sentences: dict[str, list[str]], encoder: Encoder) -> np.ndarray:
        every = [sentence for of_name in sentences.values() for sentence in of_name]
        unit_SD = _unit(encoder.encode(every))
        ends = np.cumsum([len(of_name) for of_name in sentences.values()])
        mean_KD = np.stack([some.mean(axis=0) for some in np.split(unit_SD, ends[:-1])])
        if self.centre and len(mean_KD) > 1:
            mean_KD = mean_KD - mean_KD.mean(axis=0)
        return _unit(mean_KD)


def _unit(x_ND: np.ndarray) -> np.ndarray:
    lengths_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    unit_ND: np.ndarray = x_ND / np.maximum(lengths_N1, 1e-12)
    return unit_ND
