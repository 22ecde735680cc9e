"""`encoder=sentence_transformers`: any model of that library, with the pooling and the layers that it comes with.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.batches import distinct
from lvm_lab.text.devices import Device, device_of, dtype_of, revision_of
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.hugging_face import loaded, name_of
from lvm_lab.text.installed import needed

LIBRARY = "sentence-transformers"


class SentenceTransformers(Encoder):
    """model: a folder, or a name at Hugging Face. model_name: what the contract calls it; None: by that name, or by the
    folder's. max_tokens: where a text is cut; None: where the model says. batch_size: texts at once. threads: of the
    CPU; None: torch's own number.
    """

    def __init__(
        self,
        model: str | None = None,
        model_name: str | None = None,
        *,
        max_tokens: int | None = None,
        batch_size: int = 32,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        for name, value in (("max_tokens", max_tokens), ("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise UserError(f"encoder.{name}={value} does not fit; set 1 or more.")
        self.model, self.model_name, self.max_tokens = model, model_name, max_tokens
        self.batch_size, self.device, self.threads = batch_size, device, threads
        self._loaded: Any = None
        self._revision = ""

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        if contract.library != LIBRARY or not contract.encoder:
            return None
        return {"model": contract.encoder, "max_tokens": contract.max_tokens}

    @property
    def limit(self) -> int | None:
        limit = self._load().max_seq_length
        return None if limit is None else int(limit)

    @property
    def version(self) -> str:
        import torch

        model = self._load()
        library = needed("sentence_transformers").__version__
        dtype = str(dtype_of(model.device)).removeprefix("torch.")
        threads = f", {self.threads or torch.get_num_threads()} threads" if model.device.type == "cpu" else ""
        return f"{LIBRARY} {library}, torch {torch.__version__}, {dtype} on {model.device.type}{threads}"

    def contract(self) -> EncoderContract:
        model = self._load()
        kinds = [type(module).__name__ for module in model]
        modes = [module.pooling_mode for module in model if type(module).__name__ == "Pooling"]
        pooling = "+".join(mode if isinstance(mode, str) else "+".join(mode) for mode in modes)
        return EncoderContract(
            encoder=self.model_name or name_of(str(self.model)),
            # What pools otherwise (bags of words, static embeddings) is named by its kind.
            pooling=pooling or kinds[0].lower(),
            dense="Dense" in kinds,
            normalised="Normalize" in kinds,
            dim=int(model.get_embedding_dimension()),
            library=LIBRARY,
            max_tokens=self.limit,
            revision=self._revision,
        )

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        model = self._load()
        tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        prompt = model.prompts.get(model.default_prompt_name) or ""
        return np.array([len(one.ids) for one in tokenizer.encode_batch([prompt + text for text in texts])], np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        model = self._load()
        unique, places_N = distinct(texts)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            # It sorts them by length itself.
            vectors_ND = model.encode(unique, batch_size=self.batch_size, show_progress_bar=False)
        finally:
            torch.set_num_threads(before)
        return np.asarray(vectors_ND, dtype=np.float32)[places_N]

    def _load(self) -> Any:
        if self._loaded is None:
            if not self.model:
                raise UserError(
                    "encoder=sentence_transformers needs a model; add encoder.model=FOLDER, or its Hugging Face name."
                )
            device = device_of(self.device)
            kind = needed("sentence_transformers").SentenceTransformer
            model = loaded(self.model, kind, device="cpu", trust_remote_code=False).eval()
            if self.max_tokens is not None:
                model.max_seq_length = self.max_tokens
            self._revision = revision_of(model)
            self._loaded = model.to(device, dtype_of(device))
        return self._loaded
