"""Whether a store holds what its encoder makes of its texts: `lvm-lab verify STORE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import composing, launch
from lvm_lab.commands.arguments import Files
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("verify", verify, files=Files("store"), interrupted="nothing was written")


def verify(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Verify each store, show what was measured, refuse the first that differs."""
    if sweep_dir is not None:
        raise UserError("one verification takes any number of stores; leave -m out.")
    from lvm_lab import logs
    from lvm_lab.jobs import verification

    console = logs.to_terminal()
    settings = verification.VerifySettings.from_dict(config)
    for path in settings.store:
        report = verification.verify(Path(path), settings, _option)
        for line in report.lines():
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        report.refuse()


def _option(name: str) -> dict[str, Any]:
    """The settings of conf/encoder/<name>.yaml."""
    return composing.compose("verify", [f"encoder={name}"])["encoder"]


if __name__ == "__main__":
    main()
