"""Runs that differ in data.fold alone as one row of a leaderboard, over the documents of all of them; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lvm_lab.runs.folds import fold_of, pooled_number, pooled_part, pooled_verdict
from lvm_lab.runs.reading import Run
from lvm_lab.runs.result import PARTS, Result
from lvm_lab.sweeps.leaderboard import Entry


def pooled(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each set of finished and judged runs on at least two folds; its `members` name them.

    A fold that was run twice counts once, by the first of its runs.
    """
    alike: dict[str, dict[int, Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.name):
        known = fold_of(entry.config, entry.run.identity.content)
        if entry.rank is not None and known is not None:
            alike.setdefault(known[0], {}).setdefault(known[1], entry)
    return [_pool([by_fold[fold] for fold in sorted(by_fold)]) for by_fold in alike.values() if len(by_fold) > 1]


def _pool(entries: Sequence[Entry]) -> Entry:
    first = entries[0]
    folds = [entry.config["data"]["fold"] for entry in entries]
    name = f"{first.name} ({len(folds)} folds)"
    config = first.config | {"data": first.config["data"] | {"fold": folds}}
    run = Run(
        first.folder.parent / name,
        "finished",
        config,
        _result(name, [entry.result for entry in entries if entry.result], config),
    )
    return replace(first, run=run, settings=[], members=tuple(entry.name for entry in entries))


def _result(name: str, results: Sequence[Result], config: dict[str, Any]) -> Result:
    clear = bool(config.get("five_cat", {}).get("every_interval_clear"))
    parts: dict[str, Any] = {
        part: pooled_part([getattr(one, part) for one in results], part != "ood", clear)
        for part in PARTS
        if all(getattr(one, part) for one in results)
    }
    ood = parts.get("ood", {}).get("five_cat")
    verdict = pooled_verdict([one.five_cat for one in results], parts["val"]["five_cat"], ood, clear)
    return replace(
        results[0],
        name=name,
        fingerprint="",
        checkpoint=None,
        seconds=sum(one.seconds for one in results),
        five_cat=verdict,
        baselines=_baselines(results),
        skill=_skill(results),
        notes=[f"the mean over the folds of {', '.join(one.name for one in results)}, over the documents of all"],
        val=parts["val"],
        test=parts.get("test", {}),
        ood=parts.get("ood", {}),
    )


def _baselines(results: Sequence[Result]) -> dict[str, Any]:
    """Point estimates as the folds' means; gates passed: by the fold that passes the fewest. Without p-values."""
    names = [name for name in results[0].baselines if all(name in one.baselines for one in results)]
    return {name: _baseline([one.baselines[name] for one in results]) for name in names}


def _baseline(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = summaries[0]
    points = {
        part: {
            key: sum(one[part][key] for one in summaries) / len(summaries)
            for key in first.get(part, {})
            if all(key in one.get(part, {}) for one in summaries)
        }
        for part in ("val", "ood")
    }
    lifts = [one.get("model_lift_val", {}) for one in summaries]
    shared = [key for key in lifts[0] if all(key in lift for lift in lifts)]
    passed = {key: min(one[key] for one in summaries) for key in ("passed", "of") if key in first}
    return passed | points | {"model_lift_val": {key: pooled_number([lift[key] for lift in lifts]) for key in shared}}


def _skill(results: Sequence[Result]) -> dict[str, Any]:
    """By part and number."""
    pool: dict[str, Any] = {}
    for part in results[0].skill:
        shares = [one.skill.get(part, {}) for one in results]
        keys = [key for key in shares[0] if all(key in share for share in shares)]
        pool[part] = {key: pooled_number([share[key] for share in shares], part != "ood") for key in keys}
    return pool
