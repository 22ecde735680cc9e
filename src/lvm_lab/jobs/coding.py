"""The body of `tmd`: the chunks of a store that have no TMD code get one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.config import binding, targets
from lvm_lab.config.settings import nameless
from lvm_lab.data import tmd
from lvm_lab.data.appending import set_codes
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.verification import encoder_of
from lvm_lab.text.coder import Coder, Table, names_of
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.tmd_names import read_table

ROOM = "text.tmd"


@dataclass(frozen=True)
class CodingSettings:
    """The settings of conf/tmd.yaml. tmd, encoder: nodes of their options; encoder None: the one that the store names.
    names: a YAML of the table; redo: whether chunks that have a code get another."""

    store: str | None
    tmd: dict[str, Any]
    names: str | None = None
    redo: bool = False
    encoder: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> CodingSettings:
        """Raises UserError with the setting's name for what does not fit."""
        settings = binding.dataclass_from(cls, {"encoder": None} | config, "tmd")
        if not settings.store:
            raise UserError("tmd needs a store; write lvm-lab tmd store=FOLDER.")
        return settings


def code(settings: CodingSettings, option: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Give the codes and say how they are spread. option: an encoder option's settings by its name.

    Raises UserError for what is no store in a folder, for an encoder that is not known or is another than the store's,
    and for a table of names other than the one by which some of the chunks have codes.
    """
    path = Path(str(settings.store))
    if not (path / MANIFEST).is_file():
        raise UserError(f"store={path} is no store's folder; name one that lvm-lab ingest or convert-npz made.")
    coder = coder_of(settings.tmd)
    if coder is None:
        raise UserError("tmd=none gives no codes; choose another of conf/tmd/.")
    store = open_store(path, verify=True)
    encoder = None
    if coder.needs_encoder:
        encoder = encoder_of(store.contract, settings.encoder, option)
        if encoder is None:
            raise UserError(
                f"{path} does not say which encoder of the lab made its vectors, and tmd={settings.tmd['name']} "
                "encodes sentences as its chunks were; name it with encoder=OPTION."
            )
        conflict = store.contract.conflict(encoder.contract())
        if conflict:
            raise UserError(f"{path} is not of this encoder ({conflict}); name the one that made it with encoder=...")
    return counts(give_codes(store, coder, encoder, settings.names, redo=settings.redo))


def coder_of(node: dict[str, Any]) -> Coder | None:
    """What the node of a `tmd` option names; None for tmd=none."""
    if targets.TARGET not in node:
        return None
    coder: Coder = targets.make(nameless(node), ROOM, "tmd", allow=targets.named(node))
    return coder


def give_codes(
    store: Store, coder: Coder, encoder: Encoder | None, names: str | None = None, *, redo: bool = False
) -> Store:
    """The store with codes for its chunks that have none (redo: for all), by a YAML of names, its own table, or the
    lab's."""
    table = read_table(names)
    wanted = names_of(table, coder.by)
    codes_N = np.full(len(store.vectors_ND), tmd.MISSING, np.uint16)
    if store.codes_N is not None and not redo:
        if store.tmd != wanted and (store.codes_N != tmd.MISSING).any():
            raise UserError(
                f"{store.name} has TMD codes by another table of names; give names= that table, or redo=true."
            )
        codes_N = np.array(store.codes_N)
    rows = np.flatnonzero(codes_N == tmd.MISSING)
    texts = store.texts() if coder.needs_texts else None
    if coder.needs_texts and texts is None:
        raise UserError(f"{store.name} has no texts, by which this gives codes; take tmd=prototypes.")
    codes_N[rows] = _codes(coder, table, store, rows, texts, encoder)
    return set_codes(store.path, codes_N, wanted)


def _codes(
    coder: Coder, table: Table, store: Store, rows: np.ndarray, texts: list[str] | None, encoder: Encoder | None
) -> np.ndarray:
    if not len(rows):
        return np.empty(0, np.uint16)
    some = None if texts is None else [texts[row] for row in rows.tolist()]
    # All of them as they lie at rest, since a copy of them may not fit into memory.
    vectors_ND = store.vectors_ND if len(rows) == len(store.vectors_ND) else store.vectors_ND[rows]
    return coder.codes(table, vectors_ND, some, encoder)  # type: ignore[arg-type]


def counts(store: Store) -> dict[str, Any]:
    """How many chunks have a code, and by domain, the most common first."""
    assert store.codes_N is not None
    assert store.tmd is not None
    domain_N = tmd.unpack(store.codes_N)["domains"]
    by_number = np.bincount(domain_N[domain_N >= 0], minlength=len(store.tmd.domains))
    by_name = {
        (store.tmd.domains[k] if k < len(store.tmd.domains) else f"number {k}"): int(by_number[k])
        for k in np.argsort(-by_number, kind="stable").tolist()
        if by_number[k]
    }
    missing = int((domain_N < 0).sum())
    return {"chunks": len(domain_N) - missing, "missing": missing, "by": store.tmd.by, "domains": by_name}
