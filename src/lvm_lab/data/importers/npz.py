"""From the `.npz` files that people have to a store: one document a stretch of rows, imported once by content.

A file is imported into the cache under the sha256 of its bytes and of what else decides the result,
so that a second run opens the store, and a moved or renamed file is the same data.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from lvm_lab.data.contract import UNIT_TOLERANCE, EncoderContract, distance_from_unit
from lvm_lab.data.digests import remembered
from lvm_lab.data.importers import article_bank, joining, placing, sequences
from lvm_lab.data.importers.article_bank import Material
from lvm_lab.data.importers.npz_file import NpzFile, converter_command
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.remote import is_url, open_remote
from lvm_lab.data.store import Store, open_made, open_store, write_store
from lvm_lab.errors import UserError
from lvm_lab.files import sha256

# Part of the cached store's name: a change of what an import gives makes old imports unused.
IMPORT_VERSION = 4
# Parts are drawn by (source, id), so that the default may not hang on where the file lies.
DEFAULT_SOURCE = "npz"
UNKNOWN = EncoderContract()

logger = logging.getLogger(__name__)


def open_source(
    path: Path | str,
    cache: Path,
    *,
    context_length: int | None,
    min_context: int | None = None,
    bank_path: Path | None = None,
    contract: EncoderContract = UNKNOWN,
    source: str | None = None,
) -> Store:
    """A store from what a user points at: a store's folder or address is opened and verified, an `.npz` imported.

    context_length: of the windows that are wanted; None: none are, and documents may be as short as they like.
    min_context: the fewest vectors that a window reads; None: context_length.
    Raises UserError where the path is neither, or the store contradicts the given contract.
    """
    remote = is_url(path)
    if not remote and not Path(path).is_dir():
        return import_npz(
            Path(path),
            cache,
            context_length=context_length,
            min_context=min_context,
            bank_path=bank_path,
            contract=contract,
            source=source,
        )
    if not remote and not (Path(path) / MANIFEST).exists():
        raise UserError(f"{path} is a folder without manifest.json; give the folder of a store or an .npz file.")
    if bank_path is not None:
        raise UserError(f"{path} is a store, which has its documents already; leave data.bank_path out.")
    store = open_remote(str(path), cache) if remote else open_store(Path(path), verify=True, cache=cache)
    conflict = replace(contract, dim=contract.dim or store.dim).conflict(store.contract)
    if conflict is not None:
        raise UserError(f"{path} is not of the encoder that the config names ({conflict}); change one of the two.")
    _require_windows(path, store.documents.length, context_length, min_context)
    return store


def import_npz(
    path: Path,
    cache: Path,
    *,
    context_length: int | None,
    min_context: int | None = None,
    bank_path: Path | None = None,
    contract: EncoderContract = UNKNOWN,
    source: str | None = None,
) -> Store:
    """Import a file of any layout into the cache, or open what an earlier run imported.

    context_length, min_context: as of `open_source`.
    bank_path: the article bank that a sequence file was cut from; the store then holds the bank's
        documents for the articles that occur in the file.
    contract: what is known of the encoder; `normalised` is measured where it is None.
    source: the documents' source; parts are drawn by (source, id).

    Raises UserError, before anything is written, for files that cannot be imported.
    """
    path, cache, source = Path(path), Path(cache), DEFAULT_SOURCE if source is None else source
    with ExitStack() as stack:
        npz = stack.enter_context(NpzFile(path, scratch=cache))
        bank = None if bank_path is None else stack.enter_context(NpzFile(Path(bank_path), scratch=cache))
        own_split = _check_layout(npz, context_length, bank)
        folder = cache / _content_key(cache, path, bank_path, contract, source)
        if folder.exists():
            store = _open_import(folder, path, cache)
            logger.info("%s was imported before: opened %s", path, folder)
            _require_windows(path, store.documents.length, context_length, min_context)
            _warn(path, npz.pickled(), store.reason, own_split)
            return store
        material = read_material(npz, source, bank)
    _require_windows(path, material.documents.length, context_length, min_context)
    contract = measure_contract(path, material.vectors_ND, contract)
    _warn(path, npz.pickled(), material.reason, own_split)
    if material.note:
        logger.info("%s: %s", path, material.note)
    store = write_store(
        folder,
        material.vectors_ND,
        material.documents,
        contract,
        isolated=material.isolated,
        texts=material.texts,
        ids=material.ids,
        codes_N=material.codes_N,
        table=material.table,
        reason=material.reason,
        documents_known=material.documents_known,
        name=str(path),
    )
    store = replace(store, imported_from=path)
    logger.info("imported %s: %d documents, %d vectors in %s", path, len(set(store.documents.names())), *_size(store))
    return store


def _open_import(folder: Path, path: Path, cache: Path) -> Store:
    """What an earlier run imported of a user's file."""
    what = f"what an earlier run imported of {path}"
    return replace(open_made(folder, what, verify=True, cache=cache), imported_from=path)


def read_material(npz: NpzFile, source: str, bank: NpzFile | None = None) -> Material:
    """Documents, or isolated windows, from an open file in any layout."""
    if article_bank.is_bank(npz):
        return article_bank.read_bank(npz, article_bank.index_bank(npz), source)
    if sequences.is_sequences(npz):
        index = sequences.index_sequences(npz)
        return joining.join_bank(index, bank, source) if bank else placing.read_sequences(index, source)
    if npz.find(*article_bank.VECTORS, rank=2):
        article_bank.index_bank(npz)  # raises: something is missing
    raise _unknown_layout(npz)


def measure_contract(path: Path, vectors_ND: np.ndarray, contract: EncoderContract) -> EncoderContract:
    """The contract with `normalised` as measured; refuse one that the vectors contradict."""
    starts = range(0, len(vectors_ND), 16_384)
    farthest = max((distance_from_unit(vectors_ND[start : start + 16_384]) for start in starts), default=0.0)
    normalised = farthest <= UNIT_TOLERANCE
    if contract.normalised is not None and contract.normalised != normalised:
        measured = "all of length 1" if normalised else f"up to {farthest:.3g} away from length 1"
        raise UserError(
            f"{path}: the encoder contract says normalised={contract.normalised} and the vectors are {measured}; "
            f"set normalised={normalised} or give the right file."
        )
    dim = int(vectors_ND.shape[1])
    if contract.dim not in (0, dim):
        raise UserError(
            f"{path}: the encoder contract says dim={contract.dim} and the vectors have {dim}; "
            f"set dim={dim} or give the right file."
        )
    return replace(contract, normalised=normalised)


def _check_layout(npz: NpzFile, context_length: int | None, bank: NpzFile | None) -> str:
    """What the headers alone can refuse, before any hash is made or value read, and what they ask to be said."""
    if article_bank.is_bank(npz):
        if bank is not None:
            raise UserError(f"{npz.path} is an article bank itself; leave data.bank_path out.")
        return ""
    if not sequences.is_sequences(npz):
        read_material(npz, "")  # raises
    groups = sequences.find_groups(npz)
    length = npz.headers[groups[0].contexts].shape[1]
    if context_length not in (None, length):
        raise UserError(
            f"{npz.path} has windows of {length} context vectors and data.context_length is {context_length}; "
            f"set data.context_length={length}."
        )
    return sequences.own_split(groups)


def _content_key(cache: Path, path: Path, bank_path: Path | None, contract: EncoderContract, source: str) -> str:
    own, bank = (
        None if file is None else remembered(file, cache, "sha256", partial(sha256, file)) for file in (path, bank_path)
    )
    parts = [IMPORT_VERSION, own, bank, source, contract.recorded()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _require_windows(path: Path | str, length: np.ndarray, context_length: int | None, min_context: int | None) -> None:
    if context_length is None:
        return
    fewest = context_length if min_context is None else min_context
    if int(length.max(initial=0)) <= fewest:
        key = "context_length" if fewest == context_length else "min_context"
        raise UserError(
            f"{path}: no document is longer than the {'' if key == 'context_length' else 'shortest '}context of "
            f"{fewest} (the longest has {int(length.max(initial=0))} chunks), so that there is no window; set a "
            f"smaller data.{key} or give longer documents."
        )


def _unknown_layout(npz: NpzFile) -> UserError:
    return UserError(
        f"{npz.path} has {article_bank.listed(npz)}; {article_bank.NEEDED}, and {sequences.NEEDED}: save it in one of "
        "the two layouts."
    )


def _warn(path: Path, pickled: list[str], isolated_because: str, own_split: str) -> None:
    if own_split:
        logger.warning("%s: %s", path, own_split)
    if pickled:
        logger.warning(
            "%s: %s left unread, since pickled object arrays can run code when read; if you trust the file, %s keeps "
            "the texts",
            path,
            ", ".join(pickled),
            converter_command(path),
        )
    if isolated_because:
        logger.warning(
            "%s: %s, so that it is imported as isolated windows and the offset sweep and the rollout are not "
            "measurable; data.bank_path with the article bank that they were cut from mends that",
            path,
            isolated_because,
        )


def _size(store: Store) -> tuple[int, Path]:
    return len(store.vectors_ND), store.path
