"""`lvm-lab serve` above its limits: 503 with Retry-After where asking again later helps, 4xx where it does not."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from helpers.serving import DIM, ENCODER, TEXTS, serving, train
from lvm_lab.config.serving import BatchSettings, Limits

pytest.importorskip("fastapi")
CONTEXT_LD = ENCODER.encode(TEXTS[:5])
RAW = {"content-type": "application/octet-stream", "x-shape": f"5,{DIM}"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("home"), "run")


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    limits = ("limits.body_mb=1", "limits.bodies_mb=1.5", "limits.steps=8", "limits.predictions=16")
    with serving(f"checkpoint={run}", *limits) as address:
        yield address


def test_what_no_request_may_ask_is_no_matter_of_time(address: str) -> None:
    batch = RAW | {"x-shape": f"17,5,{DIM}"}
    for path, content, headers, status in (
        ("/predict?steps=9", CONTEXT_LD.tobytes(), RAW, 422),
        ("/predict_batch", np.tile(CONTEXT_LD, (17, 1, 1)).tobytes(), batch, 422),
        ("/predict", bytes(2**20 + 1), RAW, 413),
    ):
        answer = httpx.post(f"{address}{path}", content=content, headers=headers, timeout=600)
        assert answer.status_code == status
        assert "retry-after" not in answer.headers


def test_bodies_that_are_held_make_others_come_again(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    size = 900_000
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(2)]
        for connection in held:
            connection.sendall(head + bytes(size - 1))
        # There is room for one of them, whichever was faster.
        (refused,), _, _ = select.select(held, [], [])
        answer = refused.recv(65536)
        assert b" 503 " in answer
        assert b"retry-after: 1\r\n" in answer
        assert b"holds too many bodies" in answer
        (other,) = {*held} - {refused}
        other.sendall(b"\0")
        assert b" 422 " in other.recv(65536), "what is held is read on"
    assert httpx.post(f"{address}/predict", content=CONTEXT_LD.tobytes(), headers=RAW, timeout=600).status_code == 200


def test_what_takes_too_long_may_come_again(run: Path) -> None:
    with serving(f"checkpoint={run}", "limits.seconds=0.001", "limits.steps=1024") as address:
        answer = httpx.post(f"{address}/predict?steps=1024", content=CONTEXT_LD.tobytes(), headers=RAW, timeout=600)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "longer than 0.001 seconds" in answer.json()["error"]["message"]


def held_up() -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], threading.Event, threading.Event]:
    """What copies the last vector: how it is called, whether it has been, and what lets it go on."""
    at_work, goes_on = threading.Event(), threading.Event()

    def predict(context_BLD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at_work.set()
        goes_on.wait()
        return context_BLD[:, -1], context_BLD[:, -1]

    return predict, at_work, goes_on


def test_contexts_wait_for_a_model_in_a_number_of_places() -> None:
    from lvm_lab.serving.batcher import Batcher
    from lvm_lab.serving.refusal import Refusal

    predict, at_work, goes_on = held_up()
    batcher = Batcher(predict, BatchSettings(), feeds_unit=False, longest=5, waiting=2)
    futures = batcher.submit([CONTEXT_LD])
    at_work.wait()
    futures += batcher.submit([CONTEXT_LD, CONTEXT_LD])
    with pytest.raises(Refusal, match="ask again in a second") as refused:
        batcher.submit([CONTEXT_LD])
    assert refused.value.status == 503
    goes_on.set()
    for future in futures:
        np.testing.assert_array_equal(future.result()[0], CONTEXT_LD[-1:])
    batcher.close()


def test_texts_wait_for_a_model_in_a_number_of_places() -> None:
    from lvm_lab.serving.refusal import Refusal
    from lvm_lab.serving.served import Absent, Served, Texts

    absent = Absent("none.")
    facts, batcher = SimpleNamespace(name="books"), SimpleNamespace(close=lambda: None)
    parts: Any = (facts, batcher, Texts(absent, absent, absent, absent))
    served = Served(*parts, texts_waiting=1)
    goes_on = threading.Event()

    async def asked() -> None:
        first = asyncio.create_task(served.with_texts(goes_on.wait))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="ask again in a second") as refused:
            await served.with_texts(lambda: None)
        assert refused.value.status == 503
        goes_on.set()
        assert await first
        assert await served.with_texts(lambda: "answered") == "answered"

    asyncio.run(asked())
    served.close()


def test_documents_wait_for_those_before_them_in_no_thread() -> None:
    """Threads are few, and a registry is looked at in them too."""
    from lvm_lab.serving.bodies import IngestBody
    from lvm_lab.serving.routes.working import ingest
    from lvm_lab.serving.state import State

    at_work: list[str] = []
    most: list[int] = []

    def ingested(store: str, documents: list[dict[str, str]]) -> dict[str, Any]:
        at_work.append(store)
        most.append(len(at_work))
        goes_on.wait(0.05)
        at_work.remove(store)
        return {"store": store}

    goes_on = threading.Event()

    async def asked() -> None:
        parts: Any = (None, Limits(), None)
        state = State(*parts, chat_steps=1, ingest=ingested)
        body = IngestBody.model_validate({"store": "letters", "documents": [{"id": "a", "text": "One."}]})
        answers = await asyncio.gather(*(ingest(body, state) for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4

    asyncio.run(asked())
    assert most == [1, 1, 1, 1]


def test_a_registry_that_cannot_be_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its files open a process can list no folder."""
    from lvm_lab.serving import watching

    (tmp_path / "one").mkdir()
    looks = iter([OSError(24, "Too many open files"), {"books": tmp_path / "one"}])

    def promoted(registry: Path) -> dict[str, Path]:
        look = next(looks)
        if isinstance(look, OSError):
            raise look
        return look

    monkeypatch.setattr(watching, "promoted", promoted)
    monkeypatch.setattr(watching, "SECONDS", 0)
    taken = asyncio.Event()
    models: Any = SimpleNamespace(path=lambda name: None, failures={}, replace=lambda served: taken.set())

    async def watched() -> None:
        opened: Any = lambda name, folder: None  # noqa: E731
        watcher = asyncio.create_task(watching.watch(models, tmp_path, opened))
        until = asyncio.create_task(taken.wait())
        await asyncio.wait({watcher, until}, return_when=asyncio.FIRST_COMPLETED)
        assert taken.is_set()
        watcher.cancel()
        until.cancel()

    asyncio.run(watched())


def test_a_model_of_any_name_is_told_of_in_a_header() -> None:
    from lvm_lab.serving.vectors import RAW as MEDIA
    from lvm_lab.serving.vectors import answer

    facts: Any = SimpleNamespace(name="m\u6a21", version="1")
    told = answer(MEDIA, CONTEXT_LD, facts, {}, "vectors").headers
    assert (told["x-model"], told["x-version"]) == ("m%E6%A8%A1", "1")


def test_what_waits_for_a_model_that_is_closed_is_answered() -> None:
    from lvm_lab.serving.batcher import Batcher

    predict, at_work, goes_on = held_up()
    batcher = Batcher(predict, BatchSettings(most=1), feeds_unit=False, longest=5, waiting=9)
    futures = batcher.submit([CONTEXT_LD], steps=3)
    at_work.wait()
    futures += batcher.submit([CONTEXT_LD, CONTEXT_LD[1:]], steps=2)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    goes_on.set()
    closing.join()
    assert [len(future.result(timeout=0)[0]) for future in futures] == [3, 2, 2]


def test_who_holds_a_model_as_another_takes_its_name_is_answered_by_it() -> None:
    from lvm_lab.serving.models import Models
    from lvm_lab.serving.served import Absent, Served, Texts

    absent, closed = Absent("none."), threading.Event()
    texts: Any = Texts(absent, absent, absent, absent)

    def served(path: str, close: Any) -> Served:
        parts: Any = (SimpleNamespace(name="books", path=path), SimpleNamespace(close=close), texts)
        return Served(*parts, texts_waiting=1)

    async def asked() -> None:
        old, new = served("1", closed.set), served("2", lambda: None)
        models = Models([old])
        with models.held("books") as first, models.held("books") as second:
            models.replace(new)
            assert models.get("books") is new
            with models.held("books") as third:
                assert third is new
            assert first is second is old
            assert await first.with_texts(lambda: "answered") == "answered"
            assert not closed.is_set()
        await asyncio.to_thread(closed.wait)
        models.close()

    asyncio.run(asked())
