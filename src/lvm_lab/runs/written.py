"""The names that the lab writes in a run's folder, and their removal: whatever else lies there is the user's."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.files import check_replaceable
from lvm_lab.runs.reading import CHECKPOINTS, CONFIG, HISTORY, LOCK
from lvm_lab.runs.result import FILE as RESULT

# What a sweep's folder says of itself: the rows of its table, and the rows that were settled as it went on.
TABLE, RESOLVED = "schedule.yaml", "resolved.yaml"
# What the lab leaves in a folder of runs beside these: a sweep's own files, and what `report` made of it.
LEADERBOARD = ("index.html", "leaderboard.csv", "leaderboard.md", "leaderboard.json")
SWEEP_FILES = (TABLE, RESOLVED, "optimization_results.yaml", *LEADERBOARD)
# Files of the run itself and of what is made of it; then, by folder, those within. A folder goes once it is empty.
FILES = (CONFIG, RESULT, HISTORY, "train.log", "moments.npz", "MODEL_CARD.md")
IN_FOLDERS = {
    CHECKPOINTS: r"(best|best_5cat|last|(top-)?epoch=\d+)\.ckpt",
    "plots": r"[\w-]+\.png",
    "csv": r"(metrics|result)\.csv|hparams\.yaml",
    "tensorboard": r"events\.out\.tfevents\..+|hparams\.yaml",
    "wandb": r"(debug(-internal|-cli\..+)?|latest)\.log|latest-run|seed|settings",
}
# Folders of W&B's sessions, which are its own to the last file.
TREES = {"wandb": r"(offline-)?run-.+|staged"}
MOVE = "move it away and give the command again."
# A file that has not got its name yet: `.config.yaml.4711`.
TORN = re.compile(r"\.(.+)\.\d+")


def check_report(file: Path) -> None:
    """UserError for a file that would take the place of one of a run's or of a sweep's."""
    check_replaceable(file)
    folder = file.absolute().parent
    of_run = (folder / CONFIG).exists() and file.name in FILES
    of_sweep = file.exists() and file.name in SWEEP_FILES
    within = (folder.parent / CONFIG).exists() and re.fullmatch(IN_FOLDERS.get(folder.name, "(?!)"), file.name)
    if of_run or of_sweep or within:
        raise UserError(f"{file} is a file of the lab's own; name another one.")


def torn(folder: Path) -> list[Path]:
    """What a killed process was writing: files of the lab's that have not got their names yet."""
    return [item for item in _entries(folder) if _is_torn(item, FILES)] + [
        item for name, pattern in IN_FOLDERS.items() for item in _inside(folder / name) if _is_torn(item, pattern)
    ]


def is_empty(folder: Path) -> bool:
    """Whether nothing lies there but a lock and what a killed process was writing; hidden entries count."""
    unfinished = {item.name for item in torn(folder)}
    return all(item.name in unfinished or _is_lock(item) for item in _entries(folder))


def check_lock(folder: Path) -> None:
    """UserError for a lock that is none: whoever takes it would empty a file, or one that a link leads to."""
    lock = folder / LOCK
    if os.path.lexists(lock) and not _is_lock(lock):
        raise UserError(f"{lock} is no lock of lvm_lab; move it away, or choose another run.dir.")


def check_plain(folder: Path, names: Iterable[str] = (*FILES, *IN_FOLDERS)) -> None:
    """UserError where one of the lab's names is a link, a pipe or of another kind than what the lab writes.

    What was written there would land elsewhere, or wait for a reader.
    """
    for name in names:
        place = folder / name
        if name in FILES:
            _check_plain(place)
            continue
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise UserError(f"{place} is no folder of the run's own but {_kind(place)}; {MOVE}")
        # W&B writes links of its own.
        for item in _inside(place) if name not in TREES else ():
            if re.fullmatch(IN_FOLDERS[name], item.name):
                _check_plain(item)


def _check_plain(file: Path) -> None:
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        raise UserError(f"{file} is no file of the run's own but {_kind(file)}; {MOVE}")


def _kind(item: Path) -> str:
    if item.is_symlink():
        return "a symbolic link"
    return "a folder" if item.is_dir() else "a file" if item.is_file() else "a pipe or a device"


def _is_lock(item: Path) -> bool:
    return item.name == LOCK and item.is_file() and not item.is_symlink() and item.stat().st_size == 0


def check(folder: Path) -> None:
    """UserError where one of the lab's names is of another kind than the lab would have written, or cannot be removed.

    Nothing is removed before everything is known to be removable.
    """
    for item in _entries(folder):
        plain = not item.is_symlink()
        if item.name in FILES and plain and item.is_dir():
            raise UserError(f"{item} is a folder where a run has a file; move it away, or choose another run.dir.")
        if item.name in IN_FOLDERS and plain and not item.is_dir():
            raise UserError(f"{item} is a file where a run has a folder; move it away, or choose another run.dir.")
    for name, pattern in IN_FOLDERS.items():
        for item in _inside(folder / name):
            if re.fullmatch(pattern, item.name) and item.is_dir() and not item.is_symlink():
                raise UserError(f"{item} is a folder where a run has a file; move it away, or choose another run.dir.")
    for place in (folder, *(folder / name for name in IN_FOLDERS)):
        if place.is_dir() and not place.is_symlink() and not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"{place} may not be changed by you; change its rights, or choose another run.dir.")


def remove(folder: Path) -> None:
    """Remove what the lab wrote, and nothing else: links are unlinked and never followed.

    Raises UserError as `check`, before anything is removed.
    """
    check(folder)
    for item in torn(folder):
        item.unlink(missing_ok=True)
    for name in IN_FOLDERS:
        _remove_inside(folder / name)
    # The config last: until then the folder is known for a run's.
    for name in reversed(FILES):
        (folder / name).unlink(missing_ok=True)


def _remove_inside(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
        return
    for item in _inside(folder):
        tree = re.fullmatch(TREES.get(folder.name, "(?!)"), item.name)
        if tree and item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif tree or re.fullmatch(IN_FOLDERS[folder.name], item.name):
            item.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _is_torn(item: Path, names: tuple[str, ...] | str) -> bool:
    inner = TORN.fullmatch(item.name)
    if inner is None or (item.is_dir() and not item.is_symlink()):
        return False
    return inner[1] in names if isinstance(names, tuple) else re.fullmatch(names, inner[1]) is not None


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _inside(folder: Path) -> Iterator[Path]:
    """The entries of a folder of the run's; of a link to one none, since they lie elsewhere."""
    if not folder.is_symlink():
        yield from _entries(folder)
