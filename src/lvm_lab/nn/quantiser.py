"""Vectors as one code a level, and back: residual and product quantisation by codebooks that are given.

Shape suffixes: D vector dim, N vectors, Q levels, K codes a level, S dims of a code (D, or D / Q of a product).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import check_sizes

Kind = Literal["residual", "product"]
MOST_CODES = 2**16


@dataclass(frozen=True)
class Codebooks:
    """Which codebooks a head asks for.

    quantiser: residual or product. levels: Q. codes: K, a power of two.
    """

    quantiser: Kind
    levels: int
    codes: int

    def __post_init__(self) -> None:
        check_sizes("head", levels=self.levels)
        if self.codes.bit_count() != 1 or not 2 <= self.codes <= MOST_CODES:
            raise UserError(f"head.codes={self.codes} does not fit; set a power of two from 2 to {MOST_CODES}.")

    @property
    def bits(self) -> int:
        """Of one code."""
        return self.codes.bit_length() - 1

    def shape(self, dim: int) -> tuple[int, int, int]:
        """Q, K and S for vectors of `dim`; UserError where these cannot be cut into Q equal parts."""
        if self.quantiser == "residual":
            return self.levels, self.codes, dim
        if dim % self.levels:
            raise UserError(
                f"head.levels={self.levels} does not divide the {dim} dims that head.quantiser=product cuts into equal "
                "parts; set one that does, or head.quantiser=residual."
            )
        return self.levels, self.codes, dim // self.levels


class Quantiser(nn.Module):
    """`encode(x_ND) -> code_NQ` and `decode(code_NQ) -> x_ND`; the codebooks are buffers and travel in the checkpoint.

    residual: level j's code is the nearest in its codebook to what the levels before it leave, and a vector is the sum
    of its codes' vectors (the residual quantisation of Lee et al. 2022, arXiv:2203.01941, section 3.1, with a codebook
    a level). product: level j's code is the nearest to the j-th of Q equal parts of the vector, each by itself (Jegou
    et al. 2011, IEEE TPAMI 33, section II).
    """

    codes_QKS: Tensor

    def __init__(self, kind: Kind, codes_QKS: Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("codes_QKS", codes_QKS.clone())

    @property
    def sequential(self) -> bool:
        """Whether a level's codes mean nothing without those before it."""
        return self.kind == "residual"

    @torch.no_grad()
    def encode(self, x_ND: Tensor) -> Tensor:
        """The codes of vectors, greedily; distances in the codebooks' own precision, whatever autocast is about."""
        with torch.autocast(x_ND.device.type, enabled=False):
            left_ND = x_ND.to(self.codes_QKS.dtype)
            if not self.sequential:
                part_QNS = left_ND.unflatten(1, (len(self.codes_QKS), -1)).transpose(0, 1)
                return _nearest(part_QNS, self.codes_QKS).T
            codes = []
            for code_KD in self.codes_QKS:
                codes.append(_nearest(left_ND, code_KD))
                left_ND = left_ND - code_KD[codes[-1]]
            return torch.stack(codes, dim=1)

    def parts(self, code_NQ: Tensor) -> Tensor:
        """The vector of each code: N x Q x S."""
        return self.codes_QKS[torch.arange(len(self.codes_QKS), device=code_NQ.device), code_NQ]

    def decode(self, code_NQ: Tensor) -> Tensor:
        return self.join(self.parts(code_NQ))

    def join(self, part_NQS: Tensor) -> Tensor:
        """The levels' vectors to whole ones; any leading shape."""
        return part_NQS.sum(-2) if self.sequential else part_NQS.flatten(-2)


def _nearest(x_NS: Tensor, code_KS: Tensor) -> Tensor:
    """The code at the least Euclidean distance; the vectors' own length is the same for all."""
    distance_NK = code_KS.square().sum(-1).unsqueeze(-2) - 2 * x_NS @ code_KS.mT
    return distance_NK.argmin(-1)
