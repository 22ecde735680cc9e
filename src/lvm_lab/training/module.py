"""The one LightningModule: a plain model, its loss, and how they are optimised.

Shape suffixes: B windows or segments, L context length, D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lvm_lab.config.settings import OptimSettings
from lvm_lab.data.tmd import Names
from lvm_lab.model import KEY, LOSS, LatentVectorModel
from lvm_lab.nn.gather import share
from lvm_lab.training import averaging, pieces, weight_decay
from lvm_lab.training._lightning import pl
from lvm_lab.training.averaging import WeightAverage
from lvm_lab.training.datamodule import total_steps
from lvm_lab.training.length_groups import read_segments
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.training.strategies.base import Stages
from lvm_lab.types import Batch, Prediction, Reading, Stats

MODEL = "model."
log = logging.getLogger(__name__)


class LatentVectorModule(pl.LightningModule):
    """A checkpoint has the model's weights by their names in the plain model, and the loss's below `loss.`.

    every_position: supervise all positions of a causal backbone, not the last alone.
    metrics: the epoch's numbers so far; callbacks add theirs and History writes them down.
    loss_stats: the training data's statistics where the model's own are those that its first weights were learned with.
    optimiser_state: AdamW's, with its groups, to begin with.
    accumulate: pieces that a batch is computed in. ema: decay of the average of the weights that is validated and kept.
    stages: those that the training goes through, where a strategy has any.
    """

    def __init__(
        self,
        model: LatentVectorModel,
        loss: WeightedTerms,
        optim: OptimSettings,
        every_position: bool = False,
        accumulate: int = 1,
        ema: float | None = None,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.optim, self.every_position = model, loss, optim, every_position
        self.accumulate, self.ema = accumulate, ema
        self._average: WeightAverage | None = None
        self._averaged: dict[str, Any] | None = None
        self.metrics: dict[str, Any] = {}
        self.loss_stats: Stats | None = None
        self.optimiser_state: dict[str, Any] | None = None
        self.stages: Stages | None = None
        self._decayed: set[str] | None = None
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self.register_load_state_dict_pre_hook(_names_here)

    @property
    def stats(self) -> Stats:
        """The training part's, which losses and diagnoses measure by."""
        own = self.model.stats
        if self.loss_stats is None:
            return own
        return Stats(self.loss_stats.mean_D.to(own.mean_D), self.loss_stats.std_D.to(own.std_D))

    @property
    def tmd(self) -> Names | None:
        """The table of the TMD codes that it reads, as of its model."""
        return self.model.tmd

    def predict(self, context_BLD: Tensor) -> Prediction:
        """The next vector after each context."""
        return self.model.forward(context_BLD)

    forward = predict

    def supervised(self, batch: Batch, every: bool | None = None) -> tuple[Prediction, Batch]:
        """What the loss reads at the supervised positions, and the batch with a target for each."""
        if batch.index_N is not None:
            return self._supervised_segments(batch, batch.index_N), batch
        every = self.every_position if every is None else every
        if every:
            next_BLD = torch.cat([batch.context_BLD[:, 1:], batch.target_ND[:, None]], dim=1)
            documents_N = batch.document_N.repeat_interleave(next_BLD.shape[1])
            batch = replace(batch, target_ND=next_BLD.flatten(0, 1), document_N=documents_N)
        reading = self.model.read(batch.read_BLD, every)
        return self._learned(batch.target_ND, reading), batch

    def _learned(self, target_ND: Tensor, reading: Reading) -> Prediction:
        prediction: Prediction = self.model.head.learn(reading.hidden_NH, target_ND, reading)
        return replace(prediction, hidden_NH=reading.hidden_NH) if self.loss.reads_states else prediction

    def _supervised_segments(self, batch: Batch, index_N: Tensor) -> Prediction:
        """Computed at every place, so that heads see whole contexts, and kept at the supervised ones."""
        reading = read_segments(self.model, batch)
        # A place that is not supervised learns towards nothing: what is predicted there is dropped.
        target_ND = batch.target_ND.new_zeros(len(reading.hidden_NH), batch.target_ND.shape[1])
        target_ND[index_N] = batch.target_ND
        return self._learned(target_ND, reading).select(index_N)

    def _predicted(self, batch: Batch) -> Prediction:
        """What a decoder would get at the supervised positions."""
        if batch.index_N is None:
            return self.predict(batch.read_BLD)
        reading = read_segments(self.model, batch)
        prediction: Prediction = self.model.head(reading.hidden_NH, reading)
        return prediction.select(batch.index_N)

    def on_fit_start(self) -> None:
        if self.ema is None:
            return
        self._average = WeightAverage(nn.ModuleDict({"model": self.model, "loss": self.loss}), self.ema)
        if self._averaged is not None:
            self._average.restore(self.load_state_dict, **self._averaged)
            self._averaged = None

    def on_train_epoch_start(self) -> None:
        self.metrics = {}
        self._sums, self._count = {}, 0
        if self.stages is not None and self.stages.begins(self.current_epoch):
            stage = self.stages.of(self.current_epoch)
            log.info("stage %s: %d epochs", stage.name, stage.epochs)

    def epoch_state(self) -> dict[str, Any]:
        """What the epoch has come to so far, in what the weights-only unpickler reads."""
        numbers = {name: float(x) if isinstance(x, float) else x for name, x in self.metrics.items()}
        sums = {name: value.detach().cpu() for name, value in self._sums.items()}
        return {"metrics": numbers, "sums": sums, "count": self._count}

    def load_epoch_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on with `epoch_state`; of several devices' the mean, which is what an epoch's numbers are of."""
        first = states[0]
        self.metrics, self._count = dict(first["metrics"]), first["count"]
        means = {name: torch.stack([state["sums"][name] for state in states]).mean(0) for name in first["sums"]}
        self._sums = {name: value.to(self.device) for name, value in means.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        if self.stages is not None:
            # Here, since an epoch that is gone on with inside does not begin.
            self.loss.begin(self.stages.of(self.current_epoch).loss)
        if self.accumulate == 1:
            prediction, supervised = self.supervised(batch)
            outputs = None
        else:
            prediction, supervised, outputs = pieces.supervised(self.supervised, batch, self.accumulate)
        prediction, total, parts = self._judged(prediction, supervised)
        if batch_idx == 0:
            shares = self.loss.active.gradient_shares(prediction, parts, outputs)
            self.metrics |= {f"gradient_share/{name}": share for name, share in shares.items()}
        self._add({"loss": total, **parts})
        return total if total.requires_grad else None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self._average is not None:
            self._average.update()

    def on_validation_epoch_start(self) -> None:
        self.metrics |= self._means("train")
        if self._average is not None:
            self._average.exchange()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        prediction, batch = self.supervised(batch, every=False)
        prediction, total, parts = self._judged(prediction, batch, self.loss.own)
        if "prediction" not in self.model.head.feeds:
            prediction = self._predicted(batch)
        cosine = torch.cosine_similarity(prediction.unit_ND, batch.target_ND, dim=-1).mean()
        self._add({"loss": total, **parts, "cos": cosine}, rows=len(batch.target_ND))

    def on_validation_epoch_end(self) -> None:
        self.metrics |= self._means("val")
        if self.stages is not None:
            self.metrics["stage"] = self.stages.of(self.current_epoch).name
        # A mean of trained members has no optimiser to ask.
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        self.metrics["lr"] = groups[0]["lr"] if groups else 0.0

    def on_train_epoch_end(self) -> None:
        # After the callbacks, which judge the average and save it.
        if self._average is not None:
            self._average.exchange()

    def configure_optimizers(self) -> Any:
        if not any(parameter.requires_grad for parameter in self.parameters()):
            return None
        decayed = weight_decay.maps(self) if self._decayed is None else self._decayed
        optimizer = torch.optim.AdamW(
            weight_decay.groups(self, decayed, self.optim.weight_decay),
            lr=self.optim.lr,
            # A fused optimiser unscales gradients by itself, which Lightning's mixed precision cannot clip.
            fused=self.device.type == "cpu" and "mixed" not in str(self.trainer.precision),
        )
        if self.optimiser_state is not None:
            # The rate and the decay are this run's own.
            state = weight_decay.renumbered(self.optimiser_state, self, decayed)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        total = total_steps(self.trainer)
        scale = WarmupCosine(round(self.optim.warmup * total), total, self.optim.final_lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Here and not in state_dict, which wrappers of a strategy read too.
        state = checkpoint["state_dict"] if self._average is None else self._average.weights()
        checkpoint["state_dict"] = _names_there(state)
        identity = self.model.identity
        with nullcontext() if self._average is None else self._average.shown():
            checkpoint[KEY] = identity | {"golden_output": self.model.golden_output(identity["golden_input"])}
        if self._average is not None and "optimizer_states" in checkpoint:
            own = {averaging.TRAINED: _names_there(self._average.trained_weights())}
            checkpoint[averaging.KEY] = own | {"updates": self._average.updates}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning loads the weights before it converts the module: those of float64 would be rounded on the way.
        self.to(checkpoint["state_dict"]["mean_D"].dtype)
        if averaging.KEY in checkpoint:
            self._averaged = {"weights": checkpoint["state_dict"], "updates": checkpoint[averaging.KEY]["updates"]}
            checkpoint["state_dict"] = averaging.trained(checkpoint)
        for state in checkpoint.get("optimizer_states", []):
            # An interrupted run ends as it would have unbroken.
            self._decayed = weight_decay.of_state(state, self)
            if self._decayed != weight_decay.maps(self):
                log.info("this run was begun when other parameters decayed, and goes on with those that it began with")

    def _judged(
        self, prediction: Prediction, batch: Batch, loss: Callable[..., tuple[Tensor, dict[str, Tensor]]] | None = None
    ) -> tuple[Prediction, Tensor, dict[str, Tensor]]:
        """The prediction in float32 at least, its loss and the loss's parts. loss: None for what training minimises.

        Cosines of 8 bits, divided by a temperature, would leave a contrastive loss two digits.
        """
        with torch.autocast(self.device.type, enabled=False):
            prediction = prediction.float()
            total, parts = (loss or self.loss)(prediction, batch, self.stats)
        if batch.ragged:
            # Devices share segments evenly, and not what is supervised in them.
            part = share(len(batch.target_ND), total)
            total, parts = part * total, {name: part * value for name, value in parts.items()}
        return prediction, total, parts

    def _add(self, values: dict[str, Tensor], rows: int = 1) -> None:
        for name, value in values.items():
            addition = value.detach() * rows
            self._sums[name] = self._sums[name] + addition if name in self._sums else addition
        self._count += rows

    def _means(self, prefix: str) -> dict[str, float]:
        # Of all devices: what ends a training is decided by these, and every device has to decide alike.
        reduce = self.trainer.strategy.reduce
        means = {f"{prefix}/{name}": float(reduce(v, reduce_op="mean")) / self._count for name, v in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


def _names_there(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's names for the module's own."""
    return {name.removeprefix(MODEL): value for name, value in state.items()}


def _names_here(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A checkpoint's names to the module's own, in place; what an ensemble's members kept of their losses goes."""
    for name in [name for name in state if name.startswith(prefix)]:
        inner = name.removeprefix(prefix)
        if not inner.startswith((MODEL, "loss.")):
            value = state.pop(name)
            if not LOSS.search(inner):
                state[f"{prefix}{MODEL}{inner}"] = value


class WarmupCosine:
    """step -> the learning rate's factor: linear up to 1 over `warmup` steps, then a cosine down to `final`."""

    def __init__(self, warmup: int, total: int, final: float) -> None:
        self.warmup, self.total, self.final = warmup, total, final

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2
