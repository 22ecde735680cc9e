"""Answer over HTTP with trained models: `lvm-lab serve checkpoint=RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import composing, launch
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("serve", serve, interrupted="the server has ended")


def serve(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Load, listen, answer."""
    if sweep_dir is not None:
        raise UserError("one command is one server; leave -m out, and name several models in checkpoint=...")
    from lvm_lab import logs
    from lvm_lab.config.serving import ServeSettings
    from lvm_lab.jobs import serving

    console = logs.to_terminal()
    settings = ServeSettings.from_dict(config)

    def option(name: str) -> dict[str, Any]:
        node: dict[str, Any] = composing.compose("serve", [f"encoder={name}"])["encoder"]
        return node

    ingestion = composing.compose("ingest", ["reader=jsonl", "checks=false"]) if settings.ingest else None
    words = "(try a text there in a browser; what it answers to: /docs)"
    serving.serve(settings, option, ingestion, lambda at: console.print(f"serving at {at} {words}"))


if __name__ == "__main__":
    main()
