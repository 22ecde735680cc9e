"""`encoder=gtr_vec2text`: the T5 encoder of gtr-t5-base as vec2text's decoders expect its vectors.

Mean pooling over the attention mask, no dense layer, not normalised: the model of that name in sentence-transformers
adds both, which is another space. `load_embedder_and_tokenizer("gtr_base")` of https://github.com/jxmorris12/vec2text
(Morris et al. 2023, arXiv:2310.06816) is its definition.
"""

from __future__ import annotations

from typing import Any

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.devices import Device, revision_of
from lvm_lab.text.hugging_face import loaded, name_of
from lvm_lab.text.installed import needed
from lvm_lab.text.pooled import LIBRARY, Opened, PooledEncoder, tokenizer_of


class GtrVec2Text(PooledEncoder):
    """model: a folder, or a name at Hugging Face. model_name: what the contract calls it; None: by that name, or by the
    folder's. max_tokens: vec2text's decoders were trained on texts of 32 tokens, and of 128 at most.
    """

    normalised = False

    def __init__(
        self,
        model: str = "sentence-transformers/gtr-t5-base",
        model_name: str | None = None,
        *,
        max_tokens: int = 128,
        batch_tokens: int | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__(max_tokens=max_tokens, batch_tokens=batch_tokens, device=device, threads=threads)
        self.model, self.model_name = model, model_name

    @property
    def called(self) -> str:
        return self.model_name or name_of(self.model)

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        made = (contract.library, contract.pooling, contract.dense, contract.normalised)
        if made != (LIBRARY, "mean", False, False) or not contract.encoder:
            return None
        return {"model": contract.encoder, "max_tokens": contract.max_tokens or 128}

    def _open(self) -> Opened:
        transformers = needed("transformers")
        tokenizer = loaded(self.model, transformers.AutoTokenizer.from_pretrained, trust_remote_code=False)
        kind = loaded(self.model, transformers.AutoConfig.from_pretrained, trust_remote_code=False).model_type
        load = transformers.T5EncoderModel.from_pretrained
        model, info = (
            loaded(self.model, load, dtype="float32", output_loading_info=True) if kind == "t5" else (None, {})
        )
        if model is None or info["missing_keys"]:
            raise UserError(f"encoder.model={self.model} is no T5 encoder; name gtr-t5-base, or take another encoder.")
        return Opened(*tokenizer_of(tokenizer, self.model), model.eval(), revision_of(model))
