"""A transformer whose hidden states are averaged over a text's tokens: what `minilm` and `gtr_vec2text` share.

Shape suffixes: N texts, B texts of a batch, T tokens of its longest text, D vector dim.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.batches import cut, distinct
from lvm_lab.text.devices import Device, device_of, dtype_of
from lvm_lab.text.encoder import Encoder

if TYPE_CHECKING:
    import torch

LIBRARY = "transformers"
# Tokens of a batch, where the user sets none: what stays in a core's cache, and what keeps a GPU busy.
BATCH_TOKENS = {"cpu": 512, "mps": 8192, "cuda": 32768}
# No text has fewer than its special tokens and one of its own.
FEWEST_TOKENS = 3


@dataclass(frozen=True)
class Opened:
    """A model in float32 on the CPU with the tokenizer of the library `tokenizers`. pad: the token that fills rows."""

    tokenizer: Any
    pad: int
    model: torch.nn.Module
    revision: str


class PooledEncoder(Encoder):
    """max_tokens: where a text is cut. batch_tokens: of a batch with its padding; None: what suits the device.

    threads: batches that the CPU computes at once, each on one core, so that the vectors' bytes hang on no number of
    threads; None: torch's own number.
    """

    normalised: ClassVar[bool]

    def __init__(
        self,
        *,
        max_tokens: int = 256,
        batch_tokens: int | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        if max_tokens < FEWEST_TOKENS:
            raise UserError(f"encoder.max_tokens={max_tokens} leaves no token of a text; set {FEWEST_TOKENS} or more.")
        for name, value in (("batch_tokens", batch_tokens), ("threads", threads)):
            if value is not None and value < 1:
                raise UserError(f"encoder.{name}={value} does not fit; set 1 or more, or null.")
        self.max_tokens, self.batch_tokens, self.device, self.threads = max_tokens, batch_tokens, device, threads
        self._opened: Opened | None = None
        self._torch_device: Any = None

    @property
    @abstractmethod
    def called(self) -> str:
        """The model's name in the contract."""

    @abstractmethod
    def _open(self) -> Opened:
        """Reads the model from where it lies. Raises UserError where it is not there."""

    @property
    def limit(self) -> int:
        return self.max_tokens

    @property
    def version(self) -> str:
        import torch
        import transformers

        self._load()
        dtype = str(dtype_of(self._torch_device)).removeprefix("torch.")
        libraries = f"transformers {transformers.__version__}, torch {torch.__version__}"
        return f"{libraries}, {dtype} on {self._torch_device.type}"

    def contract(self) -> EncoderContract:
        opened = self._load()
        return EncoderContract(
            encoder=self.called,
            pooling="mean",
            dense=False,
            normalised=self.normalised,
            dim=int(opened.model.config.hidden_size),  # type: ignore[union-attr, arg-type]
            library=LIBRARY,
            max_tokens=self.max_tokens,
            revision=opened.revision,
        )

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        tokenizer = self._load().tokenizer
        tokenizer.no_truncation()
        return np.array([len(one.ids) for one in tokenizer.encode_batch_fast(list(texts))], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        opened = self._load()
        unique, places_N = distinct(texts)
        opened.tokenizer.enable_truncation(self.max_tokens)
        ids = [one.ids for one in opened.tokenizer.encode_batch_fast(unique)]
        budget = self.batch_tokens or BATCH_TOKENS[self._torch_device.type]
        batches = cut([len(row) for row in ids], budget)
        vectors_ND = np.empty((len(unique), int(opened.model.config.hidden_size)), np.float32)  # type: ignore[union-attr, arg-type]

        def pooled(batch: list[int]) -> torch.Tensor:
            return self._pooled(opened, [ids[place] for place in batch])

        done = self._on_cpu(batches, pooled) if self._torch_device.type == "cpu" else [pooled(b) for b in batches]
        for batch, made_BD in zip(batches, done, strict=True):
            vectors_ND[batch] = made_BD.cpu().numpy()
        return vectors_ND[places_N]

    def _on_cpu(self, batches: list[list[int]], pooled: Callable[[list[int]], torch.Tensor]) -> list[torch.Tensor]:
        """Each batch on one core: cores that share a batch wait for each other at every layer."""
        import torch

        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(self.threads or before, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(pooled, batches))
        finally:
            # What a thread sets for itself is what threads to come begin with.
            torch.set_num_threads(before)

    def _pooled(self, opened: Opened, ids: list[list[int]]) -> torch.Tensor:
        """The mean of the hidden states at a text's own tokens, float32 B x D, not waited for on a GPU."""
        import torch

        ids_BT = np.full((len(ids), max(map(len, ids))), opened.pad, dtype=np.int64)
        mask_BT = np.zeros_like(ids_BT)
        for row, own in enumerate(ids):
            ids_BT[row, : len(own)] = own
            mask_BT[row, : len(own)] = 1
        with torch.inference_mode():
            mask = torch.from_numpy(mask_BT).to(self._torch_device)
            hidden_BTD = opened.model(
                input_ids=torch.from_numpy(ids_BT).to(self._torch_device), attention_mask=mask
            ).last_hidden_state
            weight_BT1 = mask.unsqueeze(-1).to(torch.float32)
            mean_BD = (hidden_BTD.float() * weight_BT1).sum(1) / weight_BT1.sum(1)
            return torch.nn.functional.normalize(mean_BD, dim=-1) if self.normalised else mean_BD

    def _load(self) -> Opened:
        if self._opened is None:
            self._torch_device = device_of(self.device)
            opened = self._open()
            longest = getattr(opened.model.config, "max_position_embeddings", None)
            if longest is not None and self.max_tokens > longest:
                raise UserError(
                    f"encoder.max_tokens={self.max_tokens} is more than the {longest} that {self.called} can read; set "
                    "fewer."
                )
            opened.model.to(self._torch_device, dtype_of(self._torch_device))
            self._opened = opened
        return self._opened


def tokenizer_of(tokenizer: Any, model: str) -> tuple[Any, int]:
    """(the tokenizer of the library `tokenizers` within one of transformers, without padding; the token that fills)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"the tokenizer of {model} has no tokenizer.json; save it again as a fast one.")
    backend.no_padding()
    return backend, int(tokenizer.pad_token_id or 0)
