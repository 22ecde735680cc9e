"""What a run has to reach before it is promoted: a check a line, of an evaluation's report and a run's record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lvm_lab.config.promotion import FieldCriteria, RankingCriteria

BACKWARD = "backward bias"
# What evaluation.json calls the MRR of each among its comparisons.
COMPARED = {"unseen": "mrr_unseen", "following": "following/mrr"}
Report = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """name, wanted, measured: in words, for a line; passed: not where it could not be measured."""

    name: str
    wanted: str
    measured: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name}: {self.measured} ({self.wanted} is wanted)"


def checks(criteria: FieldCriteria | RankingCriteria, table: Report, data_gate: dict[str, Any]) -> list[Check]:
    """Every check. table: one data set of evaluation.json, the run its only model; data_gate: of result.json."""
    kind = _field(criteria, table, data_gate) if isinstance(criteria, FieldCriteria) else _ranking(criteria, table)
    return [*kind, _nothing_seen(table)]


def _nothing_seen(table: Report) -> Check:
    """What a checkpoint was trained on is taken out of what it is judged by, if it says what that was."""
    unrecorded = [note for note in table["notes"] if "records no training rows" in note]
    measured = "nothing says what it was trained on" if unrecorded else "what was trained on is taken out"
    return Check("nothing seen is judged", "a record of the training rows", measured, not unrecorded)


def _field(criteria: FieldCriteria, table: Report, data_gate: dict[str, Any]) -> Iterator[Check]:
    model = table["predictors"][0]
    parts = model["parts"]
    oods = [name for name in parts if name not in ("val", "test")]
    yield _least("VAL cosine", _number(parts, "val", "A", "cos"), criteria.val_cosine, above=True)
    for name, number, least, above in (
        ("cosine", "cos", criteria.ood_cosine, True),
        ("margin", "margin", criteria.ood_margin, False),
    ):
        for part in oods or ["ood"]:
            yield _least(f"{_title(part)} {name}", _number(parts, part, "A", number), least, above=above)
    latency = (model["speed"] or {}).get("batch_1", {}).get("p50_ms")
    quick = latency is not None and latency < criteria.latency_ms
    yield _check("latency, ms", f"below {criteria.latency_ms:g}", latency, quick)
    verdict: dict[str, Any] = next(iter(model["five_cat"].get("val", {}).values()), {})
    passed = verdict.get("passed")
    yield _check("gates", f"{criteria.gates} or more", passed, passed is not None and passed >= criteria.gates)
    yield _least("VAL margin", _number(parts, "val", "A", "margin"), criteria.val_margin)
    yield _least("VAL rollout", _number(parts, "val", "D", "rollout"), criteria.rollout)
    alarms = {
        alarm["part"].upper()
        for by_store in model["five_cat"].values()
        for one in by_store.values()
        for alarm in one["alarms"]
        if alarm["name"] == BACKWARD
    }
    yield Check(BACKWARD, "none", f"on {', '.join(sorted(alarms))}" if alarms else "none", bool(verdict) and not alarms)
    state = {True: "passed", False: "failed", None: "not recorded"}[data_gate.get("passed")]
    yield Check("data gate", "passed", state, state == "passed")
    spreads = parts.get("val", {})
    ratio = spreads.get("std_ratio", {}).get("median")
    low, high = criteria.std_ratio
    yield _check("std ratio", f"{low:g} to {high:g}", ratio, ratio is not None and low <= ratio <= high)
    moved = spreads.get("diversity", {})
    share = moved["prediction"] / moved["target"] if moved.get("target") else None
    yield _least("diversity, of the targets' own", share, criteria.diversity)


def _ranking(criteria: RankingCriteria, table: Report) -> Iterator[Check]:
    parts = table["predictors"][0]["parts"]
    oods = [name for name in parts if name not in ("val", "test")]
    for part in ["test", *(oods or ["ood"])]:
        for number in criteria.numbers:
            for baseline in criteria.over:
                yield _above(table, part, number, baseline)


def _above(table: Report, part: str, number: str, baseline: str) -> Check:
    """The model above a baseline with its whole interval; the table has the baseline less the model."""
    name, wanted = f"{_title(part)} {number} MRR above {baseline}", "an interval above 0"
    for one in table["comparisons"]:
        if (one["part"], one["name"], one["number"]) == (part, baseline, COMPARED[number]):
            low, high = one["interval"] or (None, None)
            if one["value"] is None or low is None or high is None:
                break
            return Check(name, wanted, f"{-one['value']:+.3f} [{-high:+.3f}, {-low:+.3f}]", high < 0)
    return Check(name, wanted, "not measured", False)


def _number(parts: Report, part: str, letter: str, name: str) -> float | None:
    scores = parts.get(part, {}).get("five_cat") or {}
    value: float | None = scores.get("halves", {}).get(letter, {}).get("numbers", {}).get(name, {}).get("value")
    return value


def _least(name: str, value: float | None, least: float, *, above: bool = False) -> Check:
    reached = value is not None and (value > least if above else value >= least)
    return _check(name, f"{'above' if above else 'at least'} {least:g}", value, reached)


def _check(name: str, wanted: str, value: float | None, passed: bool) -> Check:
    measured = "not measured" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return Check(name, wanted, measured, passed)


def _title(part: str) -> str:
    return part.upper() if part in ("test", "ood") else part
