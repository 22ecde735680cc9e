"""The energy head: noise in, a draw of the next vector out, trained by the energy score.

Shape suffixes: D vector dim, H hidden dim, N predictions, S draws, Z noise dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.head import Head, Mix, Predict
from lvm_lab.nn.noise import Draws, normal
from lvm_lab.types import Prediction, Reading, Stats


class EnergyHead(Head):
    """hidden (N, H) and noise (S, N, Z) -> S draws of the next vector, in one pass each (CALM, arXiv:2510.27688).

    A prediction is the mean of `draws` draws whose noise is fixed and the same for every row, so that it is a
    function of the context alone; more of them are a lower temperature, 1 is a plain sample.

    training_draws: draws a row that the loss compares, 2 or more. noise: Z. layers: residual layers between.
    """

    feeds = frozenset({"prediction", "draws"})
    generative = True
    chance_S1Z: Tensor

    def __init__(
        self,
        width: int,
        stats: Stats,
        hidden: int = 512,
        layers: int = 2,
        noise: int = 64,
        training_draws: int = 4,
        draws: int = 16,
        predict: Predict = "absolute",
        taps: int = 5,
        mix: Mix = "fixed",
    ) -> None:
        super().__init__(stats, predict, taps, mix, width)
        sizes = {"hidden": hidden, "layers": layers, "noise": noise, "draws": draws}
        for name, size in (*sizes.items(), ("training_draws", training_draws - 1)):
            if size < 1:
                least = 2 if name == "training_draws" else 1
                raise UserError(f"head.{name} is too small; set head.{name} to {least} or more.")
        self.noise, self.training_draws, self.draws = noise, training_draws, draws
        chance_S1Z = normal(draws, 1, noise, like=stats.mean_D, training=False)
        self.register_buffer("chance_S1Z", chance_S1Z, persistent=False)
        self.seen = nn.Linear(width, hidden)
        self.chance = nn.Linear(noise, hidden, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
            for _ in range(layers)
        )
        self.last = nn.Linear(hidden, len(stats.mean_D))
        self.norm = nn.LayerNorm(hidden)
        self.zero_init(self.last)

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        return Prediction.from_raw(self._draw(hidden_NH, self.chance_S1Z.to(hidden_NH), reading).mean(0))

    def draw(self, hidden_NH: Tensor, reading: Reading, draws: Draws) -> Prediction:
        chance_SNZ = draws.normal(draws.count, len(hidden_NH), self.noise, like=hidden_NH)
        return Prediction.from_raw(self._draw(hidden_NH, chance_SNZ, reading).mean(0))

    def learn(self, hidden_NH: Tensor, target_ND: Tensor, reading: Reading) -> Prediction:
        shape = (self.training_draws, len(hidden_NH), self.noise)
        draws_SND = self._draw(hidden_NH, normal(*shape, like=hidden_NH, training=self.training), reading)
        mean_ND = draws_SND.mean(0)
        return Prediction(mean_ND, nn.functional.normalize(mean_ND, dim=-1), draws_SND=draws_SND)

    def _draw(self, hidden_NH: Tensor, chance_SNZ: Tensor, reading: Reading | None) -> Tensor:
        state_SNH = self.seen(hidden_NH) + self.chance(chance_SNZ)
        for layer in self.layers:
            state_SNH = state_SNH + layer(state_SNH)
        draws_SND: Tensor = self.base(reading) + self.normaliser.unscale(self.last(self.norm(state_SNH)))
        return draws_SND
