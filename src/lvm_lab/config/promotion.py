"""The settings of conf/promote.yaml, typed; imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lvm_lab.config import binding
from lvm_lab.config.evaluation import PARTS, EvaluationSettings
from lvm_lab.config.export import FORMATS, Format
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class FieldCriteria:
    """See conf/criteria/field.yaml."""

    name: str
    val_cosine: float
    ood_cosine: float
    latency_ms: float
    gates: int
    val_margin: float
    ood_margin: float
    rollout: float
    std_ratio: list[float]
    diversity: float

    def __post_init__(self) -> None:
        if len(self.std_ratio) != 2 or self.std_ratio[0] > self.std_ratio[1]:
            raise UserError(f"criteria.std_ratio={self.std_ratio} is no range; write it as [LOW,HIGH].")

    @property
    def baselines(self) -> list[str]:
        """Those that have to be judged beside the model: the cheapest, since none is asked about."""
        return ["copy_last"]


@dataclass(frozen=True)
class RankingCriteria:
    """See conf/criteria/ranking.yaml."""

    name: str
    over: list[str]
    numbers: list[Literal["unseen", "following"]]

    def __post_init__(self) -> None:
        if not self.over or not self.numbers:
            raise UserError("criteria.over and criteria.numbers name what is compared; leave neither empty.")

    @property
    def baselines(self) -> list[str]:
        return self.over


KINDS: dict[str, type[FieldCriteria] | type[RankingCriteria]] = {"field": FieldCriteria, "ranking": RankingCriteria}


@dataclass(frozen=True)
class PromotionSettings:
    """run: None shows the history. evaluation: by which settings the run is judged; see conf/promote.yaml."""

    criteria: FieldCriteria | RankingCriteria
    evaluation: EvaluationSettings
    run: str | None = None
    registry: str = "registry"
    name: str = "default"
    stage: str = "production"
    reason: str | None = None
    rollback: bool = False
    formats: list[Format] = dataclasses.field(default_factory=lambda: ["safetensors"])

    def __post_init__(self) -> None:
        if self.rollback and self.run:
            raise UserError(f"rollback=true goes back and run={self.run} forwards; leave one of them out.")
        if "safetensors" not in self.formats:
            raise UserError("servers load what is promoted; leave safetensors among the formats.")
        if self.stage in ("versions", "history.jsonl") or not self.stage.isidentifier():
            raise UserError(f"stage={self.stage} does not fit; name it with letters, digits and underscores.")
        if self.reason is not None and not self.reason.strip():
            raise UserError("reason is empty; write why the criteria do not count here, or leave it out.")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> PromotionSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        node = dict(config)
        runs = [node.get("run")] if isinstance(node.get("run"), str) else node.get("run") or []
        if not binding.fits(runs, list[str]) or len(runs) > 1:
            raise UserError(f"run={node.get('run')} does not fit; one run is promoted at a time, run=FOLDER.")
        for name in node["formats"] if binding.fits(node.get("formats"), list[str]) else ():
            if name not in FORMATS:
                raise UserError(f"{name} is no format of an export; choose among {', '.join(FORMATS)}.")
        criteria = _criteria(node.get("criteria"))
        of_evaluation = {key: node.pop(key, None) for key in ("device", "five_cat", "ood", "allow", "cache")}
        evaluation = EvaluationSettings.from_dict(
            of_evaluation | {"checkpoints": runs, "parts": list(PARTS), "out": "evaluation", "by": None, "data": None}
        )
        preset = dataclasses.replace(evaluation.preset, baselines=list[Any](criteria.baselines))
        values = node | {
            "run": runs[0] if runs else None,
            "criteria": criteria,
            "evaluation": dataclasses.replace(evaluation, preset=preset),
        }
        settings: PromotionSettings = binding.dataclass_from(cls, values, "")
        return settings


def _criteria(node: Any) -> FieldCriteria | RankingCriteria:
    if not isinstance(node, dict) or node.get("name") not in KINDS:
        raise UserError(f"criteria={binding.written(node)} names no option; choose {' or '.join(KINDS)}.")
    made: FieldCriteria | RankingCriteria = binding.dataclass_from(KINDS[node["name"]], node, "criteria")
    return made
