"""Decoders: texts for vectors of their own encoder, the best first; those of another are refused with both named."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.documents import make_documents
from lvm_lab.commands.composing import compose
from lvm_lab.config import targets
from lvm_lab.config.conf import conf_dir, options_of
from lvm_lab.config.index import IndexSettings
from lvm_lab.config.settings import nameless
from lvm_lab.data.contract import PROBES
from lvm_lab.data.exact import nearest
from lvm_lab.data.store import Store, write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs import indexing
from lvm_lab.text.decoder import Decoder, Resources, open_decoder, round_trips
from lvm_lab.text.encoders.hashing import Hashing

ENCODER = Hashing(dim=64)
WORDS = ("river", "mill", "winter", "ladder", "copper", "garden")
TEXTS = [f"chunk {n} of a text about the {WORDS[n % 6]} and number {n * n}" for n in range(40)]
every_option = pytest.mark.parametrize("option", sorted(options_of("decoder")))


def stored(path: Path, texts: list[str] | None = TEXTS, encoder: Hashing = ENCODER) -> Store:
    contract = encoder.contract().with_probes(encoder.encode(PROBES))
    count = len(TEXTS if texts is None else texts)
    vectors_ND = encoder.encode(TEXTS if texts is None else [text or "nothing" for text in texts])
    return write_store(path, vectors_ND, make_documents([count // 4] * 4), contract, texts=texts)


def resources(tmp_path: Path, store: Store | None) -> Resources:
    contract = ENCODER.contract().with_probes(ENCODER.encode(PROBES))
    return Resources("the data of a run", contract, ENCODER, store, tmp_path / "cache")


def node(option: str, *settings: str) -> dict[str, Any]:
    composed: dict[str, Any] = compose("diagnose", [f"decoder={option}", *settings])["decoder"]
    return composed


@every_option
def test_an_option_has_every_setting_of_its_class_and_says_how_it_is_called(option: str) -> None:
    own = node(option)
    assert own["name"] == option
    made = targets.make(nameless(own), "text.decoders", "decoder")
    assert isinstance(made, Decoder)
    parameters = inspect.signature(type(made)).parameters
    assert set(parameters) == set(own) - {"name", "_target_"}
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert {name: own[name] for name in defaults} == defaults
    first = (conf_dir() / "decoder" / f"{option}.yaml").read_text().splitlines()[0]
    assert first.startswith(f"# lvm-lab diagnose RUN decoder={option}")


def test_retrieval_gives_several_texts_the_nearest_first(tmp_path: Path) -> None:
    store = stored(tmp_path / "store")
    decoder = open_decoder(node("retrieval", "decoder.candidates=3"), resources(tmp_path, store))
    vectors_ND = 7 * ENCODER.encode(TEXTS[:5])
    for place, candidates in enumerate(decoder.decode(vectors_ND)):
        assert [candidates[0].text, candidates[0].row] == [TEXTS[place], place]
        scores = [one.score for one in candidates]
        assert scores == sorted(scores, reverse=True)
        assert len({one.text for one in candidates}) == 3
        own = round_trips(ENCODER, [one.text for one in candidates], np.repeat(vectors_ND[[place]], 3, axis=0))
        assert np.allclose(own, scores, atol=1e-5)
    (note,) = decoder.notes
    assert "without an index, all of its 40 vectors" in note


def test_retrieval_by_an_index_finds_the_same(tmp_path: Path) -> None:
    store = stored(tmp_path / "store")
    kind = {"name": "flat", "_target_": "lvm_lab.data.indices.flat.Flat"}
    indexing.index(
        IndexSettings(kind, [str(store.path)], str(tmp_path / "index"), queries=4, cache=str(tmp_path / "cache"))
    )
    exact = open_decoder(node("retrieval"), resources(tmp_path, store))
    indexed = open_decoder(
        node("retrieval", f"decoder.index={tmp_path / 'index'}", f"decoder.store={store.path}"),
        resources(tmp_path, None),
    )
    assert indexed.notes == ()
    vectors_ND = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    for ours, theirs in zip(exact.decode(vectors_ND), indexed.decode(vectors_ND), strict=True):
        assert [one.row for one in ours] == [one.row for one in theirs]
        assert np.allclose([one.score for one in ours], [one.score for one in theirs], atol=1e-5)
    other = stored(tmp_path / "other", TEXTS[:20])
    with pytest.raises(UserError, match=r"index is an index of another store .*; make one of this store with"):
        open_decoder(node("retrieval", f"decoder.index={tmp_path / 'index'}"), resources(tmp_path, other))


def test_texts_that_stand_twice_or_are_empty_take_no_places(tmp_path: Path) -> None:
    texts = [TEXTS[0]] * 16 + [""] * 12 + TEXTS[1:13]
    decoder = open_decoder(
        node("retrieval", "decoder.candidates=4"), resources(tmp_path, stored(tmp_path / "s", texts))
    )
    (candidates,) = decoder.decode(ENCODER.encode([TEXTS[0]]))
    assert candidates[0].text == TEXTS[0]
    assert len({one.text for one in candidates} - {""}) == len(candidates) == 4


def test_an_exact_search_finds_the_best_rows_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_lab.data.index.BLOCK", 7)
    draws = np.random.default_rng(1)
    vectors_ND, wanted_BD = (draws.standard_normal((count, 8)).astype(np.float32) for count in (30, 4))
    scores_BK, rows_BK = nearest(vectors_ND, wanted_BD, 33)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (wanted_BD, vectors_ND))
    assert np.array_equal(rows_BK[:, :30], np.argsort(-(a @ b.T), axis=1))
    assert np.allclose(scores_BK[:, :30], -np.sort(-(a @ b.T), axis=1), atol=1e-6)
    assert (rows_BK[:, 30:] == -1).all()
    assert np.isinf(scores_BK[:, 30:]).all()


@pytest.mark.parametrize("option", ["retrieval", "best_of"])
def test_a_store_of_another_encoder_is_refused_and_both_are_named(tmp_path: Path, option: str) -> None:
    stored(tmp_path / "other", encoder=Hashing(dim=32))
    place = "decoder.decoders.retrieval" if option == "best_of" else "decoder"
    settings = [f"{place}.store={tmp_path / 'other'}"]
    settings += ["decoder.decoders.vec2text=null"] if option == "best_of" else []
    with pytest.raises(UserError) as refused:
        open_decoder(node(option, *settings), resources(tmp_path, None))
    sentence = str(refused.value)
    assert sentence.startswith(
        f"{tmp_path / 'other'} is of another encoder than the data of a run (dim 32 against 64: "
    )
    assert "by lvm_lab, 32 dims" in sentence
    assert "by lvm_lab, 64 dims" in sentence
    assert sentence.endswith(f"in {place}=...")


def test_the_same_name_with_other_vectors_is_refused(tmp_path: Path) -> None:
    """A contract's probe sentences tell what no field of it does."""
    store = stored(tmp_path / "store")
    mirrored = ENCODER.contract().with_probes(-ENCODER.encode(PROBES))
    named = Resources("the data of a run", mirrored, ENCODER, store, tmp_path / "cache")
    with pytest.raises(UserError, match=r"the probe sentences are encoded otherwise.* mean cosine of -1\.000"):
        open_decoder(node("retrieval"), named)


def test_the_best_of_several_is_what_the_encoder_puts_nearest(tmp_path: Path) -> None:
    stored(tmp_path / "even", TEXTS[::2])
    stored(tmp_path / "odd", TEXTS[1::2])
    places = "decoder.decoders"
    settings = [f"decoder@{places}.vec2text=retrieval"]
    settings += [f"{places}.retrieval.store={tmp_path / 'even'}", f"{places}.vec2text.store={tmp_path / 'odd'}"]
    decoder = open_decoder(node("best_of", *settings, "decoder.candidates=3"), resources(tmp_path, None))
    vectors_ND = ENCODER.encode(TEXTS[:6])
    for place, candidates in enumerate(decoder.decode(vectors_ND)):
        assert candidates[0].text == TEXTS[place]
        assert candidates[0].decoder == ("vec2text" if place % 2 else "retrieval")
        assert candidates[0].score == pytest.approx(1, abs=1e-5)
        scores = [one.score for one in candidates]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    assert decoder.source == f"{tmp_path / 'even'} or {tmp_path / 'odd'}"
    assert len(decoder.notes) == 2


@pytest.mark.parametrize(
    ("option", "settings", "sentence"),
    [
        ("retrieval", ["decoder.candidates=0"], r"decoder\.candidates=0 does not fit; set 1 or more\."),
        ("retrieval", [], r"decoder=retrieval needs a store of texts; add decoder\.store=FOLDER\."),
        ("retrieval", ["decoder.store=nowhere.npz"], r"nowhere\.npz does not exist"),
        (
            "best_of",
            ["decoder.decoders.retrieval=null", "decoder.decoders.vec2text=null"],
            r"decoder\.decoders names none; name one or more",
        ),
        (
            "best_of",
            ["decoder.decoders.retrieval=3"],
            r"decoder\.decoders\.retrieval=3 names no option; choose it with",
        ),
        ("vec2text", ["decoder.steps=-1"], r"decoder\.steps=-1 does not fit; set 0 or more\."),
        ("vec2text", ["decoder.beam=0"], r"decoder\.beam=0 does not fit; set 1 or more\."),
        ("vec2text", ["decoder.corrector=null"], r"decoder\.steps=5 needs a corrector; name one, or set"),
        ("vec2text", ["decoder.steps=0", "decoder.beam=2"], r"decoder\.beam=2 needs steps of correction"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, option: str, settings: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        open_decoder(node(option, *settings), resources(tmp_path, None))


def test_a_store_without_texts_is_refused(tmp_path: Path) -> None:
    store = stored(tmp_path / "mute", None)
    with pytest.raises(UserError, match=r"mute has no texts to retrieve; name a store of texts with decoder\.store="):
        open_decoder(node("retrieval"), resources(tmp_path, store))


def test_without_the_extra_one_sentence_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vec2text", None)
    with pytest.raises(UserError, match=r"^vec2text is not installed; pip install lvm_lab\[vec2text\] brings it\.$"):
        open_decoder(node("vec2text"), resources(tmp_path, None))
