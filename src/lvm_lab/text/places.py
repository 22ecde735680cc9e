"""The files that a reader's path means, and their lines, with one sentence for what is no such file."""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.files import sha256

Paths = str | list[str] | None
NEEDED = "reader={kind} needs a place to read: add reader.path={example}."
# The longest line that is still read as one; a file without line ends is not taken for a line.
LONGEST_LINE = 1 << 30


def files(path: Paths, kind: str, example: str, endings: tuple[str, ...] = ()) -> list[Path]:
    """The files of a path, several paths or patterns, those of a pattern in the order of their names.

    endings: what a folder's files have to end in; without them a folder is refused.
    """
    given = [path] if isinstance(path, str) else path
    if not given or not all(given):
        raise UserError(NEEDED.format(kind=kind, example=example))
    listed = [file for one in given for file in _expanded(one, endings)]
    if len({file.resolve() for file in listed}) < len(listed):
        twice = next(file for file in listed if [other.resolve() for other in listed].count(file.resolve()) > 1)
        raise UserError(f"{twice} is named twice in reader.path; name each file once.")
    return listed


def _expanded(name: str, endings: tuple[str, ...]) -> list[Path]:
    path = Path(name).expanduser()
    if glob.has_magic(name) and not os.path.lexists(path):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        matches = [match for match in matches if not match.is_dir()]
        if not matches:
            raise UserError(f"no file matches {name}; check the pattern.")
        return [checked(match) for match in matches]
    if path.is_dir() and endings:
        matches = [match for match in sorted(path.rglob("*")) if match.is_file() and match.name.endswith(endings)]
        if not matches:
            raise UserError(f"{path} has no files that end in {' or '.join(endings)}; give the folder that has them.")
        return matches
    return [checked(path)]


def checked(path: Path) -> Path:
    """The path of a plain file that can be read; opening a pipe would wait for somebody to write into it."""
    if path.is_dir():
        raise UserError(f"{path} is a folder where a file is needed; give a file's path, or a pattern like {path}/*.")
    if not path.exists():
        what = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise UserError(f"{path} {what}; check the path.")
    if not path.is_file():
        raise UserError(f"{path} is a pipe or a device where a file is needed; save the texts to a file.")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read by you; change its rights, or give another file.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; give a file with documents.")
    return path


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not blank, of a plain or a gzipped UTF-8 file."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as handle:
            for number, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE), b""), 1):
                text = decoded(line, f"{file}, line {number}")
                text = text.removeprefix("\ufeff") if number == 1 else text
                if text.strip():
                    yield number, text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{file} is no whole gzip file ({error}); copy or compress it again.") from error
    except OSError as error:
        raise unreadable(file, error) from error


def text_of(file: Path) -> str:
    """A whole UTF-8 file."""
    try:
        return decoded(file.read_bytes(), str(file)).removeprefix("\ufeff")
    except OSError as error:
        raise unreadable(file, error) from error


def decoded(raw: bytes, place: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place} is not UTF-8 (byte {raw[error.start]:#04x} at {error.start}); convert the file, for instance "
            "with iconv -t UTF-8."
        ) from error


def unreadable(file: Path, error: OSError) -> UserError:
    return UserError(f"{file} cannot be read ({error.strerror or error}); check the file and its disk.")


def digest(files: Iterable[Path]) -> str:
    """Of files' bytes in their order, whatever they are called."""
    return hashlib.sha256("".join(_sha256(file) for file in files).encode()).hexdigest()


def digest_by_name(files: Iterable[tuple[str, Path]]) -> str:
    """Of files' bytes and of what each is called, in their order."""
    parts = [f"{name}\0{_sha256(file)}" for name, file in files]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()


def _sha256(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise unreadable(file, error) from error
