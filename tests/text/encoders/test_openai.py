"""An endpoint over a real socket: vectors in order, asked again where that helps, a sentence for what is no answer."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from helpers.endpoint import Endpoint
from lvm_lab.errors import UserError
from lvm_lab.text import endpoint
from lvm_lab.text.encoder import FIRST_TEXT
from lvm_lab.text.encoders.openai import OpenAI

KEY = "sk-do-not-show-this"
TEXTS = [f"text number {n}" for n in range(7)]
DIM = 4
Answer = Callable[[Request], Response]


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 97), -0.5, 1e-3]


def items(request: Request) -> list[dict[str, Any]]:
    asked = json.loads(request.data)
    found = [{"object": "embedding", "index": n, "embedding": vector(text)} for n, text in enumerate(asked["input"])]
    if asked["encoding_format"] == "base64":
        for item in found:
            item["embedding"] = base64.b64encode(np.array(item["embedding"], "<f4").tobytes()).decode()
    return found


def answered(data: Any) -> Response:
    return Response(json.dumps({"object": "list", "data": data}), content_type="application/json")


def well(request: Request) -> Response:
    """As an endpoint does that sends its vectors in the order in which they were ready."""
    return answered(items(request)[::-1])


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between two requests, without the waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(endpoint, "sleep", seconds.append)
    return seconds


def serve(server: HTTPServer, *answers: Answer) -> list[Request]:
    """The requests as they come; each is answered by the next of `answers`, and by the last from then on."""
    requests: list[Request] = []

    def handle(request: Request) -> Response:
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1](request)

    server.expect_request("/v1/embeddings", method="POST").respond_with_handler(handle)
    return requests


def client(server: HTTPServer, **settings: Any) -> OpenAI:
    return OpenAI("tiny", server.url_for("/v1"), KEY, **settings)


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_vectors_come_in_the_order_of_texts_whatever_the_order_of_the_answer(
    server: HTTPServer, encoding_format: Any
) -> None:
    requests = serve(server, well)
    encoder = client(server, batch_size=3, encoding_format=encoding_format)
    vectors_ND = encoder.encode([*TEXTS, TEXTS[0]])
    assert vectors_ND.dtype == np.float32
    assert np.array_equal(vectors_ND, np.array([vector(text) for text in [*TEXTS, TEXTS[0]]], np.float32))
    asked = [json.loads(request.data)["input"] for request in requests]
    assert asked == [[FIRST_TEXT], TEXTS[:3], TEXTS[3:6], TEXTS[6:]]
    assert {request.headers["Authorization"] for request in requests} == {f"Bearer {KEY}"}
    assert {json.loads(request.data)["model"] for request in requests} == {"tiny"}


def test_its_contract_is_measured_by_one_text(server: HTTPServer) -> None:
    requests = serve(server, well, lambda request: answered([{"index": 0, "embedding": [0.6, 0.8]}]))
    contract = client(server).contract()
    assert (contract.encoder, contract.library, contract.dim, contract.normalised) == ("tiny", "openai", DIM, False)
    assert OpenAI.settings(contract) == {"model": "tiny"}
    assert client(server).contract().normalised is True
    assert len(requests) == 2
    assert client(server).tokens(["one two, three"]).tolist() == [4]
    assert client(server).limit is None


def test_fewer_dimensions_are_asked_for_where_they_are_set(server: HTTPServer) -> None:
    requests = serve(server, well)
    client(server, dimensions=DIM).contract()
    client(server).contract()
    assert [json.loads(request.data).get("dimensions") for request in requests] == [DIM, None]


def test_other_dimensions_than_were_asked_for_are_refused(server: HTTPServer) -> None:
    """Some endpoints pass over what they do not know."""
    serve(server, well)
    words = r"answered with vectors of 4 dims and not of encoder\.dimensions=2; set it to null, or name a model"
    with pytest.raises(UserError, match=words):
        client(server, dimensions=2).encode(TEXTS)


def busy(status: int, **headers: str) -> Answer:
    content = json.dumps({"error": {"message": f"busy, said to {KEY}"}})
    return lambda request: Response(content, status=status, headers=headers)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again_after_waits_that_double_up_to_the_longest(
    server: HTTPServer, waits: list[float], status: int
) -> None:
    requests = serve(server, *[busy(status)] * 4, well)
    assert client(server, first_wait=2.0, longest_wait=7.0).contract().dim == DIM
    assert waits == [2.0, 4.0, 7.0, 7.0]
    assert len(requests) == 5


def test_a_wait_that_the_endpoint_asks_for_is_kept_up_to_the_longest(server: HTTPServer, waits: list[float]) -> None:
    headers = ["3", "1000", formatdate(time.time() + 1000, usegmt=True), formatdate(0), "soon", "inf", "-4"]
    serve(server, *(busy(429, **{"Retry-After": value}) for value in headers), well)
    client(server, retries=7, first_wait=1.0, longest_wait=20.0).contract()
    assert waits == [3.0, 20.0, 20.0, 0.0, 16.0, 20.0, 0.0]


def test_an_endpoint_that_stays_busy_is_given_up_with_its_words_and_without_the_key(
    server: HTTPServer, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    serve(server, busy(503))
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as refused:
        client(server, retries=2).encode(TEXTS)
    sentence = str(refused.value)
    assert sentence.startswith(f"{server.url_for('/v1')} answered 503 (busy, said to <secret>) (asked 3 times); ")
    assert sentence.endswith("raise encoder.timeout or encoder.retries.")
    assert KEY not in sentence + caplog.text
    assert refused.value.__cause__ is None
    assert "asked again in 1 s" in caplog.text


def slowly(request: Request) -> Response:
    """A byte now and then: each is in time, and the whole is not."""

    def drip() -> Iterator[bytes]:
        for _ in range(200):
            yield b" "
            time.sleep(0.02)

    return Response(drip(), content_type="application/json")


def late(request: Request) -> Response:
    time.sleep(1)
    return well(request)


@pytest.mark.parametrize("answer", [slowly, late])
def test_an_answer_that_is_not_whole_in_time_counts_as_none(
    server: HTTPServer, waits: list[float], answer: Answer
) -> None:
    serve(server, answer)
    with pytest.raises(UserError, match=r"did not answer within 0\.2 s \(asked 2 times\); .*encoder\.timeout"):
        client(server, timeout=0.2, retries=1).encode(TEXTS)
    assert waits == [1.0]


def test_nobody_there_is_told_with_the_address(waits: list[float]) -> None:
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1/v1 cannot be reached .*\(asked 3 times\)"):
        OpenAI("tiny", f"http://me:{KEY}@127.0.0.1:1/v1?key={KEY}", retries=2).encode(TEXTS)
    assert len(waits) == 2


def changed(**change: Any) -> Answer:
    """The right answer with its last item changed."""

    def answer(request: Request) -> Response:
        right = items(request)
        return answered([*right[:-1], right[-1] | change])

    return answer


def raw(content: bytes, status: int = 200) -> Answer:
    return lambda request: Response(content, status=status)


DAMAGED: list[tuple[str, Answer, str]] = [
    (
        "no JSON",
        raw(b"<html>welcome</html>"),
        r"answered with no JSON \(<html>welcome</html>\); check encoder\.base_url",
    ),
    ("nothing", raw(b""), "answered with no JSON; check"),
    ("cut off", raw(b'{"data": [{"index": 0, "embe'), "answered with no JSON"),
    ("another object", raw(b'{"choices": []}'), "with something that is no list of vectors; check"),
    ("a list", raw(b"[1, 2]"), "with something that is no list of vectors"),
    ("items of another kind", lambda request: answered([1] * len(items(request))), "no list of vectors"),
    (
        "too few",
        lambda request: answered(items(request)[1:]),
        r"with 2 vectors for 3 texts; choose another endpoint or model\.$",
    ),
    ("too many", lambda request: answered(items(request) * 2), "with 6 vectors for 3 texts"),
    ("a place twice", changed(index=0), "places of vectors that are not 0 to N - 1"),
    ("a place outside", changed(index=9), "places of vectors that are not 0 to N - 1"),
    ("a place that is no number", changed(index="2"), "places of vectors that are not 0 to N - 1"),
    ("a place that is true", changed(index=True), "places of vectors that are not 0 to N - 1"),
    ("a shorter vector", changed(embedding=[1.0, 2.0]), "with vectors of several lengths"),
    ("an empty vector", lambda request: answered([i | {"embedding": []} for i in items(request)]), "or of none"),
    ("no vector", changed(embedding=None), "neither numbers nor base64"),
    ("words", changed(embedding=["a", "b", "c", "d"]), "neither numbers nor base64"),
    ("no base64", changed(embedding="?!"), "neither numbers nor base64"),
    ("base64 of no float32", changed(embedding="AAAA"), "neither numbers nor base64"),
    ("nested", changed(embedding=[[1.0] * DIM]), "neither numbers nor base64"),
    ("NaN", changed(embedding=[1.0, float("nan"), 0.0, 0.0]), "holds NaN or infinity"),
    ("infinity", changed(embedding=[1.0, float("inf"), 0.0, 0.0]), "holds NaN or infinity"),
    ("more than float32", changed(embedding=[1e300, 1.0, 0.0, 0.0]), "holds NaN or infinity"),
    ("an integer without end", changed(embedding=[10**400, 1, 0, 0]), "neither numbers nor base64"),
    (
        "a wrong key",
        raw(b'{"error": {"message": "no such key"}}', 401),
        r"refused the key with 401 \(no such key\); set",
    ),
    (
        "no such model",
        raw(b'{"error": "no model tiny"}', 404),
        r"answered 404 \(no model tiny\); check encoder\.base_url",
    ),
    ("a bad request", raw(b'{"detail": "too long"}', 400), r"answered 400 \(too long\); check"),
    ("another place", raw(b"", 301), "answered 301; check encoder"),
]


@pytest.mark.parametrize(("answer", "sentence"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_what_is_no_answer_is_one_sentence_at_once(
    server: HTTPServer, waits: list[float], answer: Answer, sentence: str
) -> None:
    requests = serve(server, well, answer)
    with pytest.raises(UserError, match=sentence) as refused:
        client(server).encode(TEXTS[:3])
    assert str(refused.value).startswith(server.url_for("/v1"))
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
    assert len(requests) == 2
    assert waits == []


def test_another_dim_than_before_is_refused(server: HTTPServer) -> None:
    serve(server, well, lambda request: answered([i | {"embedding": [1.0, 2.0]} for i in items(request)]))
    with pytest.raises(UserError, match="answered with vectors of 2 dims after some of 4; ask for a model"):
        client(server).encode(TEXTS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": None}, r"needs a model; add encoder\.model=NAME"),
        ({"base_url": f"ftp://me:{KEY}@host/v1"}, r"encoder\.base_url=ftp://host/v1 is no address"),
        ({"base_url": "http://"}, r"encoder\.base_url=http: is no address; write it like"),
        ({"base_url": "https://:8000/v1"}, "is no address; write it like"),
        ({"base_url": "http://host:99999/v1"}, "is no address; write it like"),
        ({"dimensions": 0}, r"encoder\.dimensions=0 does not fit; set 1 or more, or null"),
        ({"dimensions": -3}, r"encoder\.dimensions=-3 does not fit; set 1 or more, or null"),
        ({"batch_size": 0}, r"encoder\.batch_size=0 does not fit"),
        ({"encoding_format": "hex"}, r"encoder\.encoding_format=hex does not fit; choose float or base64"),
        ({"timeout": 0}, r"encoder\.timeout=0 does not fit; set seconds above 0, 86400 at most"),
        ({"timeout": 1e18}, r"encoder\.timeout=1e\+18 does not fit; set seconds above 0, 86400 at most"),
        ({"timeout": float("nan")}, r"encoder\.timeout=nan does not fit"),
        ({"first_wait": -1.0}, r"encoder\.first_wait=-1 does not fit; set 0 to 86400 seconds"),
        ({"longest_wait": float("inf")}, r"encoder\.longest_wait=inf does not fit; set 0 to 86400 seconds"),
        ({"retries": 10**6}, r"encoder\.retries=1000000 does not fit; set 0 to 1000"),
        ({"api_key": "a\nb"}, "cannot be asked|cannot be reached"),
        ({"api_key": "schlüssel"}, "cannot be asked|cannot be reached"),
    ],
)
def test_settings_that_ask_for_nothing_are_one_sentence(
    settings: dict[str, Any], sentence: str, waits: list[float]
) -> None:
    defaults = {"model": "tiny", "base_url": "http://127.0.0.1:1/v1", "retries": 0}
    with pytest.raises(UserError, match=sentence) as refused:
        OpenAI(**(defaults | settings)).encode(TEXTS)
    assert KEY not in str(refused.value)
    assert "schlüssel" not in str(refused.value)


def test_the_key_is_a_secret_and_the_address_a_place() -> None:
    assert (OpenAI.secrets, OpenAI.places) == (("api_key",), ("base_url",))
    encoder = OpenAI("tiny", "http://host/v1", KEY)
    assert KEY not in repr(vars(encoder)) + encoder.version
