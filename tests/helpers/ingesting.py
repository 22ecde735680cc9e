"""Ingestions of made-up texts: as a command, and as the job behind it, which need not be composed each time."""

from __future__ import annotations

import copy
import functools
import hashlib
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from helpers.commands import Outcome, call
from helpers.text_parts import CONF
from lvm_lab import ingest
from lvm_lab.commands.composing import compose
from lvm_lab.config.ingest import IngestSettings
from lvm_lab.data.store import Store, open_store
from lvm_lab.jobs import ingestion

PARTS = ("reader=stories", "chunker=paragraphs", "encoder=letters", "block=20")
OWN = ("--config-dir", str(CONF), *PARTS)


def give(folder: Path, *arguments: str) -> Outcome:
    """The command."""
    return call(folder, *OWN, *arguments, main=ingest.main)


def made(folder: Path, *settings: str, out: str = "store") -> Store:
    """The store of the job; settings: KEY=VALUE, without checks where they do not say otherwise."""
    ingestion.ingest(job_settings(folder, *settings, out=out), lambda documents, chunks: None)
    return open_store(folder / out, verify=True)


def job_settings(folder: Path, *settings: str, out: str = "store") -> IngestSettings:
    config = copy.deepcopy(_composed())
    for setting in ("checks=false", *settings):
        path, _, value = setting.partition("=")
        *groups, key = path.split(".")
        node = config
        for group in groups:
            node = node[group]
        assert key in node, setting
        node[key] = yaml.safe_load(value)
    return IngestSettings.from_dict(config | {"out": str(folder / out)})


@functools.cache
def _composed() -> dict[str, Any]:
    return compose("ingest", [f"hydra.searchpath=[file://{CONF}]", *PARTS])


def content(store: Path) -> dict[str, str]:
    """Every file of a store but the report, by its bytes."""
    files = [file for file in sorted(store.rglob("*")) if file.is_file() and file.name != "ingest.json"]
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def staging(folder: Path, out: str = "store") -> Path:
    return folder / f".{out}.ingest"


def is_held(file: Path) -> bool:
    """Whether somebody holds the lock in a file."""
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True
