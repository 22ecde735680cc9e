"""The runs of a folder as rows, read from disk alone, and what makes one of them better than another; no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from lvm_lab.errors import UserError
from lvm_lab.runs import folder as runs
from lvm_lab.runs.identity import ground
from lvm_lab.runs.reading import read_history

# What a sweep's folder says of itself: the rows of its table, and the rows that were settled as it went on.
TABLE, RESOLVED = "schedule.yaml", "resolved.yaml"
# Halves of 5CAT that one part can pass alone; gate E needs both parts.
VAL_HALVES = 4
# Keys of 5CAT without which a run's halves and margin say something else.
JUDGING = ("tool", "thresholds", "every_interval_clear", "eval_windows", "rollout_steps", "seed")

Status = Literal["missing", "started", "running", "finished", "diverged", "failed"]
DONE: tuple[Status, ...] = ("finished", "diverged", "failed")


@dataclass(frozen=True)
class Row:
    """One run, or one row of a sweep's table that has none yet.

    status: missing (no folder), started (begun and neither ended nor at work), running (a process holds
    its lock), or what result.json says. result, config: result.json and config.yaml, empty before there
    are any. week, phase, settings: what the sweep's table says; settings are the row's overrides.
    """

    name: str
    folder: Path
    status: Status
    week: int | None = None
    phase: int | None = None
    settings: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def arch(self) -> str:
        """The architecture's name; empty for a missing row that does not name one."""
        named = self.result.get("arch") or self.config.get("arch", {}).get("name")
        chosen = [s.partition("=")[2] for s in self.settings if s.startswith("arch=")]
        return str(named or (chosen[-1] if chosen else ""))

    @property
    def error(self) -> str | None:
        return self.result.get("error")

    @property
    def seconds(self) -> float | None:
        return self.result.get("seconds")

    @property
    def epochs(self) -> tuple[int, int | None]:
        """(done, wanted); wanted is None before there is a config."""
        wanted = self.config.get("trainer", {}).get("max_epochs")
        return (self.result["epochs"] if self.result.get("epochs") else len(self.history())), wanted

    @property
    def rank(self) -> tuple[int, float, float] | None:
        """VAL halves passed, VAL margin, VAL unseen MRR: the higher, the better. None for what was not judged."""
        if self.status != "finished" or not self.result["five_cat"]:
            return None
        val, numbers = self.result["five_cat"]["val"], self.result["five_cat"]["model"]["val"]
        margin = float("-inf") if val["margin"] is None else val["margin"]
        return val["passed"], margin, numbers.get("B/mrr_unseen", 0.0)

    @property
    def passes(self) -> bool | None:
        """Whether it passes its 5CAT preset as far as VAL can say, and so may be called best; None if not judged.

        The verdict in result.json looks at OOD too, and OOD chooses nothing.
        """
        return None if self.rank is None else self.rank[0] >= min(self.result["five_cat"]["required"], VAL_HALVES)

    @property
    def judged_on(self) -> str:
        """What its VAL is made of and how it was judged; numbers of two runs compare where this is the same."""
        data, preset = self.config.get("data", {}), self.config.get("five_cat", {})
        content = self.config.get("identity", {}).get("content") or {}
        read = ground(self.config, content)
        cut = [data.get(key) for key in ("context_length", "skip_repeated")]
        return json.dumps([read, cut, [preset.get(key) for key in JUDGING]], sort_keys=True, default=str)

    def history(self) -> list[dict[str, Any]]:
        """history.jsonl by epoch."""
        return read_history(self.folder)


def read(sweep: Path) -> list[Row]:
    """Every run in `sweep`: first the rows of its table, in order and whether begun or not, then any other run.

    Works while runs are at work and writes nothing. Raises UserError where there is no such folder.
    """
    if not sweep.is_dir():
        raise UserError(f"{sweep} is no folder; name the folder of a sweep, such as multirun/adhoc.")
    table, resolved = table_of(sweep), resolved_of(sweep)
    rows = []
    for said in table.get("rows", []):
        settings = resolved.get(said["id"], said)["overrides"]
        rows.append(row(sweep / said["id"], said["week"], said["phase"], settings))
    listed = {r.name for r in rows}
    others = (p for p in sorted(sweep.iterdir()) if (p / "config.yaml").is_file() and p.name not in listed)
    return rows + [row(folder) for folder in others]


def table_of(sweep: Path) -> dict[str, Any]:
    """What the sweep's table said when it was last run: name, scale, and rows (id, week, phase, overrides, source)."""
    return _yaml(sweep / TABLE)


def resolved_of(sweep: Path) -> dict[str, Any]:
    """By row: whose settings the rows that refer to the leaderboard took (of), and all their overrides."""
    return _yaml(sweep / RESOLVED)


def row(folder: Path, week: int | None = None, phase: int | None = None, settings: Iterable[str] = ()) -> Row:
    """One run's folder as a row; missing where there is none."""
    config, result = _yaml(folder / "config.yaml"), _result(folder)
    status: Status = result.get("status") or "missing"
    if not result and config:
        status = "running" if runs.locked(folder) else "started"
    return Row(folder.name, folder, status, week, phase, list(settings), result, config)


def comparable(rows: Iterable[Row]) -> list[Row]:
    """The rows that were judged as most of them were: a higher number on easier documents is no better model."""
    judged = [r for r in rows if r.rank is not None]
    on = Counter(r.judged_on for r in sorted(judged, key=lambda r: r.name))
    return [r for r in judged if r.judged_on == on.most_common(1)[0][0]]


def ranked(rows: Iterable[Row], gated: bool = True) -> list[Row]:
    """The comparable rows, best first; gated: only those that pass their preset on VAL."""
    chosen = [r for r in comparable(rows) if r.passes or not gated]
    # Names settle what is equal, so that every reader of the same folder sees the same order.
    return sorted(sorted(chosen, key=lambda r: r.name), key=lambda r: r.rank or (), reverse=True)


def best_architectures(rows: Iterable[Row], count: int, gated: bool = True) -> list[Row]:
    """The best run of each of the best architectures, ensembles aside; fewer than `count` where there are fewer."""
    found: dict[str, Row] = {}
    for r in ranked(rows, gated):
        if r.arch != "ensemble":
            found.setdefault(r.arch, r)
    return list(found.values())[:count]


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.load(file.read_text(), _LOADER)
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _result(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "result.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


# Twenty times faster where PyYAML was built with libyaml; a sweep has hundreds of files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
