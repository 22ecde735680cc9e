"""mamba2's stack against transformers' Mamba2Model, against the recurrence place by place, and against its own padding.

Shape suffixes: B batch, L length, H hidden dim, I inner dim, G groups, K heads, P dim of a head, N state size,
M channels of the convolution.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from helpers.parity._common import (
    Row,
    affine,
    against,
    carrying,
    largest,
    rms_norm,
    rotary_attention,
    rows,
    shaken,
    step,
)
from lvm_lab.archs.mamba2 import Mamba2
from lvm_lab.archs.mamba2_attention import Mamba2Attention
from lvm_lab.nn.attention import RotaryAttention
from lvm_lab.nn.ssd import ssd_scan

WIDTH, STATE, EPSILON = 32, 8, 1e-5
MIXER = {"state": STATE, "head_dim": 16, "conv": 4}


def build(chunk: int) -> Mamba2:
    return Mamba2(WIDTH, 5, width=WIDTH, layers=2, chunk=chunk, **MIXER)


def hybrid() -> Mamba2Attention:
    return Mamba2Attention(WIDTH, 5, width=WIDTH, layers=4, attention_every=2, heads=2, chunk=64, **MIXER)


def against_theirs(chunk: int, length: int, dtype: torch.dtype) -> float:
    """transformers' model has a small chunk, since it pads every context to it."""
    ours = shaken(build(chunk).stack)
    config = transformers.Mamba2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        state_size=STATE,
        head_dim=16,
        num_heads=2 * WIDTH // 16,
        expand=2,
        n_groups=1,
        conv_kernel=4,
        chunk_size=8,
        vocab_size=3,
        use_cache=False,
    )
    theirs = carrying(transformers.Mamba2Model(config), ours.state_dict(), "embeddings.weight")
    x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    return largest(ours(x_BLH), theirs(inputs_embeds=x_BLH).last_hidden_state)


def sequential(stack: Any, hidden_BLH: Tensor) -> Tensor:
    """The stack's definition with nothing of its code but the weights: one place after the other."""
    for layer in stack.layers:
        mixer = layer.mixer
        x_BLH = rms_norm(hidden_BLH, layer.norm, EPSILON)
        if isinstance(mixer, RotaryAttention):
            hidden_BLH = hidden_BLH + rotary_attention(x_BLH, mixer)
            continue
        inner, heads, state = mixer.inner, mixer.heads, mixer.state
        gate_BLI, x_BLM, dt_BLK = affine(x_BLH, mixer.in_proj).split((inner, inner + 2 * state, heads), dim=-1)
        padded_BML = F.pad(x_BLM.transpose(1, 2), (MIXER["conv"] - 1, 0))
        x_BLM = F.silu(F.conv1d(padded_BML, mixer.conv1d.weight, mixer.conv1d.bias, groups=inner + 2 * state))
        x_BLI, b_BLN, c_BLN = x_BLM.transpose(1, 2).split((inner, state, state), dim=-1)
        dt_BLK = F.softplus(dt_BLK + mixer.dt_bias)
        memory_BKPN = hidden_BLH.new_zeros(len(hidden_BLH), heads, inner // heads, state)
        places = []
        for t in range(hidden_BLH.shape[1]):
            x_BKP = x_BLI[:, t].unflatten(-1, (heads, -1))
            dt_BK11 = dt_BLK[:, t, :, None, None]
            keep_BK11 = torch.exp(-dt_BK11 * mixer.A_log.exp()[:, None, None])
            memory_BKPN = keep_BK11 * memory_BKPN + dt_BK11 * x_BKP[..., None] * b_BLN[:, t, None, None]
            y_BKP = (memory_BKPN * c_BLN[:, t, None, None]).sum(-1) + mixer.D[:, None] * x_BKP
            places.append(y_BKP.flatten(1))
        y_BLI = rms_norm(torch.stack(places, dim=1) * F.silu(gate_BLI), mixer.norm, EPSILON)
        hidden_BLH = hidden_BLH + affine(y_BLI, mixer.out_proj)
    return rms_norm(hidden_BLH, stack.norm_f, EPSILON)


def padding_gap(length: int, dtype: torch.dtype) -> float:
    """The largest change of the scan when the context is filled up to a multiple of the chunk with other vectors."""
    x_BLKP, b_BLGN, c_BLGN = torch.randn(3, 2, length, 4, STATE, dtype=dtype)
    dt_BLK, a_K = 0.1 * torch.rand(2, length, 4, dtype=dtype), -torch.linspace(1, 16, 4, dtype=dtype)
    chunk = 48  # divides neither 5 nor 256
    more = -length % chunk
    full = (
        torch.cat((v, torch.randn_like(v[:, :1]).expand(-1, more, *v.shape[2:])), 1) for v in (x_BLKP, b_BLGN, c_BLGN)
    )
    full_x, full_b, full_c = full
    full_dt = torch.cat((dt_BLK, 0.1 * torch.rand(2, more, 4, dtype=dtype)), dim=1)
    got = ssd_scan(x_BLKP, dt_BLK, a_K, b_BLGN, c_BLGN, chunk)
    want = ssd_scan(full_x, full_dt, a_K, full_b, full_c, chunk)[:, :length]
    return largest(got, want)


def comparisons() -> list[Row]:
    """transformers computes the scan in float32 whatever it is given: in float64 the recurrence stands alone."""
    ours, theirs = {}, {}
    for chunk in (16, 64, 256):
        stack = partial(lambda chunk: build(chunk).stack, chunk)
        ours[f"sequential scan, chunk {chunk}"] = against(stack, sequential, WIDTH)
        theirs[f"transformers.Mamba2Model, chunk {chunk}"] = partial(against_theirs, chunk)
    ours["its scan on a context filled up to the chunk"] = padding_gap
    ours["step"] = step(partial(build, 64), WIDTH)
    both = {
        "sequential scan and attention": against(lambda: hybrid().stack, sequential, WIDTH),
        "step": step(hybrid, WIDTH),
    }
    single = rows("mamba2", theirs, dtypes=[torch.float32])
    return rows("mamba2", ours) + single + rows("mamba2_attention", both)
