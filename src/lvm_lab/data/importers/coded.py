"""What the files that people have say of their chunks beside vectors and texts: TMD codes, their names, chunk ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvm_lab.data import tmd
from lvm_lab.data.importers.npz_file import NpzFile

CODES = ("tmd_codes", "target_tmds")
# The numbers that codes are made of, each in an array of its own.
NUMBERS = ("domain_codes", "task_codes", "modifier_codes")
NAMES = ("tmd_domains", "tmd_tasks", "tmd_modifiers")
IDS = ("cpe_ids",)


@dataclass(frozen=True)
class Coded:
    """The codes of an array of rows, or None; note: what has to be said of them."""

    codes_N: np.ndarray | None = None
    note: str = ""


def read_codes(npz: NpzFile, rows: int, prefix: str = "") -> Coded:
    """The codes of a file's rows, -1 and MISSING for none. prefix: before the names of its keys.

    Codes that are not of this layout are made anew of the numbers that they stand for, where the file has these; else
    they are left out, and the note says so.
    """
    key = npz.find(*(prefix + name for name in CODES))
    numbers = [_integers(npz, prefix + name, rows) for name in NUMBERS]
    given = [column for column in numbers if column is not None]
    packed = _packed(given) if len(given) == len(NUMBERS) else None
    codes_N = None if key is None else _integers(npz, key, rows)
    if codes_N is not None:
        codes_N = np.where(codes_N == -1, tmd.MISSING, codes_N)
    if codes_N is not None and tmd.fit(codes_N) and (packed is None or np.array_equal(packed, codes_N)):
        return Coded(codes_N.astype(np.uint16))
    if packed is not None:
        note = f"{key} are of another layout of bits, and were made anew of {', '.join(NUMBERS)}"
        return Coded(packed, note if key is not None else "")
    if key is None:
        return Coded()
    return Coded(
        None,
        f"{key} are left out, since they are no TMD codes of one integer a row (bits 15 to 12 domain, 11 to 7 task, 6 "
        "to 1 modifier, 0 spare); save them so, or give the chunks codes with `lvm-lab tmd`",
    )


def read_names(npz: NpzFile) -> tmd.Names:
    """What the file says that its codes mean; empty where it says nothing."""
    domains, tasks, modifiers = (tuple(_texts_of(npz, key) or ()) for key in NAMES)
    return tmd.Names(domains, tasks, modifiers) if domains and tasks and modifiers else tmd.Names()


def read_ids(npz: NpzFile, rows: int) -> list[str] | None:
    """What the chunks are called, where the file has plain texts or integers for it."""
    key = npz.find(*IDS)
    if key is None or npz.headers[key].shape != (rows,) or npz.headers[key].dtype.kind not in "Uiu":
        return None
    return [str(one) for _, block in npz.blocks(key) for one in block.tolist()]


def of_groups(groups: Sequence[Coded], counts: Sequence[int]) -> Coded:
    """The codes of several arrays of rows, one after the other."""
    notes = dict.fromkeys(group.note for group in groups if group.note)
    return Coded(tmd.join([group.codes_N for group in groups], counts), "; ".join(notes))


def _packed(numbers: Sequence[np.ndarray]) -> np.ndarray | None:
    inside = all((x >= -1).all() and (x < tmd.MOST[key]).all() for key, x in zip(tmd.FIELDS, numbers, strict=True))
    return tmd.pack(*numbers) if inside else None


def _integers(npz: NpzFile, key: str, rows: int) -> np.ndarray | None:
    header = npz.headers.get(key)
    if header is None or header.shape != (rows,) or header.dtype.kind not in "iu":
        return None
    return np.concatenate([block for _, block in npz.blocks(key)]).astype(np.int64)


def _texts_of(npz: NpzFile, key: str) -> list[str] | None:
    header = npz.headers.get(key)
    if header is None or len(header.shape) != 1 or header.dtype.kind != "U":
        return None
    return [text for _, block in npz.blocks(key) for text in block.tolist()]
