"""Lists the commands, `python -m lvm_lab`, or runs one: `python -m lvm_lab train arch=gru`."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path

from lvm_lab.commands.plain import MISTAKE, tell


def main() -> int:
    name, *sys.argv[1:] = sys.argv[1:] or ["--help"]
    commands = summaries()
    if name in ("-h", "--help"):
        print("usage: python -m lvm_lab COMMAND ..., or python -m lvm_lab.COMMAND ...; each has a --help of its own\n")
        for command, summary in commands.items():
            print(f"  {command:<{max(map(len, commands))}}  {summary}")
        return 0
    if name not in commands:
        hint = "".join(f" (did you mean {close}?)" for close in difflib.get_close_matches(name, commands, n=1))
        tell(f"{name} is no command of lvm_lab{hint}; python -m lvm_lab lists them.")
        return MISTAKE
    # As `python -m` would: a run on several devices starts its other processes by the module's name.
    runpy.run_module(f"lvm_lab.{name}", run_name="__main__", alter_sys=True)
    return 0


def summaries() -> dict[str, str]:
    """By command: the first sentence of its file, up to the example. A file with a `main` is a command."""
    trees = {file.stem: ast.parse(file.read_text()) for file in sorted(Path(__file__).parent.glob("[a-z]*.py"))}
    doors = {name: tree for name, tree in trees.items() if any(getattr(n, "name", "") == "main" for n in tree.body)}
    return {name: (ast.get_docstring(tree) or "").splitlines()[0].partition(": `")[0] for name, tree in doors.items()}


if __name__ == "__main__":
    sys.exit(main())
