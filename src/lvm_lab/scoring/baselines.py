"""The baselines of one data set: fitted once for the same content, split and settings, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar

from torch import Tensor

from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines import (
    DECAYS,
    PENALTIES,
    TRAINING_WINDOWS,
    CopyLast,
    ExponentialContext,
    GlobalMean,
    MeanOfContext,
    NearestNeighbour,
    Random,
    Ridge,
    fit_exponential,
    fit_ridge,
)
from lvm_lab.judge.baselines.linear_metric import FittedMetric, MetricSettings, fit_linear_metric
from lvm_lab.types import Prediction, Predictor

log = logging.getLogger(__name__)

# To be raised when a fit gives other numbers than before, so that no cache brings the old ones back.
FIT_VERSION = 1
# Fitted to next to nothing, or not at all: what skill is measured from.
TRIVIAL = ("random", "global_mean", "copy_last", "mean_of_context", "exponential")
# A training of its own, and a search through the training part for each prediction.
DEAR = ("nearest", "linear_metric")


def baselines(
    parts: Parts,
    cache: Path,
    device: str,
    which: Literal["all", "cheap"] = "all",
    not_fitted: dict[str, str] | None = None,
) -> dict[str, Predictor]:
    """What a model is shown beside, by name; what is fitted is so once for the same content, split and settings.

    which: cheap leaves out those of DEAR. not_fitted: gets the reason, by name, for each that this data cannot fit.
    """
    train, val, stats = parts.train, parts.val, parts.stats
    metric = MetricSettings()
    makers: dict[str, Callable[[], Predictor]] = {
        "random": lambda: Random(stats),
        "global_mean": lambda: GlobalMean(stats.mean_D),
        "copy_last": CopyLast,
        "mean_of_context": MeanOfContext,
        "exponential": lambda: _cached(
            ExponentialContext, "exponential", parts, cache, lambda: fit_exponential(train), decays=DECAYS
        ),
        "nearest": lambda: NearestNeighbour(train),
        "ridge": lambda: _cached(Ridge, "ridge", parts, cache, lambda: fit_ridge(train, val), penalties=PENALTIES),
        "linear_metric": lambda: _cached(
            FittedMetric,
            "linear_metric",
            parts,
            cache,
            lambda: fit_linear_metric(train, val, stats, metric),
            **asdict(metric),
        ),
    }
    if parts.oracle is not None:
        makers["oracle"] = partial(parts.oracle, device)
    found: dict[str, Predictor] = {}
    for name, make in makers.items():
        if which == "cheap" and name in DEAR:
            continue
        try:
            found[name] = make()
        except UserError as error:
            log.warning("%s is not fitted: %s", name, error)
            if not_fitted is not None:
                not_fitted[name] = str(error)
    return found


class _Fitted(Protocol):
    def __call__(self, context_BLD: Tensor) -> Prediction: ...

    def save(self, path: Path) -> None: ...

    @classmethod
    def load(cls, path: Path) -> Self: ...


T = TypeVar("T", bound=_Fitted)


def _cached(kind: type[T], name: str, parts: Parts, cache: Path, fit: Callable[[], T], **settings: Any) -> T:
    file = cache / f"{name}-{digest(parts, settings)[:32]}.npz"
    if file.exists():
        return kind.load(file)
    fitted = fit()
    fitted.save(file)
    return fitted


def digest(parts: Parts, *settings: Any) -> str:
    """What is fitted or judged is the same for the same content, windows and settings."""
    chosen = [FIT_VERSION, parts.content, parts.train.context_length, TRAINING_WINDOWS, *settings]
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    digest.update(parts.train.target_row_W.tobytes())
    digest.update(parts.val.target_row_W.tobytes())
    for windows in (parts.train, parts.val):
        digest.update(b"" if windows.excluded_N is None else windows.excluded_N.tobytes())
    return digest.hexdigest()
