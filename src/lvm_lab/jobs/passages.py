"""Documents through the stages of a pipeline test, for several predictors at once.

Shape suffixes: N rows of a store, W windows, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lvm_lab.data.store import Store
from lvm_lab.data.windows import Windows, even_sample
from lvm_lab.errors import UserError
from lvm_lab.jobs.generation import chunker_of
from lvm_lab.jobs.verification import encoder_of
from lvm_lab.judge.bootstrap import Number
from lvm_lab.judge.predictions import predict_windows
from lvm_lab.scoring import baselines as fitting
from lvm_lab.scoring.ground import Ground
from lvm_lab.scoring.pipeline import Encoded, Passage, Passages, against
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.decoder import Resources, open_decoder
from lvm_lab.text.document import Document
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoder_choice import Option, encoder_for
from lvm_lab.text.known_texts import KnownTexts
from lvm_lab.text.smoother import Smoother
from lvm_lab.types import Predictor

if TYPE_CHECKING:
    from lvm_lab.jobs.pipeline import PipelineSettings

TEST = "test is there to be read once, for models that are chosen: who picks by it has made it a second val part"


@dataclass(frozen=True)
class Run:
    """A predictor and where it stands. file: its checkpoint; None for a baseline."""

    name: str
    file: str | None
    predictor: Predictor
    ground: Ground


@dataclass(frozen=True)
class PassageTest:
    """What the settings of a pipeline test ask for, done with some runs."""

    settings: PipelineSettings
    option: Option
    device: str
    smoother: Smoother | None

    def of(self, runs: list[Run]) -> dict[str, Any]:
        """The whole report, ready for JSON."""
        part, longest = self.settings.part, max((run.ground for run in runs), key=lambda one: one.context_length)
        store, name = longest.parts.stores[part], f"the data of {runs[0].file}"
        texts = store.texts()
        if not texts or not any(texts):
            raise UserError(f"{name} has no texts to begin with; name a store of texts with store=STORE.")
        places = self._places(longest.windows[part], texts, store)
        windows = longest.windows[part].select(places)
        encoder, notes = self._encoder(store, texts, name)
        node = _with_candidates(self.settings.decoder, windows.context_length + 1)
        decoder = open_decoder(node, Resources(name, store.contract, encoder, store, longest.cache))
        passages = Passages(windows, texts, decoder, encoder, self.smoother, seed=self.settings.seed)
        encoded = Encoded.of(windows, encoder, texts)
        stages = self._stages(store, passages, encoded, notes)
        every = runs + self._baselines(longest, notes)
        predicted = {run.name: self._predict(run, encoded, places) for run in every}
        measured = {run.name: passages.measure(*predicted[run.name]) for run in every}
        controls = self._controls(passages, bool(store.contract.normalised), notes)
        first, *others = measured
        tests = against(measured[first], {one: measured[one] for one in others}, passages)
        return {
            "store": longest.sources[part],
            "part": part,
            "documents": len(windows),
            "asked": self.settings.documents,
            "candidates": len(texts),
            "left_out": windows.context_length,
            "decoder": f"{self.settings.decoder.get('name', 'decoder')} by {decoder.source}",
            "encoder": encoder.contract().short(),
            "notes": [*longest.notes, *decoder.notes, *notes, *([TEST] if part == "test" else [])],
            "stages": {name: number.to_dict() for name, number in stages.items()},
            "predictors": [
                *(_predictor(one, "encoder", None, None, controls[one], passages) for one in controls),
                *(
                    _predictor(
                        run.name,
                        "model" if run.file else "baseline",
                        run.file,
                        run.ground.context_length,
                        measured[run.name],
                        passages,
                    )
                    for run in every
                ),
            ],
            "comparisons": [
                {"name": one, "against": first, "number": number} | tested.to_dict()
                for one, by_number in tests.items()
                for number, tested in by_number.items()
            ],
            "signatures": measured[first].likeness.signatures,
            "windows": _windows(passages, controls | measured),
        }

    def _places(self, windows: Windows, texts: Sequence[str], store: Store) -> np.ndarray:
        """A window of each of so many documents, of those whose chunks all have texts."""
        named_N = np.array([bool(text) for text in texts])
        whole_W = named_N[windows.context_rows()].all(axis=1) & named_N[windows.target_row_W]
        places = np.flatnonzero(whole_W)
        if not len(places):
            raise UserError(f"no window of {store.name} has a text for each of its chunks; name another store=STORE.")
        document_W = windows.document_W[places]
        count = min(self.settings.documents, len(np.unique(document_W)))
        sample: np.ndarray = places[even_sample(document_W, count, self.settings.seed)]
        return sample

    def _encoder(self, store: Store, texts: list[str], name: str) -> tuple[Encoder, list[str]]:
        """What encodes the data's chunks, or, where nothing is known to, the vectors that the store has of them."""
        if encoder_of(store.contract, self.settings.encoder, self.option) is not None:
            return encoder_for(store.contract, self.settings.encoder, self.option, name), []
        if self.smoother is not None:
            raise UserError(
                f"no encoder of the lab makes the vectors of {name}, nor of smoothed texts; leave smoother out."
            )
        note = (
            "no encoder of the lab makes these vectors, so that each text has the one that the store has of it, and no "
            "text is cut and encoded again"
        )
        return KnownTexts(store, texts), [note]

    def _stages(self, store: Store, passages: Passages, encoded: Encoded, notes: list[str]) -> dict[str, Number]:
        """What happens before any model. chunks: the share of each window's that come back when their text is cut
        again; encoder: the cosine of their vectors to the store's. Without what nothing here can do."""
        columns: dict[str, np.ndarray] = {}
        known = isinstance(passages.encoder, KnownTexts)
        if not known:
            columns["encoder"] = encoded.of_windows(passages.windows)
        if not known or self.settings.chunker is not None:
            try:
                chunker = chunker_of(store, self.settings.chunker, store.name)
                chunks = [[*read, target] for read, target in zip(passages.read, passages.targets, strict=True)]
                columns["chunks"] = _cut_again(chunker, passages.encoder, chunks)
            except UserError as error:
                if self.settings.chunker is not None:
                    raise
                notes.append(f"no text is cut again: {error}")
        return passages.numbers(columns)

    def _baselines(self, ground: Ground, notes: list[str]) -> list[Run]:
        wanted = self.settings.baselines
        if not wanted:
            return []
        reasons: dict[str, str] = {}
        fitted = fitting.baselines(ground.parts, ground.cache, self.device, [*wanted], reasons)
        for name in wanted:
            if name not in fitted:
                notes.append(f"{name} is left out: {reasons.get(name, 'this data has none')}")
        return [Run(name, None, baseline, ground) for name, baseline in fitted.items()]

    def _predict(self, run: Run, encoded: Encoded, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """raw and unit of the vectors that the encoder made, W x D."""
        windows = encoded.windows(run.ground.windows[self.settings.part].select(places))
        raw_WD, unit_WD = predict_windows(run.predictor, windows, self.device)
        if not (np.isfinite(raw_WD).all() and np.isfinite(unit_WD).all()):
            raise UserError(f"{run.file or run.name} predicts what is not finite; take another one.")
        return raw_WD, unit_WD

    def _controls(self, passages: Passages, normalised: bool, notes: list[str]) -> dict[str, Passage]:
        """A, the true next vectors decoded; B, the same at unit length, where they have other lengths."""
        target_WD = passages.windows.vectors(passages.windows.target_row_W)
        unit_WD = target_WD / np.linalg.norm(target_WD, axis=1, keepdims=True)
        controls = {"A": passages.measure(target_WD, unit_WD)}
        if normalised:
            notes.append("the encoder's vectors have unit length, so that B is A")
            return controls
        return controls | {"B": passages.measure(unit_WD, unit_WD)}


def _predictor(
    name: str, kind: str, file: str | None, reads: int | None, passage: Passage, passages: Passages
) -> dict[str, Any]:
    numbers = {number: value.to_dict() for number, value in passages.numbers(passage.columns).items()}
    facts = {"name": name, "kind": kind, "checkpoint": file, "reads": reads}
    return facts | {"numbers": numbers, "corpus": passage.likeness.corpus}


def _windows(passages: Passages, measured: dict[str, Passage]) -> list[dict[str, Any]]:
    """What each window reads, its target, and what became of every predictor's vector there."""
    rows = zip(passages.windows.target_row_W.tolist(), passages.read, passages.targets, strict=True)
    return [
        {"row": row, "read": read, "target": target}
        | {"decoded": {name: passage.of_window(place) for name, passage in measured.items()}}
        for place, (row, read, target) in enumerate(rows)
    ]


def _cut_again(chunker: Chunker, encoder: Encoder, chunks: list[list[str]]) -> np.ndarray:
    """(W,) the share of each window's chunks that a chunker makes again of their text, as paragraphs one below the
    other."""
    documents = [Document(str(place), "", "pipeline-test", tuple(own)) for place, own in enumerate(chunks)]
    cut = chunker.chunk(documents, encoder.encode)
    return np.array([np.mean([text in again.texts for text in own]) for own, again in zip(chunks, cut, strict=True)])


def _with_candidates(node: dict[str, Any], least: int) -> dict[str, Any]:
    """A decoder's node whose parts give each vector so many candidates or more, so that one is left which was not
    read."""
    more = {key: _with_candidates(value, least) if isinstance(value, dict) else value for key, value in node.items()}
    return more | {"candidates": max(least, node["candidates"])} if isinstance(node.get("candidates"), int) else more
