"""Where messages go: the terminal, and train.log once a run has its folder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console
from rich.logging import RichHandler

from lvm_lab import streams

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class _Terminal:
    """stdout as it is at the moment, for as long as somebody reads it: a run outlives its reader."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)

    def write(self, text: str) -> int:
        try:
            return sys.stdout.write(text)
        except BrokenPipeError:
            streams.reader_has_left()
            return len(text)

    def flush(self) -> None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            streams.reader_has_left()


def to_terminal(leader: bool = True) -> Console:
    """Send the package's messages to the terminal; only the first process of a run on several devices speaks."""
    streams.open_closed()
    console = Console(file=cast(TextIO, _Terminal()), width=None if sys.stdout.isatty() else 120)
    logger = logging.getLogger("lvm_lab")
    logger.setLevel(logging.INFO if leader else logging.CRITICAL)
    logger.propagate = False
    for handler in [*logger.handlers]:
        if isinstance(handler, RichHandler):
            logger.removeHandler(handler)
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S", markup=False)
    logger.addHandler(handler)
    return console


class _QuietFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing: what fills the disk is told by the file that matters, which cannot be written either."""


class RunLog:
    """Sends the package's messages to a run's train.log too, while it is open."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "train.log"

    def __enter__(self) -> RunLog:
        self.handler = _QuietFile(self.file)
        self.handler.setFormatter(logging.Formatter(FORMAT))
        logging.getLogger("lvm_lab").addHandler(self.handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("lvm_lab").removeHandler(self.handler)
        self.handler.close()
