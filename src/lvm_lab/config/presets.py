"""What conf/five_cat/ says, typed: how often, on how many windows and against which thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from lvm_lab.config import binding
from lvm_lab.config.targets import TARGET
from lvm_lab.errors import UserError

# The gates that judge unless five_cat.gates says otherwise: file stems of judge/gates/, in the order of their letters.
GATES = ("offsets", "retrieval", "ablations", "rollout", "coherence")

# By a gate's letter in lower case: val and ood, with a threshold for each number; or the thresholds alone, of a gate
# that needs both parts. Which numbers a gate has is its own: judge/gates/ checks the names.
Thresholds = dict[str, dict[str, Any]]
# What a machine holds: each resample has a weight for every document, each step is predicted by itself.
MOST_RESAMPLES, MOST_STEPS = 100_000, 1_000
# Annotations that are held against values before a preset's own rules compare them.
WHOLE: dict[str, type] = {"int": int, "bool": bool}
# A file stem, or {_target_: my_package.MyClass} and its arguments.
Entry = str | dict[str, Any]


def _numbers(node: Any, path: str) -> Any:
    """A tree whose leaves are numbers."""
    if isinstance(node, Mapping):
        return {key: _numbers(value, f"{path}.{key}") for key, value in node.items()}
    return _number(node, path)


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}={value} does not fit; give it a number.")
    if not binding.fits(value, float):
        raise UserError(binding.misfit(path, value, float))
    return float(value)


@dataclass(frozen=True)
class Preset:
    """One option of five_cat.

    every_n_epochs: how often in training (0: never). max_windows, eval_windows: windows a part in
    training and in evaluation (0: none). required: how many of the gates are needed. every_interval_clear:
    a gate passes only where every interval lies wholly on the right side. tool: five_cat, or lnsp_compat for
    the old tool's ways. baselines: what the model is compared with; cheap leaves out the costly ones; a list
    names some, as gates does: file stems of judge/baselines/ and judge/gates/, or a user's own by `_target_`.
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
    baselines: Literal["all", "cheap"] | list[Entry] = "all"
    gates: list[Entry] = field(default_factory=lambda: list(GATES))

    def __post_init__(self) -> None:
        for name, least in (("every_n_epochs", 0), ("max_windows", 0), ("eval_windows", 0), ("resamples", 1)):
            self._at_least(name, least)
        self._at_least("rollout_steps", 1)
        self._at_least("seed", 0)
        for name, most in (("resamples", MOST_RESAMPLES), ("rollout_steps", MOST_STEPS)):
            if getattr(self, name) > most:
                raise UserError(f"five_cat.{name}={getattr(self, name)} is too large; set it to {most} or less.")
        _entries(self.gates, "five_cat.gates", "a list of at least one")
        of = len(self.gates)
        if not 0 <= self.required <= of:
            raise UserError(f"five_cat.required={self.required} of {of} gates cannot be; set it from 0 to {of}.")
        if self.on_failure not in ("warn", "stop"):
            raise UserError(f"five_cat.on_failure={self.on_failure} does not exist; choose warn or stop.")
        if self.tool not in ("five_cat", "lnsp_compat"):
            raise UserError(f"five_cat.tool={self.tool} does not exist; choose five_cat or lnsp_compat.")
        if isinstance(self.baselines, str) and self.baselines not in ("all", "cheap"):
            raise UserError(f"five_cat.baselines={self.baselines} does not exist; choose all or cheap.")
        if not isinstance(self.baselines, str):
            _entries(self.baselines, "five_cat.baselines", "all, cheap or a list")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Preset:
        """A preset from conf/five_cat/<name>.yaml once its defaults are merged."""
        known = {f.name for f in fields(cls)}
        for name in config:
            if name not in known:
                raise UserError(f"five_cat.{name} is no setting; choose among {', '.join(sorted(known))}.")
        if "name" not in config or "thresholds" not in config:
            raise UserError("five_cat needs a name and thresholds; start from conf/five_cat/standard.yaml.")
        thresholds = config["thresholds"]
        for field_ in fields(cls):
            kind = WHOLE.get(str(field_.type))
            if kind is not None and field_.name in config and not binding.fits(config[field_.name], kind):
                raise UserError(binding.misfit(f"five_cat.{field_.name}", config[field_.name], kind))
        typed = _numbers(thresholds, "five_cat.thresholds") if isinstance(thresholds, Mapping) else {}
        return cls(**{**config, "thresholds": typed})

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise UserError(f"five_cat.{name}={getattr(self, name)} is too small; set it to {least} or more.")


def _entries(listed: Any, path: str, wanted: str) -> None:
    """UserError unless it is a list of names and `_target_` nodes."""
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{path}={listed!r} does not fit; give it {wanted}.")
    for entry in listed:
        if not isinstance(entry, str) and not (isinstance(entry, Mapping) and isinstance(entry.get(TARGET), str)):
            raise UserError(
                f"{path}: {entry!r} does not fit; list file names and {{{TARGET}: my_package.MyClass}} alone."
            )
