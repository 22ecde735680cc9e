"""What an encoder is: texts in, vectors out, with the contract that says what they are.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lvm_lab.data.contract import EncoderContract

# By which an encoder is loaded, or asked what its vectors are, before there is any text.
FIRST_TEXT = "The first sentence that an encoder sees."


class Encoder(ABC):
    """`encoder=...` of an ingestion: its constructor takes the settings of conf/encoder/<name>.yaml and loads nothing;
    the first call does.

    places, secrets: as of a data source (`lvm_lab.data.source.Source`).
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        """The settings with which this class makes what a contract describes, for `lvm-lab verify`; None where the
        contract is none of its own."""
        return None

    @abstractmethod
    def contract(self) -> EncoderContract:
        """What makes the vectors, with its dim and without probes, which the caller encodes."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Their vectors, float32 N x D in the texts' order. A text's vector hangs on the other texts no more than in
        its last digits; the same list gives the same bytes on one machine."""

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """How many tokens each text has before any are cut off, (N,) int64."""

    @property
    @abstractmethod
    def limit(self) -> int | None:
        """The most tokens that enter; None where there is no limit."""

    @property
    def version(self) -> str:
        """Names what the vectors hang on beyond the contract (weights' digest, library), for `ingest.json`."""
        return ""
