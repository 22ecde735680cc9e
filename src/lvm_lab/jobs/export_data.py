"""The body of `export-data`: a store written in the layout of an `.npz` that others read, array by array."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from lvm_lab.data import exporting
from lvm_lab.data.exporting import LAYOUTS
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.store import open_store
from lvm_lab.errors import UserError
from lvm_lab.files import StreamedArrays, check_free

# What a context holds unless it is said: as conf/ has it, and as files of long contexts begin.
CONTEXT_LENGTH, LONG_CONTEXT = 5, 100


@dataclass(frozen=True)
class Exported:
    """What was written: the arrays' names, the vectors or windows that they count, and what is not held."""

    out: Path
    arrays: tuple[str, ...]
    count: int
    documents: int
    losses: list[str]


def export(
    store: str | Path,
    out: str | Path,
    layout: str,
    *,
    context_length: int | None = None,
    texts: bool = False,
    force: bool = False,
) -> Exported:
    """A store's folder as NAME.npz: `article_bank`, `ordered_bank`, `sequences`, `doc_ids`, `split` or `long_context`.

    context_length: of windows (5, of `long_context` 100). texts: with the chunks' texts, of windows the targets'.
    Memory does not grow with a store's vectors. force: write over a file.

    Raises UserError, before anything is written, for another layout, a name that is taken or lies in the store, a store
    without a window of that length, and texts that are not there.
    """
    store, out = Path(store), Path(out)
    _check(store, out, layout, context_length, force)
    length = context_length or (LONG_CONTEXT if layout == "long_context" else CONTEXT_LENGTH)
    export = exporting.Export(open_store(store, verify=True), length, texts)
    members = LAYOUTS[layout](export)
    arrays = {name: (member.dtype, member.shape) for name, member in members.items()}
    with StreamedArrays(out, arrays, force=force) as written:
        for name, member in members.items():
            for block in member.blocks():
                written.append(**{name: block})
    count = len(export.store.vectors_ND) if layout in exporting.BANKS else len(export.row_W)
    return Exported(out, tuple(members), count, len(export.ids), exporting.losses(export, layout))


def _check(store: Path, out: Path, layout: str, context_length: int | None, force: bool) -> None:
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{layout} is no layout{hint}; take layout= one of {', '.join(LAYOUTS)}.")
    if context_length is not None and (layout in exporting.BANKS or context_length < 1):
        what = "is for windows" if layout in exporting.BANKS else "leaves no context"
        raise UserError(f"--context-length {context_length} {what}; leave it out, or give 1 or more for windows.")
    if not (store / MANIFEST).is_file():
        raise UserError(f"{store} is no store's folder; give the folder that holds a manifest.json.")
    if out.suffix != ".npz":
        raise UserError(f"{out} does not fit; name a file .npz.")
    if out.resolve().is_relative_to(store.resolve()):
        raise UserError(f"{out} lies in the store itself; name a file elsewhere.")
    check_free(out, force=force)
