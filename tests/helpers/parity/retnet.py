"""Retention's three forms against the paper's recurrence in complex numbers, and the step against the parallel form.

Shape suffixes: B batch, L length, D vector dim, K heads, P key dim, V value dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from helpers.parity._common import Row, largest, rows, step
from lvm_lab.archs.retnet import RetNet, retention_chunkwise, retention_parallel, retention_recurrent
from lvm_lab.nn.attention import rotate

FORMS = ("parallel", "chunkwise", "recurrent")
HEADS, KEY_DIM, VALUE_DIM, CHUNK = 4, 8, 6, 48


def complex_recurrence(query_BLKP: Tensor, key_BLKP: Tensor, value_BLKV: Tensor, gamma_K: Tensor) -> Tensor:
    """y_BLKV of S = gamma exp(i theta) S + conj(k)^T v, y = Re(q S), in complex128 (arXiv:2307.08621, equation 3).

    The state is turned at each place, where the code under test turns queries and keys by their absolute place.
    """
    half = KEY_DIM // 2
    theta_P = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    query, key = (torch.complex(x[..., :half].double(), x[..., half:].double()) for x in (query_BLKP, key_BLKP))
    keep_KP = gamma_K.double()[:, None] * torch.polar(torch.ones_like(theta_P), theta_P)
    state_BKPV = torch.zeros(len(query), HEADS, half, VALUE_DIM, dtype=torch.complex128)
    out = []
    for t in range(query.shape[1]):
        written = key[:, t].conj()[..., None] * value_BLKV[:, t, :, None].double()
        state_BKPV = keep_KP[..., None] * state_BKPV + written
        out.append((query[:, t, :, :, None] * state_BKPV).sum(-2).real)
    return torch.stack(out, dim=1)


def against_the_recurrence(form: str, length: int, dtype: torch.dtype) -> float:
    query_BLKP, key_BLKP = torch.randn(2, 2, length, HEADS, KEY_DIM, dtype=dtype) * KEY_DIM**-0.5
    value_BLKV = torch.randn(2, length, HEADS, VALUE_DIM, dtype=dtype)
    log_gamma_K = -1.0 / torch.logspace(0, 1.5, HEADS, dtype=dtype)  # spans of 1 to 32 places, as shipped
    turned = [x.transpose(1, 2) for x in (rotate(query_BLKP), rotate(key_BLKP), value_BLKV)]
    if form == "parallel":
        got = retention_parallel(*turned, log_gamma_K)
    elif form == "chunkwise":
        got, _ = retention_chunkwise(*turned, log_gamma_K, CHUNK)
    else:
        got, _ = retention_recurrent(*turned, log_gamma_K)
    want = complex_recurrence(query_BLKP, key_BLKP, value_BLKV, log_gamma_K.double().exp())
    return largest(got.transpose(1, 2), want)


def comparisons() -> list[Row]:
    gaps = {f"complex recurrence, {form}": partial(against_the_recurrence, form) for form in FORMS}
    return rows("retnet", gaps | {"step": step(lambda: RetNet(24, 5, width=16, heads=2, chunk=CHUNK), 24)})
