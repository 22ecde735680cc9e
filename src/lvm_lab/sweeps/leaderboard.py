"""The runs of a folder, read from disk alone, and what makes one of them better than another; no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lvm_lab.config.data import DataSettings
from lvm_lab.config.presets import GATES
from lvm_lab.config.thresholds import DOCUMENTS_FOR_VERDICT
from lvm_lab.errors import UserError
from lvm_lab.runs import reading
from lvm_lab.runs.identity import ground
from lvm_lab.runs.judgement import Scores
from lvm_lab.runs.reading import Run, Status
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.runs.result import Outcome, Result
from lvm_lab.runs.written import RESOLVED, TABLE

# Keys of 5CAT without which a run's halves and margin say something else.
JUDGING = ("tool", "gates", "thresholds", "every_interval_clear", "eval_windows", "rollout_steps", "seed")


@dataclass(frozen=True)
class Entry:
    """One run on a leaderboard, or a row of a sweep's table that has none yet.

    run: its folder as it was read. week, phase, settings: what the sweep's table says; settings are overrides.
    members: of several folds as one, the names of their runs (sweeps/folds.py).
    """

    run: Run
    week: int | None = None
    phase: int | None = None
    settings: list[str] = field(default_factory=list)
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def status(self) -> Status:
        return self.run.status

    @property
    def outcome(self) -> Outcome | None:
        """What result.json says; None while the run is to be run."""
        return self.run.outcome

    @property
    def config(self) -> dict[str, Any]:
        return self.run.config

    @property
    def result(self) -> Result | None:
        return self.run.result

    @property
    def arch(self) -> str:
        """The architecture's name; empty for a missing run whose row does not name one."""
        return self.option("arch") or ""

    @property
    def error(self) -> str | None:
        """Why the run failed, or what is damaged."""
        if damage := self.run.damage:
            return f"{damage.file.relative_to(self.folder)} {damage.reason}"
        return self.result.error if self.result else None

    @property
    def seconds(self) -> float | None:
        return self.result.seconds if self.result else None

    @property
    def epochs(self) -> tuple[int, int | None]:
        """(done, wanted); wanted is None before there is a config."""
        wanted = self.config.get("trainer", {}).get("max_epochs")
        return (self.result.epochs if self.result and self.result.epochs else len(self.run.history)), wanted

    @cached_property
    def val(self) -> Scores | None:
        """5CAT on VAL; None if not judged."""
        return self.result.scores("val") if self.result else None

    @property
    def few_documents(self) -> bool:
        """Whether VAL was judged on fewer documents than a verdict needs."""
        # Results of made-up runs and of the first versions may not say of how many.
        return self.val is not None and 0 < self.val.documents < DOCUMENTS_FOR_VERDICT

    @property
    def rank(self) -> tuple[int, float, bool, float] | None:
        """VAL halves passed, VAL margin, VAL `following`: the higher, the better. None for what may not be ranked.

        Where there is no `following`, on short documents and in results of before, VAL unseen MRR stands for it, below
        all that have it.
        """
        if self.status != "finished" or self.val is None or self.result is None:
            return None
        margin = float("-inf") if self.val.margin is None else self.val.margin
        following = self.result.value("val", "following/mrr")
        unseen = self.result.value("val", "B/mrr_unseen") or 0.0
        return self.val.passed, margin, following is not None, unseen if following is None else following

    @property
    def passes(self) -> bool | None:
        """Whether it passes its 5CAT preset as far as VAL can say, and so may be called best.

        None if not judged, or on so few documents that there is no verdict. The verdict in result.json looks at OOD
        too, and OOD chooses nothing.
        """
        verdict = self.result.verdict if self.result else None
        if self.rank is None or self.val is None or verdict is None or self.few_documents:
            return None
        return self.val.passed >= min(verdict.required, self.val.of)

    @property
    def judged_on(self) -> tuple[str, ...]:
        """What its VAL is made of and how it was judged: numbers of two runs compare where they have one of these in
        common. The first is of the lengths of context that it reads; the second, where it has one, of the targets of
        `following`, which are the same whatever is read."""
        data, preset = self.config.get("data", {}), {"gates": list(GATES)} | self.config.get("five_cat", {})
        source = ground(self.config, self.run.identity.content)
        judging = [source, data.get("skip_repeated"), [preset.get(key) for key in JUDGING]]
        following = self.result.following("val") if self.result else None
        grounds: list[tuple[str, Any]] = [("reads", _read(self))]
        if following is not None and following.digest is not None:
            grounds.append(("following", following.digest))
        return tuple(json.dumps([*one, *judging], sort_keys=True, default=str) for one in grounds)

    def option(self, group: str) -> str | None:
        """The name of a group's option, such as the loss; None for a run that is not begun and whose row names none."""
        by_row = [s.partition("=")[2] for s in self.settings if s.startswith(f"{group}=")]
        by_result = getattr(self.result, group, None)
        name = by_result or self.config.get(group, {}).get("name") or (by_row[-1] if by_row else None)
        return None if name is None else str(name)


def read(sweep: Path) -> list[Entry]:
    """Every run in `sweep`: first the rows of its table, in order and whether begun or not, then any other run.

    Works while runs are at work and writes nothing. Raises UserError where there is no such folder.
    """
    if not sweep.is_dir():
        raise UserError(f"{sweep} is no folder; name the folder of a sweep, such as multirun/adhoc.")
    resolved = resolved_of(sweep)
    entries = [
        entry(sweep / row["id"], row["week"], row["phase"], resolved.get(row["id"], row)["overrides"])
        for row in table_of(sweep).get("rows", [])
    ]
    listed = {e.name for e in entries}
    runs = (p for p in sorted(sweep.iterdir()) if is_run(p))
    return entries + [entry(folder) for folder in runs if folder.name not in listed]


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's own."""
    return any((folder / name).is_file() for name in (reading.CONFIG, RESULT))


def table_of(sweep: Path) -> dict[str, Any]:
    """What the sweep's table said when it was last run: name, scale, and rows (id, week, phase, overrides, source)."""
    return reading.load_yaml(sweep / TABLE)


def resolved_of(sweep: Path) -> dict[str, Any]:
    """By row: whose settings the rows that refer to the leaderboard took (of), and all their overrides."""
    return reading.load_yaml(sweep / RESOLVED)


def entry(folder: Path, week: int | None = None, phase: int | None = None, settings: Iterable[str] = ()) -> Entry:
    """One run's folder on a leaderboard; missing where there is none."""
    return Entry(reading.read(folder), week, phase, list(settings))


def comparable(entries: Iterable[Entry]) -> list[Entry]:
    """Those that were judged as most of them were: a higher number on easier documents is no better model.

    Runs that read contexts of different lengths are among them where their `following` is of equal targets.
    """
    judged = [e for e in entries if e.rank is not None]
    grounds: Counter[str] = Counter()
    for e in sorted(judged, key=lambda e: e.name):
        for one in e.judged_on:
            # A pool is as many runs as it has folds.
            grounds[one] += len(e.members) or 1
    most = [ground for ground, _ in grounds.most_common(1)]
    return [e for e in judged if set(most) & set(e.judged_on)]


def why_apart(entry: Entry, most: Sequence[Entry]) -> str | None:
    """Why an entry has no place among the comparable ones; None for one of them, and for what was not judged."""
    if entry.rank is None or not most or any(e is entry for e in most):
        return None
    lengths, own = {_read(e) for e in most}, _read(entry)
    if own in lengths:
        return "it was judged on another VAL, or by other gates, than most"
    known = [e.result.following("val") if e.result else None for e in (entry, *most)]
    read = f"it reads {own} vectors and most read {', '.join(sorted(map(str, lengths)))}"
    if any(following is None or following.digest is None for following in known):
        return f"{read}, and without following on both they do not compare"
    return f"{read}, and their targets of following are not the same"


def _read(entry: Entry) -> str:
    """How many vectors the windows read that a run is judged on: `5`, or `5 to 64`."""
    read = DataSettings.of_windows(entry.config.get("data", {}))
    few = f"{read.shortest} to " if read.shortest < read.context_length else ""
    return f"{few}{read.context_length}"


def ranked(entries: Iterable[Entry], gated: bool = True) -> list[Entry]:
    """The comparable ones, best first; gated: only those that pass their preset on VAL."""
    eligible = [e for e in comparable(entries) if e.passes or not gated]
    # Names settle what is equal, so that every reader of the same folder sees the same order.
    return sorted(sorted(eligible, key=lambda e: e.name), key=lambda e: e.rank or (), reverse=True)


def best_architectures(
    entries: Iterable[Entry], count: int, gated: bool = True, reads: int | None = None
) -> list[Entry]:
    """The best run of each of the best architectures, ensembles aside; fewer than `count` where there are fewer.

    reads: only runs that read so many vectors at once (None: any).
    """
    by_arch: dict[str, Entry] = {}
    for e in ranked(entries, gated):
        if e.arch != "ensemble" and reads in (None, e.config.get("data", {}).get("context_length")):
            by_arch.setdefault(e.arch, e)
    return list(by_arch.values())[:count]
