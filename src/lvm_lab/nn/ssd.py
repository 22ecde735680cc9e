"""The state space dual (SSD) scan of Mamba-2 in plain PyTorch: quadratic for short contexts, chunked for long ones.

Dao and Gu 2024, "Transformers are SSMs", arXiv:2405.21060, section 6 and listing 1.

Shape suffixes: B batch, L length, C chunks, T and J places (T reads J), G groups, R heads of a group, K = G * R heads,
P dim of a head, N state size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def ssd_scan(x_BLKP: Tensor, dt_BLK: Tensor, a_K: Tensor, b_BLGN: Tensor, c_BLGN: Tensor, chunk: int) -> Tensor:
    """y_BLKP of the recurrence state_t = exp(dt_t a) state_(t-1) + dt_t x_t b_t^T, y_t = state_t c_t, state_0 = 0.

    dt_BLK is positive (after bias and softplus) and a_K negative, both float32 or wider: decays are computed in their
    dtype, products in that of x. Up to `chunk` places the quadratic form is used as it is, without padding; beyond it
    the chunked one, whose time and memory grow with L * chunk. Head k reads group k // R.
    """
    batch, length, heads, head_dim = x_BLKP.shape
    groups, state = b_BLGN.shape[2:]
    # Said without a division where there is one chunk, so that a graph that is exported is of every shorter length.
    chunks, places = (1, length) if length <= chunk else ((length + chunk - 1) // chunk, chunk)
    if chunks > 1 and length % chunk:
        # Places with dt = 0 write nothing, decay nothing, and their outputs are cut off below.
        missing = chunks * chunk - length
        x_BLKP, b_BLGN, c_BLGN = (F.pad(v, (0, 0, 0, 0, 0, missing)) for v in (x_BLKP, b_BLGN, c_BLGN))
        dt_BLK = F.pad(dt_BLK, (0, 0, 0, missing))

    # Chunks become rows of the batch; time goes inside so that every product is a plain batched matrix product.
    split = (batch * chunks, places, groups)
    x_BGRJP = x_BLKP.reshape(*split, heads // groups, head_dim).permute(0, 2, 3, 1, 4)
    dt_BGRJ = dt_BLK.reshape(*split, heads // groups).permute(0, 2, 3, 1)
    b_BGJN = b_BLGN.reshape(*split, state).transpose(1, 2)
    c_BGTN = c_BLGN.reshape(*split, state).transpose(1, 2)
    log_BGRJ = (dt_BGRJ * a_K.view(groups, -1, 1)).cumsum(dim=-1)

    y_BGRTP = _within(x_BGRJP, dt_BGRJ, log_BGRJ, b_BGJN, c_BGTN)
    if chunks > 1:
        y_BGRTP = y_BGRTP + _across(x_BGRJP, dt_BGRJ, log_BGRJ, b_BGJN, c_BGTN, chunks)
    y_BLKP = y_BGRTP.permute(0, 3, 1, 2, 4).reshape(batch, chunks * places, heads, head_dim)
    return y_BLKP[:, :length]


def _within(x_BGRJP: Tensor, dt_BGRJ: Tensor, log_BGRJ: Tensor, b_BGJN: Tensor, c_BGTN: Tensor) -> Tensor:
    """What a place reads from its own chunk: y_t = sum over j <= t of (c_t . b_j) exp(log_t - log_j) dt_j x_j."""
    length = log_BGRJ.shape[-1]
    future_TJ = torch.ones(length, length, dtype=torch.bool, device=log_BGRJ.device).triu(1)
    # Masked before exp: a future place would give exp(+large), and its zeroed gradient would be nan.
    gap_BGRTJ = (log_BGRJ[..., :, None] - log_BGRJ[..., None, :]).masked_fill(future_TJ, -torch.inf)
    decay_BGRTJ = (gap_BGRTJ.exp() * dt_BGRJ[..., None, :]).to(x_BGRJP.dtype)
    score_BGTJ = c_BGTN @ b_BGJN.transpose(-2, -1)
    return (score_BGTJ[:, :, None] * decay_BGRTJ) @ x_BGRJP


def _across(x_BGRJP: Tensor, dt_BGRJ: Tensor, log_BGRJ: Tensor, b_BGJN: Tensor, c_BGTN: Tensor, chunks: int) -> Tensor:
    """What a place reads from the state that the chunks before its own have left."""
    dtype = x_BGRJP.dtype
    total_BGR = log_BGRJ[..., -1]
    weight_BGRJ = ((total_BGR[..., None] - log_BGRJ).exp() * dt_BGRJ).to(dtype)
    update_BGRPN = (x_BGRJP * weight_BGRJ[..., None]).transpose(-2, -1) @ b_BGJN[:, :, None]

    update = update_BGRPN.view(-1, chunks, *update_BGRPN.shape[1:])
    keep = total_BGR.exp().to(dtype).view(-1, chunks, *total_BGR.shape[1:], 1, 1)
    state = torch.zeros_like(update[:, 0])
    states = [state]
    for c in range(chunks - 1):
        state = keep[:, c] * state + update[:, c]
        states.append(state)
    before_BGRPN = torch.stack(states, dim=1).flatten(0, 1)

    read_BGRTP = c_BGTN[:, :, None] @ before_BGRPN.transpose(-2, -1)
    return read_BGRTP * log_BGRJ.exp().to(dtype)[..., None]
