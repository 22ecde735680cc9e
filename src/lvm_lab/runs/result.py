"""result.json as one dataclass, which writer, readers and tests share: see docs/run-folder.md; no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lvm_lab import __version__
from lvm_lab.errors import UserError
from lvm_lab.runs.judgement import (
    OLD_GATES,
    OLD_HALVES,
    Alarm,
    Finding,
    Following,
    Gate,
    Half,
    Number,
    Part,
    Scores,
    Summary,
    Verdict,
)
from lvm_lab.runs.typed import Misfit, typed

SCHEMA = 2
FILE = "result.json"
# What 5CAT's verdict is of; test is judged once besides, and chooses nothing.
JUDGED = ("val", "ood")
PARTS = ("val", "test", "ood")

Json = dict[str, Any]
Outcome = Literal["finished", "diverged", "failed"]


# What helps where result.json cannot be read, for the end of a sentence.
WAY_OUT = "delete it and give the training's command again, which goes on from the last checkpoint"


class NoResult(UserError):
    """A file that is no result. reason: what is wrong with it, to stand after the file's name."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}; {WAY_OUT}.")
        self.file, self.reason = file, reason


@dataclass
class Result:
    """The fields of result.json, its parts as they lie there, and what readers ask of them, typed.

    checkpoint: the file whose numbers these are. params: all, an ensemble's members included. seconds: of training and
    scoring. Letters are gates, `<gate>/<name>` is a key of a number, parts are val, test and ood.
    """

    name: str
    arch: str
    loss: str
    data: str
    status: Outcome
    seed: int
    fingerprint: str
    seconds: float
    params: int = 0
    epochs: int = 0
    checkpoint: str | None = None
    five_cat: Json = field(default_factory=dict)
    val: Json = field(default_factory=dict)
    test: Json = field(default_factory=dict)
    ood: Json = field(default_factory=dict)
    baselines: Json = field(default_factory=dict)
    skill: Json = field(default_factory=dict)
    not_fitted: dict[str, str] = field(default_factory=dict)
    data_gate: Json = field(default_factory=dict)
    contract: Json = field(default_factory=dict)
    parts: Json = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    version: str = __version__
    commit: str | None = None
    schema: int = SCHEMA

    @classmethod
    def from_json(cls, node: Any, file: Path = Path(FILE)) -> Result:
        """What a result.json of any schema says. Raises NoResult for what is none, with the file and the key."""
        if not isinstance(node, dict):
            raise NoResult(file, "is no result of lvm_lab (it holds no mapping)")
        try:
            result: Result = typed(cls, upgraded(node), "")
            # What is wrong inside shows here and not in a reader.
            result.summaries  # noqa: B018
            for name in PARTS:
                result.part(name)
                result.shares(name)
            if result.checkpoint is not None and not _is_bare(result.checkpoint):
                raise Misfit(f"checkpoint is {result.checkpoint!r}, not the name of a file in checkpoints")
        except Misfit as error:
            raise NoResult(file, f"is no result of lvm_lab ({error})") from None
        return result

    def to_json(self) -> Json:
        """A plain dict, the schema first."""
        return {"schema": self.schema} | asdict(self)

    @property
    def verdict(self) -> Verdict | None:
        """5CAT over all parts; None where it was not judged."""
        return typed(Verdict, self.five_cat, "five_cat") if self.five_cat else None

    @property
    def gates(self) -> dict[str, Gate]:
        """By letter; empty where 5CAT was not judged."""
        return self.verdict.gates if self.verdict else {}

    @property
    def alarms(self) -> list[Alarm]:
        return self.verdict.alarms if self.verdict else []

    def part(self, name: str) -> Part | None:
        """The plain numbers of a part and its 5CAT; None where there is no such part."""
        node: Json = getattr(self, name)
        return Part.from_json(node, name) if node else None

    def findings(self, part: str) -> list[Finding]:
        numbers = self.part(part)
        return numbers.alarms if numbers else []

    def scores(self, part: str) -> Scores | None:
        """5CAT in a part; None where it was not judged there."""
        node = getattr(self, part).get("five_cat")
        return typed(Scores, node, f"{part}.five_cat") if node else None

    def halves(self, part: str) -> dict[str, Half]:
        """By letter; empty where the part was not judged."""
        scores = self.scores(part)
        return scores.halves if scores else {}

    def half(self, part: str, letter: str) -> Half | None:
        """One gate in one part; None where it was not judged there."""
        node = self._half(part, letter)
        return typed(Half, node, f"{part}.five_cat.halves.{letter}") if node else None

    def numbers(self, part: str, letter: str) -> dict[str, Number]:
        """A half's numbers; empty where it was not judged."""
        half = self.half(part, letter)
        return half.numbers if half else {}

    def following(self, part: str) -> Following | None:
        """None where it was not measured: in results of before, and where there is no such part."""
        node = getattr(self, part).get("following")
        return typed(Following, node, f"{part}.following") if node else None

    def value(self, part: str, key: str) -> float | None:
        """The point estimate `<gate>/<name>` or `following/<name>` of a part; None where there is none."""
        letter, _, name = key.partition("/")
        node = (getattr(self, part).get("following") or {}) if letter == "following" else self._half(part, letter)
        value: float | None = node.get("numbers", {}).get(name, {}).get("value")
        return value

    def values(self, part: str) -> dict[str, float]:
        """Every point estimate of a part that exists, by `<gate>/<name>` and `following/<name>`."""
        scores, following = self.scores(part), self.following(part)
        return (scores.values() if scores else {}) | (following.values() if following else {})

    def shares(self, part: str) -> dict[str, Number]:
        """Skill on a part, by `<gate>/<name>`: the share of the way from the best trivial baseline to perfect."""
        return typed(dict[str, Number], self.skill.get(part, {}), f"skill.{part}")

    @property
    def summaries(self) -> list[tuple[str, Summary]]:
        """The model and then the baselines, by name; empty where 5CAT was not judged.

        Pairs and no dict: an arch may have a baseline's name.
        """
        verdict = self.verdict
        if verdict is None:
            return []
        own = Summary(verdict.passed, verdict.of, val=self.values("val"), ood=self.values("ood"))
        return [(self.arch, own), *self.baseline_summaries.items()]

    @property
    def baseline_summaries(self) -> dict[str, Summary]:
        """What the model had to beat, by name."""
        return typed(dict[str, Summary], self.baselines, "baselines")

    def _half(self, part: str, letter: str) -> Json:
        half: Json = ((getattr(self, part).get("five_cat") or {}).get("halves") or {}).get(letter) or {}
        return half


def _is_bare(name: str) -> bool:
    """Whether a name leads nowhere else, on any system: another folder's file may be another run's model."""
    return name not in ("", ".", "..") and not any(sign in name for sign in "/\\:")


def upgraded(node: Json) -> Json:
    """A result of schema 1, which named none, as one of schema 2; any other as it is.

    Halves stood in the gates and the point estimates a second time beside them. Raises Misfit for a later schema.
    """
    if node.get("schema") == SCHEMA:
        return node
    if "schema" in node:
        raise Misfit(f"its schema is {node['schema']!r}, and this version reads {SCHEMA}")
    judged = typed(Json, node.get("five_cat", {}), "five_cat")
    if not judged:
        return node | {"schema": SCHEMA}
    gates = typed(dict[str, Json], judged.get("gates", {}), "five_cat.gates")
    parts = {}
    for part in JUDGED:
        halves = {letter: gate[part] for letter, gate in gates.items() if gate.get(part)}
        if judged.get(part):
            scores = typed(Json, judged[part], f"five_cat.{part}") | {"of": OLD_HALVES, "halves": halves}
            parts[part] = typed(Json, node.get(part, {}), part) | {"five_cat": scores}
    verdict = {key: value for key, value in judged.items() if key not in (*JUDGED, "model")}
    verdict |= {
        "of": OLD_GATES,
        "gates": {letter: {k: v for k, v in gate.items() if k not in JUDGED} for letter, gate in gates.items()},
    }
    return node | parts | {"five_cat": verdict, "schema": SCHEMA}
