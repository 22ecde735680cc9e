"""distilgpt2's blocks against transformers' GPT2Model with the same weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from lvm_lab.archs.distilgpt2 import DistilGPT2

WIDTH, LAYERS, HEADS = 48, 3, 4


def pair() -> tuple[Any, Any]:
    """Ours without its input projection, and transformers' with ours' weights."""
    torch.manual_seed(0)
    ours: Any = DistilGPT2(WIDTH, 5, width=WIDTH, layers=LAYERS, heads=HEADS, max_positions=256).eval()
    ours.input = nn.Identity()
    config = transformers.GPT2Config(vocab_size=3, n_positions=256, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    theirs = transformers.GPT2Model(config).eval()
    with torch.no_grad():
        for parameter in ours.parameters():  # off the initial ones and zeros, so that a swapped name would show
            parameter += 0.05 * torch.randn(parameter.shape)
    problems = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert problems.missing_keys == ["wte.weight"]
    assert problems.unexpected_keys == []
    return ours, theirs


@torch.no_grad()
def comparisons() -> list[tuple[str, str, int, str, float]]:
    """(arch, reference, L, dtype, largest difference) at a short and a long context."""
    rows = []
    for dtype in (torch.float32, torch.float64):
        ours, theirs = (model.to(dtype) for model in pair())
        for length in (5, 256):
            x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
            gap = (ours(x_BLH) - theirs(inputs_embeds=x_BLH).last_hidden_state).abs().max().item()
            rows.append(("distilgpt2", "transformers.GPT2Model", length, str(dtype).removeprefix("torch."), gap))
    return rows
