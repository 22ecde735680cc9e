"""The linear metric as a baseline: the architecture of this name, fitted on the spot by the contrastive loss.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from lvm_lab.archs.linear_metric import LinearMetric
from lvm_lab.data.batches import WindowBatches
from lvm_lab.data.sampler import Draw, FixedBatches
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.files import write_arrays
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines._fitting import load_arrays, training_sample
from lvm_lab.losses.infonce import InfoNCE
from lvm_lab.types import Batch, Prediction, Stats

log = logging.getLogger(__name__)

VAL_WINDOWS = 2_000


@dataclass(frozen=True)
class MetricSettings:
    """How the linear metric is fitted; part of its place in the cache. negatives: of the same document."""

    epochs: int = 5
    batch_size: int = 256
    negatives: int = 24
    temperature: float = 0.05
    lr: float = 3e-4
    weight_decay: float = 0.01
    seed: int = 0


STANDARD = MetricSettings()


class FittedMetric(Baseline):
    """raw = scale * what the metric says after the last vector; InfoNCE, which sees directions alone, leaves the
    scale to be set. It mixes context_length vectors, and those before the first count as zeros."""

    name = "linear_metric"
    costly = True
    fit_version = 1

    def __init__(self, backbone: LinearMetric, scale: float = 1.0) -> None:
        self.backbone, self.scale = backbone, scale

    @classmethod
    def fit(cls, data: FitData, settings: MetricSettings = STANDARD) -> Self:
        metric = fit_linear_metric(data.train, data.val, data.stats, settings)
        return cls(metric.backbone, metric.scale)

    def __call__(self, context_BLD: Tensor) -> Prediction:
        metric = self.backbone.to(context_BLD.device).metric
        # Only the last place is asked for, and the matrix is most of the work.
        return Prediction.from_raw(self.scale * metric.transform(metric.filter(context_BLD)[:, -1]))

    def save(self, path: Path) -> None:
        metric = self.backbone.metric
        weight_T, change_DD = (x.detach().cpu().numpy() for x in (metric.weight_T, metric.change.weight))
        write_arrays(path, weight_T=weight_T, change_DD=change_DD, scale=np.array(self.scale))

    @classmethod
    def load(cls, path: Path) -> Self:
        saved = load_arrays(path, "linear metric", "weight_T", "change_DD", "scale")
        backbone = _begin(len(saved["change_DD"]), len(saved["weight_T"]))
        with torch.no_grad():
            backbone.metric.weight_T.copy_(torch.from_numpy(saved["weight_T"]))
            backbone.metric.change.weight.copy_(torch.from_numpy(saved["change_DD"]))
        return cls(backbone, float(saved["scale"]))


def fit_linear_metric(train: Windows, val: Windows, stats: Stats, settings: MetricSettings = STANDARD) -> FittedMetric:
    """Begun as copy-last and trained by InfoNCE, same-document negatives and the batch, on at most 20,000 windows.

    What is kept is the epoch with the lowest loss on at most 2,000 VAL windows, the beginning among them; the first
    epoch that is no better ends it. Raises UserError where there is nothing to train or to choose on.
    """
    if len(val) == 0:
        raise UserError("the linear metric needs validation windows to know when to stop; bring longer documents.")
    train = training_sample(train, "linear metric", settings.seed)
    val = sample_evenly(val, VAL_WINDOWS, settings.seed)
    started = time.perf_counter()
    loss = InfoNCE(settings.temperature, learn_temperature=False)
    predictor = FittedMetric(_begin(train.dim, train.context_length))
    parameters = list(predictor.backbone.parameters())
    optimiser = AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    batches = _batches(train, settings)
    steps = -(-len(train) // settings.batch_size)
    schedule = CosineAnnealingLR(optimiser, settings.epochs * steps)
    best, best_loss = copy.deepcopy(predictor.backbone), _mean_loss(predictor, val, loss, stats, settings)
    for epoch in range(settings.epochs):
        for draw in FixedBatches(len(train), settings.batch_size, settings.seed + epoch):
            batch = _read(batches, draw)
            optimiser.zero_grad()
            loss(predictor(batch.context_BLD), batch, stats).backward()
            optimiser.step()
            schedule.step()
        epoch_loss = _mean_loss(predictor, val, loss, stats, settings)
        log.debug("linear metric: val loss %.4f after epoch %d, %.4f at best before", epoch_loss, epoch + 1, best_loss)
        if not epoch_loss < best_loss:
            break
        best, best_loss = copy.deepcopy(predictor.backbone), epoch_loss
    log.info("linear metric fitted on %d windows in %.1f s", len(train), time.perf_counter() - started)
    return FittedMetric(best, _scale(FittedMetric(best), val))


def _begin(dim: int, context_length: int) -> LinearMetric:
    # Its first weights are drawn and then thrown away: what the caller draws next may not depend on the cache.
    with torch.random.fork_rng(devices=[]):
        return LinearMetric(dim, context_length)


def _batches(windows: Windows, settings: MetricSettings) -> WindowBatches:
    """As many negatives as the longest document has: the places of more would be empty, and cost as much."""
    others = int((windows.end_W - windows.start_W - windows.length_W).max()) - 1
    return WindowBatches(windows, min(settings.negatives, max(others, 0)))


def _read(batches: WindowBatches, draw: Draw) -> Batch:
    """The batch with zeros in the places that a window does not read."""
    batch, windows = batches[draw], batches.windows
    before_L = np.arange(windows.context_length, 0, -1)
    absent_BL = torch.from_numpy(before_L > windows.length_W[draw.positions][:, None])
    batch.context_BLD.masked_fill_(absent_BL[:, :, None], 0)
    return batch


@torch.no_grad()
def _mean_loss(predictor: FittedMetric, val: Windows, loss: InfoNCE, stats: Stats, settings: MetricSettings) -> float:
    batches = _batches(val, settings)
    total = 0.0
    for draw in FixedBatches(len(val), settings.batch_size, settings.seed):
        batch = _read(batches, draw)
        total += len(draw.positions) * float(loss(predictor(batch.context_BLD), batch, stats))
    return total / len(val)


@torch.no_grad()
def _scale(predictor: FittedMetric, val: Windows) -> float:
    """The targets' mean length over that of the predictions."""
    raw_ND = torch.cat([predictor(torch.from_numpy(some.context())).raw_ND for _, some in val.slices(VAL_WINDOWS)])
    lengths = raw_ND.norm(dim=1).mean()
    targets = np.linalg.norm(val.vectors(val.target_row_W), axis=1).mean()
    return float(targets) / float(lengths) if lengths > 0 else 1.0
