"""Numbers of several folds as one: every document is in VAL, and in test, of one of five folds; no torch.

A number of the pool is the folds' mean, weighted by windows: value = sum w_f value_f, with w_f = windows_f / windows.
The folds' documents are disjoint, so that their errors are independent given the trained models: error^2 =
sum (w_f error_f)^2, with degrees of freedom by Welch and Satterthwaite: error^4 / sum ((w_f error_f)^4 / (effective_f -
1)). How much another draw of training documents would change is not in it. OOD is the same for every fold: value and
error are the folds' means, since more models on the same documents are no more documents.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvm_lab.config.thresholds import DOCUMENTS_FOR_VERDICT
from lvm_lab.judge.bootstrap import t_interval
from lvm_lab.runs.identity import computing

Json = dict[str, Any]
COUNTS = ("windows", "documents", "not_finite")


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
    windows, documents = (_count([number[key] for number in numbers], disjoint) for key in ("windows", "documents"))
    known = [number for number in numbers if number["value"] is not None]
    node: Json = {"value": None, "interval": None, "error": None, "effective": None}
    total = sum(number["windows"] for number in known) if disjoint else len(known)
    if known and total:
        weights = [number["windows"] / total if disjoint else 1 / total for number in known]
        node["value"] = sum(w * number["value"] for w, number in zip(weights, known, strict=True))
        errors = [number["error"] for number in known if number.get("error") is not None]
        if len(errors) == len(known):
            parts = [w * e for w, e in zip(weights, errors, strict=True)]
            error = math.hypot(*parts) if disjoint else sum(parts)
            effectives = [number["effective"] for number in known]
            effective = _effective(parts, effectives) if disjoint else min(effectives)
            interval = list(t_interval(node["value"], error, effective))
            node |= {"interval": interval, "error": error, "effective": effective}
    node |= {"windows": windows, "documents": documents}
    if numbers[0].get("threshold") is not None:
        node |= _checked(node, numbers)
    if overs := {str(number["over"]) for number in numbers if number.get("over")}:
        baseline = sum(number["baseline"] or 0.0 for number in numbers) / len(numbers)
        node |= {"over": ", ".join(sorted(overs)), "baseline": baseline}
    return node


def pooled_part(parts: Sequence[Json], disjoint: bool, clear: bool) -> Json:
    """A part as result.json and evaluation.json have it. clear: whether the preset wants every interval clear."""
    node = _pooled(parts, disjoint)
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
    passed, required = states.count(True), verdicts[0]["required"]
    few = [f"{part['part']} has {part['documents']} documents" for part in (val, ood) if part and _few(part)]
    verdict, reason = "pass", None
    if val["not_finite"] or (ood and ood["not_finite"]):
        verdict, reason = "fail", "predictions are not finite"
    elif few:
        verdict, reason = "undecided", f"{' and '.join(few)}; {DOCUMENTS_FOR_VERDICT} are needed"
    elif passed < required:
        open_ones = states.count(None)
        verdict, reason = "fail", f"{passed} of {len(gates)} gates passed and {required} are needed"
        if passed + open_ones >= required:
            verdict, reason = "undecided", f"{open_ones} of {len(gates)} gates could not be measured"
    alarms = _once(verdict["alarms"] for verdict in verdicts)
    kept = {"preset": verdicts[0].get("preset", ""), "required": required, "of": len(gates), "passed": passed}
    return kept | {"verdict": verdict, "reason": reason, "alarms": alarms, "gates": gates}


def _pooled(nodes: Sequence[Json], disjoint: bool) -> Json:
    """What all of them have: numbers pooled, counts added, plain figures as their mean."""
    node: Json = {}
    for key in nodes[0]:
        values: list[Any] = [one.get(key) for one in nodes]
        if key in COUNTS:
            node[key] = _count([value or 0 for value in values], disjoint)
        elif all(isinstance(value, dict) for value in values) and key != "five_cat":
            numbers = all("value" in value for value in values)
            node[key] = pooled_number(values, disjoint) if numbers else _pooled(values, disjoint)
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            node[key] = sum(values) / len(values)
    return node


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
    checks = {name: number for name, number in numbers.items() if "threshold" in number}
    open_ones = [half for half in halves if half["state"] is None]
    state: bool | None = None
    reason = open_ones[0]["reason"] if open_ones else None
    if not open_ones:
        state = all(n["passed"] and not (clear and n["undecided"]) for n in checks.values())
        failed = {name: n for name, n in checks.items() if not n["passed"]}
        missed = (f"{name} {n['value']:.3f} against {n['threshold']:g}" for name, n in failed.items())
        reason = "; ".join(missed) or (None if state else "an interval straddles its threshold")
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
    node: Json = {"value": val["value"] - ood["value"], "interval": None}
    node |= {key: min(val[key], ood[key]) for key in ("windows", "documents")}
    threshold = gates[0]["difference"]["threshold"]
    undecided = True
    if val["error"] is not None and ood["error"] is not None:
        effective = min(val["effective"], ood["effective"])
        low, high = t_interval(node["value"], math.hypot(val["error"], ood["error"]), effective)
        node["interval"] = [low, high]
        inside, outside = max(-low, high) <= threshold, low > threshold or high < -threshold
        undecided = not (inside or outside)
    passed = abs(node["value"]) <= threshold
    node |= {"threshold": threshold, "passed": passed, "undecided": undecided}
    state = passed and not (clear and undecided)
    reason = None if state else f"the normal bins differ by {node['value']:+.3f} against {threshold:g}"
    return {"state": state, "reason": reason, "difference": node}


def _checked(node: Json, numbers: Sequence[Json]) -> Json:
    """Against the threshold of the folds, in the direction that their own checks tell."""
    threshold = numbers[0]["threshold"]
    apart = [n for n in numbers if n["value"] not in (None, threshold)]
    sense = 1 if all(n["passed"] == (n["value"] > threshold) for n in apart) else -1
    value, interval = node["value"], node["interval"]
    distances = [sense * (x - threshold) for x in interval or []]
    clear = bool(distances) and (min(distances) >= 0 or max(distances) < 0)
    passed = value is not None and sense * (value - threshold) >= 0
    return {"threshold": threshold, "passed": passed, "undecided": not clear}


def _effective(parts: Sequence[float], effectives: Sequence[float]) -> float:
    spread = sum(part**4 / (effective - 1) for part, effective in zip(parts, effectives, strict=True))
    return 1 + (sum(part**2 for part in parts) ** 2 / spread if spread else sum(effectives) - len(effectives))


def _count(counts: Sequence[int], disjoint: bool) -> int:
    return sum(counts) if disjoint else max(counts)


def _few(part: Json) -> bool:
    return bool(part["documents"] < DOCUMENTS_FOR_VERDICT)


def _once(lists: Iterable[Sequence[Json]]) -> list[Json]:
    """Every alarm of any fold, each by its name and part once; the folds themselves say which of them raise it."""
    return list({(alarm["name"], alarm.get("part")): alarm for alarms in lists for alarm in alarms}.values())
