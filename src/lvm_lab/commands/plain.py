"""What commands share: exit codes, and one sentence instead of a traceback for every mistake of a user; no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lvm_lab import __version__
from lvm_lab.config.command import command
from lvm_lab.errors import UserError
from lvm_lab.streams import open_closed, reader_has_left

FAILED, MISTAKE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
NO_MEMORY = "this machine has no memory left for that"


def parser(door: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command(door), description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"lvm_lab {__version__}", help="of the lab")
    return parser


def answer(
    body: Callable[[], None], way_out: str = "mend that and give the command again.", writes: Path | None = None
) -> int:
    """The exit code of a command that does `body`: 0, 2 after a user's mistake, which is told, or 130.

    way_out: what to do where the machine refuses a file. writes: a file that body writes at its end, which may take the
    place of none that a run or a sweep needs.
    """
    open_closed()
    try:
        if writes is not None:
            # It brings NumPy in, which a shell's completion does without.
            from lvm_lab.runs.written import check_report

            check_report(writes)
        body()
        sys.stdout.flush()
    except UserError as error:
        tell(str(error))
        return MISTAKE
    except MemoryError as error:
        tell(f"{NO_MEMORY} ({error}); {way_out}" if str(error) else f"{NO_MEMORY}; {way_out}")
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


def answer_each(folders: Sequence[Path], body: Callable[[Path], None]) -> int:
    """The exit code of a command that does `body` for each run's folder: 0, or 2 where one was passed over.

    A damaged run keeps no other from being done; what was passed over is told last, with the reason.
    """
    if len(folders) == 1:
        return answer(lambda: body(folders[0]))
    skipped: list[str] = []

    def one_by_one() -> None:
        for folder in folders:
            try:
                body(folder)
            except UserError as error:
                skipped.append(f"skipped {folder}: {error}")
        for sentence in skipped:
            print(sentence, file=sys.stderr)
        if skipped:
            raise UserError(f"{len(skipped)} of {len(folders)} runs were skipped; mend them, or leave them out.")

    return answer(one_by_one)


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
