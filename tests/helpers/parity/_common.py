"""What the parity files share: rows of the table, weights off their first values, and the layers that ours are made of.

The layers are written from their formulas: they read parameters of ours and call none of its code.

Shape suffixes: B batch, L length, D vector dim, H hidden dim (any leading shape), K heads, P dim of a head,
C complex pairs of a head, J places that are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Row = tuple[str, str, int, str, float]
Gap = Callable[[int, torch.dtype], float]
LENGTHS = (5, 256)
DTYPES = (torch.float32, torch.float64)


@torch.no_grad()
def rows(arch: str, gaps: dict[str, Gap], dtypes: Iterable[torch.dtype] = DTYPES) -> list[Row]:
    """(arch, reference, L, dtype, largest difference) for every reference's `gap(L, dtype)`, each from one seed."""
    found = []
    for length in LENGTHS:
        for dtype in dtypes:
            for reference, gap in gaps.items():
                torch.manual_seed(0)
                found.append((arch, reference, length, str(dtype).removeprefix("torch."), gap(length, dtype)))
    return found


def largest(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    return (got.double() - want.double()).abs().max().item()


def shaken(module: Any, by: float = 0.05) -> Any:
    """The module with its weights off the initial ones and zeros, so that a swapped name would show."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn(parameter.shape)
    return module.eval()


def carrying(theirs: Any, weights: dict[str, Tensor], missing: str) -> Any:
    """A library's model with these weights, which are all of its own but the embeddings that nobody asks."""
    problems = theirs.load_state_dict(weights, strict=False)
    assert problems.missing_keys == [missing]
    assert problems.unexpected_keys == []
    return theirs.eval()


def against(build: Callable[[], Any], definition: Callable[[Any, Tensor], Tensor], dim: int) -> Gap:
    """What `build` makes, on vectors of that dim, against its `definition(module, x_BLD)` in float64."""

    def gap(length: int, dtype: torch.dtype) -> float:
        ours = shaken(build()).to(dtype)
        x_BLD = torch.randn(2, length, dim, dtype=dtype)
        got_BLH = ours(x_BLD)
        return largest(got_BLH, definition(ours.double(), x_BLD.double()))

    return gap


def step(build: Callable[[], Any], dim: int) -> Gap:
    """The backbone that `build` makes, one vector after the other, against its parallel form."""

    def gap(length: int, dtype: torch.dtype) -> float:
        ours = shaken(build()).to(dtype)
        x_BLD = torch.randn(2, length, dim, dtype=dtype)
        state, places = None, []
        for x_BD in x_BLD.unbind(1):
            hidden_BH, state = ours.step(x_BD, state)
            places.append(hidden_BH)
        return largest(torch.stack(places, dim=1), ours(x_BLD))

    return gap


def affine(x_H: Tensor, linear: Any) -> Tensor:
    y_H = x_H @ linear.weight.T
    return y_H if linear.bias is None else y_H + linear.bias


def layer_norm(x_H: Tensor, norm: Any = None) -> Tensor:
    """With the gain and bias of `norm`, or none."""
    centred_H = x_H - x_H.mean(-1, keepdim=True)
    y_H = centred_H / (centred_H.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return y_H if norm is None else y_H * norm.weight + norm.bias


def rms_norm(x_H: Tensor, norm: Any, epsilon: float | None = None) -> Tensor:
    """With torch's own epsilon, unless another is given."""
    epsilon = torch.finfo(x_H.dtype).eps if epsilon is None else epsilon
    return x_H / (x_H.square().mean(-1, keepdim=True) + epsilon).sqrt() * norm.weight


def silu(x_H: Tensor) -> Tensor:
    return x_H / (1 + torch.exp(-x_H))


def swiglu(x_H: Tensor, mlp: Any) -> Tensor:
    gate_H, value_H = affine(x_H, mlp.up).chunk(2, dim=-1)
    return affine(silu(gate_H) * value_H, mlp.down)


def embed(x_BLD: Tensor, projection: Any) -> Tensor:
    """The input projection: Linear, LayerNorm."""
    return layer_norm(affine(x_BLD, projection.linear), projection.norm)


def rotary_attention(x_BLH: Tensor, attention: Any) -> Tensor:
    """Head by head and place by place: softmax over j <= t of Re(q_t conj(k_j) exp(i (t - j) theta)) / sqrt(P).

    The relative form of arXiv:2104.09864, equation 16; the code under test turns by absolute places.
    """
    query_BLH, key_BLH, value_BLH = affine(x_BLH, attention.qkv).chunk(3, dim=-1)
    size = x_BLH.shape[-1] // attention.heads
    theta_C = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    heads = []
    for k in range(attention.heads):
        query_BLP, key_BLP, value_BLP = (x[..., k * size : (k + 1) * size] for x in (query_BLH, key_BLH, value_BLH))
        query_BLC, key_BLC = (torch.complex(*x.chunk(2, dim=-1)) for x in (query_BLP, key_BLP))
        places = []
        for t in range(x_BLH.shape[1]):
            turn_JC = torch.exp(1j * torch.arange(t, -1, -1)[:, None] * theta_C)
            turned_BJC = query_BLC[:, t : t + 1] * key_BLC[:, : t + 1].conj() * turn_JC
            weight_BJ = (turned_BJC.real.sum(-1) / size**0.5).softmax(-1)
            places.append((weight_BJ[..., None] * value_BLP[:, : t + 1]).sum(1))
        heads.append(torch.stack(places, dim=1))
    return affine(torch.cat(heads, dim=-1), attention.out)
