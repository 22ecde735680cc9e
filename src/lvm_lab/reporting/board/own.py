"""A user's own columns of the leaderboard, from a module of theirs: `--columns my_package.columns`; no torch."""

from __future__ import annotations

import importlib
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.reporting.board.columns import AHEAD, BEHIND, LETTERS, Cell, Column
from lvm_lab.sweeps.leaderboard import Entry

WAY_OUT = "write COLUMNS = (Column(...), ...) there, as docs/report.md says"


def columns(module: str) -> tuple[Column, ...]:
    """What `module` lists as COLUMNS, each held against the run that it fails for.

    Raises UserError where there is no such module or list, and for a key that the leaderboard has already.
    """
    try:
        listed: Any = importlib.import_module(module).COLUMNS
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"--columns={module} cannot be imported ({error}); {WAY_OUT}.") from error
    if not isinstance(listed, tuple | list) or not all(isinstance(column, Column) for column in listed):
        raise UserError(f"--columns={module} lists something else than columns; {WAY_OUT}.")
    keys = ["place", "run", "error", *LETTERS, *(column.key for column in (*AHEAD, *BEHIND, *listed))]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise UserError(f"--columns={module} has {', '.join(twice)}, which is there already; give it another key.")
    return tuple(_told(column, module) for column in listed)


def _told(column: Column, module: str) -> Column:
    """The column with a sentence where it fails."""

    def of(entry: Entry) -> Cell:
        try:
            cell = column.of(entry)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        else:
            if cell is None or isinstance(cell, str | int | float):
                return cell
            why = f"{type(cell).__name__} is no text and no number"
        raise UserError(
            f"the column {column.key} of {module} fails for {entry.name} ({why}); mend it, or return None there."
        )

    return Column(**(vars(column) | {"of": of}))
