"""The commands as users give them, in this process or in one of their own, on a world that trains in a second."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from helpers.composing import compose_faster
from lvm_lab import train
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.training.callbacks.history import TIMES

HELPERS = Path(__file__).parent
WORLD = ("data.dim=128", "data.documents=120", "data.ood_documents=40", "trainer.batch_size=64", "5cat=smoke")
MODEL = ("arch=gru", "arch.width=32", "device=cpu", "device.threads=1", "logger=none")
TINY = (*WORLD, *MODEL, "trainer.max_epochs=2")
# Paths beside the checkout would otherwise decide what W&B and numerics do.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
# For what hangs, not for what is slow: a machine may be as busy as it likes.
PATIENCE = 1800
# A PNG of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence that a mistake is answered with."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


def call(folder: Path, *arguments: str, main: Callable[[], None] = train.main, figures: bool = False) -> Outcome:
    """The train command, or another's main, in this process, working in `folder`.

    figures: draw them, which takes longer than the training; without it each is one pixel.
    """
    out, err = io.StringIO(), io.StringIO()
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lvm-train", *arguments])
        # A command looks for a user's packages in its folder, which the next one does not.
        patch.setattr(sys, "path", [*sys.path])
        patch.setenv("WANDB_MODE", "offline")
        # Set here so that what the command sets does not outlive it.
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.chdir(folder)
        if not figures:
            draw_pixels(patch)
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as leaving:
                code = int(leaving.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def draw_pixels(patch: pytest.MonkeyPatch) -> None:
    """In place of figures, of which one takes as long as an epoch of what is trained here."""
    patch.setattr("lvm_lab.reporting.plots.draw.figures", lambda record: dict.fromkeys(FIGURES))
    patch.setattr("lvm_lab.reporting.plots._style.png", lambda figure: PIXEL)


def start(
    folder: Path, *arguments: str, script: Path | None = None, **environment: str | None
) -> subprocess.Popen[str]:
    """The train command, or a script in its place, in a process of its own; None takes a variable away."""
    command = [str(script)] if script else ["-m", "lvm_lab.train"]
    return subprocess.Popen(
        [sys.executable, *command, *arguments],
        cwd=folder,
        env=_merged(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C and hands that down.
        preexec_fn=_heed_interrupts,
    )


def _merged(environment: dict[str, str | None]) -> dict[str, str]:
    """This process's environment with the tests' own over it and then the given one; None takes a variable away."""
    merged = os.environ | ENVIRONMENT | environment
    return {name: value for name, value in merged.items() if value is not None}


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Forked:
    """What `fork` has started, with what tests use of a Popen."""

    def __init__(self, process: ForkServerProcess, written: tempfile.TemporaryDirectory[str]) -> None:
        self._process, self._written = process, written
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float) -> tuple[str, str]:
        self._process.join(timeout)
        assert self.returncode is not None, "it hangs"
        out, err = (Path(self._written.name, name).read_text() for name in ("out", "err"))
        self._written.cleanup()
        return out, err


# What takes seconds to import and knows nothing yet of the run to come.
IMPORTED = ["hydra.main", "matplotlib.backends.backend_agg", "numpy", "pyarrow.dataset", "pytest", "pytorch_lightning"]
IMPORTED += ["torch", "lvm_lab.build.members", "lvm_lab.commands.launch", "lvm_lab.jobs.session"]
multiprocessing.set_forkserver_preload(IMPORTED)


def fork(
    folder: Path, *arguments: str, script: Path | None = None, figures: bool = False, **environment: str | None
) -> Forked:
    """As `start`, in a process that need not import torch first: forked off one that has done nothing else.

    figures: as `call` has them.
    """
    written = tempfile.TemporaryDirectory()
    with contextlib.ExitStack() as files:
        streams = [os.devnull, *(Path(written.name, name) for name in ("out", "err"))]
        opened = [files.enter_context(open(file, mode)) for file, mode in zip(streams, ("r", "w", "w"), strict=True)]
        words = [str(script)] if script else ["-m", "lvm_lab.train"]
        process = forked([*words, *arguments], folder, _merged(environment), [f.fileno() for f in opened], figures)
    return Forked(process, written)


def forked(
    words: list[str], folder: Path, environment: dict[str, str], streams: list[int], figures: bool
) -> ForkServerProcess:
    """What `python WORDS` would be there. streams: descriptors of its input, output and errors."""
    process = multiprocessing.get_context("forkserver").Process(
        target=_python, args=(words, folder, environment, [Descriptor(number) for number in streams], figures)
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        process.start()
    return process


@dataclass(frozen=True)
class Descriptor:
    """An open file that a process is given, of its own number there."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (reduction.DupFd(self.number),)


def _arrived(sent: Any) -> Descriptor:
    return Descriptor(sent.detach())


def _python(
    words: list[str], folder: Path, environment: dict[str, str], streams: list[Descriptor], figures: bool
) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream.number, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    _heed_interrupts()
    # The server's own environment is that of the first test which forked.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if not figures:
        draw_pixels(pytest.MonkeyPatch())
    try:
        _run(words, folder)
    finally:
        # As Python ends: joblib's workers go when threads do, and multiprocessing waits for them before that, which are
        # the five minutes that a worker waits for more work.
        threading._shutdown()  # type: ignore[attr-defined]


def _run(words: list[str], folder: Path) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(folder))
        # This file knows it, and Python warns of a module that is there and is run.
        sys.modules.pop("lvm_lab.train", None)
        compose_faster()
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path.insert(0, str(folder))
        exec(words[1], {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent.absolute()))
        runpy.run_path(words[0], run_name="__main__")


def finish(process: subprocess.Popen[str] | Forked, seconds: float = PATIENCE) -> Outcome:
    out, err = process.communicate(timeout=seconds)
    assert process.returncode is not None
    return Outcome(process.returncode, out, err)


def run(folder: Path, *arguments: str, script: Path | None = None, **environment: str | None) -> Outcome:
    return finish(start(folder, *arguments, script=script, **environment))


def wait_until(
    condition: Callable[[], Any], process: subprocess.Popen[str] | Forked, seconds: float = PATIENCE
) -> bool:
    """Whether the condition came true before the process ended."""
    ends = time.monotonic() + seconds
    while process.poll() is None:
        if condition():
            return True
        assert time.monotonic() < ends, "nothing happened in time"
        time.sleep(0.01)
    return False


def tree(folder: Path) -> dict[str, int]:
    """Every file and folder under `folder` with its time of change in nanoseconds."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


def rows(run_folder: Path) -> list[dict[str, Any]]:
    """The history's rows, NaN refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = (run_folder / "history.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The history without what a clock says."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


def only_run(root: Path) -> Path:
    (folder,) = (p for p in root.iterdir() if p.is_dir())
    return folder
