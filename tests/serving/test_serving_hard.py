"""`lvm-lab serve` against what schemas allow, many connections, kills and restarts."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

import lvm_lab
from helpers.commands import ENVIRONMENT, TINY, call
from helpers.serving import DIM, ENCODER, ON_TEXTS, TEXTS, promote, serving
from lvm_lab import promote as promotion
from lvm_lab.jobs import exporting
from lvm_lab.runs.registry import Model

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow
CONTEXT_LD = ENCODER.encode(TEXTS[:5])


def test_nothing_that_the_schema_allows_or_forbids_is_a_failure_of_the_server(folder: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    off = ("tmd=prototypes", f"ingest={folder}/stores", f"cache={folder}/cache")
    with serving(f"checkpoint={folder}/run", *ON_TEXTS, *off) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        positive, negative = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) >= 13
        for operation in operations:
            # Where nothing is given, nothing can be given wrong.
            for mode in (positive, negative) if operation.method == "post" else (positive,):
                _asked(operation.as_strategy(generation_mode=mode))


def _asked(cases: Any) -> None:
    @examples(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def each(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
        if answer.status_code >= 400 and answer.content:
            assert answer.json()["error"]["message"].endswith(".")

    each()


def test_two_thousand_connections_are_held_and_others_answered(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip("this machine lets a process have too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with serving(f"checkpoint={folder}/run") as address, contextlib.ExitStack() as stack:
        host, port = address.removeprefix("http://").split(":")
        for _ in range(2000):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(b"GET /health HTTP/1.1\r\n")
        answer = httpx.post(f"{address}/predict", json={"context_vectors": CONTEXT_LD.tolist()}, timeout=600)
        assert answer.status_code == 200


def test_above_its_limits_it_says_when_to_come_again(folder: Path) -> None:
    body = np.zeros((40, 5, DIM), "<f4").tobytes()
    headers = {"content-type": "application/octet-stream", "x-shape": f"40,5,{DIM}"}
    answers: list[httpx.Response] = []
    with serving(f"checkpoint={folder}/run", "limits.requests=2") as address:

        def ask() -> None:
            answers.append(httpx.post(f"{address}/predict_batch?steps=16", content=body, headers=headers, timeout=600))

        asking = [threading.Thread(target=ask) for _ in range(24)]
        for thread in asking:
            thread.start()
        while any(thread.is_alive() for thread in asking):
            assert httpx.get(f"{address}/health", timeout=600).status_code == 200
    for thread in asking:
        thread.join()
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(answer.headers["retry-after"] == "1" and answer.json()["error"]["message"] for answer in refused)


def started(folder: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "lvm_lab.serve", "port=0", "device=cpu", *words]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith("serving at ")), None)
    assert line is not None, "it ended before it served"
    return process, line.split()[2]


def test_killed_while_it_answers_it_serves_what_is_promoted_when_it_is_started_again(
    folder: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    promote(registry, "books", folder / "run", "1")
    body = np.tile(CONTEXT_LD, (128, 1, 1)).astype("<f4").tobytes()
    headers = {"content-type": "application/octet-stream", "x-shape": f"128,5,{DIM}"}
    broken: list[Exception] = []
    answered: list[httpx.Response] = []

    def ask(address: str) -> None:
        try:
            for _ in range(1000):
                answered.append(
                    httpx.post(f"{address}/predict_batch?steps=8", content=body, headers=headers, timeout=600)
                )
        except httpx.TransportError as error:
            broken.append(error)

    for sent in (signal.SIGKILL, signal.SIGTERM):
        process, address = started(folder, f"registry={registry}")
        version = httpx.get(f"{address}/models", timeout=600).json()["models"][0]["version"]
        assert version == ("1" if sent == signal.SIGKILL else "2")
        thread = threading.Thread(target=ask, args=(address,))
        thread.start()
        before = len(answered)
        while len(answered) < before + 2:
            assert thread.is_alive()
        promote(registry, "books", folder / "run", "2" if sent == signal.SIGKILL else "3")
        process.send_signal(sent)
        thread.join()
        assert process.wait() in (-sent, 128 + sent)
    assert {answer.status_code for answer in answered} == {200}
    # The next request finds nobody; none that was taken on was broken off by the gentle end.
    assert isinstance(broken[1], httpx.ConnectError | httpx.ReadError | httpx.RemoteProtocolError)


def test_a_thousand_requests_during_ten_promotions_are_all_answered_by_one_of_the_models(
    tmp_path: Path,
) -> None:
    runs = [tmp_path / name for name in ("one", "other")]
    for seed, run in enumerate(runs):
        done = call(tmp_path, *TINY, "trainer.max_epochs=1", f"seed={seed}", f"run.dir={run}")
        assert done.code == 0, done.err
    models = [lvm_lab.load(run) for run in runs]
    context_LD = np.random.default_rng(0).normal(size=(5, 128)).astype("<f4")
    headers = {"content-type": "application/octet-stream", "x-shape": "5,128"}
    expected = [model.predict(torch.from_numpy(context_LD[None])).raw_ND.detach().numpy() for model in models]
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    registry = Model.of(tmp_path / "registry", "books")
    force = (f"registry={registry.folder.parent}", "name=books", "reason=tiny", f"cache={tmp_path}/cache")
    done = call(tmp_path, f"run={runs[0]}", *force, main=promotion.main)
    assert done.code == 0, done.err

    def promoted(number: int) -> None:
        """As the command does once it has judged."""
        with registry.at_work() as work, work.building() as place:
            file = runs[number % 2] / "checkpoints" / "best.ckpt"
            exporting.write(models[number % 2], file, place, ["safetensors"], latency=False, name="books")
            work.move("production", work.add(place), "promote")

    answers: list[tuple[int, str, bytes]] = []
    ended = threading.Event()
    with serving(f"registry={registry.folder.parent}") as address:

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=600) as client:
                # Server, clients and promotions share one process, of which each needs its part.
                while not ended.wait(0.005) or len(answers) < 1000:
                    answer = client.post("/predict", content=context_LD.tobytes(), headers=headers)
                    answers.append((answer.status_code, answer.headers["x-version"], answer.content))

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        for number in range(1, 11):
            promoted(number)
            while not answers or answers[-1][1] != str(number + 1):
                time.sleep(0.01)
        ended.set()
        for thread in asking:
            thread.join()
    assert len(answers) >= 1000
    assert {status for status, _, _ in answers} == {200}
    assert {int(version) for _, version, _ in answers} == {*range(1, 12)}
    for _, version, content in answers:
        of_it = expected[(int(version) - 1) % 2]
        np.testing.assert_allclose(np.frombuffer(content, "<f4")[None], of_it, atol=1e-5)


def test_told_to_end_it_answers_what_it_was_asked_and_takes_no_more(folder: Path) -> None:
    body = np.tile(CONTEXT_LD, (4, 1, 1)).astype("<f4").tobytes()
    head = f"POST /predict_batch?steps=256 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: application/octet-stream\r\nX-Shape: 4,5,{DIM}\r\n\r\n"
    patience = ("limits.steps=256", "limits.seconds=600", "grace_seconds=600")
    process, address = started(folder, f"checkpoint={folder}/run", *patience)
    host, port = address.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(24)]
        for connection in connections:
            connection.sendall(head.encode() + body)
        # Steps go round, so that all of them are at work until each is at its last one. /metrics counts itself.
        while "lvm_lab_open_requests 25.0" not in httpx.get(f"{address}/metrics", timeout=600).text:
            assert select.select(connections, [], [], 0.01)[0] == [], "one was answered before the last one came"
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                socket.create_connection((host, int(port))).close()
        assert process.poll() is None, "it has not ended, and takes no more"
        for connection in connections:
            answer = b"".join(iter(lambda: connection.recv(2**20), b""))  # noqa: B023
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
            values = np.frombuffer(answer.partition(b"\r\n\r\n")[2], "<f4")
            assert values.shape == (4 * 256 * DIM,)
            assert np.isfinite(values).all()
    assert process.wait() in (-signal.SIGTERM, 128 + signal.SIGTERM)
