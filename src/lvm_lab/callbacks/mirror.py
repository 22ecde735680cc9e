"""Mirrors a run to Weights & Biases under the names that the disk has; the disk stays the truth."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any, Literal

from lvm_lab.plots import FIGURES
from lvm_lab.runs import Result, RunFolder
from lvm_lab.settings import LoggerSettings


class Mirror:
    """One W&B run for one run folder; its id is the fingerprint, so that a resumed run goes on in it."""

    def __init__(self, settings: LoggerSettings, run: RunFolder, config: dict[str, Any]) -> None:
        self.run: Any = None
        mode = _mode(settings)
        if mode is None:
            return
        import wandb  # .8 s that a run without it need not wait for

        self.run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            name=run.name,
            id=run.fingerprint[:16],
            dir=run.path,
            mode=mode,
            resume="allow",
            config=config,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )

    def row(self, row: dict[str, Any]) -> None:
        """A row of history.jsonl; the epoch is the step."""
        if self.run is not None:
            self.run.log({k: v for k, v in row.items() if isinstance(v, int | float)}, step=row["epoch"])

    def result(self, result: Result, pictures: dict[str, Path]) -> None:
        """The closing numbers, and the plots by name as they lie on disk."""
        if self.run is not None:
            import wandb

            images = {f"plots/{name}": wandb.Image(str(file), caption=FIGURES[name]) for name, file in pictures.items()}
            if images:
                self.run.log(images)
            numbers = {"passed": result.five_cat.get("passed"), "verdict": result.five_cat.get("verdict")}
            self.run.summary.update({"status": result.status, "5cat": numbers, "val": result.val, "ood": result.ood})

    def close(self, failed: bool = False) -> None:
        """Two runs in one process would share an id without this."""
        if self.run is not None:
            self.run.finish(exit_code=int(failed))
            self.run = None


def _mode(settings: LoggerSettings) -> Literal["online", "offline"] | None:
    if settings.wandb == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    if settings.wandb != "auto":
        return settings.wandb
    if os.environ.get("WANDB_MODE") in ("online", "offline"):
        return os.environ["WANDB_MODE"]  # type: ignore[return-value]
    return "online" if _has_account() else "offline"


def _has_account() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(Path.home() / ".netrc").authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
