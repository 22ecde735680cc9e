"""The body of `train-decoder`: vec2text's models trained further on a store's texts, in a folder that is made whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lvm_lab.config.decoder_training import NONE, DecoderTraining
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.text.decoders.vec2text import Vec2Text

RECORD = "training.json"
WORK = ".work"


@dataclass(frozen=True)
class TrainedDecoder:
    """losses: by model, mean cross-entropy a token of the held-out texts before and after."""

    settings: DecoderTraining
    content: str
    texts: int
    held_out: int
    losses: dict[str, tuple[float, float]]

    def lines(self) -> Iterator[str]:
        texts = f"{self.texts:,} texts of {self.settings.store}, {self.held_out:,} held out"
        yield f"{self.settings.out}: trained on {texts}"
        for model, (before, after) in self.losses.items():
            yield f"  {model:<10} held-out loss {before:.3f} before, {after:.3f} after"
        places = " ".join(f"decoder.{model}={self.settings.out / model}" for model in self.losses)
        steps = "" if "corrector" in self.losses else " decoder.corrector=null decoder.steps=0"
        yield f"  decoder=vec2text {places}{steps}"


def train_decoder(settings: DecoderTraining) -> TrainedDecoder:
    """Raises UserError for a store without texts or of another encoder than the models', for models that cannot be
    loaded, and where `out` is taken; then nothing is written."""
    settings.check()
    if os.path.lexists(settings.out):
        raise UserError(f"{settings.out} exists already; name another folder.")
    store = open_store(settings.store)
    texts, held_out = _split(store, settings)
    corrector = None if settings.corrector == NONE else settings.corrector
    decoder = Vec2Text(settings.inversion, corrector, steps=0 if corrector is None else 1, device=settings.device)
    decoder.load()
    conflict = decoder.contract().conflict(store.contract)
    if conflict:
        raise UserError(
            f"{settings.inversion} is of another encoder than {settings.store} ({conflict}); name models of its "
            "encoder with --inversion and --corrector."
        )
    # Vec2text comes in only now: a mistake in the settings is told without it.
    from lvm_lab.text.vec2text_training import train

    settings.out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{settings.out.name}.", dir=settings.out.parent))
    try:
        # Where the library's trainers work, which is none of what is made.
        (work / WORK).mkdir()
        losses = train(decoder, texts, held_out, settings, work, work / WORK)
        trained = TrainedDecoder(settings, store.content, len(texts), len(held_out), losses)
        record = asdict(trained) | {"settings": {name: str(value) for name, value in asdict(settings).items()}}
        (work / RECORD).write_text(json.dumps(record, indent=2) + "\n")
        shutil.rmtree(work / WORK)
        work.chmod(0o755)
        work.rename(settings.out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return trained


def _split(store: Store, settings: DecoderTraining) -> tuple[list[str], list[str]]:
    """(what is trained on, what is held out) of a store's different texts."""
    texts = list(dict.fromkeys(text for text in store.texts() or [] if text.strip()))
    if len(texts) < 2:
        raise UserError(f"{settings.store} has no texts to train on; ingest some with lvm-lab ingest.")
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    count = min(max(1, round(settings.held_out * len(texts))), len(texts) - 1)
    return [texts[place] for place in order[count:]], [texts[place] for place in order[:count]]
