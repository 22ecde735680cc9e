"""The settings of conf/export.yaml, typed; imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lvm_lab.config import binding
from lvm_lab.errors import UserError

Format = Literal["safetensors", "onnx", "torch_export"]
FORMATS: tuple[str, ...] = get_args(Format)
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ExportSettings:
    """See conf/export.yaml."""

    run: list[str]
    out: str | None = None
    formats: list[Format] = field(default_factory=lambda: ["safetensors"])
    latency: bool = True
    push_to_hub: str | None = None
    private: bool = True
    allow: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.run) != 1:
            raise UserError(f"an export is of one run, and {len(self.run)} are named; write lvm-lab export RUN.")
        if not self.formats:
            raise UserError(f"formats=[] leaves nothing to write; choose among {', '.join(FORMATS)}.")
        if self.push_to_hub and not REPOSITORY.fullmatch(self.push_to_hub):
            raise UserError(f"push_to_hub={self.push_to_hub} is no repository; write it as OWNER/NAME.")
        if self.push_to_hub and "safetensors" not in self.formats:
            raise UserError("what is pushed has to be loadable; leave safetensors among the formats.")
        if self.out and Path(self.out).name in ("", ".."):
            raise UserError(f"out={self.out} does not fit; name a folder here that the export may become.")

    @property
    def folder(self) -> Path:
        """Where the export lands: `out`, else exports/ with the run's name, for a file of one with the file's too."""
        if self.out:
            return Path(self.out)
        run = Path(self.run[0]).absolute()
        return Path("exports", run.name if run.is_dir() else f"{run.parent.parent.name}-{run.stem}")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> ExportSettings:
        """Every setting of a resolved config held against its type.

        Raises UserError with the setting's name and what it may be.
        """
        run, formats = config.get("run"), config.get("formats")
        node = config | {"run": [run] if isinstance(run, str) else run}
        for name in formats or () if binding.fits(formats, list[str]) else ():
            if name not in FORMATS:
                raise UserError(f"{name} is no format of an export; choose among {', '.join(FORMATS)}.")
        return binding.dataclass_from(cls, node, "")
