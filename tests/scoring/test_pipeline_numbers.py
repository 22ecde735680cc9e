"""What predictions become on their way to text: what was read is no candidate, and vectors made anew are those read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.documents import make_documents
from lvm_lab.data.store import Store, write_store
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError
from lvm_lab.scoring.pipeline import Encoded, Passages, against
from lvm_lab.text.decoder import Resources
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.known_texts import KnownTexts

ENCODER = Hashing(dim=64)
TEXTS = [f"They met {place} in year {year}." for year in range(6) for place in ("Anna", "Bert", "Cora", "Dora", "Emil")]
# The target of the first document stands in its context too.
TEXTS[4] = TEXTS[1]
NUMBERS = ("prediction", "decoded", "round_trip", "r1_unseen", "exact", "exact_nearest", "copied")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("home")
    vectors_ND = ENCODER.encode(TEXTS)
    return write_store(folder / "store", vectors_ND, make_documents([5] * 6), ENCODER.contract(), texts=TEXTS)


@pytest.fixture
def passages(store: Store, tmp_path: Path) -> Passages:
    decoder = Retrieval(candidates=4)
    decoder.open(Resources("vectors", ENCODER.contract(), ENCODER, store, tmp_path))
    windows = index_windows(store, np.arange(6), 3, min_context=2)
    # A long context and a short one of each document.
    return Passages(windows.select(windows.target_row_W % 5 != 3), TEXTS, decoder, ENCODER, resamples=50)


def test_what_is_read_again_is_what_the_store_has(passages: Passages) -> None:
    windows = passages.windows
    encoded = Encoded.of(windows, ENCODER, TEXTS)
    anew = encoded.windows(windows)
    assert anew.length_W.tolist() == windows.length_W.tolist() == [2, 3] * 6
    for (places, mine), (others, theirs) in zip(anew.by_length(), windows.by_length(), strict=True):
        assert places.tolist() == others.tolist()
        assert mine.context() == pytest.approx(theirs.context(), abs=1e-6)
    assert encoded.of_windows(windows) == pytest.approx(np.ones(12))


def test_vectors_of_another_encoder_are_seen(passages: Passages) -> None:
    other = KnownTexts(write_other(passages), TEXTS)
    assert Encoded.of(passages.windows, other, TEXTS).of_windows(passages.windows).max() < 0.5


def write_other(passages: Passages) -> Store:
    folder = passages.decoder._store.path.parent / "other"
    vectors_ND = np.random.default_rng(0).normal(size=(len(TEXTS), 64)).astype(np.float32)
    return write_store(folder, vectors_ND, make_documents([5] * 6), ENCODER.contract(), texts=TEXTS)


def test_the_truth_comes_back_and_a_copy_is_the_nearest_that_was_not_read(passages: Passages) -> None:
    windows = passages.windows
    truth_WD = windows.vectors(windows.target_row_W)
    truth = passages.measure(truth_WD, truth_WD)
    assert {name: truth.columns[name].mean() for name in NUMBERS} == pytest.approx(
        dict.fromkeys(NUMBERS, 1) | {"copied": 0}
    )
    last_WD = windows.vectors(windows.target_row_W - 1)
    copy = passages.measure(last_WD, last_WD)
    assert copy.columns["r1"].max() == 0
    assert copy.columns["copied"].min() == 1
    for text, read, target in zip(copy.texts, passages.read, passages.targets, strict=True):
        assert text not in {*read} - {target}
    difference = against(truth, {"copy": copy}, passages)["copy"]
    assert difference["copied"].test.difference.value == 1
    assert difference["prediction"].test.difference.high < 0


def test_texts_that_no_store_has_need_an_encoder(store: Store) -> None:
    known = KnownTexts(store, TEXTS)
    assert known.encode([TEXTS[7]])[0] == pytest.approx(store.vectors_ND[7])
    with pytest.raises(UserError, match=r"it has no chunk of the text 'Hello\.'; name the encoder that made them with"):
        known.encode([TEXTS[0], "Hello."])
