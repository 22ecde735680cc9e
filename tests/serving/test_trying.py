"""`POST /try`: ranks and curves against ones made by hand and by other paths, what is refused and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from helpers.documents import make_documents
from helpers.serving import CHUNKS, ENCODER, ON_TEXTS, TEXTS, serving
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.text.decoder import Resources
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.document import Chunked
from lvm_lab.text.generation import Lengths

pytest.importorskip("fastapi")
from lvm_lab.serving import trying
from lvm_lab.serving.routes.trying import _unreadable

TEXT = " ".join(TEXTS[:CHUNKS])
FIVE = Lengths(5, 5)
# Of each chunk to a prediction (1, 0); the third and the fourth are equal, the second is as near as the last.
COSINES = (0.8, 0.6, 0.1, 0.1, 0.9, 0.2, 0.3, 0.6)
SIDES = (1, -1, 1, 1, 1, 1, 1, 1)
WORDS = ("one", "two", "three", "three", "five", "six", "seven", "eight")
VECTORS_ND = np.array([(cos, side * (1 - cos**2) ** 0.5) for cos, side in zip(COSINES, SIDES, strict=True)], np.float32)
AHEAD_D = np.array([1, 0], np.float32)


def by_hand(target: int, lengths: tuple[int, ...] = (8,), trained: Lengths = FIVE) -> trying.Trial | None:
    return trying.trial(Chunked(WORDS, lengths), VECTORS_ND, target, trained)


def test_the_rank_in_the_text_is_the_one_counted_by_hand() -> None:
    one = by_hand(7)
    assert one is not None
    assert list(one.read) == [2, 3, 4, 5, 6]
    # Before it: the first, the fifth, and the second, which ties. Of seven, since two are equal.
    assert trying.rank_in_text(one, AHEAD_D) == trying.Rank(4, 7, 3, 3)
    first = by_hand(1)
    assert first is not None
    assert list(first.read) == [0]
    assert trying.rank_in_text(first, AHEAD_D) == trying.Rank(4, 7, 3, 6)


def test_the_curve_is_of_the_prediction_and_of_the_windows_with_all_neighbours() -> None:
    one = by_hand(7)
    assert one is not None
    # The one window with three chunks on either side is the one whose target is the sixth.
    np.testing.assert_array_equal(one.contexts, [VECTORS_ND[2:7], VECTORS_ND[0:5]])
    drawn = trying.curve(one, np.stack([AHEAD_D, AHEAD_D]))
    assert drawn["k"] == [-3, -2, -1, 0, 1, 2, 3]
    assert drawn["prediction"][5:] == [None, None]
    np.testing.assert_allclose(drawn["prediction"][:5], [0.1, 0.9, 0.2, 0.3, 0.6], atol=1e-6)
    np.testing.assert_allclose(drawn["text"], [0.6, 0.1, 0.1, 0.9, 0.2, 0.3, 0.6], atol=1e-6)
    assert drawn["windows"] == 1
    assert drawn["margin"] == pytest.approx(0.2 - 0.9)


def test_no_window_and_no_curve_crosses_a_stretch() -> None:
    assert by_hand(3, (3, 5)) is None
    one = by_hand(5, (3, 5))
    assert one is not None
    assert list(one.read) == [3, 4]
    drawn = trying.curve(one, AHEAD_D[None])
    assert drawn["text"] is drawn["margin"] is None
    assert [value is None for value in drawn["prediction"]] == [True, True, False, False, False, False, False]
    # Of a model that reads short contexts too, more windows count.
    shorter = by_hand(7, trained=Lengths(1, 5))
    assert shorter is not None
    assert [len(context_LD) for context_LD in shorter.contexts] == [5, 4, 5]
    assert trying.curve(shorter, np.tile(AHEAD_D, (3, 1)))["windows"] == 2


def test_equal_texts_have_equal_vectors_whatever_stands_beside_them() -> None:
    encoder: Any = SimpleNamespace(encode=lambda texts: np.arange(len(texts), dtype=np.float32)[:, None])
    np.testing.assert_array_equal(trying.encoded(encoder, ["a", "b", "a"]), [[0], [1], [0]])


def test_the_rank_in_a_store_is_the_one_counted_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = ENCODER.contract().with_probes(ENCODER.encode(PROBES))
    texts = ["a", "Eight", "seven", "b", "b", "c", "d", ""]
    vectors_ND = np.zeros((8, ENCODER.dim), np.float32)
    vectors_ND[:, 0] = cosines = (0.95, 0.6, 0.9, 0.7, 0.7, 0.6, 0.1, 1.0)
    vectors_ND[:, 1] = np.sqrt(1 - np.square(cosines))
    store = write_store(tmp_path / "store", vectors_ND, make_documents([8]), contract, texts=texts)
    decoder = Retrieval()
    decoder.open(Resources("test", contract, ENCODER, store, tmp_path))
    prediction_D = np.eye(ENCODER.dim, dtype=np.float32)[0]
    padded_ND = np.pad(VECTORS_ND, ((0, 0), (0, ENCODER.dim - 2)))
    one = trying.trial(Chunked(WORDS, (8,)), padded_ND, 7, FIVE)
    assert one is not None
    # Before it: a, seven (which was read), b once, and c, which ties. Eight is itself, but for its case.
    assert trying.rank_of_decoder(one, prediction_D, decoder) == trying.Rank(5, 7, 4)
    shown = trying.decoded(one, prediction_D, decoder, 4)["candidates"]
    assert [(line["text"], line["known"]) for line in shown[:3]] == [("a", None), ("seven", "read"), ("b", None)]
    monkeypatch.setattr(trying, "RANKED_ROWS", 3)
    assert trying.rank_of_decoder(one, prediction_D, decoder) == trying.Rank(None, 7, None)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with (
        serving(f"checkpoint={folder}/run", *ON_TEXTS, f"cache={folder}/cache", "limits.texts=20") as address,
        httpx.Client(base_url=address, timeout=600) as client,
    ):
        yield client


def asked(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/try", json=body)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_it_predicts_what_other_paths_do(client: httpx.Client) -> None:
    answer = asked(client, text=TEXT, target=6, candidates=3)
    assert (answer["chunks"], answer["target"], answer["read"]) == (TEXTS[:CHUNKS], 6, [1, 2, 3, 4, 5])
    context = ENCODER.encode(TEXTS[:5]).tolist()
    decoded = client.post("/decode", json={"vectors": context, "steps": 1, "candidates": 3}).json()["decoded"][0]
    assert [{key: line[key] for key in ("text", "score", "row")} for line in answer["candidates"]] == decoded
    (raw,) = client.post("/predict", json={"context_vectors": context}).json()["vectors"]
    all_ND, raw_D = ENCODER.encode(TEXTS), np.array(raw) / np.linalg.norm(raw)
    cosines = all_ND @ raw_D / np.linalg.norm(all_ND, axis=1)
    before = cosines >= cosines[5] - 1e-6
    assert answer["ranks"]["decoder"] == {
        "rank": before.sum(),
        "of": len(TEXTS),
        "unread": before[5:].sum(),
        "unread_of": None,
    }
    assert answer["ranks"]["text"] == {
        "rank": before[:CHUNKS].sum(),
        "of": CHUNKS,
        "unread": before[5:CHUNKS].sum(),
        "unread_of": 3,
    }
    np.testing.assert_allclose(answer["offsets"]["prediction"], cosines[1:8], atol=1e-5)
    # With eight chunks that prediction is the only one with all seven neighbours.
    assert answer["offsets"]["text"] == answer["offsets"]["prediction"]
    assert answer["missing"] == {}


def test_what_is_short_says_what_it_lacks(client: httpx.Client) -> None:
    last = asked(client, text=TEXT)
    assert (last["target"], last["read"]) == (8, [3, 4, 5, 6, 7])
    short = asked(client, text=" ".join(TEXTS[:3]))
    assert "all seven neighbours" in short["missing"]["offsets"]
    assert short["notes"][0] == "run reads 2 here, and was trained to read 5 or more."
    for body in ({"text": TEXT, "target": 1}, {"text": TEXTS[0]}):
        first = asked(client, **body)
        assert "choose a later one" in first["missing"]["prediction"]
        assert (first["candidates"], first["offsets"], first["read"]) == (None, None, [])
    codes: Any = SimpleNamespace(facts=SimpleNamespace(reads_codes=True, name="coded"))
    assert "coded reads TMD codes" in str(_unreadable(codes))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "text does not fit"),
        ({"text": ""}, 422, "text does not fit"),
        ({"text": " \n "}, 422, "the text is empty"),
        ({"text": TEXT, "target": 9}, 422, "target=9 is of no chunk, since the text makes 8; choose 1 to 8"),
        ({"text": TEXT, "target": 0}, 422, "target does not fit"),
        ({"text": TEXT, "target": "2"}, 422, "target does not fit"),
        ({"text": TEXT, "candidates": 0}, 422, "candidates does not fit"),
        ({"text": TEXT, "model": "nobody"}, 404, "no model 'nobody'"),
        ({"text": " ".join(TEXTS[:21])}, 422, "makes 21 chunks, which are too many at once; send one of 20"),
        ({"text": "x" * 300_000}, 422, "300000 characters are too many"),
    ],
)
def test_what_does_not_fit_is_one_sentence(client: httpx.Client, body: Any, status: int, words: str) -> None:
    answer = client.post("/try", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
