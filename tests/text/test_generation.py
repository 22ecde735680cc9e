"""Text to text through vectors: a model that knows what comes next writes it, one that copies stops at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.documents import make_documents
from lvm_lab.data.store import Store, write_store
from lvm_lab.errors import UserError
from lvm_lab.text.choosing import best, sampled
from lvm_lab.text.chunkers.sentences import Sentences
from lvm_lab.text.decoder import Candidate, Decoder, Resources
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.endpoint import EndpointError
from lvm_lab.text.generation import Lengths, Writer, totals
from lvm_lab.text.smoother import Smoother

ENCODER = Hashing(dim=128)
PLACES = ("mill", "harbour", "garden", "tower", "bridge", "market", "quarry", "orchard", "chapel", "forge")
TEXTS = [f"They walked from the {place} with {number} lanterns." for number, place in enumerate(PLACES)]
VECTORS_ND = ENCODER.encode(TEXTS)
MODES = ("vectors", "reencode", "snap")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("home")
    return write_store(folder / "store", VECTORS_ND, make_documents([10]), ENCODER.contract(), texts=TEXTS)


def next_one(context_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vector of the chunk behind the one that is nearest to the context's last."""
    row = int((VECTORS_ND @ context_LD[-1]).argmax())
    vector_D = VECTORS_ND[(row + 1) % len(TEXTS)]
    return 0.7 * vector_D, vector_D


def last_one(context_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return context_LD[-1], context_LD[-1]


def writer(store: Store, predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], **parts: Any) -> Writer:
    decoder = Retrieval()
    decoder.open(Resources("vectors", ENCODER.contract(), ENCODER, store, Path("cache")))
    parts = {"lengths": Lengths(2, 3), "decoder": decoder} | parts
    return Writer(Sentences(length=60), ENCODER, predict, **parts)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_knows_the_next_vector_writes_the_next_texts(store: Store, mode: Any) -> None:
    made = writer(store, next_one).write(" ".join(TEXTS[:4]), 5, mode)
    assert (made.chunks, made.read) == (4, TEXTS[1:4])
    assert [one.text for one in made.written] == TEXTS[4:9]
    assert made.repeats is None
    latency = totals(made.seconds)
    calls = {stage: own["calls"] for stage, own in latency.items()}
    assert calls == {"chunk": 1, "encode": 6 if mode == "reencode" else 1, "model": 5, "decode": 5}
    assert all(0 <= own["mean"] <= own["total"] for own in latency.values())


@pytest.mark.parametrize("mode", MODES)
def test_what_is_fed_back_is_the_modes(store: Store, mode: Any) -> None:
    contexts: list[np.ndarray] = []

    def between(context_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        contexts.append(context_LD)
        vector_D = VECTORS_ND[5] + 0.2 * VECTORS_ND[len(contexts)]
        return vector_D, 9 * vector_D

    writer(store, between).write(" ".join(TEXTS[:2]), 2, mode, ())
    assert [len(context_LD) for context_LD in contexts] == [2, 3]
    fed = 9 * (VECTORS_ND[5] + 0.2 * VECTORS_ND[1]) if mode == "vectors" else VECTORS_ND[5]
    assert np.allclose(contexts[1][-1], fed, atol=1e-6)


def test_a_model_that_copies_stops_at_once_unless_it_is_let(store: Store) -> None:
    text = "\n\n".join(TEXTS[:3])
    stopped = writer(store, last_one).write(text, 5)
    assert (stopped.written, stopped.repeats) == ([], TEXTS[2])
    free = writer(store, last_one).write(text, 5, stop=())
    assert [one.text for one in free.written] == [TEXTS[2]] * 5


def test_what_was_written_is_not_written_again(store: Store) -> None:
    made = writer(store, next_one).write(" ".join(TEXTS[7:9]), 20)
    assert [one.text for one in made.written] == [TEXTS[9], *TEXTS[:7]]
    assert made.repeats == TEXTS[7]


def test_a_documents_end_is_one_where_that_is_asked(store: Store) -> None:
    text = " ".join(TEXTS[4:7])
    ended = writer(store, next_one).write(text, 20, stop=("repetition", "end"))
    assert ([one.text for one in ended.written], ended.ended, ended.repeats) == (TEXTS[7:], True, None)
    assert not writer(store, next_one).write(text, 3).ended


def test_a_temperature_next_to_nothing_takes_the_best_without_a_warning() -> None:
    candidates = [Candidate("near", 0.9), Candidate("far", 0.1)]
    with np.errstate(over="raise"):
        assert sampled(1e-320, 0)(candidates).text == "near"


def test_chance_takes_candidates_by_the_softmax_of_their_scores(store: Store) -> None:
    candidates = [Candidate("likely", 0.9), Candidate("unlikely", 0.9 - 0.5 * np.log(3)), Candidate("never", -400.0)]
    choose = sampled(0.5, seed=3)
    counts = Counter(choose(candidates).text for _ in range(4_000))
    assert counts["likely"] / counts["unlikely"] == pytest.approx(3, rel=0.15)
    assert counts["never"] == 0
    text = " ".join(TEXTS[:4])
    written = [
        [one.text for one in writer(store, next_one, choose=choose).write(text, 5, stop=()).written]
        for choose in (best, sampled(1e-9, 0), sampled(5.0, 0), sampled(5.0, 0), sampled(5.0, 1))
    ]
    assert written[0] == written[1], "next to no temperature is the best"
    assert written[2] == written[3], "a seed gives the same"
    assert len({tuple(texts) for texts in written}) == 3


class Shouting(Smoother):
    source = "a loud voice"

    def __call__(self, texts: list[str]) -> list[str]:
        return [text.upper() for text in texts]


class Silent(Shouting):
    def __call__(self, texts: list[str]) -> list[str]:
        raise EndpointError("http://nowhere cannot be reached; give the same command again later.")


def test_a_smoother_gets_what_was_written_and_one_that_is_down_costs_nothing(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("lvm_lab"), "propagate", True)
    text = " ".join(TEXTS[:4])
    made = writer(store, next_one, smoother=Shouting()).write(text, 2, "reencode")
    assert [one.text for one in made.written] == TEXTS[4:6]
    assert made.smoothed == [text.upper() for text in TEXTS[4:6]]
    assert totals(made.seconds)["smooth"]["calls"] == 1
    alone = writer(store, next_one, smoother=Silent()).write(text, 2)
    assert ([one.text for one in alone.written], alone.smoothed) == (TEXTS[4:6], None)
    assert "the texts are left unsmoothed: http://nowhere cannot be reached" in caplog.text


class Parrot(Decoder):
    """A decoder whose texts are of no store."""

    source = "a parrot"

    def open(self, resources: Resources) -> None: ...

    def contract(self) -> Any: ...

    def decode(self, vectors_ND: np.ndarray) -> list[list[Candidate]]:
        return [[Candidate("Hello.", 1.0)] for _ in vectors_ND]


@pytest.mark.parametrize(
    ("text", "steps", "sentence"),
    [
        ("", 1, r"^the text is empty; give some to go on from\.$"),
        (" \n\n\t ", 1, r"^the text is empty;"),
        (TEXTS[0], 1, r"^the text makes 1 chunk and the model reads 2 or more; give a longer one, or choose a chunker"),
    ],
)
def test_too_little_text_is_refused(store: Store, text: str, steps: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        writer(store, next_one).write(text, steps)


def test_what_cannot_go_on_is_refused(store: Store) -> None:
    text = " ".join(TEXTS[:4])
    with pytest.raises(UserError, match=r"^mode=snap feeds back chunks of a store, and this text is of none; take"):
        writer(store, next_one, decoder=Parrot()).write(text, 2, "snap")
    with pytest.raises(
        UserError, match=r"^the model predicts what is not finite; take another checkpoint, or a lower temp"
    ):
        writer(store, lambda context_LD: (np.nan * context_LD[0], context_LD[0])).write(text, 2)
