"""The body of `tmd`: the chunks of a store that have no TMD code get one."""

from __future__ import annotations

import inspect
import json
import logging
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.config import binding, targets
from lvm_lab.config.command import command
from lvm_lab.config.settings import nameless
from lvm_lab.data import tmd
from lvm_lab.data.appending import set_codes
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.files import address
from lvm_lab.text.coder import Coder, Table, names_of
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoder_choice import encoder_of
from lvm_lab.text.endpoint import EndpointError
from lvm_lab.text.tmd_names import read_table

log = logging.getLogger(__name__)

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
        settings = binding.dataclass_from(cls, {"encoder": None} | config, "")
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
    lab's. Codes are written as they come, and a chunk keeps the one that it has until another comes.

    Raises EndpointError where what gives them does not answer, after what it gave is written.
    """
    table = read_table(names)
    wanted = names_of(table, coder.by)
    rows_N = np.arange(len(store.vectors_ND))
    if store.codes_N is not None and not redo:
        if store.tmd != wanted and (store.codes_N != tmd.MISSING).any():
            raise UserError(
                f"{store.name} has TMD codes by another table of names; give names= that table, or redo=true."
            )
        rows_N = np.flatnonzero(store.codes_N == tmd.MISSING)
    texts = store.texts() if coder.needs_texts else None
    if coder.needs_texts and texts is None:
        raise UserError(f"{store.name} has no texts, by which this gives codes; take tmd=prototypes.")
    ends = 0
    for codes_N in _codes(coder, table, store, rows_N, texts, encoder):
        of_N, new_N = rows_N[ends : ends + len(codes_N)], codes_N != tmd.MISSING
        if new_N.any():
            store = set_codes(store.path, codes_N[new_N], wanted, of_N[new_N], store.content)
        ends += len(codes_N)
        if ends < len(rows_N):
            log.info("%s: %d of %d chunks were looked at for their TMD codes", store.name, ends, len(rows_N))
    return store


def _codes(
    coder: Coder, table: Table, store: Store, rows_N: np.ndarray, texts: list[str] | None, encoder: Encoder | None
) -> Iterator[np.ndarray]:
    if not len(rows_N):
        return
    some = None if texts is None else [texts[row] for row in rows_N.tolist()]
    # All of them as they lie at rest, since a copy of them may not fit into memory.
    vectors_ND = store.vectors_ND if len(rows_N) == len(store.vectors_ND) else store.vectors_ND[rows_N]
    yield from coder.codes(table, vectors_ND, some, encoder)  # type: ignore[arg-type]


def code_ingested(path: Path, coder: Coder, encoder: Encoder, node: dict[str, Any]) -> dict[str, Any]:
    """Codes for the chunks of a store that was just made, and how they are spread, as `counts`. node: of the coder.

    What gives them may be away or slow: the store is whole without them, and a warning says how to get the rest.
    """
    store, reason = open_store(path), ""
    if store.codes_N is None or (store.codes_N == tmd.MISSING).any():
        log.info("%s has its vectors; its chunks get their TMD codes now", path)
        try:
            store = give_codes(store, coder, encoder)
        except EndpointError as error:
            store, reason = open_store(path), f": {error}"
    report = counts(store)
    if report["missing"]:
        words = f"{report['missing']} chunks of {path} have no TMD code{reason or '.'}"
        log.warning("%s They get theirs by %s", words, rest(path, coder, node))
    return report


def rest(path: Path, coder: Coder, node: dict[str, Any]) -> str:
    """The command that gives the chunks without a code theirs, with the settings that are not at their defaults; those
    that hold a secret are left out."""
    words = [f"store={path}", f"tmd={node['name']}"]
    for key, parameter in inspect.signature(type(coder)).parameters.items():
        value = node.get(key, parameter.default)
        if value != parameter.default and key not in coder.secrets:
            text = value if isinstance(value, str) else json.dumps(value)
            if address(text) == text.rstrip("/"):
                words.append(f"tmd.{key}={text}")
    return command("tmd", *map(shlex.quote, words))


def counts(store: Store) -> dict[str, Any]:
    """How many chunks have a code, and by domain, the most common first."""
    if store.codes_N is None:
        return {"chunks": 0, "missing": len(store.vectors_ND), "by": "", "domains": {}}
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
