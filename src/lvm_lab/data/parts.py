"""Parts: who may see what. Opens a data source and cuts it into train, val, test and ood windows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.config.settings import NormaliserName
from lvm_lab.data.repeated import repeated_rows, row_digests
from lvm_lab.data.source import Opened
from lvm_lab.data.split import part_of, position
from lvm_lab.data.stats import training_stats
from lvm_lab.data.store import EncoderContract, Store
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.errors import UserError
from lvm_lab.types import Predictor, Stats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The windows of each part, the training statistics, and what the judge must know of the data.

    documents: how many documents the store has, all parts together.
    """

    train: Windows
    val: Windows
    test: Windows
    ood: Windows | None
    stats: Stats
    contract: EncoderContract
    documents: int
    content: dict[str, str]
    oracle: Callable[[str], Predictor] | None


def cut_parts(
    opened: Opened, settings: DataSettings, cache: Path, *, every_position: bool, normaliser: NormaliserName = "none"
) -> Parts:
    """Cut open stores into parts of whole documents.

    Raises UserError where stores contradict each other or a part that training needs is empty.
    """
    store = opened.store
    for name, other in (("data.val_path", opened.val_store), ("data.ood_path", opened.ood_store)):
        conflict = other and store.contract.conflict(other.contract)
        if conflict:
            raise UserError(
                f"{name} does not come from the training data's encoder ({conflict}); "
                "encode both with the same model and settings."
            )
    excluded_N = repeated_rows(store) if settings.skip_repeated else None
    if excluded_N is not None and excluded_N.any():
        log.info(
            "%d of %d chunks stand in several documents: no targets, no negatives (data.skip_repeated)",
            excluded_N.sum(),
            len(excluded_N),
        )
    stretches: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for stretch, key in enumerate(store.documents.names()):
        part = part_of(key, settings.fold)
        stretches["train" if part == "val" and opened.val_store is not None else part].append(stretch)

    def windows_of(part: str) -> Windows:
        windows = index_windows(
            store,
            np.array(stretches[part], dtype=np.int64),
            settings.context_length,
            excluded_N=excluded_N,
            every_position=every_position and part == "train",
        )
        if len(windows) == 0 and part != "test":
            number = len(stretches[part])
            why = (
                f"{len(store.documents)} documents give it 0; bring more documents or set data.val_path"
                if number == 0
                else _no_window(store, np.array(stretches[part]), settings, excluded_N)
            )
            raise UserError(f"the {part} part has no window: {why}.")
        return windows

    train = windows_of("train")
    if settings.train_windows is not None:
        train = _first_by_hash(train, settings.train_windows, store)
        in_train = np.isin(store.documents.numbers(), train.document_W)
        stretches["train"] = [stretch for stretch in stretches["train"] if in_train[stretch]]
    val = windows_of("val") if opened.val_store is None else whole_windows(opened.val_store, settings, "data.val_path")
    if opened.val_store is not None:
        _warn_of_leak(store, np.array(stretches["train"]), opened.val_store)
    return Parts(
        train=train,
        val=val,
        test=windows_of("test"),
        ood=None if opened.ood_store is None else whole_windows(opened.ood_store, settings, "data.ood_path"),
        stats=training_stats(store, np.array(stretches["train"], dtype=np.int64), cache, normaliser),
        contract=store.contract,
        documents=int(store.documents.numbers().max()) + 1,
        content=opened.content,
        oracle=opened.oracle,
    )


def _first_by_hash(windows: Windows, at_most: int, store: Store) -> Windows:
    """Windows of whole documents in the order of the documents' hashes, as many as asked for, in store order."""
    places = dict(zip(store.documents.numbers().tolist(), map(position, store.documents.names()), strict=True))
    order = np.argsort([places[number] for number in windows.document_W.tolist()], kind="stable")
    return windows.select(np.sort(order[:at_most]))


def _no_window(store: Store, stretches: np.ndarray, settings: DataSettings, excluded_N: np.ndarray | None) -> str:
    """Why these stretches, of which there is at least one, hold no window, and the way out."""
    longest = int(store.documents.length[stretches].max())
    if longest <= settings.context_length:
        return (
            f"its longest document has {longest} chunks and data.context_length={settings.context_length} needs "
            f"{settings.context_length + 1}; set a smaller data.context_length or bring longer documents"
        )
    assert excluded_N is not None, "long stretches without excluded rows have windows"
    repeated = f"{int(excluded_N.sum())} of the {len(excluded_N)} chunks stand in several documents and are no targets"
    if excluded_N.all():
        return f"{repeated}; check that the vectors are not all alike, or set data.skip_repeated=false"
    return f"{repeated}, which leaves it none; bring other documents or set data.skip_repeated=false"


def whole_windows(store: Store, settings: DataSettings, name: str) -> Windows:
    """The windows of all documents of a store; `name` says in the refusal of an empty one what it is."""
    stretches = np.arange(len(store.documents))
    excluded_N = repeated_rows(store) if settings.skip_repeated else None
    windows = index_windows(store, stretches, settings.context_length, excluded_N=excluded_N)
    if len(windows) == 0:
        raise UserError(f"{name} has no window: {_no_window(store, stretches, settings, excluded_N)}.")
    return windows


def _warn_of_leak(store: Store, stretches: np.ndarray, val_store: Store) -> None:
    starts, lengths = store.documents.start[stretches], store.documents.length[stretches]
    rows = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
    # The same chunk may be kept as float16 in one file and as float32 in the other.
    train, val = (row_digests(s.vectors_ND, np.float16) for s in (store, val_store))
    share = np.isin(val, train[rows]).mean()
    if share > 0.01:
        log.warning(
            "%.0f%% of data.val_path's vectors stand in the training part too: validation numbers will flatter; "
            "split by whole documents instead",
            100 * share,
        )
