"""What commands share: exit codes, and one sentence instead of a traceback for every mistake of a user; no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from lvm_lab import __version__
from lvm_lab.config.command import command
from lvm_lab.errors import UserError
from lvm_lab.streams import open_closed, reader_has_left

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130


def parser(door: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command(door), description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"lvm_lab {__version__}", help="of the lab")
    return parser


def answer(body: Callable[[], None], way_out: str = "mend that and give the command again.") -> int:
    """The exit code of a command that does `body`: 0, 2 after a user's mistake, which is told, or 130.

    way_out: what to do where the machine refuses a file.
    """
    open_closed()
    try:
        body()
        sys.stdout.flush()
    except UserError as error:
        tell(str(error))
        return MISTAKE
    except BrokenPipeError:
        reader_has_left()
    except KeyboardInterrupt:
        tell("interrupted; give the command again.")
        return INTERRUPTED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        tell(f"{place}{error.strerror or error}; {way_out}")
        return MISTAKE
    return 0


def agreed(question: str) -> bool:
    """Whether somebody at the terminal says yes; nobody does where there is none."""
    if not (sys.stdin and sys.stdin.isatty()):
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def tell(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
