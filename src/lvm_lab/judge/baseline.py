"""What a baseline is: a predictor that a model has to beat, and how it is fitted. One a file in baselines/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from lvm_lab.data.windows import Windows
from lvm_lab.types import Prediction, Predictor, Stats


@dataclass(frozen=True)
class FitData:
    """What a baseline may be fitted on. oracle: makes the data source's own best predictor (device -> predictor).
    content: the digests of what the data is read from, as `lvm_lab.data.source.Opened` has them."""

    train: Windows
    val: Windows
    stats: Stats
    oracle: Callable[[str], Predictor] | None = None
    device: str = "cpu"
    content: Mapping[str, str] = field(default_factory=dict)


class Baseline:
    """A predictor to be compared with. A file in baselines/ has one; a user's own is named by `_target_` in
    five_cat.baselines, and what else stands in its node are arguments of `fit`.

    name: its key in results: in baselines/ the file's stem. `baselines.TITLES` says what it is called in tables.
    trivial: fitted to next to nothing, so that skill is measured from it. costly: left out by baselines=cheap.
    fit_version: None where fitting takes no time; else the fit is kept by `save` and `load`, once for the same content,
    windows, arguments and version: to be raised when a fit gives other numbers than before.
    """

    name: ClassVar[str]
    trivial: ClassVar[bool] = False
    costly: ClassVar[bool] = False
    fit_version: ClassVar[int | None] = None

    @classmethod
    def available(cls, data: FitData) -> bool:
        """Whether it exists for this data at all."""
        return True

    @classmethod
    def fit(cls, data: FitData) -> Self:
        """The baseline for this data. Raises UserError where the data cannot fit it."""
        return cls()

    def __call__(self, context_BLD: Tensor) -> Prediction:
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write the fit as .npz, whole or not at all."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a fit. Raises UserError where the file holds none."""
        raise NotImplementedError
