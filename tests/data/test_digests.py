"""What is remembered of a file is remembered for as long as nobody writes to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lvm_lab.data import digests
from lvm_lab.data.digests import remembered
from lvm_lab.data.store import open_store
from lvm_lab.errors import UserError
from lvm_lab.files import sha256


class Counted:
    """Computes a file's digest and counts how often."""

    def __init__(self, file: Path) -> None:
        self.file, self.calls = file, 0

    def __call__(self) -> str:
        self.calls += 1
        return sha256(self.file)


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    """A file that counts as old enough to be remembered."""
    monkeypatch.setattr(digests, "TICK_SECONDS", -60.0)
    file = tmp_path / "file"
    file.write_bytes(b"vectors")
    return file


def test_a_file_that_is_left_alone_is_read_once(file: Path, cache: Path) -> None:
    compute = Counted(file)
    assert len({remembered(file, cache, "sha256", compute) for _ in range(3)}) == 1
    assert compute.calls == 1
    assert remembered(file, cache, "other", lambda: "another question") == "another question"


def test_without_a_cache_every_byte_is_read(file: Path) -> None:
    compute = Counted(file)
    for _ in range(3):
        remembered(file, None, "sha256", compute)
    assert compute.calls == 3


def test_a_file_that_was_written_a_moment_ago_is_not_trusted(tmp_path: Path, cache: Path) -> None:
    """Another write could bear the same time."""
    file = tmp_path / "file"
    file.write_bytes(b"vectors")
    compute = Counted(file)
    for _ in range(3):
        remembered(file, cache, "sha256", compute)
    assert compute.calls == 3


def overwritten(file: Path) -> None:
    file.write_bytes(b"sectors")


def overwritten_and_dated_back(file: Path) -> None:
    before = file.stat()
    file.write_bytes(b"sectors")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"sectors")
    shutil.copystat(file, other)
    os.replace(other, file)


@pytest.mark.parametrize("change", [overwritten, overwritten_and_dated_back, replaced])
def test_a_file_that_was_changed_is_read_again(file: Path, cache: Path, change) -> None:
    before = remembered(file, cache, "sha256", Counted(file))
    change(file)
    compute = Counted(file)
    assert remembered(file, cache, "sha256", compute) == sha256(file) != before
    assert compute.calls == 1


def test_a_damaged_note_is_no_note(file: Path, cache: Path) -> None:
    remembered(file, cache, "sha256", Counted(file))
    (note,) = (cache / "digests").iterdir()
    for text in ("", "{", "[]", '{"state": 1}', "\xff"):
        note.write_text(text, encoding="latin-1")
        assert remembered(file, cache, "sha256", Counted(file)) == sha256(file)


def test_a_store_is_verified_once_and_again_when_it_changed(file: Path, make_store, cache: Path, monkeypatch) -> None:
    store = make_store([6], texts=["text"] * 6)
    open_store(store.path, verify=True, cache=cache)
    with monkeypatch.context() as patched:
        patched.setattr("lvm_lab.data.store.sha256", lambda _: pytest.fail("it was read again"))
        open_store(store.path, verify=True, cache=cache)
    with open(store.parts[0] / "vectors.npy", "r+b") as handle:
        handle.seek(-3, os.SEEK_END)
        handle.write(b"\x01")
    with pytest.raises(UserError, match="does not match the sha256"):
        open_store(store.path, verify=True, cache=cache)
