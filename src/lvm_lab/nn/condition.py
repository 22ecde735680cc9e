"""How a model's input is conditioned on the TMD codes of the chunks that it reads: `data.tmd`.

Shape suffixes: B windows, L context length, D vector dim, C columns of a code (`lvm_lab.data.tmd.columns`).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.config.data import TMD_BITS

# The matrix of the field's 16-D form: other numbers would make another form.
SEED, FORM = 1337, 16
EMBEDDED = 32


class Concat(nn.Module):
    """x_BLD with the code's 16-D form behind it: its 15 bits through a fixed standard-normal matrix, of unit length
    (numpy's default_rng(1337)); zeros where a chunk has no code, or has code 0."""

    widens = FORM

    def __init__(self, dim: int) -> None:
        super().__init__()
        matrix = np.random.default_rng(SEED).standard_normal((FORM, sum(TMD_BITS.values())))
        self.register_buffer("matrix", torch.from_numpy(matrix).float())

    matrix: Tensor

    def forward(self, x_BLD: Tensor, code_BLC: Tensor) -> Tensor:
        bits_BLC = (code_BLC > 0).to(x_BLD.dtype)
        return torch.cat([x_BLD, F.normalize(bits_BLC @ self.matrix.to(x_BLD.dtype).T, dim=-1)], dim=-1)


class Film(nn.Module):
    """x_BLD scaled and shifted by a learned embedding of the code, that of its domain, task and modifier together
    (feature-wise linear modulation, Perez et al. 2018, arXiv:1709.07871). A fresh one changes nothing, and a chunk
    without a code is never changed."""

    widens = 0

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({key: nn.Embedding(1 << bits, EMBEDDED) for key, bits in TMD_BITS.items()})
        self.change = nn.Linear(EMBEDDED, 2 * dim)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, x_BLD: Tensor, code_BLC: Tensor) -> Tensor:
        bits_BLC, first = (code_BLC > 0).long(), 0
        embedded_BLE: Tensor | float = 0.0
        for key, width in TMD_BITS.items():
            powers = 2 ** torch.arange(width - 1, -1, -1, device=code_BLC.device)
            number_BL = (bits_BLC[..., first : first + width] * powers).sum(-1)
            embedded_BLE = embedded_BLE + self.embeddings[key](number_BL)
            first += width
        scale_BLD, shift_BLD = self.change(embedded_BLE).chunk(2, dim=-1)
        there_BL1 = (code_BLC != 0).any(-1, keepdim=True).to(x_BLD.dtype)
        return x_BLD + there_BL1 * (scale_BLD * x_BLD + shift_BLD)


CONDITIONS: dict[str, type[Concat] | type[Film]] = {"concat": Concat, "film": Film}
