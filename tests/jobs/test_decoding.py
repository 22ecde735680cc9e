"""`lvm-lab diagnose RUN decoder=...`: three vectors of a window as texts, side by side; mistakes are one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import MODEL, Outcome, call
from helpers.documents import make_documents
from lvm_lab import diagnose
from lvm_lab.commands import decoding, helping
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoders.hashing import Hashing

DOCUMENTS, CHUNKS = 40, 8
PEOPLE = ("miller", "sailor", "baker", "smith")
TEXTS = [
    f"In chapter {chunk} of book {book} the {PEOPLE[book % 4]} counts to {chunk * book}."
    for book in range(DOCUMENTS)
    for chunk in range(CHUNKS)
]
TRAINING = (*MODEL, "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=off", "data=npz", "run.cache=cache")


def stored(path: Path, encoder: Encoder, texts: bool = True) -> None:
    contract = encoder.contract().with_probes(encoder.encode(PROBES))
    documents = make_documents([CHUNKS] * DOCUMENTS)
    write_store(path, encoder.encode(TEXTS), documents, contract, texts=TEXTS if texts else None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store `books`, a run on it, and the same chunks by another encoder."""
    folder = tmp_path_factory.mktemp("home")
    stored(folder / "books", Hashing(dim=64))
    stored(folder / "other", Hashing(dim=32))
    done = call(folder, *TRAINING, "data.path=books", "run.dir=run")
    assert done.code == 0, done.err
    return folder


def told(home: Path, *arguments: str) -> Outcome:
    def main() -> None:
        sys.exit(diagnose.main())

    return call(home, *arguments, "--device", "cpu", main=main)


def test_the_encoders_vector_comes_back_word_for_word_and_the_prediction_beside_it(home: Path) -> None:
    done = told(home, "run", "decoder=retrieval", "samples=6", "--json", "texts.json")
    assert (done.code, done.err) == (0, "")
    (written,) = json.loads((home / "texts.json").read_text()).values()
    assert len(written["windows"]) == 6
    for window in written["windows"]:
        assert window["target"] == TEXTS[window["row"]]
        for vector in ("encoder", "unit"):
            one = window["decoded"][vector]
            assert one["text"] == window["target"]
            assert [one["score"], one["round_trip"], one["to_target"]] == pytest.approx([1, 1, 1], abs=1e-3)
        raw = window["decoded"]["raw"]
        assert raw["text"] in TEXTS
        assert raw["score"] == pytest.approx(raw["round_trip"], abs=1e-3)
        assert raw["to_target"] < 1 or raw["text"] == window["target"]
    means = written["means"]
    assert means["encoder"]["same_text"] == 1
    assert means["raw"]["to_target"] == pytest.approx(
        np.mean([window["decoded"]["raw"]["to_target"] for window in written["windows"]])
    )
    assert "the model's raw" in done.out
    assert "note: books is searched without an index" in done.out
    assert "note: the encoder's vectors have unit length, so that A and B are the same" in done.out
    assert done.out.count(written["windows"][0]["target"]) >= 3


def test_raw_is_decoded_as_it_is_and_never_at_unit_length(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[np.ndarray] = []
    decode = Retrieval.decode
    monkeypatch.setattr(
        Retrieval, "decode", lambda self, vectors_ND: decoded.append(vectors_ND) or decode(self, vectors_ND)
    )
    assert told(home, "run", "decoder=retrieval", "samples=4").code == 0
    _, unit, raw = (np.linalg.norm(vectors_ND, axis=1) for vectors_ND in decoded)
    assert np.allclose(unit, 1, atol=1e-5)
    assert not np.allclose(raw, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["samples=3"], "texts need a decoder; add decoder=retrieval, or leave the settings out."),
        (["decoder=retrieval", "samples=0"], "samples=0 leaves nothing to decode; set 1 or more."),
        (["decoder=retrieval", "samples=few"], "samples='few' does not fit; give it a whole number."),
        (["decoder=retreival"], "decoder=retreival does not exist; choose one of best_of, retrieval, vec2text."),
        (["decoder=retrieval", "decoder.candidate=2"], "decoder.candidate does not exist (did you mean candidates?)"),
        (["decoder=retrieval,best_of"], "decoder=retrieval,best_of names several values"),
        (["decoder=retrieval", "decoder.store=other"], "other is of another encoder than the data of run/checkpoints/"),
        (["decoder=retrieval", "decoder.index=nowhere"], "nowhere is no readable index (it has no manifest.json)"),
        (["decoder=retrieval", "encoder=hashing", "encoder.dim=32"], "is not of this encoder (dim 64 against 32"),
        (["decoder=vec2text"], "vec2text is not installed; pip install lvm_lab[vec2text] brings it."),
    ],
)
def test_mistakes_are_one_sentence(
    home: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vec2text", None)
    done = told(home, "run", *arguments)
    assert done.code == 2
    assert sentence in done.sentence


def test_what_counts_as_a_setting_is_what_the_config_has() -> None:
    assert {*helping.keys(decoding.CONFIG)} - {"schedule", "run_id"} == {*decoding.SETTINGS}
    words = ["run", "a/epoch=04.ckpt", "--json=x", "decoder=retrieval", "decoder@decoder.decoders.b=retrieval"]
    assert decoding.split(words) == (words[3:], words[:3])
