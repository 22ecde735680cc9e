"""transformer against its definition place by place, and against transformers' LlamaModel with layer norms.

Shape suffixes: B batch, L length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from helpers.parity._common import (
    Gap,
    Row,
    against,
    carrying,
    embed,
    largest,
    layer_norm,
    rotary_attention,
    rows,
    shaken,
    step,
    swiglu,
)
from lvm_lab.archs.transformer import Transformer

DIM, WIDTH, LAYERS, HEADS = 12, 16, 2, 2


def build() -> Transformer:
    return Transformer(DIM, 5, width=WIDTH, layers=LAYERS, heads=HEADS)


def definition(ours: Any, x_BLD: Tensor) -> Tensor:
    hidden_BLH = embed(x_BLD, ours.input)
    for layer in ours.layers:
        hidden_BLH = hidden_BLH + rotary_attention(layer_norm(hidden_BLH, layer.norm_attention), layer)
        hidden_BLH = hidden_BLH + swiglu(layer_norm(hidden_BLH, layer.norm_mlp), layer.mlp)
    return layer_norm(hidden_BLH, ours.norm_out)


def against_llama(build: Callable[[], Any], norm: type[nn.Module] | None = None) -> Gap:
    """Ours without its input projection against LlamaModel with its weights and, where given, another norm."""

    def gap(length: int, dtype: torch.dtype) -> float:
        ours = shaken(build())
        ours.input = nn.Identity()
        config = transformers.LlamaConfig(
            vocab_size=3,
            hidden_size=WIDTH,
            intermediate_size=ours.layers[0].mlp.down.in_features,
            num_hidden_layers=len(ours.layers),
            num_attention_heads=HEADS,
            max_position_embeddings=256,
            rms_norm_eps=torch.finfo(dtype).eps,
            attention_bias=True,
            mlp_bias=True,
            use_cache=False,
        )
        theirs = transformers.LlamaModel(config)
        if norm is not None:
            theirs.norm = norm(WIDTH)
            for layer in theirs.layers:
                layer.input_layernorm, layer.post_attention_layernorm = norm(WIDTH), norm(WIDTH)
        carrying(theirs, llama_names(ours), "embed_tokens.weight")
        x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
        return largest(ours(x_BLH), theirs(inputs_embeds=x_BLH).last_hidden_state)

    return gap


def llama_names(ours: Any) -> dict[str, Tensor]:
    """The weights under LlamaModel's names, its separate matrices cut from ours."""
    parts = {
        "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "out": ("self_attn.o_proj",),
        "mlp.up": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.down": ("mlp.down_proj",),
        "norm_attention": ("input_layernorm",),
        "norm_mlp": ("post_attention_layernorm",),
    }
    named = {}
    for name, value in ours.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if stem == "norm_out":
            named[f"norm.{kind}"] = value
            continue
        layers, i, part = stem.split(".", maxsplit=2)
        theirs = parts[part.removeprefix("attention.")]
        for their, cut in zip(theirs, value.chunk(len(theirs)), strict=True):
            named[f"{layers}.{i}.{their}.{kind}"] = cut
    return named


def comparisons() -> list[Row]:
    """LlamaModel turns by places in float32 whatever it is given: in float64 the definition stands alone."""
    llama = {"transformers.LlamaModel with layer norms": against_llama(build, nn.LayerNorm)}
    gaps = {"definition, place by place": against(build, definition, DIM), "step": step(build, DIM)}
    return rows("transformer", llama, dtypes=[torch.float32]) + rows("transformer", gaps)
