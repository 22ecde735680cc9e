"""One run at work in its folder: logs, training or resuming, scoring, and what is shown at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from lvm_lab import logs
from lvm_lab.build.load import load
from lvm_lab.config.command import command
from lvm_lab.config.settings import Settings
from lvm_lab.config.sources import without_secrets
from lvm_lab.config.thresholds import DOCUMENTS_FOR_REPORT
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.judge.results import PartScores
from lvm_lab.loggers.base import Loggers
from lvm_lab.model import KEY, read_checkpoint
from lvm_lab.reporting import card, tables
from lvm_lab.reporting import diagnostics as diagnostic_tables
from lvm_lab.reporting.plots import record
from lvm_lab.runs import folder as runs
from lvm_lab.runs import reading
from lvm_lab.runs.identity import check_own
from lvm_lab.runs.judgement import Scores
from lvm_lab.runs.process import commit, is_leader
from lvm_lab.runs.result import Result
from lvm_lab.runs.typed import typed
from lvm_lab.scoring.data_gate import data_gate
from lvm_lab.scoring.ground import Ground, sizes
from lvm_lab.scoring.scores import TRAINING, score
from lvm_lab.training import devices, inside_epoch
from lvm_lab.training.callbacks import assembly
from lvm_lab.training.callbacks.base import RunContext
from lvm_lab.training.fitting import fit
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import count_parameters

log = logging.getLogger(__name__)


class Session:
    """Context manager around the work in one run folder; closes logs and loggers however the work ends.

    notes: what a reader of the result has to know; the work adds its own.
    """

    def __init__(
        self, settings: Settings, data: Parts, run: runs.RunFolder, console: Console, notes: Sequence[str] = ()
    ) -> None:
        self.settings, self.data, self.run, self.console = settings, data, run, console
        self.started = time.perf_counter()
        self.before = 0.0
        self.diverged = False
        self.params = 0
        self.data_gate: dict[str, Any] = {}
        self.notes = [*notes]

    @staticmethod
    def check(settings: Settings) -> None:
        """UserError for loggers or callbacks that cannot be made, before anything is read or written."""
        Loggers(settings.logger)
        assembly.check(settings.config.get("callbacks"))

    def __enter__(self) -> Session:
        silent = self.run.state == "finished" or not is_leader()
        self.log = None if silent else logs.RunLog(self.run.path).__enter__()
        self.loggers = Loggers({} if silent else self.settings.logger)
        self.loggers.begin(self.run, without_secrets(self.settings.config))
        if self.run.state != "finished":
            for note in self.notes:
                self.tell(note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # A full disk or a missing right is no failure of the run: what was reached is kept to go on from.
        # Of several processes the first one records: the others also end with an error when that one was killed.
        failed = kind is not None and issubclass(kind, Exception) and not issubclass(kind, UserError | OSError)
        if kind is not None and failed and is_leader():
            log.error("failed", exc_info=error)
            result = self._result("failed", error=f"{kind.__name__}: {error}")
            self._picture(result)
            self.run.finish(result)
        self.loggers.close(failed=kind is not None)
        if self.log is not None:
            self.log.__exit__()

    def tell(self, sentence: str) -> None:
        log.info("%s: %s", self.run.path, sentence)

    def check_data(self) -> None:
        """The data gate: warns of, or refuses, windows that can hardly be predicted forwards."""
        self.data_gate = data_gate(self.data)
        curve = " ".join(f"{c:.3f}" for c in self.data_gate["curve"])
        log.info(
            "data gate %s: coherence %s, signal %+.3f, position curve %s",
            "passed" if self.data_gate["passed"] else "FAILED",
            self.data_gate["coherence"] and round(self.data_gate["coherence"], 3),
            self.data_gate["signal"],
            curve,
        )
        log.info("arrow of time: %s", diagnostic_tables.arrow_line(self.data_gate["arrow"]))
        if not self.data_gate["passed"]:
            reasons = "; ".join(self.data_gate["failed"])
            if self.settings.data.gate == "refuse":
                raise UserError(f"the data gate failed ({reasons}); check the order of chunks, or set data.gate=warn.")
            log.warning("the data gate failed (%s): check the order of chunks and the encoder", reasons)
        if self.data.documents < DOCUMENTS_FOR_REPORT:
            self.notes.append(
                f"{self.data.documents} documents are few: for a report, cross-fit with -m data.fold=0,1,2,3,4"
            )
            log.warning(self.notes[-1])

    def fit(self, module: LatentVectorModule) -> None:
        """Train from the start or from last.ckpt, to the end."""
        settings, run, data = self.settings, self.run, self.data.for_fitting()
        self.params = count_parameters(module.model) + count_parameters(module.loss.terms)
        context = RunContext(
            seed=settings.seed,
            patience=settings.trainer.patience,
            val=data.val,
            preset=settings.preset,
            console=self.console,
            show=self._show_judgement,
            write=self._write,
            folder=run.checkpoints,
            checkpoint=settings.trainer.checkpoint,
            store=data.stores.get("val"),
            contract=data.contract,
            cache=settings.cache,
        )
        resume_from = None
        if run.state == "resume":
            resume_from = run.last
            last = read_checkpoint(run.last)
            check_own(run.last, last[KEY], reading.read(run.path).config)
            epochs, batches, seconds = inside_epoch.progress(last)
            if is_leader():
                run.cut_history(epochs)
            history = run.read_history()
            self.before = sum(row["seconds"] for row in history) + seconds
            self.loggers.again(history)
            more = f" and {batches} batches of the next" if batches else ""
            self.tell(f"going on after epoch {epochs} of {settings.trainer.max_epochs}{more}")
        self.diverged = fit(module, data, settings, context, run.path, resume_from)

    def score(self) -> Result:
        """Score the chosen checkpoint once: five gates, val, test, OOD, and the baselines."""
        if self.diverged:
            result = self._result("diverged")
            self._picture(result)
            return result
        best_5cat = self.run.checkpoints / "best_5cat.ckpt"
        file = best_5cat if best_5cat.exists() else self.run.checkpoints / "best.ckpt"
        device = devices.judging_device(self.settings.device)
        model = load(file, device, self.settings.allow)
        judge_from = self.settings.data.judge_from
        ground = Ground.of_run(self.data, self.settings.preset, self.settings.cache, judge_from)
        try:
            scores = score({self.run.name: lambda: model.forward}, ground, TRAINING, device)
        except (RuntimeError, MemoryError) as error:
            if not devices.out_of_memory(error):
                raise
            raise UserError(
                f"{device} ran out of memory while the trained model was scored; the same command with device=cpu goes "
                "on from the last checkpoint and scores it there."
            ) from error
        result = self._result("finished", checkpoint=file.name, **scores.to_result())
        record.write_moments(self.run.path, scores.moments())
        self.loggers.result(result, self._picture(result))
        return result

    def finish(self, result: Result) -> None:
        """Write result.json, then let go of what only an unfinished run needs."""
        self.run.finish(result)
        if not self.settings.run.keep_last:
            self.run.last.unlink(missing_ok=True)

    def show(self, result: Result) -> None:
        """The closing tables, the verdict and where the checkpoint is."""
        for item in (*tables.closing_tables(result), tables.verdict_line(result)):
            self.console.print(item)
        for alarm in result.alarms:
            log.warning("%s on %s (best offset %+d): check %s", alarm.name, alarm.part, alarm.best_k, alarm.check)
        names = {alarm.name for alarm in result.alarms}
        for finding in result.findings("val"):
            if finding.name not in names:
                log.warning("%s on val (%s): check %s", finding.name, finding.measured, finding.check)
        for note in result.notes:
            self.console.print(f"note: {note}", highlight=False, markup=False)
        place = self.run.checkpoints / result.checkpoint if result.checkpoint else self.run.path
        self.console.print(f"{result.status} in {result.seconds:.0f} s: {place}", markup=False)

    def _picture(self, result: Result) -> dict[str, Path]:
        """Draw the plots and write the model card, before result.json is: killed here, the run scores again.

        What goes wrong here, a full disk too, is warned of and costs no run its numbers.
        """
        if not is_leader():
            return {}
        pictures: dict[str, Path] = {}
        try:
            from lvm_lab.reporting.plots.draw import draw  # matplotlib comes in only now

            files = record.read(self.run.path, result)
            try:
                pictures = draw(files)
            finally:
                card.write(files)
        except Exception as error:
            way_out = f"{command('plots', self.run.path)} and {command('card', self.run.path)} make them"
            log.warning("no plots or no model card (%s: %s); %s", type(error).__name__, error, way_out)
        return pictures

    def _write(self, row: dict[str, Any]) -> None:
        self.run.append_history(row)
        self.loggers.row(row)

    def _show_judgement(self, scores: PartScores) -> None:
        read = typed(Scores, scores.to_dict(), "five_cat")
        self.console.print(tables.part_table(f"5CAT in training, VAL: {read.passed} of {read.of} halves", read.halves))

    def _seconds(self) -> float:
        """This session's time and that of the epochs before it."""
        return round(self.before + time.perf_counter() - self.started, 3)

    def _result(self, status: Any, **more: Any) -> Result:
        config = self.settings.config
        rows = self.run.read_history()
        return Result(
            name=self.run.name,
            arch=config["arch"]["name"],
            loss=config["loss"]["name"],
            data=config["data"]["name"],
            status=status,
            seed=self.settings.seed,
            fingerprint=self.run.fingerprint,
            seconds=self._seconds(),
            params=self.params,
            epochs=len(rows),
            data_gate=self.data_gate,
            contract={k: v for k, v in self.data.contract.recorded().items() if k != "probes"},
            parts=sizes(self.data),
            notes=self.notes,
            commit=commit(),
            **more,
        )
