"""The quantised head: a distribution over the codes of the next vector, one level after the other.

Shape suffixes: D vector dim, H hidden dim, N predictions, Q levels, K codes a level, S dims of a code, C draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import check_sizes
from lvm_lab.nn.head import Head
from lvm_lab.nn.noise import Draws, gumbel, uniform
from lvm_lab.nn.quantiser import Codebooks, Kind, Quantiser
from lvm_lab.types import Prediction, Reading, Stats

Output = Literal["expected", "sampled"]


class QuantisedHead(Head):
    """hidden (N, H) -> logits of each level's codes, and from them the next vector; trained with loss=codes.

    The form is the Large Concept Model's quantised one (arXiv:2412.08821, section 2.4): an MLP that is told the level
    and the sum of the code vectors of the levels before, true ones in training. Levels of a product are parts of the
    vector that are quantised by themselves (Jegou et al. 2011), and are independent given the context.

    quantiser, levels, codes: the codebooks, fitted on the training part before the model is made. output: expected is
    the sum over levels of the probability-weighted code vectors, each level given the expected sum before it; sampled
    is the mean of `draws` draws, each level given the draw's own codes. Their noise is fixed and the same for every
    row, so that a prediction is a function of the context alone. temperature: what logits are divided by in both.
    """

    feeds = frozenset({"codes"})
    generative = True
    needs_codebooks = True

    def __init__(
        self,
        width: int,
        stats: Stats,
        quantiser: Kind = "residual",
        levels: int = 4,
        codes: int = 256,
        hidden: int = 512,
        layers: int = 2,
        output: Output = "expected",
        temperature: float = 1.0,
        draws: int = 1,
    ) -> None:
        super().__init__(stats, "absolute")
        check_sizes("head", hidden=hidden, layers=layers, draws=draws)
        if temperature <= 0:
            raise UserError(f"head.temperature={temperature} does not fit; set it above 0.")
        dim = len(stats.mean_D)
        self.output, self.temperature, self.draws = output, temperature, draws
        self.quantiser = Quantiser(quantiser, _fitted(stats, Codebooks(quantiser, levels, codes)))
        self.seen = nn.Linear(width, hidden)
        self.level = nn.Embedding(levels, hidden)
        if self.quantiser.sequential and levels > 1:
            self.before = nn.Linear(dim, hidden, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.last = nn.ModuleList(nn.Linear(hidden, codes) for _ in range(levels))
        for parameter in self.last.parameters():
            # It begins as the uniform predictor.
            nn.init.zeros_(parameter)

    def learn(self, hidden_NH: Tensor, target_ND: Tensor, reading: Reading) -> Prediction:
        code_NQ = self.quantiser.encode(target_ND)
        part_QNS = self.quantiser.parts(code_NQ).transpose(0, 1)
        before_QND = part_QNS.cumsum(0) - part_QNS if self.quantiser.sequential else None
        logits_QNK = torch.stack(
            [
                self._logits(hidden_NH, level, None if before_QND is None else before_QND[level])
                for level in range(len(self.last))
            ]
        )
        raw_ND = self.quantiser.join(
            torch.stack([self._expected(logits_NK, level) for level, logits_NK in enumerate(logits_QNK)], dim=-2)
        )
        return Prediction(raw_ND, F.normalize(raw_ND, dim=-1), logits_QNK=logits_QNK, code_QN=code_NQ.T)

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        if self.output == "sampled":
            return self._sampled(hidden_NH, self._noise(hidden_NH), self.temperature)
        return self._predicted(hidden_NH[None], lambda level, logits_CNK: self._expected(logits_CNK, level))

    def draw(self, hidden_NH: Tensor, reading: Reading, draws: Draws) -> Prediction:
        levels, codes, _ = self.quantiser.codes_QKS.shape
        noise_QCNK = draws.gumbel(levels, draws.count, len(hidden_NH), codes, like=hidden_NH)
        return self._sampled(hidden_NH, noise_QCNK, draws.temperature * self.temperature)

    def _sampled(self, hidden_NH: Tensor, noise_QCNK: Tensor, temperature: float) -> Prediction:
        def drawn(level: int, logits_CNK: Tensor) -> Tensor:
            code_CN = (logits_CNK / temperature + noise_QCNK[level]).argmax(-1)
            return self.quantiser.codes_QKS[level][code_CN]

        return self._predicted(hidden_NH.expand(noise_QCNK.shape[1], -1, -1), drawn)

    def _predicted(self, hidden_CNH: Tensor, vectors: Callable[[int, Tensor], Tensor]) -> Prediction:
        """vectors: of a level and its logits_CNK, the code vectors that are taken there."""
        parts: list[Tensor] = []
        for level in range(len(self.last)):
            before_CND = torch.stack(parts).sum(0) if parts and self.quantiser.sequential else None
            logits_CNK = self._logits(hidden_CNH, level, before_CND)
            parts.append(vectors(level, logits_CNK))
        return Prediction.from_raw(self.quantiser.join(torch.stack(parts, dim=-2)).mean(0))

    def _logits(self, hidden_NH: Tensor, level: int, before_ND: Tensor | None) -> Tensor:
        """Of one level's codes, given the sum of the code vectors of the levels before."""
        state_NH = self.seen(hidden_NH) + self.level.weight[level]
        if level and before_ND is not None:
            state_NH = state_NH + self.before(self.normaliser(before_ND))
        for layer in self.layers:
            state_NH = state_NH + layer(state_NH)
        logits_NK: Tensor = self.last[level](self.norm(state_NH))
        return logits_NK

    def _expected(self, logits_NK: Tensor, level: int) -> Tensor:
        expected_NS: Tensor = (logits_NK / self.temperature).softmax(-1) @ self.quantiser.codes_QKS[level]
        return expected_NS

    def _noise(self, like: Tensor) -> Tensor:
        """The same for every row of a draw."""
        levels, codes, _ = self.quantiser.codes_QKS.shape
        return gumbel(uniform(levels, self.draws, 1, codes, like=like, training=False))


def _fitted(stats: Stats, wanted: Codebooks) -> Tensor:
    """The codebooks; UserError where there are none of these sizes."""
    shape = wanted.shape(len(stats.mean_D))
    if stats.codes_QKD is None:
        raise UserError(
            "head=quantised needs codebooks, which a training fits on its data and its checkpoints hold, and there are "
            "none; train it with lvm-lab train head=quantised loss=codes, or load a whole checkpoint."
        )
    if stats.codes_QKD.shape != shape:
        raise UserError(
            f"head=quantised has codebooks of shape {tuple(stats.codes_QKD.shape)} and its settings ask for {shape} "
            "(levels, codes, dims); take the checkpoint that they belong to."
        )
    return stats.codes_QKD
