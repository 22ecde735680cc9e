"""One predictor on one ground: the same path for a run that has ended, for its baselines and for `evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lvm_lab.judge.following import Following
from lvm_lab.judge.latency import latency
from lvm_lab.judge.part_report import Measures, PartReport, report_part
from lvm_lab.judge.predictions import as_read
from lvm_lab.judge.results import FiveCat, PartScores
from lvm_lab.judge.verdict import put_together
from lvm_lab.scoring.ground import Ground, Kind, kind_of
from lvm_lab.types import Predictor

SPEED_WINDOWS = 1024


@dataclass(frozen=True)
class Scope:
    """What is measured of a predictor: by kind of part, and whether its speed is taken."""

    parts: Mapping[Kind, Measures] = field(default_factory=dict)
    speed: bool = False


@dataclass(frozen=True)
class Judgement:
    """reports: by part. five_cat: of VAL, and of test, with each OOD store (`none` where there is none). reads: how
    many vectors."""

    reports: Mapping[str, PartReport]
    five_cat: Mapping[str, Mapping[str, FiveCat]]
    reads: int
    speed: dict[str, Any] | None = None

    @property
    def verdict(self) -> FiveCat | None:
        """5CAT of VAL with the first OOD store; None where VAL was not judged."""
        return next(iter(self.five_cat.get("val", {}).values()), None)

    def scores(self, part: str) -> PartScores | None:
        return self.reports[part].scores if part in self.reports else None

    def following(self, part: str) -> Following | None:
        return self.reports[part].following if part in self.reports else None

    @property
    def rank(self) -> tuple[int, float, float]:
        """VAL halves, VAL margin, VAL following: the higher, the better; of a predictor that was judged on VAL."""
        scores, following = self.scores("val"), self.following("val")
        assert scores is not None
        mrr = following.numbers["mrr"].value if following and following.numbers else -math.inf
        return *scores.rank, mrr

    def part(self, name: str) -> dict[str, Any]:
        """One part ready for JSON; empty where there is no such part."""
        return self.reports[name].to_dict() if name in self.reports else {}

    def to_dict(self) -> dict[str, Any]:
        return {
            "reads": self.reads,
            "speed": self.speed,
            "five_cat": {
                part: {store: verdict.to_dict() for store, verdict in by_store.items()}
                for part, by_store in self.five_cat.items()
            },
            "parts": {name: self.part(name) for name in self.reports},
        }

    def summary(self) -> dict[str, Any]:
        """A baseline in result.json: the verdict and each part's point estimates. Of a predictor that was judged."""
        verdict = self.verdict
        assert verdict is not None
        first_ood = next(iter(self.five_cat["val"]))
        following = {
            key: f.values() if (f := self.following(part)) else {} for key, part in (("val", "val"), ("ood", first_ood))
        }
        return {
            "passed": verdict.passed,
            "of": verdict.of,
            "verdict": verdict.verdict,
            "gates": {letter: gate.state for letter, gate in verdict.gates.items()},
            "val": verdict.val.values(curve=True) | following["val"],
            "ood": (verdict.ood.values(curve=True) | following["ood"]) if verdict.ood else {},
        }


def judge(predictor: Predictor, ground: Ground, scope: Scope, device: str, longest: int | None = None) -> Judgement:
    """Everything within the scope, on the ground's windows. longest: as in `report_part`."""
    reports = {
        part: report_part(
            predictor,
            windows,
            ground.parts.stats,
            ground.preset,
            kind_of(part),
            scope.parts[kind_of(part)],
            device,
            targets=ground.following[part],
            longest=longest,
        )
        for part, windows in ground.windows.items()
        if scope.parts.get(kind_of(part))
    }
    speed = None
    if scope.speed:
        # At the full length, or the longest that the part has.
        *_, (_, whole) = next(iter(ground.samples.values())).by_length()
        speed = latency(predictor, as_read(whole.select(slice(0, SPEED_WINDOWS)), predictor).inputs(), device)
    return Judgement(reports, _five_cat(reports, ground), ground.context_length, speed)


def _five_cat(reports: Mapping[str, PartReport], ground: Ground) -> dict[str, dict[str, FiveCat]]:
    verdicts: dict[str, dict[str, FiveCat]] = {}
    for part in ("val", "test"):
        scores = reports[part].scores if part in reports else None
        if scores is None:
            continue
        stores = {name: reports[name].scores for name in ground.ood if name in reports} or {"none": None}
        verdicts[part] = {
            name: _honest(put_together(ground.preset, scores, ood), ground, (part, name))
            for name, ood in stores.items()
        }
    return verdicts


def _honest(five_cat: FiveCat, ground: Ground, names: tuple[str, str]) -> FiveCat:
    """Undecided where it is not known of which documents the windows of either part are."""
    unknown = [name for name in names if name in ground.windows and not ground.windows[name].documents_known]
    if not unknown or five_cat.verdict == "fail":
        return five_cat
    reason = f"of which documents the windows of {' and '.join(unknown)} are is not known"
    return replace(five_cat, verdict="undecided", reason=reason)
