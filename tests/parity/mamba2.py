"""mamba2's stack against transformers' Mamba2Model, against the recurrence place by place, and against its own padding.

Shape suffixes: B batch, L length, H hidden dim, I inner dim, G groups, K heads, P dim of a head, N state size,
M channels of the convolution.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from lvm_lab.archs._ssd import ssd_scan
from lvm_lab.archs.mamba2 import Mamba2

WIDTH, LAYERS, STATE, HEAD_DIM, CONV = 32, 2, 8, 16, 4


def pair(chunk: int = 64) -> tuple[Any, Any]:
    """Our stack and transformers' model with its weights, whose chunk is small, since it pads every context to it."""
    torch.manual_seed(0)
    sizes = {"width": WIDTH, "layers": LAYERS, "state": STATE, "head_dim": HEAD_DIM, "conv": CONV}
    ours = Mamba2(WIDTH, 5, chunk=chunk, **sizes).stack.eval()
    config = transformers.Mamba2Config(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        state_size=STATE,
        head_dim=HEAD_DIM,
        num_heads=2 * WIDTH // HEAD_DIM,
        expand=2,
        n_groups=1,
        conv_kernel=CONV,
        chunk_size=8,
        vocab_size=3,
        use_cache=False,
    )
    theirs = transformers.Mamba2Model(config).eval()
    with torch.no_grad():
        for parameter in ours.parameters():  # off the initial ones and zeros, so that a swapped name would show
            parameter += 0.05 * torch.randn(parameter.shape)
    problems = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert problems.missing_keys == ["embeddings.weight"]
    assert problems.unexpected_keys == []
    return ours, theirs


def sequential(stack: Any, hidden_BLH: Tensor) -> Tensor:
    """The stack's definition with nothing of its code but the weights: one place after the other."""
    for layer in stack.layers:
        mixer = layer.mixer
        inner, heads, state = mixer.inner, mixer.heads, mixer.state
        gate_BLI, x_BLM, dt_BLK = (rms(hidden_BLH) * layer.norm.weight @ mixer.in_proj.weight.T).split(
            (inner, inner + 2 * state, heads), dim=-1
        )
        padded_BML = F.pad(x_BLM.transpose(1, 2), (CONV - 1, 0))
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
        y_BLI = rms(torch.stack(places, dim=1) * F.silu(gate_BLI)) * mixer.norm.weight
        hidden_BLH = hidden_BLH + y_BLI @ mixer.out_proj.weight.T
    return rms(hidden_BLH) * stack.norm_f.weight


def rms(x_BLH: Tensor) -> Tensor:
    return x_BLH / (x_BLH.square().mean(-1, keepdim=True) + 1e-5).sqrt()


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
    return (got - want).abs().max().item()


@torch.no_grad()
def comparisons() -> list[tuple[str, str, int, str, float]]:
    """(arch, reference, L, dtype, largest difference) at a short and a long context.

    transformers computes the scan in float32 whatever it is given, so float64 is held against the recurrence alone.
    """
    rows = []
    for length in (5, 256):
        for dtype in (torch.float32, torch.float64):
            name = str(dtype).removeprefix("torch.")
            x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
            for chunk in (16, 64, 256):
                ours, theirs = pair(chunk)
                got_BLH = ours.to(dtype)(x_BLH)
                gap = (got_BLH - sequential(ours, x_BLH)).abs().max().item()
                rows.append(("mamba2", f"sequential scan, chunk {chunk}", length, name, gap))
                if dtype == torch.float32:
                    gap = (got_BLH - theirs(inputs_embeds=x_BLH).last_hidden_state).abs().max().item()
                    rows.append(("mamba2", f"transformers.Mamba2Model, chunk {chunk}", length, name, gap))
            rows.append(
                ("mamba2", "its scan on a context filled up to the chunk", length, name, padding_gap(length, dtype))
            )
    return rows
