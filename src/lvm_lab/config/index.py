"""The settings of conf/index.yaml, typed; imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_lab.config import binding
from lvm_lab.errors import UserError

MOST_THREADS = 1_024
# FAISS holds a seed in 31 bits.
MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class IndexSettings:
    """index: the node of its kind. store: several are read as one. See conf/index.yaml for the rest."""

    index: dict[str, Any]
    store: list[str]
    out: str | None = None
    recall: float = 0.96
    queries: int = 1000
    held_out: float = 0.05
    seed: int = 0
    threads: int | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if not self.store:
            raise UserError("index needs a store; write lvm-lab index STORE.")
        if not self.out and (len(self.store) > 1 or "://" in self.store[0]):
            raise UserError("an index of several stores, or of an address, needs a place; add out=FOLDER.")
        if self.out and (Path(self.out).name in ("", "..") or "://" in self.out):
            raise UserError(f"out={self.out} does not fit; name a folder here that the index may become.")
        if not 0 < self.recall <= 1:
            raise UserError(f"recall={self.recall} does not fit; set a share above 0, up to 1.")
        if self.queries < 1:
            raise UserError(f"queries={self.queries} measure nothing; set 1 or more.")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out={self.held_out} does not fit; set a share between 0 and 1.")
        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"seed={self.seed} does not fit; set 0 to {MOST_SEED}.")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise UserError(f"threads={self.threads} does not fit; set 1 to {MOST_THREADS}, or null.")

    @property
    def folder(self) -> Path:
        if self.out:
            return Path(self.out)
        store = Path(os.path.abspath(self.store[0]))
        return store.with_name(f"{store.name.removesuffix('.npz')}.{self.index['name']}.index")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> IndexSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        for key in cls.__dataclass_fields__:
            if key not in config:
                raise UserError(f"{key} is taken away, and an index needs it; leave ~{key} out.")
        if not isinstance(config["index"], dict) or not isinstance(config["index"].get("name"), str):
            raise UserError(f"index={binding.written(config['index'])} names no option; choose one of index.")
        store = [config["store"]] if isinstance(config["store"], str) else config["store"]
        return binding.dataclass_from(cls, config | {"store": store}, "")
