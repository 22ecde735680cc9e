"""The train command, cut off at a chosen place: `python interrupting.py PLACE N settings...`.

PLACE: half-checkpoint (half of the N-th checkpoint is written), unnamed-checkpoint (it is whole but
has not got its name yet), validation (in the N-th validation step), scoring (after training): the
process kills itself there. full-disk: from the N-th checkpoint on, the disk has no room.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lvm_lab import files, train
from lvm_lab.jobs import session
from lvm_lab.training.module import LatentVectorModule


def main() -> None:
    place, n = sys.argv[1], int(sys.argv[2])
    sys.argv[1:] = sys.argv[3:]
    PLACES[place](Countdown(n))
    train.main()


class Countdown:
    """Calling it says whether this is the N-th time or a later one."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_checkpoint(reached: Countdown) -> None:
    def half(out: Any, data: Any) -> None:
        out.write(data[: len(data) // 2])
        out.flush()
        die()

    _write_through(reached, half)


def unnamed_checkpoint(reached: Countdown) -> None:
    rename = os.replace

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(".ckpt") and reached():
            die()
        rename(source, target)

    files.os.replace = replace


def full_disk(reached: Countdown) -> None:
    def refuse(out: Any, data: Any) -> None:
        out.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _write_through(reached, refuse)


def validation(reached: Countdown) -> None:
    step = LatentVectorModule.validation_step

    def cut(self: LatentVectorModule, batch: Any, batch_idx: int) -> None:
        if reached():
            die()
        step(self, batch, batch_idx)

    LatentVectorModule.validation_step = cut


def scoring(reached: Countdown) -> None:
    session.Session.score = lambda self: die()


def _write_through(reached: Countdown, write: Any) -> None:
    """Hand the data of checkpoints to `write` once it is time."""

    class File:
        def __init__(self, out: Any) -> None:
            self.out = out

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            self.out.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.out, name)

        def write(self, data: Any) -> None:
            if reached():
                write(self.out, data)
            else:
                self.out.write(data)

    def opened(file: Any, *args: Any) -> Any:
        out = builtins.open(file, *args)  # noqa: SIM115
        return File(out) if ".ckpt" in Path(file).name else out

    files.open = opened


PLACES = {
    "half-checkpoint": half_checkpoint,
    "unnamed-checkpoint": unnamed_checkpoint,
    "full-disk": full_disk,
    "validation": validation,
    "scoring": scoring,
}

if __name__ == "__main__":
    main()
