"""Mirrors a run to Weights & Biases under the names that the disk has; the disk stays the truth.

Not through Lightning's WandbLogger: an id that only one folder has, offline sessions that replace each other so that
one sync sends each epoch once, a service process that a kill ends, and a server that refuses (mirrored offline then)
are all in how `wandb.init` is called, which WandbLogger does itself; and what it adds, gradients and checkpoints of its
own, has no use here.
"""

from __future__ import annotations

import hashlib
import logging
import netrc
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lvm_lab.config import sources
from lvm_lab.config.loggers import PROJECT
from lvm_lab.files import write_atomically
from lvm_lab.loggers.base import Row, summary
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.runs.folder import RunFolder
from lvm_lab.runs.judgement import Half
from lvm_lab.runs.result import PARTS, Result
from lvm_lab.sweeps import objective
from lvm_lab.sweeps.leaderboard import TABLE

log = logging.getLogger(__name__)

CLOUD = "https://api.wandb.ai"
GATES_KEY = "5cat/gates"
SERVICE = "WANDB_SERVICE"
COLUMNS = (
    "gate",
    "name",
    "part",
    "passed",
    "number",
    "value",
    "low",
    "high",
    "threshold",
    "holds",
    "undecided",
)


class WandB:
    """One W&B run for one run folder: its group is the sweep, its name the run's, and a resumed run keeps its id."""

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "off"] = "auto",
        project: str = PROJECT,
        entity: str | None = None,
        group: str | None = None,
        artifacts: bool = False,
    ) -> None:
        """mode: auto is online where an account is set up, else offline; off writes nothing.

        artifacts: send the best checkpoints too.
        """
        self.mode, self.project, self.entity, self.group, self.artifacts = mode, project, entity, group, artifacts
        self.run: Any = None

    def begin(self, run: RunFolder, config: dict[str, Any]) -> None:
        mode = _mode(self.mode)
        if mode is None:
            return
        self.folder = run
        self.objective = config.get("sweep", {}).get("objective")
        arguments: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "name": run.name,
            "config": config,
            "group": self.group or _sweep(run.path, config),
            "id": _id(run.path),
            "dir": run.path.absolute(),
        }
        self.superseded = mode == "online" or _supersede(run.path / "wandb")
        self.run = _begin(["online", "offline"] if mode == "online" else ["offline"], arguments)

    def again(self, rows: list[Row]) -> None:
        """Of earlier rows those that W&B does not have: a killed session loses what it had not written."""
        if self.run is not None and self.superseded:
            for row in rows:
                if row["epoch"] >= self.run.starting_step:
                    self.row(row)

    def row(self, row: Row) -> None:
        """What was no number has no place in a curve."""
        if self.run is not None:
            self.run.log({name: value for name, value in row.items() if value is not None}, step=row["epoch"])

    def result(self, result: Result, plots: dict[str, Path]) -> None:
        """Besides numbers and plots the gate table, and the checkpoints that were best where that is set."""
        if self.run is not None:
            import wandb

            images = {f"plots/{name}": wandb.Image(str(file), caption=FIGURES[name]) for name, file in plots.items()}
            if images:
                self.run.log(images)
            self.run.summary.update(summary(result))
            if self.objective is not None:
                # By itself and by this name: a W&B sweep looks for its metric at the top of the summary.
                self.run.summary["objective"] = objective.of_result(self.objective, result)
            self._gates(result)
            self._checkpoints(result)

    def close(self, failed: bool) -> None:
        """Two runs in one process would share an id without this."""
        if self.run is not None:
            self.run.finish(exit_code=int(failed))
            self.run = None

    def _gates(self, result: Result) -> None:
        rows = gate_rows(result)
        if rows:
            import wandb

            with _staging_in(self.folder.path):
                self.run.log({GATES_KEY: wandb.Table(columns=list(COLUMNS), data=rows)})

    def _checkpoints(self, result: Result) -> None:
        files = [file for name in ("best.ckpt", "best_5cat.ckpt") if (file := self.folder.checkpoints / name).exists()]
        if not (self.artifacts and files):
            return
        import wandb

        metadata = {
            "numbers_of": result.checkpoint,
            "fingerprint": result.fingerprint,
            "5cat": result.five_cat.get("passed"),
        }
        artifact = wandb.Artifact(f"checkpoints-{self.run.id}", type="model", metadata=metadata)
        for file in files:
            # Read from where it lies when it is sent: a staged or cached copy would double what a run takes.
            artifact.add_file(str(file.absolute()), policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact, aliases=["best"])


def gate_rows(result: Result) -> list[list[Any]]:
    """The gates as rows of COLUMNS, one a number; `passed` is the part's half (None: not measurable)."""
    rows = []
    for letter, gate in result.gates.items():
        halves = {part: half for part in PARTS if (half := result.half(part, letter))}
        if gate.difference:
            halves["val - ood"] = Half(gate.state, numbers={"difference": gate.difference})
        for part, half in halves.items():
            for name, number in half.numbers.items():
                low, high = number.interval or (None, None)
                undecided = None if number.threshold is None else number.undecided
                check = [number.threshold, number.passed, undecided]
                rows.append([letter, gate.name, part, half.state, name, number.value, low, high, *check])
    return rows


def has_account() -> bool:
    """Whether this machine knows a key for the W&B server; the key itself is not looked at."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or CLOUD).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc").authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _begin(modes: list[Literal["online", "offline"]], arguments: dict[str, Any]) -> Any:
    """The W&B run in the first mode that works; a mode that does not is warned of and costs no run."""
    import wandb  # .8 s that a run without it need not wait for

    settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
    for mode in modes:
        # W&B's own process would be shared with those that this one starts: killed, they would keep a run's id in use.
        os.environ.pop(SERVICE, None)
        try:
            with _arguments_hidden(arguments["config"]):
                return wandb.init(mode=mode, resume="allow", reinit="finish_previous", settings=settings, **arguments)
        except Exception as error:
            way_out = "mirrored offline, and wandb sync brings it there" if mode == "online" else "not mirrored"
            log.warning("W&B does not work %s (%s): %s", mode, type(error).__name__, way_out)
            # The id is in use until the process that tried has ended.
            wandb.teardown()
        finally:
            os.environ.pop(SERVICE, None)
    return None


@contextmanager
def _arguments_hidden(config: dict[str, Any]) -> Iterator[None]:
    """W&B records the command line, on which a secret of the data may stand: for such data it sees none."""
    arguments = sys.argv[1:]
    try:
        if sources.secrets(config["data"]):
            del sys.argv[1:]
        yield
    finally:
        sys.argv[1:] = arguments


def _mode(mode: str) -> Literal["online", "offline"] | None:
    if mode == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", "")
    if mode in ("online", "offline"):
        return mode  # type: ignore[return-value]
    return "online" if has_account() else "offline"


def _supersede(folder: Path) -> bool:
    """Remove what earlier offline sessions of the run left; whether none of it was synced, so that all is sent anew."""
    if list(folder.glob("offline-run-*/*.synced")):
        return False
    for old in (*folder.glob("offline-run-*"), folder / "staged"):
        shutil.rmtree(old, ignore_errors=True)
    return True


def _id(folder: Path) -> str:
    """The W&B run's id: of a number that the folder keeps until it is started over, and of where it lies.

    A fingerprint would be shared by two folders of one config, and the number alone by a folder and its copy.
    """
    file = folder / "wandb" / "seed"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, secrets.token_hex(16))
    words = "/".join([file.read_text().strip(), *folder.absolute().parts[-2:]])
    return hashlib.sha256(words.encode()).hexdigest()[:16]


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """A table's file waits in the run's folder until it is sent, so that the folder alone can be synced."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute() / "wandb" / "staged")
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def _sweep(folder: Path, config: dict[str, Any]) -> str | None:
    """The sweep that a run's folder belongs to; a run by itself has none."""
    sweep = folder.absolute().parent
    settings = config["run"]
    in_multirun = settings["dir"] is None and sweep != Path(settings["root"]).absolute()
    return sweep.name if in_multirun or (sweep / TABLE).exists() else None
