"""Long short-term memory: stacked single-layer cells with residual connections.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from torch import nn

from lvm_lab.nn.blocks import check_sizes
from lvm_lab.nn.recurrent import ResidualRecurrent


class LSTM(ResidualRecurrent):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Paper: Hochreiter and Schmidhuber 1997, Neural Computation 9(8).

    Short contexts: no places are counted; the recurrence begins at the first vector that is read, from a state of zero.

    dim, context_length: D and the usual L, which sets nothing here; width: H; layers: cells in the stack;
    dropout: on each cell's output. Raises UserError for sizes below 1 or dropout outside [0, 1).
    """

    def __init__(
        self, dim: int, context_length: int, *, width: int = 256, layers: int = 2, dropout: float = 0.0
    ) -> None:
        check_sizes("lstm", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        super().__init__(nn.LSTM, dim, width, layers, dropout)
