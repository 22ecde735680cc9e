"""What a coder is: chunks in, TMD codes out, by a table of names with a sentence for each.

Shape suffixes: N chunks, D vector dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from lvm_lab.data.tmd import FIELDS, Names
from lvm_lab.text.encoder import Encoder

# By field (domains, tasks, modifiers): each name with the sentences that describe it.
Table = dict[str, dict[str, list[str]]]


class Coder(ABC):
    """`tmd=...`: its constructor takes the settings of conf/tmd/<name>.yaml and loads nothing.

    needs_texts: whether it reads the chunks' texts. needs_encoder: whether it encodes sentences as the chunks were.
    places, secrets: as of an encoder.
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    needs_texts: ClassVar[bool] = False
    needs_encoder: ClassVar[bool] = False

    @property
    @abstractmethod
    def by(self) -> str:
        """How its codes came about, for the manifest."""

    @abstractmethod
    def codes(
        self, table: Table, vectors_ND: np.ndarray, texts: Sequence[str] | None, encoder: Encoder | None
    ) -> Iterator[np.ndarray]:
        """The code of each chunk as uint16, a stretch of chunks after the other in their order, each of which is
        written down once it comes; MISSING where there is none yet, for which the next call asks again. Chunks behind
        the last stretch have none either.

        Raises EndpointError (`lvm_lab.text.endpoint`) where what is asked does not answer, after the codes it has.
        """


def names_of(table: Table, by: str) -> Names:
    domains, tasks, modifiers = (tuple(table[key]) for key in FIELDS)
    return Names(domains, tasks, modifiers, by)
