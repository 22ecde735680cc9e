"""The settings of conf/evaluate.yaml, typed; imports no torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lvm_lab.config import binding, targets
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.errors import UserError

KEYS = ("checkpoints", "parts", "ood", "out", "cache", "allow", "by", "device", "five_cat")
Part = Literal["val", "test", "ood"]
PARTS: tuple[str, ...] = get_args(Part)
LISTS: dict[str, Any] = {
    "checkpoints": list[str],
    "parts": list[Part],
    "ood": list[str],
    "allow": list[str],
}
EXAMPLES = {"checkpoints": "outputs/gru", "parts": "val,test", "ood": "novel.npz", "allow": "my_package"}


@dataclass(frozen=True)
class EvaluationSettings:
    """data: a data node that all models are put on, or None for each its own.

    by: `source`: every part also by where its documents are from.
    allow: packages, beside the lab's own, whose classes a checkpoint may be built of.
    """

    checkpoints: list[str]
    parts: list[Part]
    ood: list[str]
    out: str
    cache: str | None
    allow: list[str]
    device: DeviceSettings
    preset: Preset
    data: dict[str, Any] | None
    by: Literal["source"] | None = None

    @property
    def allowed(self) -> frozenset[str]:
        """What the data may be built of: the user composed the node that all models are put on."""
        return targets.named(self.data).union(self.allow)

    def __post_init__(self) -> None:
        if not self.parts and not self.ood:
            raise UserError("parts=[] and ood=[] leave nothing to judge on; name a part or a store.")
        if Path(self.out).is_file():
            raise UserError(f"{self.out} is a file where a folder is needed; choose another out.")
        for path in self.ood:
            if not Path(path).exists():
                raise UserError(f"{path} of ood does not exist; check the path.")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> EvaluationSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        _check_groups(config)
        typed = {key: value for key, value in config.items() if key not in ("device", "five_cat")} | {
            "device": binding.dataclass_from(DeviceSettings, config["device"], "device"),
            "preset": Preset.from_dict(config["five_cat"]),
            "data": config.get("data"),
        }
        for part in typed["parts"] if binding.fits(typed["parts"], list[str]) else ():
            if part not in PARTS:
                close = difflib.get_close_matches(part, PARTS, n=1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise UserError(f"{part} is no part{meant}; choose among {', '.join(PARTS)}.")
        for key, kind in LISTS.items():
            if not binding.fits(typed[key], kind):
                raise UserError(f"{key}={typed[key]!r} does not fit; give it a list like [{EXAMPLES[key]}].")
        return binding.dataclass_from(cls, typed, "")


def _check_groups(config: dict[str, Any]) -> None:
    for key in config:
        if key not in (*KEYS, "data"):
            raise UserError(binding.unknown_key(key, (*KEYS, "data")))
    for key in KEYS:
        if key not in config:
            raise UserError(f"{key} is taken away, and an evaluation needs it; leave ~{key} out.")
    for key in ("device", "five_cat", "data"):
        if not isinstance(config.get(key), dict) and (key != "data" or config.get(key) is not None):
            raise UserError(f"{key}={config[key]!r} does not fit; set its keys, for instance {key}.KEY=VALUE.")
