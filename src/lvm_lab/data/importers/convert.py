"""Turn a trusted `.npz` with pickled object arrays into a store with texts.

`lvm-lab convert-npz IN.npz OUT_FOLDER --trust-pickle`

Reading a pickle can run any code that its maker put in: this is the only place that does it, and
only when asked in so many words.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.importers import article_bank, sequences
from lvm_lab.data.importers.npz import DEFAULT_SOURCE, measure_contract, read_material
from lvm_lab.data.importers.npz_file import TEXT_KEYS, NpzFile
from lvm_lab.data.store import Store, write_store
from lvm_lab.errors import UserError


def _of_parts(names: Iterable[str]) -> frozenset[str]:
    return frozenset(prefix + name for prefix in sequences.PREFIXES for name in names)


VECTOR_KEYS = _of_parts((*article_bank.VECTORS, *sequences.CONTEXTS, *sequences.TARGETS))
ID_KEYS = _of_parts((*article_bank.ARTICLES, *sequences.ARTICLES))
INDEX_KEYS = _of_parts((*article_bank.CHUNKS, *sequences.PLACES, "context_indices", *sequences.MASKS))
ARRAY_KEYS = VECTOR_KEYS | ID_KEYS | INDEX_KEYS
# What the dicts of `metadata` call the plain arrays that they can stand in for.
FROM_METADATA = {
    "article_index": ("article_ids", (*article_bank.ARTICLES, *sequences.ARTICLES)),
    "article_id": ("article_ids", (*article_bank.ARTICLES, *sequences.ARTICLES)),
    "doc_id": ("article_ids", (*article_bank.ARTICLES, *sequences.ARTICLES)),
    "chunk_index": ("chunk_indices", article_bank.CHUNKS),
    "target_chunk_index": ("target_indices", sequences.PLACES),
}


def convert(path: Path, folder: Path, *, trust_pickle: bool, source: str = DEFAULT_SOURCE) -> Store:
    """Write the store of an article bank or a sequence file, with its texts, to `folder`.

    Rows whose text the file does not hold (the first context vectors of a sequence file's
    documents) have an empty one. Raises UserError without `trust_pickle`, and for what an import
    would refuse.
    """
    if not trust_pickle:
        raise UserError(
            f"{path} is read with its pickles here, which can run any code that its maker put in; "
            "if you trust whoever made it, add --trust-pickle."
        )
    if folder.exists():
        raise UserError(f"{folder} exists already; name a folder that does not.")
    with NpzFile(path) as probe:
        read = ARRAY_KEYS | _of_parts((*TEXT_KEYS, "metadata"))
        pickled = [key for key in probe.pickled() if key in read]
        plain_keys = set(probe.headers) - set(probe.pickled())
    objects = _unpickle(path, pickled)
    plain = {key: _numbers(path, key, values) for key, values in objects.items() if key in ARRAY_KEYS}
    for prefix in sequences.PREFIXES:
        for key, values in _from_metadata(path, objects.get(f"{prefix}metadata", [])).items():
            name, aliases = FROM_METADATA[key]
            if not any(prefix + alias in {*plain, *plain_keys} for alias in aliases):
                plain[prefix + name] = values
    texts = {
        key: ["" if text is None else str(text) for text in values]
        for key, values in objects.items()
        if key in _of_parts(TEXT_KEYS)
    }
    with NpzFile(path, plain=plain, texts=texts, scratch=folder.parent) as npz:
        material = read_material(npz, source)
    contract = measure_contract(path, material.vectors_ND, EncoderContract())
    if material.note:
        print(f"{path}: {material.note}.", file=sys.stderr)
    if material.isolated:
        print(f"{path}: {material.reason}, so that the store holds isolated windows.", file=sys.stderr)
    return write_store(
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


def _unpickle(path: Path, keys: list[str]) -> dict[str, list[Any]]:
    if not keys:
        return {}
    try:
        with np.load(path, allow_pickle=True) as npz:
            return {key: list(npz[key].ravel() if key not in ARRAY_KEYS else npz[key]) for key in keys}
    except Exception as error:  # unpickling raises whatever the pickled classes raise
        raise UserError(
            f"{path}: its pickles cannot be read ({type(error).__name__}: {error}); "
            "save the file again with plain arrays."
        ) from error


def _numbers(path: Path, key: str, values: list[Any]) -> np.ndarray:
    """A plain array from an object array of numbers, of equally long vectors, or of ids that are texts."""
    if _ids(key) and any(isinstance(value, str) for value in values):
        return np.array([str(value) for value in values])
    try:
        array = np.stack([np.asarray(value, dtype=np.float32 if key in VECTOR_KEYS else None) for value in values])
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {key} does not hold one array of numbers ({error}); save it as one.") from error
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} holds {array.dtype} where numbers are needed; save it as int64 or float32.")
    return array


def _ids(key: str) -> bool:
    return key in ID_KEYS or FROM_METADATA.get(key.removeprefix("metadata "), ("",))[0] == "article_ids"


def _from_metadata(path: Path, metadata: list[Any]) -> dict[str, np.ndarray]:
    """The indices that one dict of lists, or one dict a row, supplies."""
    dicts = [entry for entry in metadata if isinstance(entry, dict)]
    if not dicts or len(dicts) != len(metadata):
        return {}
    arrays = {}
    for key in FROM_METADATA:
        have = sum(key in entry for entry in dicts)
        if have == 0:
            continue
        if have < len(dicts):
            raise UserError(
                f"{path}: {have} of {len(dicts)} metadata entries have {key}; give all of them one or save it as an "
                "array."
            )
        values = dicts[0][key] if len(dicts) == 1 else [entry[key] for entry in dicts]
        arrays[key] = _numbers(path, f"metadata {key}", list(np.atleast_1d(values)))
    return arrays
