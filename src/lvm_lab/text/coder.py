"""What a coder is: chunks in, TMD codes out, by a table of names with a sentence for each.

Shape suffixes: N chunks, D vector dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
    ) -> np.ndarray:
        """The code of each chunk, (N,) uint16; MISSING where there is none yet, which the next call asks again."""


def names_of(table: Table, by: str) -> Names:
    domains, tasks, modifiers = (tuple(table[key]) for key in FIELDS)
    return Names(domains, tasks, modifiers, by)
