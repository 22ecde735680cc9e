"""Writes a run's curves, plots and closing numbers for TensorBoard, through Lightning's TensorBoardLogger."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.loggers.base import Row, flat, summary
from lvm_lab.runs.folder import RunFolder
from lvm_lab.runs.result import Result

FOLDER = "tensorboard"


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder: `tensorboard --logdir outputs` compares runs.

    A session writes the whole history anew, so that a resumed run has no epoch twice.
    """

    def __init__(self) -> None:
        if not any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
            raise UserError(
                "the package that logger=tensorboard writes with is missing; "
                'pip install -c constraints.txt -e ".[tensorboard]".'
            )

    def begin(self, run: RunFolder, config: dict[str, Any]) -> None:
        from pytorch_lightning.loggers import TensorBoardLogger  # torch comes with it, and --help does without

        for events in (run.path / FOLDER).glob("events.out.tfevents.*"):
            events.unlink()
        self.config = config
        self.epoch = 0
        self.board = TensorBoardLogger(save_dir=run.path, name=FOLDER, version="", default_hp_metric=False)

    def again(self, rows: list[Row]) -> None:
        for row in rows:
            self.row(row)

    def row(self, row: Row) -> None:
        self.epoch = row["epoch"]
        self.board.log_metrics(_numbers(row), step=self.epoch)
        self.board.experiment.flush()

    def result(self, result: Result, plots: dict[str, Path]) -> None:
        from matplotlib.image import imread

        # Its page of hyperparameters is the comparison of runs: a row a run, settings beside closing numbers.
        closing = {f"result/{name}": value for name, value in _numbers(flat(summary(result))).items()}
        self.board.log_hyperparams(self.config, closing, step=self.epoch)
        for name, file in plots.items():
            self.board.experiment.add_image(f"plots/{name}", imread(file), self.epoch, dataformats="HWC")

    def close(self, failed: bool) -> None:
        self.board.finalize("failed" if failed else "success")


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """What a curve can hold: texts, lists and what was no number have no place in one."""
    return {name: value for name, value in row.items() if isinstance(value, int | float)}
