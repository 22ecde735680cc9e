"""Stores behind an address (s3://, https://, memory:// or what else fsspec knows): copied to the cache, then opened.

The manifest is read each time, so that an appended part is seen; a part is copied once, by its content, wherever it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvm_lab.data import manifest as manifests
from lvm_lab.data.part_files import CHUNKS, CODES, DOCUMENTS, VECTORS, Part
from lvm_lab.data.store import Store, open_part, open_parts
from lvm_lab.errors import UserError
from lvm_lab.files import address, hide_users

HOME = "parts"


def is_url(path: object) -> bool:
    return "://" in str(path)


def open_remote(url: str, cache: Path) -> Store:
    """The store at an address, from copies of its parts in the cache, each held against the manifest's sha256.

    Raises UserError where no such store is there, access to it fails, or its driver is not installed.
    """
    name = address(url)
    files, root = _file_system(url.rstrip("/"))
    try:
        text = files.cat_file(f"{root}/{manifests.FILE}").decode()
    except Exception as error:  # every driver raises what its own client library does
        raise _no_store(url, error) from error
    manifest = manifests.parse(text, name)
    folders = [_fetch(name, files, root, part, cache) for part in manifest.parts]
    return replace(open_parts(cache / HOME, manifest, folders), imported_from=name)


def _file_system(url: str) -> tuple[Any, str]:
    """(fsspec's file system, the address as that knows it)."""
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{address(url)} needs a package that is not installed ({reason}); install it with pip."
        ) from error
    except Exception as error:
        raise _no_store(url, error) from error
    return files, root.rstrip("/")


def _fetch(url: str, files: Any, root: str, part: Part, cache: Path) -> Path:
    """The folder of a part's copy, which is made whole or not at all, and verified."""
    home = cache / HOME
    home.mkdir(parents=True, exist_ok=True)
    # What schema 1 says does not cover texts.
    known = [part.sha256, "" if CHUNKS in part.sha256 or part.name != manifests.IN_THE_STORE else url]
    folder = home / hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    if folder.exists():
        try:
            open_part(url, folder, part, verify=True, cache=cache)
        except manifests.DamagedStore as error:
            raise UserError(
                f"a copy in the cache is damaged ({error.flaw}); delete the folder {folder} and give the command again."
            ) from error
        return folder
    there = "/".join(filter(None, (root, manifests.folder_of(part))))
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=home))
    try:
        copy = building / "copy"
        copy.mkdir()
        _copy(url, files, there, part, copy)
        try:
            open_part(url, copy, part, verify=True)
        except manifests.DamagedStore as error:
            raise UserError(f"{error.flaw}; copy the store there again.") from error
        try:
            os.rename(copy, folder)
        except OSError:
            # Another process was first, with the same bytes.
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _copy(url: str, files: Any, there: str, part: Part, copy: Path) -> None:
    names = [VECTORS, DOCUMENTS]
    try:
        if CHUNKS in part.sha256 or (part.name == manifests.IN_THE_STORE and files.exists(f"{there}/{CHUNKS}")):
            names.append(CHUNKS)
        names += [part.files[CODES]] if CODES in part.sha256 else []
        for name in names:
            files.get_file(f"{there}/{name}", str(copy / name))
    except Exception as error:
        raise _no_store(url, error) from error


def _no_store(url: str, error: Exception) -> UserError:
    name = address(url)
    reason = hide_users(" ".join(f"{type(error).__name__}: {error}".split()).replace(url.rstrip("/"), name))[:200]
    return UserError(
        f"{name} is no store that can be read ({reason}); give the address of a store's folder, and check that you "
        "have access to it."
    )
