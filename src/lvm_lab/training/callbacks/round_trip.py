"""Decodes predictions of a few VAL windows while a model trains, and measures how their texts are encoded again.

Shape suffixes: W windows, D vector dim.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Store
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge.predictions import predict_windows
from lvm_lab.text.decoder import Resources, cosines, open_decoder
from lvm_lab.text.encoder_choice import encoder_for, shipped
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

log = logging.getLogger(__name__)

SETTING = "callbacks.round_trip"


class RoundTrip(Callback):
    """Every `every_n_epochs` epochs and after the last: `round_trip/cosine`, the mean cosine of what the encoder makes
    of a raw prediction's text to the prediction, and `round_trip/to_target`, to the encoder's vector of the target.

    decoder, encoder: nodes of their options; encoder None: the one that the data's contract names. windows: of VAL,
    drawn evenly over documents. It chooses nothing and changes no number of a training. Raises UserError, before the
    first epoch, for data without an encoder and for a decoder of another.
    """

    priority = 50  # after five_cat and diagnosis, which may end a training; before history, which writes

    def __init__(
        self,
        val: Windows,
        preset: Preset,
        store: Store | None,
        contract: EncoderContract | None,
        cache: Path | None,
        decoder: dict[str, Any],
        every_n_epochs: int = 5,
        windows: int = 8,
        encoder: dict[str, Any] | None = None,
    ) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("windows", windows)):
            if value < 1:
                raise UserError(f"{SETTING}.{name}={value} does not fit; set 1 or more, or leave {SETTING} out.")
        assert contract is not None, "a run has one"
        assert cache is not None, "a run has one"
        self.every_n_epochs, self.sample = every_n_epochs, sample_evenly(val, windows, preset.seed)
        self.target_WD = self.sample.vectors(self.sample.target_row_W)
        self.encoder = encoder_for(contract, encoder, shipped, "the data", f"encoder@{SETTING}.encoder")
        resources = Resources("the data", contract, self.encoder, store, cache)
        self.decoder = open_decoder(decoder, resources, f"{SETTING}.decoder")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        done = trainer.current_epoch + 1
        last = done == trainer.max_epochs or trainer.should_stop
        if (done % self.every_n_epochs and not last) or not trainer.is_global_zero:
            return
        training = pl_module.training
        pl_module.eval()
        raw_WD, _ = predict_windows(pl_module.predict, self.sample, pl_module.device)
        pl_module.train(training)
        if not np.isfinite(raw_WD).all():
            return
        texts = [candidates[0].text for candidates in self.decoder.decode(raw_WD)]
        made_WD = self.encoder.encode(texts)
        numbers = {
            "cosine": float(cosines(made_WD, raw_WD).mean()),
            "to_target": float(cosines(made_WD, self.target_WD).mean()),
        }
        pl_module.metrics |= {f"round_trip/{name}": number for name, number in numbers.items()}
        log.info(
            "round trip after epoch %d: %d predictions decoded by %s and encoded again, cosine %.3f, to the target "
            "%.3f; the first text: %s",
            *(done, len(texts), self.decoder.source, numbers["cosine"], numbers["to_target"], texts[0]),
        )
