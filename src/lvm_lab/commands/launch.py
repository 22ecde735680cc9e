"""The commands' entry: lets Hydra compose and launch, and turns users' mistakes into one sentence; no torch."""

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
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands.composing import check_local, explain, gather
from lvm_lab.config.conf import conf_dir, spell_out
from lvm_lab.errors import UserError
from lvm_lab.runs import folder as runs
from lvm_lab.sweeps import schedule, sweep

log = logging.getLogger(__name__)

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
Job = Callable[[dict[str, Any], Path | None], None]


def launch(
    config_name: str,
    job: Job,
    *,
    paths: str | None = None,
    schedules: bool = False,
    interrupted: str = "the same command goes on from the last checkpoint",
) -> None:
    """Compose `config_name` from the command line and call `job(config, sweep_dir)`, for a schedule row by row.

    config is resolved and in plain containers; sweep_dir is a multirun's folder, else None. paths: the key that
    takes the arguments which are paths and no settings. schedules: whether schedule=NAME runs a table.
    interrupted: what is said after Ctrl-C.
    Exit codes: 0 done, 2 a user's mistake, 1 a failed job of a multirun or our own bug, 130 interrupted.
    """
    # Lightning brings matplotlib in, whose first words are about its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.argv[1:] = spell_out(sys.argv[1:])
    if paths is not None:
        sys.argv[1:] = gather(sys.argv[1:], paths)
    # Hydra then raises instead of printing and leaving with 1; what is raised is told below.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    launcher = Launcher(config_name, job)
    arguments = sys.argv[1:]
    try:
        check_local(arguments)
        asked, rest = schedule.taken_from(arguments) if schedules else (None, arguments)
        failed = launcher(arguments) if asked is None else sweep.run(asked, rest, launcher)
        failures = [str(failure) for failure in failed]
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (HydraException, OmegaConfBaseException, UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and not launcher.composed_once:
            # Whoever reads --help has seen enough; what is left to be flushed goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        failures, code = [explain(error, config_name, arguments)], MISTAKE
    except ValueError as error:
        if launcher.composed_once:
            raise
        # Hydra's own words for a group that is set to null or to a number.
        failures, code = [explain(error, config_name, arguments)], MISTAKE
    else:
        code = FAILED if failures else 0
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    if code:
        sys.exit(code)


@dataclass
class Launcher:
    """Calling it with a command line's arguments has Hydra run them; what failed in a multirun comes back."""

    config_name: str
    job: Job
    composed_once: bool = False

    def __call__(self, arguments: Sequence[str]) -> list[sweep.Failure]:
        """What failed in a multirun, in order. Raises what Hydra refuses, and what fails in a single run."""
        sys.argv[1:] = arguments
        with tempfile.TemporaryDirectory(prefix="lvm_lab-") as folder:
            task = Task(self.config_name, self.job, tuple(arguments), Path(folder), time.time())

            def composed(config: DictConfig) -> None:
                self.composed_once = True
                task(config)

            # A launcher may send it to another process, where nothing of this one is known.
            told = task if "-m" in arguments or "--multirun" in arguments else composed
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=self.config_name)(told)()
            return task.failures()


@dataclass(frozen=True)
class Task:
    """What Hydra calls for each job; also in another process, where `failed` is how the first one learns."""

    config_name: str
    job: Job
    arguments: tuple[str, ...]
    failed: Path
    since: float

    def __call__(self, composed: DictConfig) -> None:
        # Hydra's logging would print which of its libraries faiss loads.
        logging.getLogger("faiss").setLevel(logging.WARNING)
        run = HydraConfig.get()
        multirun = run.mode == RunMode.MULTIRUN
        row = run.runtime.choices.get(schedule.GROUP)
        config: dict[str, Any] = {}
        try:
            config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
            if multirun and row and sweep.settled(Path(config["run"]["dir"]), self.since):
                return
            self.job(config, Path(run.sweep.dir) if multirun else None)
        except Exception as error:
            if isinstance(error, runs.Busy) and multirun and row:
                # In a sweep somebody else's run is work that is shared, and no failure.
                return
            known = isinstance(error, UserError | OmegaConfBaseException | OSError)
            sentence = explain(error, self.config_name, self.arguments) if known else f"{type(error).__name__}: {error}"
            if not multirun and known:
                # Leaving here keeps Hydra from announcing an error in a job that never ran.
                print(f"error: {sentence}", file=sys.stderr)
                sys.exit(MISTAKE)
            # Another machine's folder for word of failures may be out of reach: then Hydra brings the first home.
            if not multirun or not self.failed.is_dir():
                raise
            if not known:
                log.error("failed", exc_info=error)
            # A full disk is no failure of the run: what was reached is kept to go on from.
            if row and config and not isinstance(error, OSError):
                runs.record_failure(Path(config["run"]["dir"]), config, sentence)
            self._tell(row, sentence, [o for o in run.overrides.task if o not in self.arguments])

    def failures(self) -> list[sweep.Failure]:
        files = sorted(self.failed.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return [sweep.Failure(**json.loads(file.read_text())) for file in files]

    def _tell(self, row: str | None, sentence: str, chosen: list[str]) -> None:
        said = sentence if row else f"{sentence.rstrip('.')} ({' '.join(chosen)})."
        _, file = tempfile.mkstemp(dir=self.failed)
        Path(file).write_text(json.dumps({"row": row, "sentence": said}))
