"""Starts a command that Hydra composes: calls its job, turns users' mistakes into one sentence; no torch."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands import composing, helping, multirun, schedules, sharding, sweepers
from lvm_lab.commands.arguments import MULTIRUN, Files, sort
from lvm_lab.commands.composing import check_local, check_names, explain, unreadable
from lvm_lab.commands.flags import check_flags, check_help
from lvm_lab.commands.plain import FAILED, INTERRUPTED, MISTAKE, TERMINATED, tell
from lvm_lab.commands.rows import GROUP
from lvm_lab.config.conf import conf_dir
from lvm_lab.errors import Terminated, UserError
from lvm_lab.runs import folder as runs
from lvm_lab.streams import open_closed, reader_has_left
from lvm_lab.sweeps import standings
from lvm_lab.sweeps.plan import Weigh
from lvm_lab.sweeps.sweep import Failure

log = logging.getLogger(__name__)

# What it returns is what one of Hydra's sweepers gets of the job; None: nothing, which such a sweeper counts as failed.
Job = Callable[[dict[str, Any], Path | None], Any]


def launch(
    config_name: str,
    job: Job,
    *,
    files: Files | None = None,
    runs_schedules: bool = False,
    weigh: Weigh | None = None,
    runs_shards: bool = False,
    interrupted: str = "the same command goes on from the last checkpoint",
    door: str | None = None,
    header: str | None = None,
) -> None:
    """Compose `config_name` from the command line and call `job(config, sweep_dir)`, for a schedule row by row.

    config is resolved and in plain containers; sweep_dir is a multirun's folder, else None. files: the setting that
    takes the arguments which are files. runs_schedules: whether schedule=NAME runs a table; weigh: how much work a row
    of one is. runs_shards: whether a multirun's jobs are the shards of one. interrupted: what is said after Ctrl-C.
    door: the command's name where it is not the config's; header: its own words at the top of --help.
    Exit codes: 0 done, 2 a user's mistake, 1 a failed job of a multirun or our own bug, 130 interrupted, 143 ended by
    SIGTERM.
    """
    find_packages_here()
    # The figures bring matplotlib in, whose first words are about its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    open_closed()
    line = sort(sys.argv[1:], None if files is None else helping.keys(config_name))
    arguments = line.words(files)
    if line.help is not None:
        arguments = ["--help", *arguments, *helping.for_hydra(door or config_name, header)]
    # Hydra then raises instead of printing and leaving with 1; what is raised is told below.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra_run = HydraRun(config_name, job)
    try:
        check_help(line, door or config_name)
        if line.version or line.help == "":
            helping.show(config_name, door or config_name, line, files, header)
            sys.stdout.flush()
            return
        check_names(arguments)
        check_flags(arguments, door or config_name)
        check_local(arguments)
        if runs_shards:
            arguments = sharding.spread(config_name, arguments)
        request, others = schedules.split(arguments) if runs_schedules else (None, arguments)
        if request is None:
            multirun.check_folders(config_name, arguments)
            sweepers.check(config_name, arguments)
        failures = hydra_run(arguments) if request is None else schedules.run(request, others, hydra_run, weigh)
    except KeyboardInterrupt as error:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        sys.exit(TERMINATED if isinstance(error, Terminated) else INTERRUPTED)
    except (HydraException, OmegaConfBaseException, UserError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and not hydra_run.composed_once:
            reader_has_left()
            sys.exit(0)
        tell(explain(error, config_name, arguments))
        sys.exit(MISTAKE)
    except yaml.YAMLError as error:
        tell(unreadable(arguments, error))
        sys.exit(MISTAKE)
    except ValueError as error:
        if hydra_run.composed_once:
            raise
        if isinstance(error, UnicodeDecodeError):
            tell(unreadable(arguments, error))
            sys.exit(MISTAKE)
        # Hydra's own words for a group that is set to null or to a number.
        tell(explain(error, config_name, arguments))
        sys.exit(MISTAKE)
    for failure in failures:
        tell(str(failure))
    if failures:
        sys.exit(FAILED)


def find_packages_here() -> None:
    """Have Python look in the current folder too, last of all: `python -m` does, a console script does not.

    A user's own parts are found there, and Hydra's plugins (`hydra_plugins/`).
    """
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.append(here)


@dataclass
class HydraRun:
    """Calling it with a command line's arguments has Hydra run them; what failed in a multirun comes back."""

    config_name: str
    job: Job
    composed_once: bool = False

    def __call__(self, arguments: Sequence[str]) -> list[Failure]:
        """What failed in a multirun, in order. Raises what Hydra refuses, and what fails in a single run."""
        sys.argv[1:] = arguments
        with tempfile.TemporaryDirectory(prefix="lvm_lab-") as folder:
            task = Task(self.config_name, self.job, tuple(arguments), Path(folder), time.time())

            def single(config: DictConfig) -> None:
                self.composed_once = True
                task(config)

            # A launcher may send it to another process, where nothing of this one is known.
            called = task if set(MULTIRUN) & set(arguments) else single
            try:
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=self.config_name)(called)()
            except ValueError as error:
                if not sweepers.has_no_value(error):
                    raise
                return [*task.failures(), Failure(None, sweepers.NO_VALUE)]
            return task.failures()


@dataclass(frozen=True)
class Task:
    """What Hydra calls for each job; also in another process, where `failed` is how the first one learns."""

    config_name: str
    job: Job
    arguments: tuple[str, ...]
    failed: Path
    since: float

    def __call__(self, composed: DictConfig) -> Any:
        """What the job returns; None after a failure."""
        # Hydra's logging would print which of its libraries faiss loads.
        logging.getLogger("faiss").setLevel(logging.WARNING)
        run = HydraConfig.get()
        multirun = run.mode == RunMode.MULTIRUN
        row = run.runtime.choices.get(GROUP)
        config: dict[str, Any] = {}
        try:
            config = composing.plain(composed)
            if multirun and row and standings.settled(Path(config["run"]["dir"]), self.since):
                return None
            return self.job(config, Path(run.sweep.dir) if multirun else None)
        except Exception as error:
            if isinstance(error, runs.Busy) and multirun and row:
                # In a sweep somebody else's run is work that is shared, and no failure.
                return None
            known = isinstance(error, UserError | OmegaConfBaseException | OSError | MemoryError)
            sentence = explain(error, self.config_name, self.arguments) if known else f"{type(error).__name__}: {error}"
            if not multirun and known:
                # Leaving here keeps Hydra from announcing an error in a job that never ran.
                tell(sentence)
                sys.exit(MISTAKE)
            # Another machine's folder for word of failures may be out of reach: then Hydra brings the first home.
            if not multirun or not self.failed.is_dir():
                raise
            if not known:
                log.error("failed", exc_info=error)
            # A full disk is no failure of the run: what was reached is kept to go on from.
            if row and config and not isinstance(error, OSError | MemoryError):
                runs.record_failure(Path(config["run"]["dir"]), config, sentence)
            self._leave_word(row, sentence, [o for o in run.overrides.task if o not in self.arguments])
            return None

    def failures(self) -> list[Failure]:
        files = sorted(self.failed.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return [Failure(**json.loads(file.read_text())) for file in files]

    def _leave_word(self, row: str | None, sentence: str, settings: list[str]) -> None:
        """settings: of the job itself, which tell it from the others where it is no row."""
        words = sentence if row or not settings else f"{sentence.rstrip('.')} ({' '.join(settings)})."
        _, file = tempfile.mkstemp(dir=self.failed)
        Path(file).write_text(json.dumps({"row": row, "sentence": words}))
