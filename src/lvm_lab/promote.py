"""Make a run the model that servers take, if it is good enough: `lvm-lab promote RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch
from lvm_lab.commands.arguments import Files
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("promote", promote, files=Files("run"), interrupted="what stood in its stage stands there")


def promote(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Judge, refuse or move, show the history."""
    if sweep_dir is not None:
        raise UserError("one run is promoted at a time; leave -m out.")
    from lvm_lab import logs
    from lvm_lab.config.promotion import PromotionSettings
    from lvm_lab.jobs import promotion
    from lvm_lab.reporting import promotion as promotion_report

    console = logs.to_terminal()
    settings = PromotionSettings.from_dict(config)
    promotion.promote(settings, lambda checks: promotion_report.show_checks(checks, console))
    promotion_report.show_history(promotion.model_of(settings), settings.stage, console)


if __name__ == "__main__":
    main()
