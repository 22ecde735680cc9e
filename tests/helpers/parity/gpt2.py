"""distilgpt2's blocks against transformers' GPT2Model with the same weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from helpers.parity._common import Row, carrying, largest, rows, shaken, step
from lvm_lab.archs.distilgpt2 import DistilGPT2

WIDTH, LAYERS, HEADS = 48, 3, 4


def build() -> Any:
    return DistilGPT2(WIDTH, 5, width=WIDTH, layers=LAYERS, heads=HEADS, max_positions=256)


def against_theirs(length: int, dtype: torch.dtype) -> float:
    """Ours without its input projection, and transformers' with ours' weights."""
    ours = shaken(build())
    ours.input = nn.Identity()
    config = transformers.GPT2Config(vocab_size=3, n_positions=256, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    theirs = carrying(transformers.GPT2Model(config), ours.state_dict(), "wte.weight").to(dtype)
    x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    return largest(ours.to(dtype)(x_BLH), theirs(inputs_embeds=x_BLH).last_hidden_state)


def comparisons() -> list[Row]:
    return rows("distilgpt2", {"transformers.GPT2Model": against_theirs, "step": step(build, WIDTH)})
