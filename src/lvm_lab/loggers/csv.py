"""Writes a run's history as one CSV table and its result as another, through Lightning's CSVLogger."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lvm_lab.files import write_atomically
from lvm_lab.loggers.base import Row, flat, summary
from lvm_lab.runs.folder import RunFolder
from lvm_lab.runs.result import Result

HISTORY, RESULT = "metrics.csv", "result.csv"


class CSV:
    """`csv/metrics.csv` has the columns of history.jsonl, `csv/result.csv` one row.

    A session writes the whole history anew, so that a resumed run has no row twice.
    """

    def begin(self, run: RunFolder, config: dict[str, Any]) -> None:
        from pytorch_lightning.loggers import CSVLogger  # torch comes with it, and --help does without

        self.folder = run.path / "csv"
        for name in (HISTORY, RESULT):
            (self.folder / name).unlink(missing_ok=True)
        self.table = CSVLogger(save_dir=run.path, name="csv", version="")

    def again(self, rows: list[Row]) -> None:
        for row in rows:
            self.row(row)

    def row(self, row: Row) -> None:
        # The column `epoch` has the epoch; Lightning's own `step` would overwrite history's, which counts batches.
        self.table.log_metrics(row, step=row["step"])
        self.table.save()

    def result(self, result: Result, plots: dict[str, Path]) -> None:
        numbers = flat(summary(result))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(numbers), lineterminator="\n")
        writer.writeheader()
        writer.writerow(numbers)
        self.folder.mkdir(exist_ok=True)
        write_atomically(self.folder / RESULT, text.getvalue())

    def close(self, failed: bool) -> None:
        self.table.finalize("failed" if failed else "success")
