"""Sequence files: windows under one contexts and one targets, or under those of several parts, and their ids.

Shape suffixes: W windows of the file that are not masked out, L context length, D vector dim, N windows of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lvm_lab.data.importers.coded import Coded, of_groups, read_codes
from lvm_lab.data.importers.ids import Ids, joined, read_ids
from lvm_lab.data.importers.npz_file import NpzFile
from lvm_lab.errors import UserError

CONTEXTS = ("contexts", "context", "context_sequences", "X")
TARGETS = ("targets", "target", "target_vectors", "y")
ARTICLES = ("article_ids", "article_indices", "doc_ids")
PLACES = ("target_indices",)
MASKS = ("masks", "mask")
# Before the names of a part's arrays, in a file that brings a split of its own.
PREFIXES = ("", "train_", "val_", "test_")
NEEDED = (
    "a sequence file needs contexts (N x L x D) and targets (N x D), with article_ids (N) and target_indices (N) to "
    "find its documents"
)
T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The windows of one part: the keys of its arrays, how many they are, and which of them are valid (None: all)."""

    prefix: str
    contexts: str
    targets: str
    count: int
    valid_N: np.ndarray | None = None

    @property
    def kept(self) -> int:
        return self.count if self.valid_N is None else int(np.count_nonzero(self.valid_N))


@dataclass(frozen=True)
class SequenceIndex:
    """What a sequence file says about its windows, those of all parts one after the other; None where it does not."""

    npz: NpzFile
    groups: tuple[Group, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype
    articles: Ids | None
    target_W: np.ndarray | None
    context_WL: np.ndarray | None

    @property
    def masked(self) -> int:
        """How many windows the masks take out."""
        return sum(group.count - group.kept for group in self.groups)

    def contexts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Slices of the contexts, as (first window, block)."""
        return self._blocks([group.contexts for group in self.groups])

    def targets(self) -> Iterator[tuple[int, np.ndarray]]:
        return self._blocks([group.targets for group in self.groups])

    def texts(self) -> list[str] | None:
        """The targets' texts, where all parts have theirs."""
        parts = [self.npz.texts(group.count, group.prefix) for group in self.groups]
        if any(texts is None for texts in parts):
            return None
        return [
            text
            for group, texts in zip(self.groups, parts, strict=True)
            for text in np.array(texts, dtype=object)[slice(None) if group.valid_N is None else group.valid_N]
        ]

    def codes(self) -> Coded:
        """The targets' TMD codes, MISSING in parts that have none."""
        parts = []
        for group in self.groups:
            part = read_codes(self.npz, group.count, group.prefix)
            if part.codes_N is not None and group.valid_N is not None:
                part = replace(part, codes_N=part.codes_N[group.valid_N])
            parts.append(part)
        return of_groups(parts, [group.kept for group in self.groups])

    def _blocks(self, keys: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        before = 0
        for group, key in zip(self.groups, keys, strict=True):
            for first, block in self.npz.vectors(key, self.dtype, group.valid_N):
                yield before + first, block
            before += group.kept


def is_sequences(npz: NpzFile) -> bool:
    return any(npz.find(*_named(prefix, CONTEXTS), rank=3) for prefix in PREFIXES)


def find_groups(npz: NpzFile) -> tuple[Group, ...]:
    """The windows of each part, by the headers alone; all have one context length and one dim."""
    groups: list[Group] = []
    shape: tuple[int | None, int | None] = (None, None)
    for prefix in PREFIXES:
        contexts, targets = npz.find(*_named(prefix, CONTEXTS), rank=3), npz.find(*_named(prefix, TARGETS))
        if contexts is None:
            continue
        if targets is None:
            raise UserError(
                f"{npz.path} has {contexts} without {prefix}targets: {NEEDED}, for each part; add what is missing."
            )
        npz.require(contexts, (None, *shape), "N x L x D")
        count, *shape_LD = npz.headers[contexts].shape
        shape = (shape_LD[0], shape_LD[1])
        npz.require(targets, (count, shape[1]), "N x D")
        groups.append(Group(prefix, contexts, targets, count))
    return tuple(groups)


def own_split(groups: Sequence[Group]) -> str:
    """What has to be said of a file that brings a split of its own; empty where it brings none."""
    if len(groups) < 2:
        return ""
    parts = ", ".join(group.contexts for group in groups)
    return (
        f"it has parts of its own ({parts}), which may share documents; the windows of all of them are put together "
        "and cut into parts anew, by document"
    )


def index_sequences(npz: NpzFile) -> SequenceIndex:
    """Read a sequence file's masks and ids; the vectors stay unread."""
    found = find_groups(npz)
    length, dim = npz.headers[found[0].contexts].shape[1:]
    groups = tuple(_with_mask(npz, group, length) for group in found)
    windows = sum(group.kept for group in groups)
    if windows == 0:
        raise UserError(f"{npz.path}: its masks leave no window (1 is valid, 0 is not); save masks that keep some.")
    articles = _of_all(
        npz,
        groups,
        ARTICLES,
        lambda group, key: read_ids(npz, key, (group.count,), "one id for each window"),
    )
    target = _of_all(
        npz, groups, PLACES, lambda group, key: npz.indices(key, (group.count,), "one integer for each window")
    )
    context = _of_all(
        npz,
        groups,
        ("context_indices",),
        lambda group, key: npz.indices(key, (group.count, length), "one integer for each context vector"),
    )
    keys = [key for group in groups for key in (group.contexts, group.targets)]
    keep = [np.ones(group.count, dtype=bool) if group.valid_N is None else group.valid_N for group in groups]
    return SequenceIndex(
        npz,
        groups,
        (windows, length, dim),
        # In two precisions a chunk is one with itself only in the lower.
        min((npz.vector_dtype(key) for key in keys), key=lambda dtype: dtype.itemsize),
        None if articles is None else joined([ids.taken(k) for ids, k in zip(articles, keep, strict=True)]),
        None if target is None else np.concatenate([values[k] for values, k in zip(target, keep, strict=True)]),
        None if context is None else np.concatenate([values[k] for values, k in zip(context, keep, strict=True)]),
    )


def _named(prefix: str, names: Sequence[str]) -> list[str]:
    return [prefix + name for name in names]


def _of_all(
    npz: NpzFile, groups: Sequence[Group], names: Sequence[str], read: Callable[[Group, str], T]
) -> list[T] | None:
    """An array of every group, or None where no group has it."""
    keys = [npz.find(*_named(group.prefix, names)) for group in groups]
    present = [key for key in keys if key is not None]
    if not present:
        return None
    if len(present) < len(groups):
        lacking = next(group.contexts for group, key in zip(groups, keys, strict=True) if key is None)
        raise UserError(
            f"{npz.path} has {', '.join(present)} and nothing of the kind for {lacking}; save it for all "
            "windows, or for none."
        )
    return [read(group, key) for group, key in zip(groups, present, strict=True)]


def _with_mask(npz: NpzFile, group: Group, length: int) -> Group:
    """The group with its valid windows: a mask is for windows, or for their places, of which all have to be valid."""
    key = npz.find(*_named(group.prefix, MASKS))
    if key is None:
        return group
    header = npz.headers[key]
    places = () if len(header.shape) == 1 else (length + (header.shape[-1:] == (length + 1,)),)
    npz.require(key, (group.count, *places), "one number for each window, or for each of its vectors")
    valid = []
    for first, block in npz.blocks(key):
        if header.dtype.kind not in "biuf" or not np.isin(block, (0, 1)).all():
            what = header.dtype if header.dtype.kind not in "biuf" else block[~np.isin(block, (0, 1))][0]
            raise UserError(
                f"{npz.path}: {key} holds {what} from window {first} on, where 1 is valid and 0 is not; save 0 and 1."
            )
        valid.append(block.reshape(len(block), -1).all(axis=1))
    return Group(group.prefix, group.contexts, group.targets, group.count, np.concatenate(valid).astype(bool))
