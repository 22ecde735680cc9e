"""`lvm-lab serve`: what is asked of it over HTTP, and what it refuses."""

from __future__ import annotations

import base64
import errno
import io
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from filelock import FileLock

import lvm_lab
from helpers.commands import PATIENCE, call
from helpers.serving import DIM, ENCODER, ON_TEXTS, TEXTS, promote, serving, settings
from lvm_lab import serve
from lvm_lab.data.store import open_store
from lvm_lab.errors import UserError
from lvm_lab.jobs import ingestion
from lvm_lab.jobs.serving import key_of
from lvm_lab.text.decoder import Candidate
from lvm_lab.text.generation import Writing

pytest.importorskip("fastapi")
CONTEXT_LD = ENCODER.encode(TEXTS[:5])
RAW = {"content-type": "application/octet-stream", "x-shape": f"5,{DIM}"}
JSON = {"content-type": "application/json"}
TEXT = " ".join(TEXTS[:6])


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    models = f"checkpoint={{books: {folder}/run, twin: {folder}/run}}"
    limits = ("limits.body_mb=1", "limits.texts=20", "limits.steps=8", "limits.predictions=40")
    off = (f"ingest={folder}/stores", "tmd=prototypes", f"cache={folder}/cache")
    with serving(models, *ON_TEXTS, *off, *limits) as address, httpx.Client(base_url=address, timeout=600) as client:
        yield client


def npy(shape: tuple[int, ...]) -> bytes:
    """A file of 5 x DIM zeros that says to have another shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(4 * 5 * DIM)


def sentence(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == status
    assert error["message"].endswith("."), error["message"]
    assert "\n" not in error["message"], error["message"]
    return str(error["message"])


def predicted(folder: Path, context_LD: np.ndarray) -> Any:
    return lvm_lab.load(folder / "run").predict(torch.from_numpy(context_LD[None]))


def test_predict_gives_what_the_loaded_model_does_in_every_form(folder: Path, client: httpx.Client) -> None:
    body = {"model": "books", "context_vectors": CONTEXT_LD.tolist()}
    prediction = predicted(folder, CONTEXT_LD)
    for kind, wanted in (("decoder", prediction.raw_ND), ("cosine", prediction.unit_ND)):
        answer = client.post("/predict", json=body | {"output_type": kind}).json()
        assert (answer["model"], answer["output_type"]) == ("books", kind)
        np.testing.assert_allclose(answer["vectors"], wanted.detach().numpy(), atol=1e-5)
    raw = client.post("/predict?model=books", content=CONTEXT_LD.tobytes(), headers=RAW)
    assert raw.headers["x-shape"] == f"1,{DIM}"
    np.testing.assert_allclose(np.frombuffer(raw.content, "<f4"), prediction.raw_ND[0].detach().numpy(), atol=1e-5)
    file = io.BytesIO()
    np.save(file, np.asfortranarray(CONTEXT_LD.astype(np.float64)))
    npy = client.post("/predict?model=books", content=file.getvalue(), headers={"content-type": "application/x-npy"})
    np.testing.assert_allclose(np.load(io.BytesIO(npy.content)), prediction.raw_ND.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("length", [1, 3, 5])
def test_contexts_of_every_length_are_read_and_rolled_out(folder: Path, client: httpx.Client, length: int) -> None:
    context_LD = CONTEXT_LD[-length:]
    answer = client.post("/predict", json={"model": "twin", "context_vectors": context_LD.tolist(), "steps": 3})
    expected = []
    for _ in range(3):
        prediction = predicted(folder, context_LD)
        expected.append(prediction.raw_ND[0].detach().numpy())
        context_LD = np.concatenate([context_LD, prediction.unit_ND.detach().numpy()])[-5:]
    np.testing.assert_allclose(answer.json()["vectors"], expected, atol=1e-5)


def test_a_batch_gives_each_what_it_gets_alone(client: httpx.Client) -> None:
    contexts = [CONTEXT_LD[-length:].tolist() for length in (1, 5, 2, 5, 4)]
    answer = client.post("/predict_batch", json={"model": "books", "contexts": contexts, "steps": 2}).json()
    for context, prediction in zip(contexts, answer["predictions"], strict=True):
        alone = client.post("/predict", json={"model": "books", "context_vectors": context, "steps": 2}).json()
        np.testing.assert_allclose(prediction, alone["vectors"], atol=1e-5)
    several = np.stack([CONTEXT_LD, CONTEXT_LD])
    shape = {"x-shape": f"2,5,{DIM}"}
    raw = client.post("/predict_batch?model=books", content=several.tobytes(), headers=RAW | shape)
    assert raw.headers["x-shape"] == f"2,1,{DIM}"


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"", JSON, 422, "no JSON"),
        (b'{"context_vectors": [[1', JSON, 422, "no JSON"),
        (b"\xff\xfe", JSON, 422, "no JSON"),
        (b"[" * 5000, JSON, 422, "no JSON"),
        (b"[]", JSON, 422, "does not fit"),
        (b'{"model": "books"}', JSON, 422, "context_vectors does not fit"),
        (b'{"model": "books", "context_vectors": []}', JSON, 422, "context_vectors does not fit"),
        (b'{"model": "books", "context_vectors": [[NaN]]}', JSON, 422, "finite number"),
        (b'{"model": "books", "context_vectors": [["1"]]}', JSON, 422, "valid number"),
        (b'{"model": "books", "context_vectors": [[1, 2], [1]]}', JSON, 422, "rows of different lengths"),
        (b'{"model": "books", "context_vectors": [[1, 2]]}', JSON, 422, f"2 numbers and the model reads {DIM}"),
        (b'{"context_vectors": [[1, 2]]}', JSON, 422, "model is missing; name one of books, twin"),
        (b'{"model": "cooks", "context_vectors": [[1, 2]]}', JSON, 404, "no model 'cooks'; name one of books, twin"),
        (b'{"model": "books", "context_vectors": [[1]], "steps": 9}', JSON, 422, "steps=9"),
        (b'{"model": "books", "context_vectors": [[1]], "steps": 0}', JSON, 422, "steps does not fit"),
        (b'{"model": "books", "context_vectors": [[1]], "extra": 0}', JSON, 422, "extra does not fit"),
        (b"x", {"content-type": "text/plain"}, 415, "not read"),
        (b"12345678", RAW, 422, "X-Shape is of"),
        (b"12345678", RAW | {"x-shape": "two"}, 422, "X-Shape does not say"),
        (b"12345678", RAW | {"x-shape": f"{10**18},{10**18}"}, 422, "X-Shape is of"),
        (b"12345678", RAW | {"x-shape": f"{'9' * 3000},{'9' * 3000}"}, 422, "X-Shape does not say"),
        (np.full((5, DIM), np.nan, "<f4").tobytes(), RAW, 422, "not finite"),
        (np.full((5, DIM), 3e38, "<f4").tobytes(), RAW, 422, "not finite"),
        (b"no file", {"content-type": "application/x-npy"}, 422, "no .npy"),
        (npy((-5, -DIM)), {"content-type": "application/x-npy"}, 422, "send floats of 2 or 3 dims"),
        (npy((True, 5 * DIM)), {"content-type": "application/x-npy"}, 422, "send floats of 2 or 3 dims"),
        (npy((1, 5, DIM)), {"content-type": "application/x-npy"}, 422, "has 3 dims; it is of two"),
        (b" " * 2**21, JSON, 413, "larger than 1 MB"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    client: httpx.Client, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    path = "/predict" if headers["content-type"] == JSON["content-type"] else "/predict?model=books"
    assert words in sentence(client.post(path, content=content, headers=headers), status)


def test_npy_brings_no_objects(client: httpx.Client) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    answer = client.post("/predict?model=books", content=file.getvalue(), headers={"content-type": "application/x-npy"})
    assert "send floats" in sentence(answer, 422)


def test_texts_are_encoded_cut_decoded_and_coded(client: httpx.Client) -> None:
    model = {"model": "books"}
    encoded = client.post("/encode", json=model | {"texts": TEXTS[:3]}).json()["vectors"]
    np.testing.assert_allclose(encoded, ENCODER.encode(TEXTS[:3]), atol=1e-6)
    cut = client.post("/chunk", json=model | {"text": TEXT, "encode": True}).json()
    assert cut["chunks"] == TEXTS[:6]
    np.testing.assert_allclose(cut["vectors"], ENCODER.encode(TEXTS[:6]), atol=1e-6)
    decoded = client.post("/decode", json=model | {"vectors": encoded, "candidates": 2}).json()["decoded"]
    assert [candidates[0]["text"] for candidates in decoded] == TEXTS[:3]
    assert {len(candidates) for candidates in decoded} == {2}
    ahead = client.post("/decode", json=model | {"vectors": CONTEXT_LD.tolist(), "steps": 2}).json()["decoded"]
    assert [candidates[0]["text"] in TEXTS for candidates in ahead] == [True, True]
    codes = client.post("/tmd", json=model | {"texts": TEXTS[:2]}).json()["codes"]
    assert codes == client.post("/tmd", json=model | {"vectors": encoded[:2]}).json()["codes"]
    assert set(codes[0]) == {"code", "domain", "task", "modifier"}
    for path, body in (
        ("/encode", {"texts": []}),
        ("/encode", {"texts": ["x"] * 21}),
        ("/encode", {"texts": "x"}),
        ("/chunk", {"text": " \n "}),
        ("/decode", {"vectors": [[1.0]]}),
        ("/tmd", {}),
    ):
        sentence(client.post(path, json=model | body), 422)


@pytest.mark.parametrize("path", ["/encode", "/chunk", "/decode", "/tmd", "/try", "/chat", "/ingest"])
def test_what_says_that_it_is_no_json_is_not_read_as_such(client: httpx.Client, path: str) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "nonsense"):
        answer = client.post(path, content=b'{"texts": ["x"]}', headers={"content-type": media})
        assert sentence(answer, 415) == "the body is of a type that is not read; send application/json."
    # Where it says nothing it is JSON, as for /predict.
    assert "body is" not in sentence(client.post(path, content=b"{}"), 422)
    for content in (b'{"texts": ["\xff"]}', b"[" * 5000, b"{"):
        assert "the body is no JSON" in sentence(client.post(path, content=content, headers=JSON), 422)


def test_ingest_makes_a_store_in_its_folder_and_adds_to_it(folder: Path, client: httpx.Client) -> None:
    def sent(*ids: str) -> dict[str, Any]:
        return {"store": "letters", "documents": [{"id": one, "text": f"{TEXT} {one}"} for one in ids]}

    assert client.post("/ingest", json=sent("a", "b")).json()["documents"] == 2
    assert client.post("/ingest", json=sent("c")).json()["documents"] == 3
    assert len(open_store(folder / "stores" / "letters").texts() or ()) >= 3 * 6
    assert "id does not fit" in sentence(client.post("/ingest", json=sent("")), 422)
    for store in ("../out", "a/b", "", "."):
        assert "store does not fit" in sentence(client.post("/ingest", json=sent("d") | {"store": store}), 422)


def test_what_an_ingestion_left_that_was_cut_off_is_in_nobodys_way(
    folder: Path, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(one: str) -> dict[str, Any]:
        return {"store": "notes", "documents": [{"id": one, "text": f"{TEXT} {one}"}]}

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert client.post("/ingest", json=sent("a")).json()["documents"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "publish", full)
        told = sentence(client.post("/ingest", json=sent("b")), 507)
    assert told == "the store notes cannot be written (No space left on device); it has what it had."
    assert [*(folder / "stores" / ".notes.ingest").glob("shard-0/*")], "the blocks of what was cut off"
    assert client.post("/ingest", json=sent("c")).json()["documents"] == 2
    assert not (folder / "stores" / ".notes.ingest").exists()


def test_a_store_that_another_process_makes_is_to_be_asked_for_again(folder: Path, client: httpx.Client) -> None:
    staging = folder / "stores" / ".memos.ingest"
    staging.mkdir(parents=True)
    body = {"store": "memos", "documents": [{"id": "a", "text": TEXT}]}
    with FileLock(staging / "shard-0.lock"):
        answer = client.post("/ingest", json=body)
    assert sentence(answer, 503) == "another process makes the store memos; ask again in a second."
    assert answer.headers["retry-after"] == "1"
    assert client.post("/ingest", json=body).json()["documents"] == 1


def test_nothing_is_written_on_for_who_has_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = threading.Semaphore(0)

    def slowly(self: Writing, mode: str, stop: Any) -> Candidate:
        written.release()
        time.sleep(0.005)
        return Candidate("One more.", 0.5)

    monkeypatch.setattr(Writing, "next", slowly)
    steps = 10_000
    most = (f"limits.steps={steps}", f"limits.predictions={steps}", "limits.seconds=600")
    with serving(f"checkpoint={folder}/run", *ON_TEXTS, *most, f"cache={folder}/cache") as address:
        host, port = address.removeprefix("http://").split(":")
        asked = {"model": "run", "messages": [TEXT], "steps": steps}
        for path, more in (("/chat", {}), ("/v1/chat/completions", {}), ("/v1/chat/completions", {"stream": True})):
            body = json.dumps(asked | more).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode() + body)
                for _ in range(3):
                    written.acquire()
            # One thread has all texts of a model: this one is behind what is given up.
            answer = httpx.post(f"{address}/chat", json=asked | {"steps": 1}, timeout=600)
            assert (answer.status_code, answer.json()["text"]) == (200, "One more.")
            chunks = 0
            while written.acquire(blocking=False):
                chunks += 1
            assert chunks < steps // 2
        # This one alone, as soon as the last who left is put away.
        ends = time.monotonic() + PATIENCE
        while "lvm_lab_open_requests 1.0" not in httpx.get(f"{address}/metrics", timeout=600).text:
            assert time.monotonic() < ends
            time.sleep(0.01)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_chat_writes_on_and_says_why_it_ends(client: httpx.Client) -> None:
    body = {"model": "books", "messages": ["", {"role": "user", "content": TEXT}], "steps": 2}
    answer = client.post("/chat", json=body).json()
    assert all(chunk["text"] in TEXTS for chunk in answer["chunks"])
    assert answer["text"] == " ".join(chunk["text"] for chunk in answer["chunks"])
    assert answer["finish"] == ("steps" if len(answer["chunks"]) == 2 else "repetition")
    drawn = [client.post("/chat", json=body | {"temperature": 2, "seed": 3}).json() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert "the model reads 5" in sentence(client.post("/chat", json=body | {"messages": ["Short."]}), 422)


def test_the_official_client_chats_and_embeds(client: httpx.Client) -> None:
    openai = pytest.importorskip("openai")
    official = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0)
    assert [one.id for one in official.models.list()] == ["books", "twin"]
    for form in ("float", "base64"):
        made = official.embeddings.create(model="books", input=TEXTS[:2], encoding_format=form)
        vectors = [one.embedding for one in made.data]
        if form == "base64":
            vectors = [np.frombuffer(base64.b64decode(one), "<f4") for one in vectors]
        np.testing.assert_allclose(vectors, ENCODER.encode(TEXTS[:2]), atol=1e-6)
    asked = {"model": "books", "messages": [{"role": "user", "content": TEXT}], "extra_body": {"steps": 3}}
    whole = official.chat.completions.create(**asked)
    pieces = list(official.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage == whole.usage
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    with pytest.raises(openai.NotFoundError, match="no model 'cooks'"):
        official.embeddings.create(model="cooks", input="x")
    with pytest.raises(openai.UnprocessableEntityError, match="the model reads 5"):
        official.chat.completions.create(model="books", messages=[{"role": "user", "content": "Hi."}], stream=True)


def test_it_says_what_it_is_and_how_it_does(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "ok"
    models = client.get("/models").json()["models"]
    assert [(one["name"], one["dim"], one["context_length"], one["arch"]) for one in models] == [
        ("books", DIM, 5, "gru"),
        ("twin", DIM, 5, "gru"),
    ]
    assert models[0]["available"] == ["encoder", "chunker", "decoder", "coder"]
    metrics = client.get("/metrics").text
    assert re.search(r'lvm_lab_requests_total\{path="/health",status="200"\} [1-9]', metrics)
    assert re.search(r'lvm_lab_batch_contexts_count\{model="books"\} [1-9]', metrics)
    assert "no such path" in sentence(client.get("/nowhere"), 404)
    assert "another method" in sentence(client.get("/predict"), 405)
    page = client.get("/docs")
    assert re.findall(r"https?://|<script|<link|src=", page.text) == []
    assert all(f"{path}</code>" in page.text for path in client.get("/openapi.json").json()["paths"])


def test_other_hosts_and_origins_are_refused(client: httpx.Client) -> None:
    assert "host" in sentence(client.get("/health", headers={"host": "evil.example"}), 403)
    assert "origin" in sentence(client.get("/health", headers={"origin": "https://evil.example"}), 403)
    assert "origin" in sentence(client.get("/health", headers={"origin": "null"}), 403)
    assert client.get("/health", headers={"origin": str(client.base_url)}).status_code == 200


def test_a_key_is_asked_for_where_there_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVM_LAB_API_KEY", "secret")
    with serving(f"checkpoint={folder}/run", "limits.upload_seconds=1") as address:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            assert "key" in sentence(httpx.get(f"{address}/models", headers=headers), 401)
        assert httpx.get(f"{address}/models", headers={"authorization": "Bearer secret"}).status_code == 200
        assert httpx.get(f"{address}/health").status_code == 200
        # A text part that is absent says how to get it, and a body that does not come is not waited for.
        key = {"authorization": "Bearer secret"}
        body = {"vectors": [[1.0]]}
        assert "decoder=retrieval" in sentence(httpx.post(f"{address}/decode", json=body, headers=key), 409)
        head = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\nContent-Length: 9\r\n\r\n{"
        )
        assert b" 408 " in until_closed(address, head)
        assert until_closed(address, b"GET /health HTTP/1.1\r\nHos") == b""
        # Behind an answer no blank line holds a connection, and a head without end is no matter of time.
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
        assert until_closed(address, health + b"\r\n", behind=b"\r\n").count(b" 200 ") == 1
        assert ended_by_server(address, health + b"X: " + b"x" * 2**22)


def test_a_key_that_was_named_and_is_not_there_lets_nobody_in_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert key_of(settings("checkpoint=run")) is None
    monkeypatch.setenv("LVM_LAB_API_KEY", "secret\n")
    assert key_of(settings("checkpoint=run")) == "secret", "as a file has it"
    monkeypatch.setenv("LVM_LAB_API_KEY", " ")
    assert key_of(settings("checkpoint=run")) is None
    with pytest.raises(UserError, match="names an environment variable that is not set") as caught:
        key_of(settings("checkpoint=run", "api_key=the_key_itself"))
    assert "the_key_itself" not in str(caught.value)


def ended_by_server(address: str, sent: bytes) -> bool:
    """Whether it takes no more, before its client has sent all and a line's end."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        try:
            connection.sendall(sent)
            connection.sendall(b"\r\n\r\n")
            return b" 400 " in connection.recv(4096)
        except ConnectionError:
            return True


def until_closed(address: str, sent: bytes, behind: bytes = b"") -> bytes:
    """What a client gets that sends no more. behind: what it sends once an answer has begun."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        received = connection.recv(4096) if behind else b""
        connection.sendall(behind)
        while piece := connection.recv(4096):
            received += piece
    return received


@pytest.mark.slow
def test_promotions_are_taken_without_losing_a_request(folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    promote(registry, "books", folder / "run", "1")
    body = {"context_vectors": CONTEXT_LD.tolist()}
    with serving(f"registry={registry}") as address, httpx.Client(base_url=address, timeout=600) as client:
        seen: list[tuple[int, str]] = []
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=600) as own:
                while not ended.is_set():
                    answer = own.post("/predict", json=body)
                    seen.append((answer.status_code, answer.headers.get("x-version", "")))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for version in ("2", "3"):
            promote(registry, "books", folder / "run", version)
            while client.get("/models").json()["models"][0]["version"] != version:
                pass
        broken = tmp_path / "broken"
        broken.mkdir()
        promote(registry, "books", broken, "4")
        while not client.get("/health").json()["failures"]:
            pass
        ended.set()
        for thread in asking:
            thread.join()
        assert client.get("/models").json()["models"][0]["version"] == "3"
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((), "serve needs a model"),
        (("checkpoint=nowhere",), "nowhere"),
        (("checkpoint=a", "registry=b"), "leave one of them out"),
        (("registry=nowhere",), "has no model in production"),
        (("checkpoint=run", "host=0.0.0.0"), "lets other machines in, which takes a key"),
        (("checkpoint=run", "port=70000"), "port=70000"),
        (("checkpoint=run", "limits.steps=0"), "limits.steps=0"),
        (("checkpoint=run", "limits.bodies_mb=1"), "limits.bodies_mb to that at least"),
        (("checkpoint=run", "ingest=stores"), "encoder=OPTION"),
        (("checkpoint=run", "hosts=[lab.example:8000]"), "give its name alone, without a port"),
        (("checkpoint=run", "origins=['https://lab.example/']"), "write it like https://example.org"),
        (("-m", "checkpoint=run", "port=1,2"), "one command is one server"),
    ],
)
def test_mistakes_of_the_command_are_one_sentence(folder: Path, settings: tuple[str, ...], words: str) -> None:
    done = call(folder, *settings, main=serve.main)
    assert done.code in (1, 2)
    assert words in done.err


def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call(folder, "checkpoint=run", f"port={taken.getsockname()[1]}", main=serve.main)
    assert "cannot be listened at" in done.sentence
