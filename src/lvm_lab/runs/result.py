"""result.json as one dataclass, which the writer, every reader and the tests share: see docs/run-folder.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lvm_lab import __version__


@dataclass
class Result:
    """result.json, written last: see docs/run-folder.md. `checkpoint`: the one whose numbers these are."""

    name: str
    arch: str
    loss: str
    data: str
    status: Literal["finished", "diverged", "failed"]
    seed: int
    fingerprint: str
    seconds: float
    params: int = 0
    epochs: int = 0
    checkpoint: str | None = None
    five_cat: dict[str, Any] = field(default_factory=dict)
    val: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    ood: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    skill: dict[str, Any] = field(default_factory=dict)
    not_fitted: dict[str, str] = field(default_factory=dict)
    data_gate: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    version: str = __version__
    commit: str | None = None
