"""Writes down, at each judged epoch, whether predictions collapse, copy or leave the encoder's scale (VAL only)."""

from __future__ import annotations

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge.diagnostics import history_row
from lvm_lab.judge.metrics import part_metrics
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

MAX_WINDOWS = 1_000


class Diagnosis(Callback):
    """Alarms go to the history by name and are shown once, for the finished run: early in training most models copy."""

    priority = 40  # after five_cat, whose rank says that this epoch is a judged one

    def __init__(self, val: Windows, preset: Preset) -> None:
        self.sample = sample_evenly(val, min(preset.max_windows, MAX_WINDOWS), preset.seed)
        self.preset = preset

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        if "5cat/rank" not in pl_module.metrics or not trainer.is_global_zero:
            return
        training = pl_module.training
        pl_module.eval()
        numbers = part_metrics(
            pl_module.predict,
            self.sample,
            pl_module.stats,
            resamples=self.preset.resamples,
            seed=self.preset.seed,
            device=pl_module.device,
        )
        pl_module.train(training)
        pl_module.metrics |= {f"diagnosis/{name}": value for name, value in history_row(numbers).items()}
