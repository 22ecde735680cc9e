"""Make a store of texts: `lvm-lab ingest reader=stdlib out=python_docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch


def main() -> None:
    launch.launch("ingest", ingest, runs_shards=True, interrupted="the same command goes on from the last block")


def ingest(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Make, show; of a multirun one shard."""
    from lvm_lab import logs
    from lvm_lab.config.ingest import IngestSettings
    from lvm_lab.jobs import ingestion
    from lvm_lab.reporting import ingestion as ingestion_report

    console = logs.to_terminal()
    settings = IngestSettings.from_dict(config)
    if settings.dry_run:
        ingestion_report.show_estimate(ingestion.estimate(settings), console)
        return
    with ingestion_report.bar(console, settings.name) as bar:
        state, record = ingestion.ingest(settings, bar)
    ingestion_report.close(state, record, settings, console)


if __name__ == "__main__":
    main()
