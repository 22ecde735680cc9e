"""A store's manifest: its parts, what made its vectors, where its texts are from; read from schema 1 and 2."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lvm_lab.data.contract import EncoderContract, read_contract
from lvm_lab.data.part_files import CHUNKS, CODES, VECTORS, Part
from lvm_lab.data.tmd import Names
from lvm_lab.errors import UserError

SCHEMA_VERSION = 2
FILE = "manifest.json"
PARTS = "parts"
# Schema 1 has one part, whose files lie in the store's own folder.
IN_THE_STORE = "."
PART_NAME = re.compile(r"[0-9a-f]{16}")

# source, licence, origin: where the texts of a source are from, as far as known.
Origin = Mapping[str, str | None]


class DamagedStore(UserError):
    """What is no store as its manifest should say. flaw: the sentence without its way out, which never is to delete a
    folder that may be a user's; who knows that the lab made it has another one."""

    def __init__(self, flaw: str) -> None:
        super().__init__(f"{flaw}; name a store's folder, or make the store again under another name.")
        self.flaw = flaw


@dataclass(frozen=True)
class Manifest:
    """parts: in the order in which their rows are counted, that of their content: who was appended first counts for
    nothing. isolated, reason, documents_known, tmd: see `lvm_lab.data.store.Store`."""

    contract: EncoderContract
    parts: tuple[Part, ...]
    isolated: bool = False
    reason: str = ""
    documents_known: bool = True
    origins: tuple[Origin, ...] = ()
    tmd: Names | None = None

    @property
    def content(self) -> str:
        """A digest of the vectors and their documents."""
        contents = sorted(part.content for part in self.parts)
        return contents[0] if len(contents) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()

    def text(self) -> str:
        """As it is written."""
        whole = {
            "schema_version": SCHEMA_VERSION,
            "encoder": self.contract.recorded(),
            "isolated": self.isolated,
            "reason": self.reason,
            "documents_known": self.documents_known,
            "origins": sort_origins(self.origins),
            "parts": [_listed(part) for part in sort_parts(self.parts)],
        } | ({} if self.tmd is None else {"tmd": self.tmd.recorded()})
        return json.dumps(whole, indent=2)


def folder_of(part: Part) -> str:
    """Where a part lies, from the store's folder or address on; empty in the store's own."""
    return "" if part.name == IN_THE_STORE else f"{PARTS}/{part.name}"


def sort_parts(parts: Sequence[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: part.content)


def sort_origins(origins: Sequence[Origin]) -> list[dict[str, str | None]]:
    """Each once, in one order, whoever came first."""
    return [json.loads(line) for line in sorted({json.dumps(dict(origin), sort_keys=True) for origin in origins})]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store in a folder. Raises UserError for what is none."""
    file = path / FILE
    if file.exists() and not file.is_file():
        # Opening a pipe would wait for somebody to write into it.
        raise unreadable(path, f"{file} is no plain file")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return parse(text, path)


def parse(text: str, name: object) -> Manifest:
    """name: what messages call the store."""
    try:
        whole = json.loads(text)
        version = whole.get("schema_version")
        if version not in (1, SCHEMA_VERSION):
            raise DamagedStore(f"{name} has store schema {version} and this version reads 1 and {SCHEMA_VERSION}")
        parts = [_part(listed) for listed in whole["parts"]] if version == SCHEMA_VERSION else [_of_schema_1(whole)]
        if not parts or len({part.name for part in parts}) < len(parts):
            raise ValueError("its manifest lists no part, or one twice")
        return Manifest(
            read_contract(whole["encoder"], "encoder"),
            tuple(sort_parts(parts)),
            bool(whole["isolated"]),
            str(whole.get("reason", "")),
            bool(whole.get("documents_known", True)),
            tuple(dict(origin) for origin in whole.get("origins", ())),
            None if whole.get("tmd") is None else Names.read(whole["tmd"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        reason = f"its manifest has no {error}" if isinstance(error, KeyError) else error
        raise unreadable(name, reason) from error


def unreadable(name: object, reason: object) -> DamagedStore:
    words = " ".join(str(reason).split())[:300]
    return DamagedStore(f"{name} is not a readable store ({words})")


def _listed(part: Part) -> dict[str, Any]:
    """As `_part` reads it."""
    return {key: value for key, value in asdict(part).items() if key != "threads" or value is not None}


def _part(listed: dict[str, Any]) -> Part:
    rows = None if listed["rows"] is None else int(listed["rows"])
    hashes = {str(k): str(v) for k, v in listed["sha256"].items()}
    threads = listed.get("threads")
    part = Part(str(listed["name"]), rows, hashes, None if threads is None else int(threads))
    # Names are paths too, and a manifest may come from anywhere.
    if part.name not in (IN_THE_STORE, part.content[:16]):
        raise ValueError(f"its manifest has a part {part.name!r} that is not named by its content")
    if not set(part.sha256) <= {VECTORS, "documents", CHUNKS, CODES}:
        raise ValueError(f"its manifest has hashes of {', '.join(part.sha256)}")
    return part


def _of_schema_1(whole: dict[str, Any]) -> Part:
    hashes = whole["sha256"]
    return Part(IN_THE_STORE, None, {VECTORS: hashes[VECTORS], "documents": hashes["documents"]})
