"""The settings of `lvm-lab train-decoder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lvm_lab.errors import UserError

NONE = "none"
# The most tokens that vec2text's models write and their embedder reads.
LONGEST = 128


@dataclass(frozen=True)
class DecoderTraining:
    """inversion, corrector: folders, or names at Hugging Face; NONE: without a corrector. learning_rate: of AdamW; it
    falls linearly to 0. max_tokens: where texts are cut. held_out: share of the texts that is not trained on."""

    store: Path
    out: Path
    inversion: str = "jxm/gtr__nq__32"
    corrector: str = "jxm/gtr__nq__32__correct"
    epochs: float = 3
    learning_rate: float = 2e-5
    batch_size: int = 32
    max_tokens: int = 32
    held_out: float = 0.05
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    def check(self) -> None:
        """UserError for what does not fit."""
        for flag, value in (("epochs", self.epochs), ("learning-rate", self.learning_rate)):
            if not 0 < value < float("inf"):
                raise UserError(f"--{flag} {value:g} does not fit; set more than 0.")
        for flag, count, least in (("batch-size", self.batch_size, 1), ("seed", self.seed, 0)):
            if count < least:
                raise UserError(f"--{flag} {count} does not fit; set {least} or more.")
        if not 2 <= self.max_tokens <= LONGEST:
            raise UserError(f"--max-tokens {self.max_tokens} does not fit; set 2 to {LONGEST}.")
        if not 0 < self.held_out < 1:
            raise UserError(f"--held-out {self.held_out:g} does not fit; set a share between 0 and 1.")
