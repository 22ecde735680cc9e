"""Everything that can be wrong with a sweep's rows before a run starts: settings, folders, rows that come too early."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from lvm_lab.config import signatures
from lvm_lab.config.settings import settings
from lvm_lab.errors import UserError
from lvm_lab.runs.identity import computing, difference, fingerprint
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.plan import Standing, Standings, blocker
from lvm_lab.sweeps.schedule import Row, Schedule


def check_folder(sweep: Path, schedule: Schedule, scale: str | None) -> None:
    """UserError for the folder of another schedule, or of this one at another scale."""
    table = leaderboard.table_of(sweep)
    if table and (table["name"], table["scale"]) != (schedule.name, scale):
        raise UserError(
            f"{sweep} is the folder of schedule={table['name']} at scale {table['scale']}; choose another schedule.dir."
        )


def check_turn(row: Row, schedule: Schedule, standings: Standings, among: Container[str]) -> None:
    """UserError for a row that refers to the leaderboard while an earlier row, of those in `among`, is not done."""
    first = blocker((other for other in schedule.earlier(row) if other.id in among), standings)
    if first is not None:
        raise UserError(
            f"{row.id} takes the best of the earlier rows, and {first.id} is {standings[first.id].status}; "
            "run those first."
        )


def check_types(row: Row, config: dict[str, Any]) -> None:
    """UserError for a setting of a row whose value does not fit; neither torch nor other runs' folders are needed."""
    from lvm_lab.judge import baselines, gates  # numpy comes in only now

    try:
        preset = settings(config).preset
        gates.check(preset)
        baselines.check(preset)
        signatures.check_types(config)
    except UserError as error:
        raise UserError(row.refusal(str(error))) from error


def check_unchanged(folder: Path, standing: Standing, config: dict[str, Any]) -> None:
    """UserError where a run's folder holds another run than `config`, or one whose config.yaml was edited."""
    recorded = standing.config
    if not recorded or standing.outcome == "failed":
        return
    identity = recorded.get("identity", {})
    if fingerprint(recorded, identity.get("content", {})) != identity.get("fingerprint"):
        raise UserError(
            f"{folder / 'config.yaml'} was changed after it was written; put it back, or run.force=true to start over."
        )
    first = difference(computing(recorded), computing(config))
    if first:
        raise UserError(
            f"{folder} holds a run of another config ({first}); choose another schedule.dir, or run.force=true "
            "to start over."
        )
