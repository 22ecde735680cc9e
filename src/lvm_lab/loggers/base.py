"""What a logger is, and all loggers of a run behind one; no torch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lvm_lab.config.targets import make, named
from lvm_lab.runs.folder import RunFolder
from lvm_lab.runs.result import Result

log = logging.getLogger(__name__)

Row = dict[str, Any]


class Logger(Protocol):
    """Shows a run somewhere besides its folder, which stays the truth.

    It is made from the settings of its node in conf/logger/ alone, and raises UserError there where it cannot work on
    this machine. What it writes goes below the run's folder. Whatever it raises later costs no run.
    """

    def begin(self, run: RunFolder, config: dict[str, Any]) -> None:
        """A session begins: the run's first, or one that resumes it. config: resolved, in plain containers."""

    def again(self, rows: list[Row]) -> None:
        """The rows of all earlier sessions, once in a session that resumes a run and before its own."""

    def row(self, row: Row) -> None:
        """A row of history.jsonl; `epoch` is the step, and None stands for what was no number."""

    def result(self, result: Result, plots: dict[str, Path]) -> None:
        """The closing result of a finished run, and its plots by name as they lie on disk."""

    def close(self, failed: bool) -> None:
        """The session ends, however it ends."""


class Loggers:
    """Every logger of one session. One that fails is warned of and left out from there on."""

    def __init__(self, nodes: dict[str, dict[str, Any]]) -> None:
        """nodes: each logger's class and arguments by its name, as the user composed them.

        Raises UserError for a class that cannot be imported, arguments that do not fit it, or a missing package.
        """
        self.active: dict[str, Logger] = {
            name: make(node, "loggers", f"logger.{name}", allow=named(node)) for name, node in nodes.items()
        }

    def begin(self, run: RunFolder, config: dict[str, Any]) -> None:
        self._each(lambda logger: logger.begin(run, config))

    def again(self, rows: list[Row]) -> None:
        self._each(lambda logger: logger.again(rows))

    def row(self, row: Row) -> None:
        self._each(lambda logger: logger.row(row))

    def result(self, result: Result, plots: dict[str, Path]) -> None:
        self._each(lambda logger: logger.result(result, plots))

    def close(self, failed: bool = False) -> None:
        self._each(lambda logger: logger.close(failed))
        self.active = {}

    def _each(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self.active.items()):
            try:
                call(logger)
            except Exception as error:
                log.warning(
                    "the logger %s does not work (%s: %s): this session goes on without it",
                    name,
                    type(error).__name__,
                    error,
                )
                del self.active[name]
                with contextlib.suppress(Exception):
                    logger.close(failed=True)


def summary(result: Result) -> dict[str, Any]:
    """The numbers by which finished runs are compared, nested as in result.json."""
    verdict = {"passed": result.five_cat.get("passed"), "verdict": result.five_cat.get("verdict")}
    # The gates' numbers are a table of their own, and too many to compare runs by.
    val, ood = (_compared(part) for part in (result.val, result.ood))
    return {"status": result.status, "5cat": verdict, "val": val, "ood": ood}


def _compared(part: dict[str, Any]) -> dict[str, Any]:
    """A part's plain numbers, and those of `following` without what they are of."""
    following = (part.get("following") or {}).get("numbers")
    plain = {k: v for k, v in part.items() if k not in ("five_cat", "following")}
    return plain | ({"following": following} if following else {})


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested numbers by one name each, `val/cos`: of a number with its interval the value, of a list nothing."""
    numbers: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            numbers |= {f"{prefix}{key}": value["value"]} if "value" in value else flat(value, f"{prefix}{key}/")
        elif not isinstance(value, list):
            numbers[f"{prefix}{key}"] = value
    return numbers
