"""Predictions in batches, as arrays.

Shape suffixes: B windows of a batch, W windows, L context length, D vector dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lvm_lab.data.tmd import COLUMNS, Names
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.types import Predictor


def codes_read(predictor: Predictor) -> Names | None:
    """The table of the TMD codes that a predictor reads behind each vector; None: it reads vectors alone."""
    owner = getattr(predictor, "__self__", predictor)
    table: Names | None = getattr(owner, "tmd", None)
    return table


def as_read(windows: Windows, predictor: Predictor) -> Windows:
    """The windows with codes where the predictor reads them, else without, so that `inputs` is what it is called on.

    Raises UserError where it reads codes and there are none, or those of another table of names.
    """
    table = codes_read(predictor)
    if table is None:
        return windows if windows.codes_N is None else replace(windows, codes_N=None, table=None)
    check_codes(table, windows.table, "the data")
    return windows


def check_codes(wanted: Names, table: Names | None, name: str) -> None:
    """UserError for vectors without TMD codes, or with codes of another table than a model was trained on. name: what
    messages call the vectors."""
    if table is None:
        raise UserError(
            f"the model reads TMD codes and {name} has none; give its chunks codes with `lvm-lab tmd`, or take a model "
            "of data.tmd=null."
        )
    if table != wanted:
        raise UserError(
            f"the model reads TMD codes of another table of names than {name} has; give its chunks codes anew with "
            "`lvm-lab tmd`, by the table that the model was trained on."
        )


def predict(
    predictor: Predictor, context_BLD: np.ndarray, batch_size: int = 1024, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """raw_BD and unit_BD in float32. The predictor is taken as it is: a module has to be in eval mode.

    context_BLD: with a code's columns behind each vector for a predictor that reads codes (`as_read`).

    Values that are not finite are handed on, for the judge to fail; an exception is the predictor's bug.
    Raises ValueError for an output of the wrong shape.
    """
    count, _, width = context_BLD.shape
    dim = width - (0 if codes_read(predictor) is None else COLUMNS)
    raw_BD, unit_BD = np.empty((2, count, dim), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, count, batch_size):
            batch = np.ascontiguousarray(context_BLD[start : start + batch_size], dtype=np.float32)
            prediction = predictor(torch.from_numpy(batch).to(device))
            for name, out_BD, output in (("raw", raw_BD, prediction.raw_ND), ("unit", unit_BD, prediction.unit_ND)):
                if tuple(output.shape) != (len(batch), dim):
                    raise ValueError(f"prediction.{name} has shape {tuple(output.shape)}, not {(len(batch), dim)}")
                out_BD[start : start + len(batch)] = output.float().cpu().numpy()
    return raw_BD, unit_BD


def predict_windows(
    predictor: Predictor, windows: Windows, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """raw and unit of every window (W x D), called on contexts of one true length at a time, as of `predict`."""
    raw_WD, unit_WD = np.empty((2, len(windows), windows.dim), dtype=np.float32)
    for positions, some in as_read(windows, predictor).by_length():
        raw_WD[positions], unit_WD[positions] = predict(predictor, some.inputs(), device=device)
    return raw_WD, unit_WD


class Forward:
    """A predictor that is called many times on the same windows and remembers which went wrong.

    not_finite: the target rows of windows with a prediction that is not finite.
    """

    def __init__(self, predictor: Predictor, batch_size: int = 1024, device: str | torch.device = "cpu") -> None:
        self.predictor, self.batch_size, self.device = predictor, batch_size, device
        self.not_finite: set[int] = set()

    def __call__(self, context_BLD: np.ndarray, rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """raw_BD and unit_BD; `rows_B` names the windows, by which `not_finite` counts them."""
        raw_BD, unit_BD = predict(self.predictor, context_BLD, self.batch_size, self.device)
        # Finite float32 values cannot overflow a float64 sum, so the sum is finite when all of them are.
        with np.errstate(invalid="ignore"):
            finite_B = np.isfinite(raw_BD.sum(axis=1, dtype=np.float64) + unit_BD.sum(axis=1, dtype=np.float64))
        self.not_finite.update(rows_B[~finite_B].tolist())
        return raw_BD, unit_BD
