"""Numbers of several folds as one: every document is in VAL, and in test, of one of five folds; no torch.

A number of the pool is the folds' mean, weighted by windows: value = sum w_f value_f, with w_f = windows_f / windows.
The folds' documents are disjoint, so that their errors are independent given the trained models: error^2 =
sum (w_f error_f)^2, with degrees of freedom by Welch and Satterthwaite: error^4 / sum ((w_f error_f)^4 / (effective_f -
1)). How much another draw of training documents would change is not in it. OOD is the same for every fold: value and
error are the folds' means, since more models on the same documents are no more documents.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lvm_lab.judge.bootstrap import Number
from lvm_lab.judge.results import Check, state_of, verdict_of
from lvm_lab.runs.identity import computing

Json = dict[str, Any]
COUNTS = ("windows", "documents", "not_finite")
# A pool's error follows from its folds', and nothing is drawn anew.
NOT_RESAMPLED = np.empty(0)


def fold_of(config: Json, content: Mapping[str, str]) -> tuple[str, int] | None:
    """(everything that a run computes from but for the fold, its fold); None without a fold or a recorded content."""
    fold = config.get("data", {}).get("fold")
    if fold is None or not content:
        return None
    settings = computing(config)
    settings["data"] = {key: value for key, value in settings["data"].items() if key != "fold"}
    return json.dumps([settings, dict(content)], sort_keys=True, default=str), fold


def pooled_number(numbers: Sequence[Json], disjoint: bool = True) -> Json:
    """One number of the folds'; without an interval where one of them has none, or is of before errors were kept."""
    pool = _number(numbers, disjoint)
    node = pool.to_dict()
    if numbers[0].get("threshold") is not None:
        node |= vars(_check(pool, numbers))
    if overs := {str(number["over"]) for number in numbers if number.get("over")}:
        baseline = sum(number["baseline"] or 0.0 for number in numbers) / len(numbers)
        node |= {"over": ", ".join(sorted(overs)), "baseline": baseline}
    return node


def pooled_part(parts: Sequence[Json], disjoint: bool, clear: bool) -> Json:
    """A part as result.json and evaluation.json have it. clear: whether the preset wants every interval clear."""
    node = _pooled(parts, disjoint)
    if all(part.get("following") for part in parts):
        node["following"] = _following([part["following"] for part in parts], disjoint)
    scores = [part.get("five_cat") for part in parts]
    if all(scores):
        node["five_cat"] = _scores([score for score in scores if score], disjoint, clear)
    elif "five_cat" in parts[0]:
        node["five_cat"] = None
    if "alarms" in parts[0]:
        node["alarms"] = _once(part["alarms"] for part in parts)
    return node


def pooled_verdict(verdicts: Sequence[Json], val: Json, ood: Json | None, clear: bool) -> Json:
    """5CAT of the pool. val, ood: pooled scores of the two parts."""
    letters = [letter for letter in verdicts[0]["gates"] if all(letter in v["gates"] for v in verdicts)]
    gates = {letter: _gate(letter, [v["gates"][letter] for v in verdicts], val, ood, clear) for letter in letters}
    states = [gate["state"] for gate in gates.values()]
    parts = [part for part in (val, ood) if part]
    required = verdicts[0]["required"]
    documents = {part["part"]: part["documents"] for part in parts}
    verdict, reason = verdict_of(states, required, documents, any(part["not_finite"] for part in parts))
    alarms = _once(one["alarms"] for one in verdicts)
    kept = {"preset": verdicts[0].get("preset", ""), "required": required, "of": len(gates)}
    kept |= {"passed": states.count(True), "verdict": verdict, "reason": reason}
    return kept | {"alarms": alarms, "gates": gates}


def _number(numbers: Sequence[Json], disjoint: bool) -> Number:
    windows, documents = (_count([number[key] for number in numbers], disjoint) for key in ("windows", "documents"))
    known = [number for number in numbers if number["value"] is not None]
    total = sum(number["windows"] for number in known) if disjoint else len(known)
    if not known or not total:
        return Number(math.nan, math.nan, math.nan, windows, documents, NOT_RESAMPLED)
    weights = [number["windows"] / total if disjoint else 1 / total for number in known]
    value = sum(w * number["value"] for w, number in zip(weights, known, strict=True))
    errors = [number["error"] for number in known if number.get("error") is not None]
    if len(errors) < len(known):
        return Number(value, math.nan, math.nan, windows, documents, NOT_RESAMPLED)
    parts = [w * e for w, e in zip(weights, errors, strict=True)]
    effectives = [number["effective"] for number in known]
    error = math.hypot(*parts) if disjoint else sum(parts)
    effective = _effective(parts, effectives) if disjoint else min(effectives)
    return Number(value, error, effective, windows, documents, NOT_RESAMPLED)


def _pooled(nodes: Sequence[Json], disjoint: bool) -> Json:
    """What all of them have: numbers pooled, counts added, plain figures as their mean."""
    node: Json = {}
    for key in nodes[0]:
        values: list[Any] = [one.get(key) for one in nodes]
        if key in COUNTS:
            node[key] = _count([value or 0 for value in values], disjoint)
        elif all(isinstance(value, dict) for value in values) and key not in ("five_cat", "following"):
            numbers = all("value" in value for value in values)
            node[key] = pooled_number(values, disjoint) if numbers else _pooled(values, disjoint)
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            node[key] = sum(values) / len(values)
    return node


def _following(nodes: Sequence[Json], disjoint: bool) -> Json:
    """Of the folds' targets together; without numbers where a fold has none."""
    digests = [node["digest"] for node in nodes]
    names = [name for name in nodes[0]["numbers"] if all(name in node["numbers"] for node in nodes)]
    return {
        "judge_from": nodes[0]["judge_from"],
        **{key: _count([node[key] for node in nodes], disjoint) for key in ("targets", "documents")},
        "digest": None if None in digests else hashlib.sha256(" ".join(digests).encode()).hexdigest(),
        "reason": next((node["reason"] for node in nodes if node["reason"]), None),
        "numbers": {name: pooled_number([node["numbers"][name] for node in nodes], disjoint) for name in names},
    }


def _scores(scores: Sequence[Json], disjoint: bool, clear: bool) -> Json:
    halves = {
        letter: _half([score["halves"][letter] for score in scores], disjoint, clear)
        for letter in scores[0]["halves"]
        if all(letter in score["halves"] for score in scores)
    }
    offsets = halves["A"]["numbers"] if "A" in halves else {}
    means = {int(name[1:]): n["value"] for name, n in offsets.items() if name[0] == "k" and n["value"] is not None}
    return {
        "part": scores[0].get("part"),
        **{key: _count([score.get(key) or 0 for score in scores], disjoint) for key in COUNTS},
        "best_k": max(means, key=lambda k: means[k]) if means else None,
        "passed": sum(half["state"] is True for half in halves.values()),
        "of": scores[0]["of"],
        "margin": offsets.get("margin", {}).get("value"),
        "alarms": _once(score.get("alarms", []) for score in scores),
        "halves": halves,
    }


def _half(halves: Sequence[Json], disjoint: bool, clear: bool) -> Json:
    names = [name for name in halves[0]["numbers"] if all(name in half["numbers"] for half in halves)]
    numbers = {name: pooled_number([half["numbers"][name] for half in halves], disjoint) for name in names}
    open_ones = [half for half in halves if half["state"] is None]
    state: bool | None = None
    reason = open_ones[0]["reason"] if open_ones else None
    if not open_ones:
        held = {name: number for name, number in numbers.items() if "threshold" in number}
        checks = {name: Check(n["threshold"], n["passed"], n["undecided"]) for name, n in held.items()}
        values = {name: math.nan if n["value"] is None else n["value"] for name, n in held.items()}
        state, reason = state_of(checks, values, clear)
    counts = {key: _count([half[key] for half in halves], disjoint) for key in ("windows", "documents")}
    share = sum(half["share"] for half in halves) / len(halves)
    return {"state": state, "reason": reason, **counts, "share": share, "numbers": numbers}


def _gate(letter: str, gates: Sequence[Json], val: Json, ood: Json | None, clear: bool) -> Json:
    halves = [part["halves"][letter] for part in (val, ood) if part]
    node: Json = {"name": gates[0]["name"], "state": None, "reason": None}
    if any(gate["state"] is None for gate in gates):
        return node | {"reason": next(gate["reason"] for gate in gates if gate["state"] is None)}
    if gates[0].get("difference") and ood:
        return node | _difference(gates, val["halves"][letter], ood["halves"][letter], clear)
    states = [half["state"] for half in halves]
    state = False if False in states else None if None in states or len(halves) < 2 else True
    return node | {"state": state, "reason": next((half["reason"] for half in halves if half["state"] is state), None)}


def _difference(gates: Sequence[Json], val_half: Json, ood_half: Json, clear: bool) -> Json:
    """Gate E of the pool: the normal bins of both parts, which are of different documents."""
    val, ood = val_half["numbers"]["normal"], ood_half["numbers"]["normal"]
    errors = [math.nan if number["error"] is None else number["error"] for number in (val, ood)]
    effectives = [math.nan if number["effective"] is None else number["effective"] for number in (val, ood)]
    windows, documents = (min(val[key], ood[key]) for key in ("windows", "documents"))
    apart = Number(val["value"] - ood["value"], math.hypot(*errors), min(effectives), windows, documents, NOT_RESAMPLED)
    check = Check.within(apart, gates[0]["difference"]["threshold"])
    state = check.passed and not (clear and check.undecided)
    reason = None if state else f"the normal bins differ by {apart.value:+.3f} against {check.threshold:g}"
    return {"state": state, "reason": reason, "difference": apart.to_dict() | vars(check)}


def _check(pool: Number, numbers: Sequence[Json]) -> Check:
    """Against the threshold of the folds, in the direction that their own checks tell."""
    threshold = numbers[0]["threshold"]
    apart = [n for n in numbers if n["value"] not in (None, threshold)]
    upward = all(n["passed"] == (n["value"] > threshold) for n in apart)
    return Check.of(pool, threshold, "at least" if upward else "at most")


def _effective(parts: Sequence[float], effectives: Sequence[float]) -> float:
    spread = sum(part**4 / (effective - 1) for part, effective in zip(parts, effectives, strict=True))
    return 1 + (sum(part**2 for part in parts) ** 2 / spread if spread else sum(effectives) - len(effectives))


def _count(counts: Sequence[int], disjoint: bool) -> int:
    return sum(counts) if disjoint else max(counts)


def _once(lists: Iterable[Sequence[Json]]) -> list[Json]:
    """Every alarm of any fold, each by its name and part once; the folds themselves say which of them raise it."""
    return list({(alarm["name"], alarm.get("part")): alarm for alarms in lists for alarm in alarms}.values())
