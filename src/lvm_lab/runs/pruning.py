"""Which checkpoints of finished runs may go, and their removal, one file after the other; no torch.

Only files go that the lab wrote under its own names. What stays, always: the checkpoint that a run's numbers are of,
what somebody needs (runs/users.py), every file of a run that is not at its end, and links with what they lead to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from lvm_lab.errors import UserError
from lvm_lab.runs import reading, written
from lvm_lab.runs.checkpoints import fault
from lvm_lab.runs.reading import CHECKPOINTS, LOCK, Run
from lvm_lab.runs.users import Users, runs_below, users

# What may be kept besides, by the word for it.
KINDS = {
    "best": r"best\.ckpt",
    "best_5cat": r"best_5cat\.ckpt",
    "last": r"last\.ckpt",
    "epochs": r"epoch=\d+\.ckpt",
    "top": r"top-epoch=\d+\.ckpt",
}
NONE = "none"
AT_THEIR_END = ("finished", "diverged")
Keep = Sequence[str]


@dataclass(frozen=True)
class Share:
    """What of a run may go. removable: its files; kept: why each other checkpoint stays, by its name.

    untouched: why nothing of it may go.
    """

    folder: Path
    removable: tuple[Path, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)
    untouched: str | None = None

    @property
    def bytes(self) -> int:
        """What the disk gets back: a file of a second name frees nothing."""
        stats = [file.stat() for file in self.removable]
        return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def kinds(text: str) -> Keep:
    """The words of --keep. Raises UserError for one that is none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in (*KINDS, NONE):
            raise UserError(f"--keep {word} is no kind of checkpoint; name some of {', '.join(KINDS)}, or {NONE}.")
    if not words:
        raise UserError(f"--keep names nothing; name some of {', '.join(KINDS)}, or {NONE}.")
    return [word for word in words if word != NONE]


def plan(sweep: Path, keep: Keep, also: Iterable[Path] = ()) -> tuple[list[Share], Users]:
    """What may go of every run in a folder of runs, or of the run whose folder it is, and who needs what stays.

    also: further folders of runs, or a registry, whose users count. Writes nothing. Raises UserError where there is no
    such folder, or no run in it.
    """
    also = list(also)
    for folder in (sweep, *also):
        if folder.is_symlink():
            raise UserError(f"{folder} is a link, and links are not followed here; name the folder that it leads to.")
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; name the folder of a sweep, such as multirun/adhoc, or outputs.")
    folders = list(runs_below(sweep))
    if not folders:
        raise UserError(f"{sweep} holds no folder of a run; name the folder of a sweep, or outputs.")
    known = users(sweep, also)
    return [share(folder, keep, known) for folder in folders], known


def share(folder: Path, keep: Keep, known: Users, locked: bool = False) -> Share:
    """What of one run may go at this moment. locked: this process itself holds the run's lock."""
    run = reading.read(folder)
    checkpoints = folder / CHECKPOINTS
    reason = _untouched(run, checkpoints, locked)
    if reason:
        return Share(folder, untouched=reason)
    removable, kept = [], {}
    for file in sorted(checkpoints.iterdir()) if checkpoints.is_dir() else []:
        reason = _kept(file, run, keep) or known.of(file)
        if reason:
            kept[file.name] = reason
        else:
            removable.append(file)
    return Share(folder, tuple(removable), kept)


def remove(shares: Iterable[Share], keep: Keep, known: Users) -> tuple[int, list[Share]]:
    """Remove what may go, each run under its lock and looked at anew: (bytes freed, runs that were left after all)."""
    freed, left = 0, []
    for one in shares:
        if not one.removable:
            continue
        written.check_lock(one.folder)
        try:
            with FileLock(one.folder / LOCK, timeout=0):
                now = share(one.folder, keep, known, locked=True)
                files = [file for file in now.removable if file in one.removable]
                freed += Share(one.folder, tuple(files)).bytes
                for file in files:
                    file.unlink()
        except Timeout:
            now = Share(one.folder, untouched="a process is at work in it")
        if now.untouched:
            left.append(now)
    return freed, left


def _untouched(run: Run, checkpoints: Path, locked: bool) -> str | None:
    """Why nothing of a run may go."""
    if not locked and reading.locked(run.folder):
        return "a process is at work in it"
    if run.damage:
        return f"damaged: {run.damage.file.name} {run.damage.reason}"
    if run.identity.fingerprint is None:
        return "not a run of the lab's"
    if run.status not in AT_THEIR_END:
        return "no more at its end" if locked else f"{run.status}: not at its end"
    if checkpoints.is_symlink():
        return f"its {CHECKPOINTS} are a link"
    # The others may be the last good weights.
    reason = fault(run.checkpoint, whole=True) if run.checkpoint else None
    return f"damaged: {run.checkpoint.name} {reason}" if run.checkpoint and reason else None


def _kept(file: Path, run: Run, keep: Keep) -> str | None:
    """Why a file stays, whoever needs it or not."""
    if file.is_symlink() or not file.is_file() or not re.fullmatch(written.IN_FOLDERS[CHECKPOINTS], file.name):
        return "not written by the lab"
    if run.checkpoint is not None and file.name == run.checkpoint.name:
        return "its result is of it"
    word = next((word for word, pattern in KINDS.items() if re.fullmatch(pattern, file.name)), None)
    return f"--keep {word}" if word in keep else None
