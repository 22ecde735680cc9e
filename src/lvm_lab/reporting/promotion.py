"""What is shown of a promotion: the checks, a line each, and a model's history; no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

from lvm_lab.reporting.terminal import mark
from lvm_lab.runs.registry import Model


def show_checks(checks: Iterable[Any], console: Console) -> None:
    """checks: as `lvm_lab.judge.criteria.Check`; what fails stands last."""
    for check in sorted(checks, key=lambda check: not check.passed):
        console.print(mark(check.passed), end="  ")
        console.print(str(check), highlight=False, soft_wrap=True, markup=False)


def show_history(model: Model, stage: str, console: Console) -> None:
    """Its moves and looks, oldest first, and where the stage stands."""
    for line in model.history():
        console.print(_line(line), highlight=False, soft_wrap=True, markup=False)
    version = model.version(stage)
    stands = f"is {model.folder / 'versions' / version}" if version else "is nothing yet"
    console.print(f"{model.folder / stage} {stands}", highlight=False, soft_wrap=True, markup=False)


def _line(line: dict[str, Any]) -> str:
    of = f"{line['time']}  {line['action']:<8}  "
    if line["action"] == "look":
        outcome = "passed" if line["passed"] else f"failed {sum(not check['passed'] for check in line['checks'])}"
        parts = ", ".join(line["parts"])
        return f"{of}{line['run']} by {line['criteria']} on {parts} (look {line['looks']}): {outcome}"
    moved = f"{of}{line['stage']}: {line['before'] or 'nothing'} -> {line['version']}"
    run = f" ({line['run']}, {line['criteria']})" if "run" in line else ""
    forced = f", forced over {len(line['forced_over'])} criteria" if line.get("forced_over") else ""
    return moved + run + forced + (f": {line['reason']}" if line.get("reason") else "")
