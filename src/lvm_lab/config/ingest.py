"""The settings of conf/ingest.yaml, typed; imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config import binding, targets
from lvm_lab.errors import UserError

GROUPS = ("reader", "chunker", "encoder")
# More jobs than that split no documents that anybody has.
MOST_SHARDS = 10_000
# Each has a stack of its own, and no machine has so many cores.
MOST_THREADS = 1_024


@dataclass(frozen=True)
class IngestSettings:
    """reader, chunker, encoder: nodes of their options. shard: which of `shards` this job is; None for the only one.

    tmd: the node of what gives the chunks their TMD codes, once their vectors are written.
    block: so many chunks are encoded, written and kept at once. threads: of an encoding job; None: the machine's,
    shared by the shards. restart: throw away what an ingestion with other settings has left. checks: whether the
    store is examined at the end.
    """

    reader: dict[str, Any]
    chunker: dict[str, Any]
    encoder: dict[str, Any]
    tmd: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    out: str | None = None
    append: bool = False
    dry_run: bool = False
    shards: int = 1
    shard: int | None = None
    block: int = 2048
    dtype: Literal["float16", "float32"] = "float16"
    threads: int | None = None
    restart: bool = False
    checks: bool = True

    def __post_init__(self) -> None:
        if not self.out and not self.dry_run:
            raise UserError("an ingestion needs a place for its store; add out=FOLDER.")
        if self.out and "://" in self.out:
            raise UserError(f"out={self.out} is an address; make the store in a folder here, and copy it there.")
        if self.out and Path(self.out).name in ("", ".."):
            raise UserError(f"out={self.out} does not fit; name a folder that the store may become.")
        if not 1 <= self.shards <= MOST_SHARDS:
            raise UserError(f"shards={self.shards} does not fit; set 1 to {MOST_SHARDS}.")
        if self.block < 1:
            raise UserError(f"block={self.block} does not fit; set 1 or more chunks.")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise UserError(f"threads={self.threads} does not fit; set 1 to {MOST_THREADS}, or null.")
        if self.shard is None and self.shards > 1 and not self.dry_run:
            raise UserError(f"shards={self.shards} are as many jobs; add -m to run them all.")
        if self.shard is not None and not 0 <= self.shard < self.shards:
            raise UserError(
                f"shard={self.shard} does not exist; with shards={self.shards} choose 0 to {self.shards - 1}."
            )

    @property
    def folder(self) -> Path:
        assert self.out, "a dry run has no folder"
        return Path(self.out)

    @property
    def name(self) -> str:
        """What messages call this job."""
        return f"{self.out}, shard {self.job} of {self.shards}" if self.shards > 1 else str(self.out)

    @property
    def job(self) -> int:
        """The number of this job's shard."""
        return self.shard or 0

    @property
    def threads_used(self) -> int:
        """A number that only settings and the machine decide, since vectors hang on it in their last digits."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.shards)

    @property
    def allowed(self) -> frozenset[str]:
        """What parts may be built of: the user composed the nodes that name them."""
        return targets.named([self.reader, self.chunker, self.encoder, self.tmd])

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> IngestSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        keys = cls.__dataclass_fields__
        for key in keys:
            if key not in config:
                raise UserError(f"{key} is taken away, and an ingestion needs it; leave ~{key} out.")
        for key in config:
            if key not in keys:
                raise UserError(binding.unknown_key(key, keys))
        for group in GROUPS:
            if not isinstance(config[group], dict):
                raise UserError(f"{group}={binding.written(config[group])} names no option; choose one of {group}.")
        return binding.dataclass_from(cls, config, "")
