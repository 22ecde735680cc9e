"""lcm_base against its definition place by place, and against transformers' LlamaModel: the same blocks, with biases.

Shape suffixes: B batch, L length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row, against, embed, rms_norm, rotary_attention, rows, step, swiglu
from helpers.parity.transformer import DIM, HEADS, LAYERS, WIDTH, against_llama
from lvm_lab.archs.lcm_base import LCMBase


def build() -> LCMBase:
    return LCMBase(DIM, 5, width=WIDTH, layers=LAYERS, heads=HEADS)


def definition(ours: Any, x_BLD: Tensor) -> Tensor:
    hidden_BLH = embed(x_BLD, ours.input)
    for layer in ours.layers:
        hidden_BLH = hidden_BLH + rotary_attention(rms_norm(hidden_BLH, layer.norm_attention), layer.attention)
        hidden_BLH = hidden_BLH + swiglu(rms_norm(hidden_BLH, layer.norm_mlp), layer.mlp)
    return rms_norm(hidden_BLH, ours.norm_out)


def comparisons() -> list[Row]:
    """LlamaModel norms and turns by places in float32 whatever it is given: in float64 the definition stands alone."""
    llama = {"transformers.LlamaModel": against_llama(build)}
    gaps = {"definition, place by place": against(build, definition, DIM), "step": step(build, DIM)}
    return rows("lcm_base", llama, dtypes=[torch.float32]) + rows("lcm_base", gaps)
