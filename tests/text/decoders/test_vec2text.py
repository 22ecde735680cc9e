"""The path through the real library vec2text, with models of random weights: it is plumbing that is tested, and no text
that comes out means anything. `nox -s vec2text` has the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_models import SENTENCES, tiny_t5
from lvm_lab.data.contract import PROBES
from lvm_lab.errors import UserError
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


def test_missing_weights_are_one_sentence(hub: Path) -> None:
    for given in ({"inversion": "jxm/nothing", "steps": 0}, {"corrector": "/nowhere/model"}):
        with pytest.raises(
            UserError, match=r"^decoder\.(inversion=jxm/nothing|corrector=/nowhere/model) cannot be load"
        ):
            opened(GtrVec2Text(device="cpu"), **given)
