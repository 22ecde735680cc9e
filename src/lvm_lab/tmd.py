"""Give a store's chunks their TMD codes: `lvm-lab tmd store=STORE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import composing, launch
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("tmd", tmd, interrupted="the same command goes on with the chunks that have no code")


def tmd(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Give, show."""
    if sweep_dir is not None:
        raise UserError("codes are given to one store at a time; leave -m out.")
    from lvm_lab import logs
    from lvm_lab.jobs import coding
    from lvm_lab.reporting import codes

    console = logs.to_terminal()
    settings = coding.CodingSettings.from_dict(config)
    codes.show(coding.code(settings, lambda name: composing.compose("tmd", [f"encoder={name}"])["encoder"]), console)


if __name__ == "__main__":
    main()
