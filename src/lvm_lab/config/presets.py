"""What conf/five_cat/ says, typed: how often, on how many windows and against which thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from lvm_lab.errors import UserError

# The numbers of gates A to D.
NUMBERS = {
    "a": ("cos", "margin"),
    "b": ("r1", "r5", "mrr"),
    "c": ("shuffled", "reversed", "left_out", "repeated", "foreign"),
    "d": ("rollout",),
}


@dataclass(frozen=True)
class PartThresholds:
    """The numbers of one part. Changes (gate C) have to be at most theirs, everything else at least."""

    cos: float
    margin: float
    r1: float
    r5: float
    mrr: float
    shuffled: float
    reversed: float
    left_out: float
    repeated: float
    foreign: float
    rollout: float


@dataclass(frozen=True)
class Thresholds:
    """val and ood: gates A to D; difference: gate E, the most that the normal bins' means may differ."""

    val: PartThresholds
    ood: PartThresholds
    difference: float

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Thresholds:
        """Reads `{a: {val: {cos: ...}, ood: {...}}, ..., e: {difference: ...}}`; every number, and nothing else."""
        _exactly(table, (*NUMBERS, "e"), "five_cat.thresholds")
        _exactly(table["e"], ("difference",), "five_cat.thresholds.e")
        parts: dict[str, dict[str, float]] = {"val": {}, "ood": {}}
        for gate, names in NUMBERS.items():
            _exactly(table[gate], parts, f"five_cat.thresholds.{gate}")
            for part, numbers in parts.items():
                path = f"five_cat.thresholds.{gate}.{part}"
                _exactly(table[gate][part], names, path)
                numbers.update({name: _number(table[gate][part][name], f"{path}.{name}") for name in names})
        difference = _number(table["e"]["difference"], "five_cat.thresholds.e.difference")
        return cls(PartThresholds(**parts["val"]), PartThresholds(**parts["ood"]), difference)


def _exactly(node: Any, names: Iterable[str], path: str) -> None:
    found = set(node) if isinstance(node, Mapping) else set()
    if found != set(names):
        wrong = ", ".join(sorted(map(str, found ^ set(names))))
        raise UserError(
            f"{path} needs exactly {', '.join(names)} (wrong or missing: {wrong}); "
            "start from conf/five_cat/standard.yaml."
        )


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}={value} does not fit; give it a number.")
    return float(value)


@dataclass(frozen=True)
class Preset:
    """One option of five_cat.

    every_n_epochs: how often in training (0: never). max_windows, eval_windows: windows a part in
    training and in evaluation (0: none). required: gates needed of 5. every_interval_clear: a gate
    passes only where every interval lies wholly on the right side. tool: five_cat, or lnsp_compat for
    the old tool's ways. baselines: what the model is shown beside; cheap leaves out the nearest neighbour
    and the linear metric.
    """

    name: str
    thresholds: Thresholds
    every_n_epochs: int = 5
    max_windows: int = 1000
    eval_windows: int = 5000
    required: int = 5
    every_interval_clear: bool = False
    resamples: int = 1000
    seed: int = 0
    rollout_steps: int = 5
    on_failure: Literal["warn", "stop"] = "warn"
    stop_on_backward_bias: bool = False
    tool: Literal["five_cat", "lnsp_compat"] = "five_cat"
    baselines: Literal["all", "cheap"] = "all"

    def __post_init__(self) -> None:
        for name, least in (("every_n_epochs", 0), ("max_windows", 0), ("eval_windows", 0), ("resamples", 1)):
            self._at_least(name, least)
        self._at_least("rollout_steps", 1)
        self._at_least("seed", 0)
        if not 0 <= self.required <= 5:
            raise UserError(f"five_cat.required={self.required} of 5 gates cannot be; set it from 0 to 5.")
        if self.on_failure not in ("warn", "stop"):
            raise UserError(f"five_cat.on_failure={self.on_failure} does not exist; choose warn or stop.")
        if self.tool not in ("five_cat", "lnsp_compat"):
            raise UserError(f"five_cat.tool={self.tool} does not exist; choose five_cat or lnsp_compat.")
        if self.baselines not in ("all", "cheap"):
            raise UserError(f"five_cat.baselines={self.baselines} does not exist; choose all or cheap.")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Preset:
        """A preset from conf/five_cat/<name>.yaml once its defaults are merged."""
        known = {f.name for f in fields(cls)}
        for name in config:
            if name not in known:
                raise UserError(f"five_cat.{name} is no setting; choose among {', '.join(sorted(known))}.")
        if "name" not in config or "thresholds" not in config:
            raise UserError("five_cat needs a name and thresholds; start from conf/five_cat/standard.yaml.")
        return cls(**{**config, "thresholds": Thresholds.from_dict(config["thresholds"])})

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise UserError(f"five_cat.{name}={getattr(self, name)} is too small; set it to {least} or more.")
