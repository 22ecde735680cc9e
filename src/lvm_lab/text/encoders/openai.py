"""`encoder=openai`: any endpoint that answers `POST /v1/embeddings` as OpenAI's does.

https://platform.openai.com/docs/api-reference/embeddings is what is asked and answered.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from lvm_lab.data.contract import UNIT_TOLERANCE, EncoderContract, distance_from_unit
from lvm_lab.errors import UserError
from lvm_lab.text.batches import distinct
from lvm_lab.text.embeddings_answer import vectors_of
from lvm_lab.text.encoder import FIRST_TEXT, Encoder
from lvm_lab.text.endpoint import Endpoint

LIBRARY = "openai"
WORD = re.compile(r"\w+|[^\w\s]")


class OpenAI(Encoder):
    """base_url: up to and with /v1. model: as the endpoint calls it. api_key: from the environment alone.

    dimensions: asked for, where the model can give fewer. batch_size: texts of one request. timeout: seconds in which a
    request has to be answered whole. retries: how often one is sent again after 429, a 5xx, no connection or no
    answer in time; longest_wait: the most seconds between two, also where the endpoint asks for more.
    """

    places: ClassVar[tuple[str, ...]] = ("base_url",)
    secrets: ClassVar[tuple[str, ...]] = ("api_key",)

    def __init__(
        self,
        model: str | None = None,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        *,
        dimensions: int | None = None,
        batch_size: int = 128,
        timeout: float = 60.0,
        retries: int = 6,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        encoding_format: Literal["float", "base64"] = "float",
    ) -> None:
        if batch_size < 1:
            raise UserError(f"encoder.batch_size={batch_size} does not fit; set 1 or more texts.")
        if dimensions is not None and dimensions < 1:
            raise UserError(
                f"encoder.dimensions={dimensions} does not fit; set 1 or more, or null for the model's own."
            )
        if encoding_format not in ("float", "base64"):
            raise UserError(f"encoder.encoding_format={encoding_format} does not fit; choose float or base64.")
        self.model, self.dimensions, self.batch_size = model, dimensions, batch_size
        self.encoding_format = encoding_format
        self._endpoint = Endpoint(base_url, api_key, timeout, retries, first_wait, longest_wait)
        self._contract: EncoderContract | None = None

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        return {"model": contract.encoder} if contract.library == LIBRARY and contract.encoder else None

    @property
    def limit(self) -> None:
        """The endpoint's own, of which its answers say nothing."""
        return None

    @property
    def version(self) -> str:
        return f"{self.model} at {self._endpoint.shown}"

    def contract(self) -> EncoderContract:
        if self._contract is None:
            vector_D = self._ask([FIRST_TEXT])[0]
            if self.dimensions not in (None, len(vector_D)):
                raise UserError(
                    f"{self._endpoint.shown} answered with vectors of {len(vector_D)} dims and not of "
                    f"encoder.dimensions={self.dimensions}; set it to null, or name a model that gives as many."
                )
            self._contract = EncoderContract(
                encoder=self.model,
                normalised=distance_from_unit(vector_D) <= UNIT_TOLERANCE,
                dim=len(vector_D),
                library=LIBRARY,
            )
        return self._contract

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Words and marks, since the endpoint's tokens are not known here: a little fewer than those."""
        return np.array([len(WORD.findall(text)) for text in texts], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        dim = self.contract().dim
        unique, places_N = distinct(texts)
        vectors_ND = np.empty((len(unique), dim), np.float32)
        for start in range(0, len(unique), self.batch_size):
            batch = unique[start : start + self.batch_size]
            made_ND = self._ask(batch)
            if made_ND.shape[1] != dim:
                raise UserError(
                    f"{self._endpoint.shown} answered with vectors of {made_ND.shape[1]} dims after some of {dim}; ask "
                    "for a model whose vectors have one length."
                )
            vectors_ND[start : start + len(batch)] = made_ND
        return vectors_ND[places_N]

    def _ask(self, texts: list[str]) -> np.ndarray:
        if not self.model:
            raise UserError("encoder=openai needs a model; add encoder.model=NAME, as the endpoint calls it.")
        asked: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": self.encoding_format}
        if self.dimensions is not None:
            asked["dimensions"] = self.dimensions
        answer = self._endpoint.post("embeddings", asked)
        return vectors_of(answer, len(texts), self._endpoint.shown)
