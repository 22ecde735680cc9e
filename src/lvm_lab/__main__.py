"""Lists the commands, `lvm-lab`, or runs one: `lvm-lab train arch=gru`."""

from __future__ import annotations

import difflib
import runpy
import sys

from lvm_lab import __version__
from lvm_lab.commands.doors import summaries
from lvm_lab.commands.plain import MISTAKE, tell


def main() -> int:
    name, *sys.argv[1:] = sys.argv[1:] or ["--help"]
    commands = {command.replace("_", "-"): summary for command, summary in summaries().items()}
    if name in ("-h", "--help"):
        print("usage: lvm-lab COMMAND ..., or python -m lvm_lab COMMAND ...; each has a --help of its own\n")
        for command, summary in commands.items():
            print(f"  {command:<{max(map(len, commands))}}  {summary}")
        return 0
    if name == "--version":
        print(f"lvm_lab {__version__}")
        return 0
    command = name.replace("_", "-")
    if command not in commands:
        hint = "".join(f" (did you mean {close}?)" for close in difflib.get_close_matches(command, commands, n=1))
        tell(f"{name} is no command of lvm_lab{hint}; lvm-lab --help lists them.")
        return MISTAKE
    # As `python -m` would: a run on several devices starts its other processes by the module's name.
    runpy.run_module(f"lvm_lab.{command.replace('-', '_')}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
