"""How the package is built, in numbers, of this checkout or another: `python benchmarks/structure.py [--src PATH]`.

From the files: modules at the top (files beside __init__ and __main__), children of the package outside the layers
contract of the pyproject.toml beside `src`, lines, the longest file.

From a tiny `lvm-lab train`, up to the first step of the optimiser: how many of our files and functions run,
and how often each room is entered, a room being the first folder below lvm_lab or a file at its top. An entry is a
function of another room that the job calls by itself, as a reader of the function `train` follows them; what a room
calls in turn is its own business. The last row counts the same for the session, into whose hands the job gives a run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from types import FrameType
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1] / "src"
SETTINGS = ("arch=gru", "arch.width=16", "data.dim=64", "data.documents=60", "data.ood_documents=20", "data.planes=8")
SETTINGS += ("data.topic_dims=8", "trainer.max_epochs=1", "trainer.batch_size=32", "five_cat=smoke", "logger=none")
SETTINGS += ("device=cpu",)
JOB, SESSION = ("train.py", "jobs/training.py"), ("session.py", "jobs/session.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, default=HERE, help="the folder that holds lvm_lab")
    parser.add_argument("--follow", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.follow is not None:
        follow(args.src.resolve() / "lvm_lab", args.follow)
        return
    print(args.src)
    for name, value in (*of_files(args.src.resolve()), *of_a_run(args.src.resolve())):
        print(f"  {name:32s}{value}")


def of_files(src: Path) -> list[tuple[str, object]]:
    """(what is counted, the number) of the files alone."""
    package = src / "lvm_lab"
    lines = {file.relative_to(package): len(file.read_text().splitlines()) for file in package.rglob("*.py")}
    top = [file for file in package.glob("*.py") if file.stem not in ("__init__", "__main__")]
    children = {file.stem for file in top} | {file.parent.name for file in package.glob("*/__init__.py")}
    longest = max(lines, key=lambda file: lines[file])
    return [
        ("modules at the top", len(top)),
        ("children outside the contract", len(children - in_contract(src.parent / "pyproject.toml"))),
        ("lines", sum(lines.values())),
        ("longest file", f"{longest}, {lines[longest]} lines"),
    ]


def in_contract(project: Path) -> set[str]:
    """The package's children that the layers contract names."""
    contracts = tomllib.loads(project.read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer for contract in contracts if contract["type"] == "layers" for layer in contract["layers"]]
    return {
        name.strip(" ()").removeprefix("lvm_lab.") for layer in layers for name in layer.replace(":", "|").split("|")
    }


def of_a_run(src: Path) -> list[tuple[str, object]]:
    """The same of a run up to its first optimiser step."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [*SETTINGS, f"run.dir={folder}/run", f"run.cache={folder}/cache"]
        environment = os.environ | {"PYTHONPATH": str(src), "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--src", str(src), "--follow", *settings]
        run = subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    calls = [Call(*call) for call in json.loads(run.stdout.splitlines()[-1])]
    rows: list[tuple[str, object]] = [
        ("files run", len({call.file for call in calls})),
        ("functions run", len({(call.file, call.function) for call in calls})),
    ]
    for name, caller in (("entered by the job", JOB), ("entered by its session", SESSION)):
        entries = {(call.file, call.function) for call in calls if call.caller in caller}
        rooms = collections.Counter(room_of(file) for file, _ in entries if file not in (*JOB, *SESSION))
        rows.append((name, ", ".join(f"{room} {count}" for room, count in rooms.most_common())))
    return rows


class Call(NamedTuple):
    """A function of the package and the file of its caller, where that is one of the package's too."""

    caller: str | None
    file: str
    function: str


def follow(package: Path, settings: list[str]) -> None:
    """Train with these settings, in this process, and end at the optimiser's first step with all calls as JSON."""
    calls: set[Call] = set()
    root = f"{package}{os.sep}"

    def watch(frame: FrameType, event: str, _: object) -> None:
        code, back = frame.f_code, frame.f_back
        # The bodies of modules and classes are no functions.
        if event != "call" or not code.co_flags & inspect.CO_OPTIMIZED:
            return
        while back is not None and back.f_code.co_filename == contextlib.__file__:
            back = back.f_back
        if code.co_name == "step" and "torch/optim/adam" in code.co_filename:
            sys.setprofile(None)
            print(json.dumps(sorted(calls, key=str)), flush=True)
            os._exit(0)
        if code.co_filename.startswith(root) and not code.co_name.startswith("<"):
            caller = back.f_code.co_filename if back else ""
            within = caller.removeprefix(root) if caller.startswith(root) and back.f_code.co_name != "main" else None
            calls.add(Call(within, code.co_filename.removeprefix(root), code.co_qualname))

    from lvm_lab import train

    sys.argv = ["train", *settings]
    sys.setprofile(watch)
    train.main()


def room_of(file: str) -> str:
    """The first folder of a file of the package, or the file's own stem."""
    return file.partition("/")[0].removesuffix(".py")


if __name__ == "__main__":
    main()
