"""The residual stack that the LSTM and the GRU share.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lvm_lab.nn.blocks import InputProjection


class ResidualRecurrent(nn.Module):
    """Input projection, then `layers` times x + dropout(cell(norm(x))), then a final norm."""

    causal: bool = True

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], dim: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.cells = nn.ModuleList(cell(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """x_BLD, of any length L, to hidden_BLH."""
        hidden_BLH: Tensor = self.input(x_BLD)
        for norm, cell in zip(self.norms, self.cells, strict=True):
            out_BLH, _ = cell(norm(hidden_BLH))
            hidden_BLH = hidden_BLH + self.dropout(out_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """One more vector; the state is what each cell hands on, of constant size."""
        hidden_B1H: Tensor = self.input(x_BD[:, None])
        states: list[Any] = []
        for i, (norm, cell) in enumerate(zip(self.norms, self.cells, strict=True)):
            out_B1H, after = cell(norm(hidden_B1H), None if state is None else _swap_rows(state[i]))
            hidden_B1H = hidden_B1H + self.dropout(out_B1H)
            states.append(_swap_rows(after))
        hidden_BH: Tensor = self.norm_out(hidden_B1H)[:, 0]
        return hidden_BH, states


def _swap_rows(state: Any) -> Any:
    """torch's cells keep (1, B, H), or a pair of it; a state here has its rows first."""
    if isinstance(state, Tensor):
        return state.transpose(0, 1).contiguous()
    return tuple(_swap_rows(part) for part in state)
