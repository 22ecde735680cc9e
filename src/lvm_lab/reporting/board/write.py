"""Writes the leaderboard of a folder of runs as CSV, Markdown and one page; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.files import check_replaceable, write_atomically
from lvm_lab.reporting.board.columns import Board, Column
from lvm_lab.reporting.board.page import page
from lvm_lab.reporting.board.tables import csv_table, markdown
from lvm_lab.sweeps import folds, leaderboard


def write(folder: Path, out: Path, extra: Sequence[Column] = ()) -> list[Path]:
    """The three files of `folder`'s runs, each written whole or not at all. extra: columns beside the lab's.

    Raises UserError where there is no such folder or no run in it, and OSError where `out` cannot be written.
    """
    entries = leaderboard.read(folder)
    if not entries:
        own = (folder / "config.yaml").is_file()
        way_out = f"it is a run's own; name {folder.parent}" if own else "name the folder of a sweep, or outputs"
        raise UserError(f"{folder} holds no folder of a run; {way_out}.")
    board = Board.of([*folds.pooled(entries), *entries], extra)
    texts = {
        "leaderboard.csv": csv_table(board),
        "leaderboard.md": markdown(board, folder),
        "index.html": page(board, folder, out),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name in texts:
        check_replaceable(out / name)
    for name, text in texts.items():
        write_atomically(out / name, text)
    return [out / name for name in texts]
