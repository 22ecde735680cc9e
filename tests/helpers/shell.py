"""A shell in which `python`, `lvm-lab` and `lvm-train` need not import torch first: each is forked off a process that
has, gets the shell's descriptors, folder and environment, and its exit code comes back."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from helpers.commands import PATIENCE, forked

COMMANDS = {"lvm-lab": ["-m", "lvm_lab"], "lvm-train": ["-m", "lvm_lab.train"], "python": []}
# What a command of the shell is: it asks for the process, and ends as it does.
CLIENT = """import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    word = json.dumps([[*{words!r}, *sys.argv[1:]], os.getcwd(), {{**os.environ}}]).encode()
    socket.send_fds(line, [len(word).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(word)
    code = line.recv(8)
sys.exit(int(code or b"1"))
"""


@contextlib.contextmanager
def commands(figures: bool = False) -> Iterator[Path]:
    """The folder of the three, for a shell's PATH, as long as the context lasts. figures: as `call` has them."""
    with tempfile.TemporaryDirectory(prefix="shell-") as home, socket.socket(socket.AF_UNIX) as listener:
        folder, address = Path(home), f"{home}/socket"
        for name, words in COMMANDS.items():
            (folder / f".{name}.py").write_text(CLIENT.format(address=address, words=words))
            (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{folder}/.{name}.py" "$@"\n')
            (folder / name).chmod(0o755)
        listener.bind(address)
        listener.listen()
        threading.Thread(target=_serve, args=(listener, figures), daemon=True).start()
        yield folder
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, figures: bool) -> None:
    while True:
        try:
            line, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(line, figures), daemon=True).start()


def _answer(line: socket.socket, figures: bool) -> None:
    with line:
        size, streams, _, _ = socket.recv_fds(line, 8, 3)
        word = b""
        while len(word) < int.from_bytes(size, "big"):
            word += line.recv(1 << 16)
        words, folder, environment = json.loads(word)
        process = forked(words, Path(folder), environment, streams, figures)
        for stream in streams:
            os.close(stream)
        process.join(PATIENCE)
        # A signal's number, as a shell counts it.
        code = process.exitcode or 0
        line.sendall(str(code if code >= 0 else 128 - code).encode())


def give(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What bash makes of the script, without an input."""
    return subprocess.run(
        ["bash", "-c", f"set -eo pipefail; {script}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
