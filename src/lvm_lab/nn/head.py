"""What every head shares: the normaliser of its output, the vector that it predicts a difference from, and `learn`.

Shape suffixes: D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import check_sizes
from lvm_lab.nn.metric import AdaptiveMetric, Metric
from lvm_lab.nn.noise import Draws
from lvm_lab.nn.normaliser import Normaliser
from lvm_lab.types import Prediction, Reading, Stats

Predict = Literal["absolute", "delta_last", "delta_mean", "delta_metric"]
Mix = Literal["fixed", "adaptive"]


class Head(nn.Module):
    """`head(hidden_NH, reading) -> Prediction`; `learn` is the same for a loss, with the target in sight.

    feeds: what its predictions bring for losses, of "prediction" (raw and unit), "draws", "denoised" and "codes".
    needs_codebooks: whether its settings quantiser, levels and codes ask for codebooks, fitted on the training part.
    predict: what the head's standardised output z is added to. absolute: raw = centre + scale * z; delta_last and
        delta_mean: the last vector, or the mean of all vectors, that the prediction was read from; delta_metric: a
        learned mixture of the last `taps` of them through a learned matrix, which begins as the last vector. All but
        absolute, and the two-tower head, need the reading.
    mix: the weights of that mixture. fixed: one for each tap. adaptive: these and a linear map, zero at first, of the
        backbone's state at each place, whose width is `width`.
    """

    feeds: frozenset[str] = frozenset({"prediction"})
    needs_codebooks: bool = False
    # Whether it reads the backbone's state after every vector, not after the last alone.
    reads_every_state: bool = False
    # Whether it predicts by drawing, so that it has `draw`.
    generative: bool = False

    def __init__(
        self, stats: Stats, predict: Predict, taps: int = 1, mix: Mix = "fixed", width: int | None = None
    ) -> None:
        super().__init__()
        self.predict = predict
        # Checkpoints know it by this name.
        self.units = Normaliser(stats)
        if predict == "delta_metric":
            check_sizes("head", taps=taps)
            dim = len(stats.mean_D)
            if mix == "fixed":
                self.metric = Metric(dim, taps)
            elif width is None:
                raise ValueError("mix=adaptive needs the width of the backbone's states; pass it to Head.__init__ too")
            else:
                self.metric = AdaptiveMetric(dim, taps, width)
        elif mix == "adaptive":
            raise UserError(
                "head.mix=adaptive weighs what head.predict=delta_metric mixes, and this head has "
                f"head.predict={predict}; set head.predict=delta_metric or head.mix=fixed."
            )

    @property
    def normaliser(self) -> Normaliser:
        """Between the encoder's vectors and the standardised ones that the head computes with."""
        return self.units

    @property
    def looks_back(self) -> int:
        """How many of the last vectors it reads, beside the mean of all."""
        return len(self.metric.weight_T) if self.predict == "delta_metric" else 1

    def learn(self, hidden_NH: Tensor, target_ND: Tensor, reading: Reading) -> Prediction:
        """What a loss gets: the prediction, unless the head learns from something else."""
        prediction: Prediction = self(hidden_NH, reading)
        return prediction

    def draw(self, hidden_NH: Tensor, reading: Reading, draws: Draws) -> Prediction:
        """A prediction that chance decides on, of a generative head."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing")

    def base(self, reading: Reading | None) -> Tensor:
        """What z = 0 predicts: (D,) or (N, D)."""
        if self.predict == "absolute":
            return self.normaliser.centre_D
        if reading is None:
            raise ValueError(f"head.predict={self.predict} adds to the context; pass the reading to the head too")
        if self.predict == "delta_metric":
            return self.metric.transform(self._mixture(reading))
        return reading.last_ND if self.predict == "delta_last" else reading.mean_ND

    def _mixture(self, reading: Reading) -> Tensor:
        context_BLD = reading.context_BLD
        if not isinstance(self.metric, AdaptiveMetric):
            return reading.rows(self.metric.filter(context_BLD))
        if reading.every:
            return self.metric.mix(context_BLD, reading.hidden_BLH).flatten(0, 1)
        return self.metric.mix_last(context_BLD, reading.hidden_NH)

    def zero_init(self, last: nn.Module) -> None:
        """A head that adds to the context begins with nothing to add."""
        if self.predict != "absolute":
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
