"""The path through the real library vec2text, with models of random weights: it is plumbing that is tested, and no text
that comes out means anything. `nox -s vec2text` has the library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.documents import make_documents
from helpers.tiny_models import SENTENCES, tiny_t5
from lvm_lab.config.decoder_training import DecoderTraining
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.decoder_training import train_decoder
from lvm_lab.text.decoder import Decoder, Resources, open_decoder, round_trips
from lvm_lab.text.encoders.gtr_vec2text import GtrVec2Text
from lvm_lab.text.encoders.hashing import Hashing

vec2text = pytest.importorskip("vec2text", reason="the extra vec2text is not installed")

TARGET = "lvm_lab.text.decoders.vec2text.Vec2Text"
NAMES = {"inversion": "jxm/gtr__nq__32", "corrector": "jxm/gtr__nq__32__correct"}
# The corrector reads vectors of no other dim.
DIM = 768


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the hub with the encoder and both models under their names, and no network."""
    folder = tmp_path_factory.mktemp("hub")
    tiny_t5(cached(folder, "sentence-transformers/gtr-t5-base"), kind="T5Model", d_model=DIM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(folder))
        patch.setattr("transformers.utils.hub._is_offline_mode", True)
        base = tiny_t5(folder / "t5-base", kind="T5ForConditionalGeneration")
        config = vec2text.models.config.InversionConfig(**settings(base))
        vec2text.models.InversionModel(config).save_pretrained(cached(folder, NAMES["inversion"]))
        vec2text.models.CorrectorEncoderModel(config).save_pretrained(cached(folder, NAMES["corrector"]))
        yield folder


def cached(folder: Path, name: str) -> Path:
    """Where the hub's cache has the files of a repository."""
    repository = folder / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def settings(base: Path) -> dict[str, Any]:
    """What a training of vec2text leaves in a model's config, as far as loading it reads it."""
    return {
        "model_name_or_path": str(base),
        "embedder_model_name": "gtr_base",
        "embedder_model_api": None,
        "embedder_torch_dtype": "float32",
        "embedder_no_grad": True,
        "embedder_fake_with_zeros": False,
        "embedder_gaussian_noise_level": 0.0,
        "embeddings_from_layer_n": None,
        "use_frozen_embeddings_as_input": True,
        "encoder_dropout_disabled": False,
        "decoder_dropout_disabled": False,
        "corrector_ignore_hypothesis_embedding": False,
        "use_lora": False,
        "num_repeat_tokens": 4,
        "max_seq_length": 32,
    }


def opened(encoder: Any, contract: Any = None, **given: Any) -> Decoder:
    contract = contract or encoder.contract().with_probes(encoder.encode(PROBES))
    node = {"_target_": TARGET, "device": "cpu", "batch_size": 2} | given
    return open_decoder(node, Resources("the data of a run", contract, encoder, None, Path("cache")))


@pytest.mark.parametrize(
    "given", [{"steps": 0}, {"steps": 2}, {"steps": 2, "beam": 2}], ids=["first", "greedy", "beam"]
)
def test_the_encoders_own_vectors_become_texts_scored_by_the_same_encoder(
    hub: Path,
    given: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = GtrVec2Text(device="cpu")
    # Random weights end no text before its 128 tokens, which is what takes the time.
    some = SENTENCES[:3]
    vectors_ND = encoder.encode(some)
    capsys.readouterr()
    decoder = opened(encoder, **given)
    decoded = decoder.decode(vectors_ND)
    assert [len(candidates) for candidates in decoded] == [1] * len(some)
    texts = [candidates[0].text for candidates in decoded]
    scores = [candidates[0].score for candidates in decoded]
    assert np.allclose(round_trips(encoder, texts, vectors_ND), scores, atol=1e-3)
    assert [one[0].text for one in decoder.decode(vectors_ND)] == texts
    contract = decoder.contract()
    assert (contract.encoder, contract.library, contract.dim) == (encoder.called, "transformers", DIM)
    assert contract.probes
    assert decoder.expected is None
    assert decoder.notes[0].endswith(
        "parameters and vec2text's published models 220 million, so that its texts prove plumbing alone"
    )
    # The library prints, makes a folder for its trainer and would load metrics from a hub.
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
    import evaluate

    assert evaluate.load.__module__.startswith("evaluate")


def test_vectors_of_another_encoder_are_refused_and_both_are_named(hub: Path) -> None:
    with pytest.raises(UserError) as refused:
        opened(Hashing(dim=DIM), steps=0)
    assert str(refused.value).startswith(f"{NAMES['inversion']} is of another encoder than the data of a run (encoder ")
    assert "sentence-transformers/gtr-t5-base, by transformers, 768 dims" in str(refused.value)
    assert "hashing, revision 1, by lvm_lab, 768 dims" in str(refused.value)
    encoder = GtrVec2Text(device="cpu")
    other = replace(encoder.contract(), revision=None).with_probes(encoder.encode(PROBES)[::-1])
    with pytest.raises(UserError, match="the probe sentences are encoded otherwise"):
        opened(encoder, other, steps=0)
    renamed = replace(encoder.contract(), encoder="mine").with_probes(encoder.encode(PROBES))
    assert opened(encoder, renamed, steps=0, encoder_name="mine").contract().encoder == "mine"


def stored(path: Path, encoder: Any) -> Path:
    texts = [f"{one} and {word}" for one in SENTENCES for word in ("a mill", "the sea", "a river", "python", "words")]
    contract = encoder.contract().with_probes(encoder.encode(PROBES))
    write_store(path, encoder.encode(texts), make_documents([len(texts)]), contract, texts=texts)
    return path


def test_models_are_trained_on_a_stores_texts_by_the_librarys_trainers(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = GtrVec2Text(device="cpu")
    store, out = stored(tmp_path / "store", encoder), Path("models", "mine")
    settings = {"epochs": 6, "learning_rate": 5e-3, "batch_size": 4, "max_tokens": 8, "device": "cpu"}
    capsys.readouterr()
    trained = train_decoder(DecoderTraining(store, out, held_out=0.2, **settings))
    assert capsys.readouterr().out == ""
    assert (trained.texts, trained.held_out) == (20, 5)
    assert {*trained.losses} == {"inversion", "corrector"}
    for before, after in trained.losses.values():
        assert 0 < after < before, "random weights learn something of 20 texts"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["models", "store"]
    assert [item.name for item in out.parent.iterdir()] == ["mine"]
    assert sorted(item.name for item in out.iterdir()) == ["corrector", "inversion", "training.json"]
    record = json.loads((out / "training.json").read_text())
    assert record["losses"] == {model: list(losses) for model, losses in trained.losses.items()}
    assert "decoder.inversion=models/mine/inversion decoder.corrector=models/mine/corrector" in [*trained.lines()][-1]
    given = {"inversion": str(out / "inversion"), "corrector": str(out / "corrector"), "steps": 1}
    decoder: Any = opened(encoder, **given)
    (candidates,) = decoder.decode(encoder.encode(SENTENCES[:1]))
    assert candidates[0].text
    old = dict(opened(encoder, steps=0).inversion_model.named_parameters())  # type: ignore[attr-defined]
    changed = {name for name, value in decoder.inversion_model.named_parameters() if not value.equal(old[name])}
    assert changed
    assert not {name for name in changed if name.startswith("embedder.")}, "its embedder makes the same vectors"


def test_what_cannot_be_trained_on_is_one_sentence_and_nothing_is_left(hub: Path, tmp_path: Path) -> None:
    encoder = GtrVec2Text(device="cpu")
    store, other = stored(tmp_path / "store", encoder), stored(tmp_path / "other", Hashing(dim=DIM))
    (tmp_path / "taken").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    for given, sentence in (
        ({"store": other}, "is of another encoder than .*other .* with --inversion and --corrector"),
        ({"out": tmp_path / "taken"}, "taken exists already; name another folder"),
        ({"inversion": "jxm/nothing"}, "inversion=jxm/nothing cannot be load"),
    ):
        with pytest.raises(UserError, match=sentence):
            train_decoder(DecoderTraining(**({"store": store, "out": tmp_path / "out", "device": "cpu"} | given)))
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_weights_are_one_sentence(hub: Path) -> None:
    for given in ({"inversion": "jxm/nothing", "steps": 0}, {"corrector": "/nowhere/model"}):
        with pytest.raises(
            UserError, match=r"^decoder\.(inversion=jxm/nothing|corrector=/nowhere/model) cannot be load"
        ):
            opened(GtrVec2Text(device="cpu"), **given)
