"""`lvm-lab verify`: agreement is shown and ends with 0, what differs is one sentence and ends with 2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import Outcome, call
from helpers.documents import make_documents
from lvm_lab import verify
from lvm_lab.data.contract import PROBES, EncoderContract
from lvm_lab.data.store import write_store
from lvm_lab.text.decoder import Candidate
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoders.gtr_vec2text import GtrVec2Text
from lvm_lab.text.encoders.hashing import Hashing

TEXTS = [f"chunk {n} of a text about rivers, mills and number {n * n}" for n in range(40)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the store `own`."""
    stored(tmp_path / "own", Hashing(dim=64))
    return tmp_path


def stored(
    path: Path,
    encoder: Encoder,
    texts: list[str] | None = TEXTS,
    contract: EncoderContract | None = None,
    vectors_ND: np.ndarray | None = None,
) -> None:
    """As an ingestion leaves it; contract and vectors: others than the encoder's."""
    probed = encoder.contract().with_probes(encoder.encode(PROBES))
    vectors_ND = encoder.encode(TEXTS) if vectors_ND is None else vectors_ND
    write_store(path, vectors_ND.astype(np.float16), make_documents([25, 15]), contract or probed, texts=texts)


def told(home: Path, *arguments: str) -> Outcome:
    return call(home, *arguments, main=verify.main)


def test_a_store_agrees_with_its_own_encoder(home: Path) -> None:
    for arguments in (["own"], ["store=own"], ["store=[own]", "encoder=hashing", "encoder.dim=64"]):
        done = told(home, *arguments)
        assert (done.code, done.err) == (0, "")
        first, files, encoder, probes, sample = done.out.splitlines()
        assert first == "own: hashing, revision 1, by lvm_lab, 64 dims, sum pooling, no dense layer, unit length"
        assert files.split() == ["sha256", *["all", "of", "them", "are", "those", "of", "the", "manifest"]]
        assert encoder.split()[:2] == ["encoder", "hashing,"]
        assert "6 sentences: cosine min 1.000000, mean 1.000000; length at rest / made anew 1.0000" in probes
        assert "40 chunks: cosine min 1.000000, mean 1.000000" in sample
    assert sorted(path.name for path in home.iterdir()) == ["own"]


@pytest.mark.slow
def test_the_sample_is_seeded_and_as_large_as_asked(home: Path) -> None:
    texts = [*TEXTS]
    texts[7] = "words that nobody has written here"
    stored(home / "changed", Hashing(dim=64), texts)
    done = {seed: told(home, "changed", "sample=20", f"seed={seed}") for seed in range(4)}
    assert {one.code for one in done.values()} == {0, 2}
    assert all("20 chunks" in one.out for one in done.values())
    assert done[0] == told(home, "changed", "sample=20", "seed=0")
    assert "chunks" not in told(home, "changed", "sample=0").out


def test_texts_go_there_and_back_through_a_decoder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = told(home, "own", "decoder=retrieval", "round_trips=7")
    assert (done.code, done.err) == (0, "")
    *_, trips, note = done.out.splitlines()
    assert trips == "  decoded   7 chunks by retrieval by own and encoded again: cosine min 1.000, mean 1.000"
    assert note.startswith("  note      own is searched without an index")
    # What the decoder gives back hangs on nothing but the vectors: here the farthest text of each.
    monkeypatch.setattr(Retrieval, "expected", 0.6)
    monkeypatch.setattr(Retrieval, "decode", lambda self, vectors_ND: [[Candidate("quartz", 1.0)] for _ in vectors_ND])
    bad = told(home, "own", "decoder=retrieval")
    assert bad.code == 2
    assert "20 chunks by retrieval by own and encoded again: cosine min " in bad.out
    assert "(0.60 or more is expected)" in bad.out
    assert bad.sentence.startswith(
        "own: decoded by retrieval by own and encoded again, its texts have a mean cosine of"
    )
    assert bad.sentence.endswith("cut them into shorter chunks, or name other models of its encoder.")


def test_a_text_that_is_not_that_of_its_vector_is_named(home: Path) -> None:
    """One of many, so that the mean says nothing."""
    texts = [*TEXTS]
    texts[7] += " or so"
    stored(home / "changed", Hashing(dim=64), texts)
    done = told(home, "changed")
    assert done.code == 2
    assert done.sentence.startswith("changed: the text of chunk 7 is not that of its vector (cosine 0.9")
    assert "40 chunks: cosine min 0.9" in done.out


def test_another_encoder_is_refused_with_both_contracts_and_the_cosine(home: Path) -> None:
    contract = Hashing(dim=64).contract()
    noise = np.random.default_rng(0).normal(size=(len(PROBES), 64))
    stored(home / "other", Hashing(dim=64), contract=contract.with_probes(noise))
    done = told(home, "other")
    assert done.code == 2
    assert done.sentence.startswith(
        "other is not of this encoder (the probe sentences are encoded otherwise: hashing, revision 1, by lvm_lab, 64"
    )
    assert "over 6 probe sentences); name the one that made it with encoder=..., or ingest" in done.sentence
    wide = told(home, "own", "encoder=hashing")
    assert wide.code == 2
    assert wide.sentence.startswith("own is not of this encoder (dim 64 against 512: hashing")
    claimed = replace(contract, encoder=None, library=None, revision=None)
    stored(home / "claimed", Hashing(dim=64), contract=claimed, vectors_ND=Hashing(dim=64).encode(TEXTS[::-1]))
    moved = told(home, "claimed", "encoder=hashing", "encoder.dim=64")
    assert moved.code == 2
    assert moved.sentence.startswith("claimed is not of this encoder (its sampled chunks have a median cosine of 0.")


def test_vectors_of_another_length_are_of_another_encoder(home: Path) -> None:
    contract = replace(Hashing(dim=64).contract(), normalised=None)
    stored(home / "long", Hashing(dim=64), contract=contract, vectors_ND=3 * Hashing(dim=64).encode(TEXTS))
    done = told(home, "long")
    assert done.code == 2
    assert done.sentence.startswith("long is not of this encoder (its sampled chunks are stored 3 times as long)")


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (EncoderContract(encoder="walks"), "walks is not known here, so that no text was encoded; name it with enc"),
        (EncoderContract(), "the store does not say which, so that no text was encoded; name it with encoder=OPTION"),
    ],
)
def test_of_an_encoder_that_is_none_of_the_labs_only_bytes_are_compared(
    home: Path, contract: EncoderContract, words: str
) -> None:
    stored(home / "theirs", Hashing(dim=64), contract=contract)
    done = told(home, "theirs")
    assert (done.code, done.err) == (0, "")
    assert words in done.out
    assert "cosine" not in done.out
    assert told(home, "theirs", "encoder=hashing", "encoder.dim=64").code == (2 if contract.encoder else 0)


@pytest.mark.parametrize("name", ["somebody/gtr-t5-base", "gtr-t5-base"])
def test_a_model_of_another_name_is_not_the_labs(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the names end alike."""
    monkeypatch.setattr(GtrVec2Text, "_open", lambda _: pytest.fail("it was loaded"))
    contract = EncoderContract(name, "mean", dense=False, normalised=False, dim=64, library="transformers")
    stored(home / "theirs", Hashing(dim=64), contract=contract)
    done = told(home, "theirs")
    assert (done.code, done.err) == (0, "")
    assert f"{name} is not known here, so that no text was encoded" in done.out


def test_a_store_without_texts_has_its_probes(home: Path) -> None:
    stored(home / "silent", Hashing(dim=64), texts=None)
    done = told(home, "silent")
    assert done.code == 0
    assert "6 sentences" in done.out
    assert "chunks" not in done.out
    stored(home / "nothing", Hashing(dim=64), texts=None, contract=Hashing(dim=64).contract())
    done = told(home, "nothing")
    assert done.code == 0
    assert "there are neither texts nor probe sentences" in done.out


def test_probes_of_another_length_are_compared_with_none(home: Path) -> None:
    encoder = Hashing(dim=64)
    contract = replace(encoder.contract(), probes={PROBES[0]: [1.0, 2.0, 3.0]})
    stored(home / "short", encoder, contract=contract)
    done = told(home, "short")
    assert (done.code, done.err) == (0, "")
    assert "40 chunks: cosine min 1.0000" in done.out


def test_several_stores_are_verified_in_turn_up_to_the_first_that_differs(home: Path) -> None:
    stored(home / "again", Hashing(dim=64), TEXTS[::-1])
    done = told(home, "own", "again", "own")
    assert done.code == 2
    assert [line for line in done.out.splitlines() if not line.startswith(" ")] == [
        f"{name}: hashing, revision 1, by lvm_lab, 64 dims, sum pooling, no dense layer, unit length"
        for name in ("own", "again")
    ]


def test_a_changed_byte_is_found_before_anything_is_encoded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hashing, "encode", lambda *_: pytest.fail("it was encoded"))
    (file,) = (home / "own").rglob("vectors.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    done = told(home, "own")
    assert done.code == 2
    assert "does not match the sha256 in its manifest" in done.sentence


@pytest.mark.slow
def test_a_model_is_loaded_where_the_user_names_it_and_not_on_a_manifests_word(home: Path) -> None:
    from helpers.tiny_models import tiny_sentence_transformer
    from lvm_lab.text.encoders.sentence_transformers import SentenceTransformers

    tiny_sentence_transformer(home / "tiny", dense=True, normalise=True)
    stored(home / "model", SentenceTransformers(str(home / "tiny")))
    done = told(home, "model")
    assert (done.code, done.err) == (0, "")
    assert "tiny is not known here, so that no text was encoded" in " ".join(done.out.split())
    (home / "tiny").rename(home / "moved")
    named = ("encoder=sentence_transformers", "encoder.model=moved", "encoder.model_name=tiny", "encoder.max_tokens=24")
    done = told(home, "model", *named)
    assert (done.code, done.err) == (0, "")
    assert "tiny, revision " in done.out
    assert "40 chunks: cosine min 1.0000" in done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "verify needs a store; write lvm-lab verify STORE."),
        (["nowhere"], "nowhere is not a readable store"),
        (["own", "sample=-1"], "sample=-1 does not fit; set 0 or more chunks."),
        (["own", "sample=many"], "sample"),
        (["own", "encoder=nothing"], "encoder=nothing does not exist; choose one of "),
        (["own", "encoder=hashing", "encoder.dims=3"], "encoder.dims"),
        (["own", "smaple=3"], "smaple"),
        (
            ["own", "decoder=retrieval", "round_trips=0"],
            "round_trips=0 decodes nothing; set 1 or more",
        ),
        (["own", "decoder=retrieval", "sample=0"], "own has no texts in the sample to decode; leave decoder=... out"),
        (["own", "encoder=stored"], "encoder=stored makes no vectors of texts"),
        (["own", "-m"], "leave -m out"),
    ],
)
def test_mistakes_are_one_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    done = told(home, *arguments)
    assert done.code == (1 if "-m" in arguments else 2)
    assert sentence in done.sentence


def test_a_manifest_from_before_the_new_fields_is_read(home: Path) -> None:
    (file,) = (home / "own").glob("manifest.json")
    manifest = json.loads(file.read_text())
    for key in ("library", "max_tokens", "revision"):
        manifest["encoder"].pop(key, None)
    file.write_text(json.dumps(manifest))
    done = told(home, "own", "encoder=hashing", "encoder.dim=64")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("own: hashing, 64 dims, sum pooling")
