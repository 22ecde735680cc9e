"""The settings of conf/serve.yaml, typed; imports no torch."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config import binding
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.errors import UserError

# In addresses, labels of metrics and folders.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LARGEST_PORT = 65_535
# What the headers Host, less its port, and Origin have.
HOST = re.compile(r"\*|\[[0-9a-fA-F:]+\]|[^/:@\s]+")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\sA-Z]+")


@dataclass(frozen=True)
class BatchSettings:
    """Of the contexts that wait for a model, how many it reads at once, and for how long the first waits for others."""

    most: int = 64
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.most < 1:
            raise UserError(f"batch.most={self.most} predicts nothing; set 1 or more.")
        if not 0 <= self.wait_ms <= 1000:
            raise UserError(f"batch.wait_ms={self.wait_ms:g} does not fit; set 0 to 1000 milliseconds.")


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and what all of them may hold; see conf/serve.yaml."""

    body_mb: float = 16.0
    bodies_mb: float = 256.0
    predictions: int = 1024
    steps: int = 64
    texts: int = 256
    characters: int = 200_000
    seconds: float = 30.0
    upload_seconds: float = 15.0
    requests: int = 512
    texts_waiting: int = 64

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) <= 0:
                raise UserError(f"limits.{one.name}={getattr(self, one.name):g} leaves nothing; set more than 0.")
        if self.body_mb > self.bodies_mb:
            raise UserError(
                f"limits.body_mb={self.body_mb:g} is more than all requests may hold (limits.bodies_mb="
                f"{self.bodies_mb:g}); set limits.bodies_mb to that at least."
            )

    @property
    def body_bytes(self) -> int:
        return int(self.body_mb * 2**20)

    @property
    def bodies_bytes(self) -> int:
        return int(self.bodies_mb * 2**20)


@dataclass(frozen=True)
class ServeSettings:
    """checkpoint: paths by name. encoder, chunker, decoder, tmd: nodes of their options; None: the one by which a
    model's data came about, of decoder and tmd none. See conf/serve.yaml for the rest."""

    checkpoint: dict[str, str] = field(default_factory=dict)
    registry: str | None = None
    encoder: dict[str, Any] | None = None
    chunker: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    tmd: dict[str, Any] | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    api_key: str = "LVM_LAB_API_KEY"
    ingest: str | None = None
    device: DeviceSettings = field(default_factory=DeviceSettings)
    engine: Literal["torch", "onnxruntime"] = "torch"
    allow: list[str] = field(default_factory=list)
    cache: str | None = None
    chat_steps: int = 5
    grace_seconds: float = 10.0
    batch: BatchSettings = field(default_factory=BatchSettings)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.checkpoint and not self.registry:
            raise UserError("serve needs a model; give checkpoint=RUN or registry=FOLDER.")
        if self.checkpoint and self.registry:
            raise UserError("serve takes models from checkpoint=... or from registry=...; leave one of them out.")
        for name in self.checkpoint:
            if not NAME.fullmatch(name):
                raise UserError(f"checkpoint has the name {name!r}; take letters, digits, dots, - and _.")
        if not 0 <= self.port <= LARGEST_PORT:
            raise UserError(f"port={self.port} does not exist; set 1 to {LARGEST_PORT}, or 0 for any that is free.")
        if not 1 <= self.chat_steps <= self.limits.steps:
            raise UserError(f"chat_steps={self.chat_steps} does not fit; set 1 to limits.steps ({self.limits.steps}).")
        if not self.host:
            raise UserError("host is empty; set 127.0.0.1 for this machine alone.")
        for host in self.hosts:
            if not HOST.fullmatch(host):
                raise UserError(f"hosts={host} is no host as requests name it; give its name alone, without a port.")
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin):
                raise UserError(f"origins={origin} is none that a browser sends; write it like https://example.org.")

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_key(self, key: str | None) -> None:
        """UserError where others than this machine would be let in without a key."""
        if not self.loopback and not key:
            raise UserError(
                f"host={self.host} lets other machines in, which takes a key; set {self.api_key} in the environment, "
                "or host=127.0.0.1."
            )

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> ServeSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        given = config.get("checkpoint")
        node = config | {"checkpoint": given if isinstance(given, dict) else named(_listed(given))}
        for key in ("hosts", "origins", "allow"):
            node[key] = _listed(config.get(key))
        for group in ("encoder", "chunker", "decoder", "tmd"):
            node.setdefault(group, None)
            if node[group] is not None and "_target_" not in node[group]:
                node[group] = None
        settings: ServeSettings = binding.dataclass_from(cls, node, "")
        return settings


def _listed(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


def named(paths: Sequence[Any]) -> dict[str, str]:
    """Paths by the name of their run's folder. Raises UserError where two have the same."""
    by_name: dict[str, str] = {}
    for path in paths:
        if not isinstance(path, str):
            raise UserError(f"checkpoint={path!r} is no path; name a run's folder or a checkpoint.")
        place = Path(path).absolute()
        if place.suffix == ".ckpt":
            place = place.parent.parent if place.parent.name == "checkpoints" else place.with_suffix("")
        name = re.sub(r"[^A-Za-z0-9._-]", "-", place.name).lstrip("._-") or "model"
        if name in by_name:
            raise UserError(
                f'two models would be called {name}; name them, "checkpoint={{a: {by_name[name]}, b: {path}}}".'
            )
        by_name[name] = path
    return by_name
