"""Judges the VAL halves of 5CAT while the model trains: a table, alarms, and the rank that chooses best_5cat.ckpt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows
from lvm_lab.judge.five_cat import measure_part
from lvm_lab.judge.results import PartScores
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

log = logging.getLogger(__name__)


class FiveCatJudge(Callback):
    """Every `preset.every_n_epochs` epochs and after the last. `show` gets each judgement.

    OOD is not looked at: it is scored once, for the finished run, and chooses nothing. With
    `on_failure: stop` the first judgement without all VAL halves ends the training, with
    `stop_on_backward_bias` the first that is nearest to the past.
    """

    priority = 30  # after divergence and plateau, whose stop makes this epoch the last; before history, which writes

    def __init__(self, val: Windows, preset: Preset, show: Callable[[PartScores], None]) -> None:
        self.val, self.preset, self.show = val, preset, show
        self.stopped = False

    @property
    def state_key(self) -> str:
        # The name of its state in every last.ckpt since version 0.1.0.
        return "FiveCatGate"

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopped = state_dict["stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Killed after its last epoch and taken up again: it stays where it stopped.
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        done = trainer.current_epoch + 1
        every = self.preset.every_n_epochs
        # Another callback may have stopped the training: then this epoch is the last.
        last = done == trainer.max_epochs or trainer.should_stop
        if every == 0 or (done % every and not last):
            return
        scores = self._measure(pl_module) if trainer.is_global_zero else None
        numbers: Any = None if scores is None else _numbers(scores)
        rank, values, alarms, halves = trainer.strategy.broadcast(numbers)
        pl_module.metrics |= {f"5cat/val/{name}": value for name, value in values.items()}
        pl_module.metrics |= {"5cat/passed": rank[0], "5cat/rank": rank, "5cat/alarms": alarms}
        if self.preset.stop_on_backward_bias and "backward bias" in alarms:
            log.warning("stopping: 5cat.stop_on_backward_bias is set and the model predicts backwards")
            trainer.should_stop = self.stopped = True
        if self.preset.on_failure == "stop" and rank[0] < halves:
            log.warning("stopping: 5cat.on_failure=stop and %d of %d VAL halves are passed", rank[0], halves)
            trainer.should_stop = self.stopped = True

    def _measure(self, module: LatentVectorModule) -> PartScores:
        training = module.training
        module.eval()
        scores = measure_part(module.predict, self.val, self.preset, device=module.device)
        module.train(training)
        self.show(scores)
        for alarm in scores.alarms:
            log.warning("%s", alarm)
        return scores


def _numbers(scores: PartScores) -> Any:
    """What every rank needs: the rank that chooses checkpoints, the numbers, the alarms, and how many halves count."""
    return list(scores.rank), scores.values(), [alarm.name for alarm in scores.alarms], scores.of
