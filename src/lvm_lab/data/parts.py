"""Parts: who may see what. Opens a data source and cuts it into train, val, test and ood windows."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.config.mix import MIX
from lvm_lab.config.settings import NormaliserName
from lvm_lab.data.coded import check_codes, codes_content
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.joined import document_sources, either
from lvm_lab.data.mixing import Mixing
from lvm_lab.data.repeated import Chunks, repeated_rows, rows_within
from lvm_lab.data.seen import rows_of, take_out
from lvm_lab.data.sketch import Sketch, sketch
from lvm_lab.data.source import Opened
from lvm_lab.data.split import part_of
from lvm_lab.data.stats import training_stats
from lvm_lab.data.store import Store
from lvm_lab.data.tmd import Names
from lvm_lab.data.training_part import TrainingPart, first_by_hash, of_first_documents
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.errors import UserError
from lvm_lab.types import Predictor, Stats

log = logging.getLogger(__name__)

# Of a store's chunks that stand in several documents: above, the store holds its documents more than once.
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Parts:
    """The windows of each part, the training statistics, and what the judge must know of the data.

    documents: how many documents the store has, all parts together. notes: what a reader of numbers has to know of
    them. mixing: VAL's halves, where an ensemble learns the weights of its members. cut: what makes each part what it
    is, as a digest: two data sets of equal ones hold out the same windows. training: what `train` is cut from.
    tmd, codes_content: what the TMD codes of the store mean, and their digest, where it has any.
    origins: by held-out part where each document is from, by its number. stores: by held-out part what its rows lie in.
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
    cut: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mixing: Mixing | None = None
    training: TrainingPart | None = None
    tmd: Names | None = None
    codes_content: str | None = None
    origins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stores: Mapping[str, Store] = field(default_factory=dict)

    def sketches(self) -> list[Sketch]:
        """What a model that is trained on these parts has seen, for its checkpoints."""
        train = self.train
        own = sketch(train.vectors_ND, rows_of(train), train.text_N, self.cut)
        return [own] if self.mixing is None else [own, self.mixing.sketch(self.cut)]

    def for_fitting(self) -> Parts:
        """The parts as a training goes through them."""
        return self if self.mixing is None else replace(self, train=self.mixing.learn, val=self.mixing.choose)


def cut_parts(
    opened: Opened, settings: DataSettings, cache: Path, *, every_position: bool, normaliser: NormaliserName = "none"
) -> Parts:
    """Cut open stores into parts of whole documents.

    Raises UserError where stores contradict each other or a part that training needs is empty.
    """
    store = opened.store
    contract = store.contract
    for name, other in (("data.val_path", opened.val_store), ("data.ood_path", opened.ood_store)):
        if other is None:
            continue
        conflict = contract.conflict(other.contract)
        if conflict:
            raise UserError(
                f"{name} does not come from the training data's encoder ({conflict}); "
                "encode both with the same model and settings."
            )
        # What the training data do not say, the next store's contract is held against too.
        contract = either(contract, other.contract)
    if settings.tmd is not None:
        check_codes([one for one in (store, opened.val_store, opened.ood_store) if one is not None])
    chunks = Chunks.of(store)
    excluded_N = repeated_rows(store, cache, chunks) if settings.skip_repeated else None
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
            text_N=chunks.text_N,
            every_position=every_position and part == "train",
            min_context=settings.shortest,
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
        train = train.select(first_by_hash(train, settings.train_windows, store))
    if settings.first is not None:
        train = train.select(of_first_documents(train, settings.first, store))
    if settings.train_windows is not None or settings.first is not None:
        in_train = np.isin(store.documents.numbers(), train.document_W)
        stretches["train"] = [stretch for stretch in stretches["train"] if in_train[stretch]]
    apart = _Apart(chunks, train, settings, cache, [])
    val = windows_of("val") if opened.val_store is None else apart.windows(opened.val_store, "data.val_path")
    ood = None if opened.ood_store is None else apart.windows(opened.ood_store, "data.ood_path")
    training = TrainingPart(store, np.array(stretches["train"], dtype=np.int64), cache)
    return Parts(
        train=train,
        val=val,
        test=windows_of("test"),
        ood=ood,
        stats=training_stats(store, training.stretches, cache, normaliser),
        contract=store.contract,
        documents=int(store.documents.numbers().max()) + 1,
        content=opened.content,
        oracle=opened.oracle,
        cut=_cut(opened.content, settings),
        notes=(*_unknown(opened), *apart.notes),
        training=training,
        tmd=store.tmd,
        codes_content=codes_content(store),
        origins=_origins(opened),
        stores=_stores(opened),
    )


def _stores(opened: Opened) -> dict[str, Store]:
    apart = {"val": opened.val_store, "ood": opened.ood_store}
    return dict.fromkeys(("val", "test"), opened.store) | {part: one for part, one in apart.items() if one is not None}


def _origins(opened: Opened) -> dict[str, list[str]]:
    stores = _stores(opened)
    own = document_sources(opened.store)
    return {part: own if one is opened.store else document_sources(one) for part, one in stores.items()}


def _unknown(opened: Opened) -> list[str]:
    """Why windows stand alone and what cannot be measured of them, a sentence a store."""
    return [
        f"{store.name}: {store.reason}; the offset sweep and the rollout are not measurable"
        + ("" if store.documents_known else ", no intervals are given and the verdict is undecided")
        + "; data.bank_path with the article bank that they were cut from mends that"
        for store in (opened.store, opened.val_store, opened.ood_store)
        if store is not None and store.reason
    ]


def _cut(content: dict[str, str], settings: DataSettings) -> dict[str, str]:
    """By held-out part, a digest of what makes it what it is."""
    by = [settings.fold, settings.skip_repeated]
    # Weights choose what training draws, and are no vectors.
    content = {name: digest for name, digest in content.items() if name != MIX}
    split = {name: digest for name, digest in content.items() if name != "ood"}

    def digest(part: str, read: dict[str, str]) -> str:
        return hashlib.sha256(json.dumps([part, read, *by], sort_keys=True).encode()).hexdigest()

    return {part: digest(part, content if part == "ood" else split) for part in ("val", "test", "ood")}


@dataclass(frozen=True)
class _Apart:
    """Cuts stores that stand as a whole, apart from the training data. notes: what was taken out, one sentence each."""

    chunks: Chunks
    train: Windows
    settings: DataSettings
    cache: Path
    notes: list[str]

    def windows(self, store: Store, name: str) -> Windows:
        """The windows of a store without those of chunks that are trained on; those of chunks of the training store's
        other documents are no targets here.

        Raises UserError where too many go or none is left.
        """
        windows = whole_windows(store, self.settings, name, self.cache)
        mine = Chunks.of(store)
        trained_N = np.zeros(len(self.chunks.vectors_ND), dtype=bool)
        trained_N[rows_of(self.train)] = True
        seen_N = rows_within(mine, self.chunks, trained_N)
        windows = take_out(
            replace(windows, seen_N=seen_N),
            seen_N,
            f"{name} ({store.name})",
            "the training part",
            f"name documents that {name} alone has, or leave it out",
        ).noted(self.notes)
        if not self.settings.skip_repeated:
            return windows
        repeated_N = rows_within(mine, self.chunks)
        excluded_N = repeated_N if windows.excluded_N is None else repeated_N | windows.excluded_N
        windows = replace(windows.select(~repeated_N[windows.target_row_W]), excluded_N=excluded_N)
        if len(windows) == 0:
            raise UserError(
                f"{name} has no window: {_repeated_share(excluded_N)}, of the training data's too; bring other "
                "documents, or leave it out."
            )
        return windows


def _no_window(store: Store, stretches: np.ndarray, settings: DataSettings, excluded_N: np.ndarray | None) -> str:
    """Why these stretches, of which there is at least one, hold no window, and the way out."""
    longest = int(store.documents.length[stretches].max())
    if longest <= settings.shortest:
        key = "min_context" if settings.shortest < settings.context_length else "context_length"
        return (
            f"its longest document has {longest} chunks and data.{key}={settings.shortest} needs "
            f"{settings.shortest + 1}; set a smaller data.{key} or bring longer documents"
        )
    assert excluded_N is not None, "long stretches without excluded rows have windows"
    repeated = f"{_repeated_share(excluded_N)} and are no targets"
    if excluded_N.mean() > NEARLY_ALL:
        return (
            f"{repeated}; check that the vectors are not all alike and that no document is listed twice, or set "
            "data.skip_repeated=false"
        )
    return f"{repeated}, which leaves it none; bring other documents or set data.skip_repeated=false"


def _repeated_share(excluded_N: np.ndarray) -> str:
    count, share = int(excluded_N.sum()), float(excluded_N.mean())
    nearly = "nearly all, " if NEARLY_ALL < share < 1 else "all, " if share == 1 else ""
    return f"{nearly}{count} of the {len(excluded_N)} chunks stand in several documents"


def whole_windows(store: Store, settings: DataSettings, name: str, cache: Path) -> Windows:
    """The windows of all documents of a store; `name` says in the refusal of an empty one what it is."""
    stretches = np.arange(len(store.documents))
    chunks = Chunks.of(store)
    excluded_N = repeated_rows(store, cache, chunks) if settings.skip_repeated else None
    windows = index_windows(
        store,
        stretches,
        settings.context_length,
        excluded_N=excluded_N,
        text_N=chunks.text_N,
        min_context=settings.shortest,
    )
    if len(windows) == 0:
        raise UserError(f"{name} has no window: {_no_window(store, stretches, settings, excluded_N)}.")
    return windows
