"""S4D: the structured state space model with a diagonal state, run as a convolution or as a recurrence.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, N complex states of a channel (half of `state`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import ResidualStack, check_sizes
from lvm_lab.nn.convolution import causal_convolution


class S4(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L; `step` is its recurrent form, of constant size.

    S4D (Gu et al. 2022, arXiv:2206.11893): each channel is the linear system s' = A s + B u, y = Re(C s) + D u with a
    diagonal complex A in conjugate pairs and B = 1, discretised by zero-order hold with a step dt of its own. A layer
    is norm, S4D, GELU, a gated linear unit over the channels and the residual, as in the paper.

    Short contexts: no places are counted; the recurrence begins at the first vector that is read, from a state of zero.

    dim, context_length: D and the usual L, which sets nothing here; width: H; state: real size of a channel's state;
    init: `legs` (the diagonal part of HiPPO-LegS) or `lin` (A_n = -1/2 + i pi n); dt_min, dt_max: dt starts
    log-uniform between them, in places of the context; dropout: on each layer's output. Raises UserError for sizes
    below 1, an odd state, dropout outside [0, 1), another init or dt_min and dt_max that are no range above 0.
    """

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 256,
        layers: int = 2,
        state: int = 32,
        init: str = "legs",
        dt_min: float = 0.01,
        dt_max: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        check_sizes(
            "s4", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers, state=state
        )
        if state % 2:
            raise UserError(f"s4: states come in conjugate pairs, but state = {state} is odd; set it to an even size.")
        if init not in ("legs", "lin"):
            raise UserError(f"s4: init is {init}; set it to legs or lin.")
        if not 0.0 < dt_min <= dt_max:
            raise UserError(f"s4: dt_min = {dt_min} and dt_max = {dt_max}; set them so that 0 < dt_min <= dt_max.")
        super().__init__(dim, width, (_Layer(width, state, init, dt_min, dt_max, dropout) for _ in range(layers)))


class _Layer(nn.Module):
    def __init__(self, width: int, state: int, init: str, dt_min: float, dt_max: float, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ssm = S4D(width, state, init, dt_min, dt_max)
        self.out = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        return self._close(hidden_BLH, self.ssm(self.norm(hidden_BLH)))

    def step(self, hidden_BH: Tensor, state_BHN2: Tensor | None) -> tuple[Tensor, Tensor]:
        y_BH, state_BHN2 = self.ssm.step(self.norm(hidden_BH), state_BHN2)
        return self._close(hidden_BH, y_BH), state_BHN2

    def _close(self, hidden: Tensor, y: Tensor) -> Tensor:
        return hidden + self.dropout(F.glu(self.out(F.gelu(y)), dim=-1))


class S4D(nn.Module):
    """H independent diagonal systems, `forward(u_BLH) -> y_BLH`.

    Complex numbers are pairs of real parameters, so that any device, precision and optimiser takes them.
    """

    def __init__(self, width: int, state: int, init: str = "legs", dt_min: float = 0.01, dt_max: float = 1.0) -> None:
        super().__init__()
        half = state // 2
        dt_H = torch.exp(torch.empty(width).uniform_(math.log(dt_min), math.log(dt_max)))
        imag_N = hippo_legs(state) if init == "legs" else math.pi * torch.arange(half)
        self.log_dt = nn.Parameter(dt_H.log())
        # The real part is stored as the logarithm of its negative: it cannot leave the stable half plane.
        self.A_log = nn.Parameter(torch.full((width, half), math.log(0.5)))
        self.A_imag = nn.Parameter(imag_N.repeat(width, 1))
        self.C = nn.Parameter(torch.randn(width, half, 2) * 0.5**0.5)
        self.D = nn.Parameter(torch.randn(width))

    def forward(self, u_BLH: Tensor) -> Tensor:
        return causal_convolution(u_BLH, self.kernel(u_BLH.shape[1])) + u_BLH * self.D

    def kernel(self, length: int) -> Tensor:
        """kernel_LH with kernel[l] = 2 Re(sum over n of C_n B_n exp(l dt A_n)), in float32 at least."""
        log_HN, angle_HN, _, gain_HN2 = self._discretised()
        lag_L11 = torch.arange(length, device=log_HN.device, dtype=log_HN.dtype)[:, None, None]
        size_LHN, angle_LHN = (lag_L11 * log_HN).exp(), lag_L11 * angle_HN
        # Elementwise, not a product of matrices, which mixed precision would round.
        kernel_LHN = size_LHN * (gain_HN2[..., 0] * angle_LHN.cos() - gain_HN2[..., 1] * angle_LHN.sin())
        return 2.0 * kernel_LHN.sum(-1)

    def step(self, u_BH: Tensor, state_BHN2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y_BH and the state after u_BH; the last axis of the state holds the real and the imaginary part."""
        log_HN, angle_HN, input_HN2, _ = self._discretised()
        update_BHN2 = u_BH[:, :, None, None].to(log_HN.dtype) * input_HN2
        if state_BHN2 is not None:
            keep_HN2 = log_HN.exp()[..., None] * torch.stack((angle_HN.cos(), angle_HN.sin()), dim=-1)
            update_BHN2 = update_BHN2 + _times(keep_HN2, state_BHN2)
        read_BH = 2.0 * _times(self.C, update_BHN2)[..., 0].sum(-1)
        return read_BH.to(u_BH.dtype) + u_BH * self.D, update_BHN2

    def _discretised(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log size and angle of exp(dt A), the zero-order hold's B = (exp(dt A) - 1) / A, and C times that B."""
        wide = torch.promote_types(self.A_log.dtype, torch.float32)
        real_HN, imag_HN, dt_H1 = -self.A_log.to(wide).exp(), self.A_imag.to(wide), self.log_dt.to(wide).exp()[:, None]
        log_HN, angle_HN = dt_H1 * real_HN, dt_H1 * imag_HN
        # exp(z) - 1 = expm1(x) cos(y) - 2 sin^2(y / 2) + i exp(x) sin(y) keeps its digits where dt is small.
        above_HN = log_HN.expm1() * angle_HN.cos() - 2.0 * (angle_HN / 2.0).sin() ** 2
        rise_HN2 = torch.stack((above_HN, log_HN.exp() * angle_HN.sin()), dim=-1)
        inverse_HN2 = torch.stack((real_HN, -imag_HN), dim=-1) / (real_HN**2 + imag_HN**2)[..., None]
        input_HN2 = _times(rise_HN2, inverse_HN2)
        return log_HN, angle_HN, input_HN2, _times(self.C.to(wide), input_HN2)


def hippo_legs(state: int) -> Tensor:
    """Positive imaginary parts of the eigenvalues of HiPPO-LegS' normal part, ascending; all real parts are -1/2.

    A_nk = -sqrt((2n + 1)(2k + 1)) for n > k and -(n + 1) for n = k; adding the rank one term sqrt(n + 1/2) sqrt(k +
    1/2) leaves -1/2 plus a skew matrix (Gu et al. 2022, arXiv:2206.11893, section 3).
    """
    root_N = (torch.arange(state, dtype=torch.float64) + 0.5).sqrt()
    lower_NN = (root_N[:, None] * root_N).tril(-1)
    skew_NN = lower_NN.T - lower_NN
    imag_N: Tensor = torch.linalg.eigvalsh(1j * skew_NN)[state // 2 :]
    return imag_N.to(torch.get_default_dtype())


def _times(a_2: Tensor, b_2: Tensor) -> Tensor:
    """The complex product of two arrays of (real, imaginary) pairs."""
    real = a_2[..., 0] * b_2[..., 0] - a_2[..., 1] * b_2[..., 1]
    imag = a_2[..., 0] * b_2[..., 1] + a_2[..., 1] * b_2[..., 0]
    return torch.stack((real, imag), dim=-1)
