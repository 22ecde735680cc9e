"""How long --help and --cfg job take, beside an import of torch, in turn.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from common import spread

COMMANDS = {
    "--help": ["-m", "lvm_lab.train", "--help"],
    "--cfg job": ["-m", "lvm_lab.train", "--cfg", "job"],
    "import torch": ["-c", "import torch"],
}


def main(rounds: int = 7) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=folder)
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name:14s}{spread(values)} s")


if __name__ == "__main__":
    main()
