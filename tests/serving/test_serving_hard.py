"""`lvm-lab serve` against what schemas allow, many connections, kills and restarts."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from helpers.commands import ENVIRONMENT
from helpers.serving import DIM, ENCODER, ON_TEXTS, TEXTS, promote, serving

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
