"""Codes of a chat endpoint over a real socket: names alone count, nothing is asked for twice, no ingestion waits."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from helpers.commands import ENVIRONMENT, PATIENCE, call
from helpers.documents import make_documents
from helpers.endpoint import Endpoint
from helpers.ingesting import give
from lvm_lab import tmd as command
from lvm_lab.data import tmd
from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.part_files import PartWriter
from lvm_lab.data.store import Store, open_store, write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.coding import counts, give_codes
from lvm_lab.text import endpoint
from lvm_lab.text.chat_answer import Question
from lvm_lab.text.chat_cache import FILE
from lvm_lab.text.endpoint import EndpointError
from lvm_lab.text.tmd import chat
from lvm_lab.text.tmd.chat import Chat

KEY = "sk-do-not-show-this"
NAMES = "domains: [a, b]\ntasks: [c, d]\nmodifiers: [e, f]\n"
TABLE = {"domains": {"a": ["a"], "b": ["b"]}, "tasks": {"c": ["c"], "d": ["d"]}, "modifiers": {"e": ["e"], "f": ["f"]}}
# As an endpoint with all the knowledge of these texts has them: "acf" is of domain a, task c and modifier f.
TEXTS = ["acf", "bde", "bcf", "ade", "acf", "bce", "adf", "bdf"]
Answer = Callable[[Request], Response]


def pieces(request: Request) -> dict[str, str]:
    content = json.loads(request.data)["messages"][-1]["content"]
    read: dict[str, str] = json.JSONDecoder().raw_decode(content)[0]
    return read


def message(content: Any) -> Response:
    return Response(json.dumps({"choices": [{"message": {"content": content}}]}), content_type="application/json")


def named(request: Request) -> dict[str, dict[str, str]]:
    """Of the table that the endpoint was told: a text's three letters, or the first of each."""
    lists = [line.partition(": ")[2] for line in json.loads(request.data)["messages"][0]["content"].splitlines()[1:4]]
    first = [json.loads(names)[0] for names in lists]
    keys = ("domain", "task", "modifier")
    return {
        number: dict(zip(keys, text if len(text) == 3 else first, strict=True))
        for number, text in pieces(request).items()
    }


def well(request: Request) -> Response:
    return message(json.dumps(named(request)))


def status(number: int, **headers: str) -> Answer:
    content = json.dumps({"error": {"message": f"said to {KEY}"}})
    return lambda request: Response(content, status=number, headers=headers)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with Endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """The seconds that were waited between two requests, by a clock that moves in no other way."""
    seconds: list[float] = []
    monkeypatch.setattr(endpoint, "sleep", seconds.append)
    monkeypatch.setattr(endpoint, "monotonic", lambda: sum(seconds))
    # A command of another test may have taken it.
    monkeypatch.setattr(logging.getLogger("lvm_lab"), "propagate", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return seconds


def serve(server: HTTPServer, *answers: Answer) -> list[Request]:
    """The requests as they come; each is answered by the next of `answers`, and by the last from then on."""
    requests: list[Request] = []

    def handle(request: Request) -> Response:
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1](request)

    server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(handle)
    return requests


def coder(server: HTTPServer, **settings: Any) -> Chat:
    return Chat(**({"model": "tiny", "base_url": server.url_for("/v1"), "chunks": 3} | settings))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "names.yaml").write_text(NAMES)
    vectors_ND = np.random.default_rng(0).standard_normal((len(TEXTS), 4)).astype(np.float32)
    contract = EncoderContract(encoder="none")
    return write_store(tmp_path / "store", vectors_ND, make_documents([3, 5]), contract, texts=TEXTS)


def codes_of(texts: list[str]) -> np.ndarray:
    """What the texts' own letters say; `?`: none."""
    columns = [["ab".find(t[0]), "cd".find(t[1]), "ef".find(t[2])] for t in texts]
    return tmd.pack(*np.array(columns).T)


def coded(store: Store, coder: Chat, **settings: Any) -> Store:
    return give_codes(open_store(store.path), coder, None, str(store.path.parent / "names.yaml"), **settings)


def test_names_become_codes_and_each_text_is_asked_for_once(server: HTTPServer, store: Store) -> None:
    requests = serve(server, well)
    done = coded(store, coder(server))
    np.testing.assert_array_equal(done.codes_N, codes_of(TEXTS))
    assert done.tmd == tmd.Names(("a", "b"), ("c", "d"), ("e", "f"))
    assert counts(done) == {"chunks": 8, "missing": 0, "by": "chat, tiny", "domains": {"a": 4, "b": 4}}
    assert [list(pieces(request).values()) for request in requests] == [
        ["acf", "bde", "bcf"],
        ["ade", "bce", "adf"],
        ["bdf"],
    ]
    assert {request.headers["Authorization"] for request in requests} == {f"Bearer {KEY}"}
    assert {json.loads(request.data)["temperature"] for request in requests} == {0.0}
    again = coded(store, coder(server), redo=True)
    np.testing.assert_array_equal(again.codes_N, done.codes_N)
    assert len(requests) == 3, "all of it is in the cache"
    coded(store, coder(server, model="other", chunks=8, temperature=None), redo=True)
    assert len(requests) == 4, "another model is asked itself"
    assert "temperature" not in json.loads(requests[3].data)
    (store.path.parent / "names.yaml").write_text(NAMES.replace("[e, f]", "[f, e]"))
    other = coded(store, coder(server, chunks=8), redo=True)
    assert len(requests) == 5, "another table is another question"
    assert other.tmd == tmd.Names(("a", "b"), ("c", "d"), ("f", "e"))
    assert other.codes_N[0] == done.codes_N[0] - 2  # type: ignore[index]


READ = [
    ("plain", '{"1": {"domain": "a", "task": "d", "modifier": "e"}}', ("a", "d", "e")),
    ("another order", '{"1": {"task": "d", "modifier": "e", "domain": "a"}}', ("a", "d", "e")),
    ("fenced", '\n```json\n{"1": {"domain": "a", "task": "d", "modifier": "e"}}\n```', ("a", "d", "e")),
    ("thought", '<think>{"1"}</think>\n\n{"1": {"domain": "a", "task": "d", "modifier": "e"}}', ("a", "d", "e")),
    ("a number for a name", '{"1": {"domain": 0, "task": "d", "modifier": "e"}}', "piece 1 had 0, which is none of"),
    ("another name", '{"1": {"domain": "a", "task": "d", "modifier": "g"}}', '"g", which is none of the modifiers'),
    ("another case", '{"1": {"domain": "A", "task": "d", "modifier": "e"}}', '"A", which is none of the domains'),
    ("a list of names", '{"1": {"domain": ["a"], "task": "d", "modifier": "e"}}', "which is none of the domains"),
    ("a field less", '{"1": {"domain": "a", "task": "d"}}', "had not the keys domain, task and modifier"),
    ("a field more", '{"1": {"domain": "a", "task": "d", "modifier": "e", "x": 1}}', "had not the keys"),
    (
        "counted from 0",
        '{"0": {"domain": "a", "task": "d", "modifier": "e"}}',
        "not one JSON object with the keys 1 to 1",
    ),
    ("a piece twice", '{"1": {"domain": "a", "task": "d", "modifier": "e"}, "1": {}}', "not one JSON object"),
    ("words around it", 'Sure! {"1": {"domain": "a", "task": "d", "modifier": "e"}}', "not one JSON object"),
    ("cut off", '{"1": {"domain": "a", "ta', "not one JSON object"),
    ("a list", '[{"domain": "a", "task": "d", "modifier": "e"}]', "not one JSON object"),
    ("too deep", "[" * 100_000, "not one JSON object"),
    ("nothing", None, "not one JSON object"),
]


@pytest.mark.parametrize(("content", "meaning"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_an_answer_is_names_of_the_table_or_none(content: Any, meaning: Any) -> None:
    (answer,), complaint = Question(TABLE).read(content, 1)
    if isinstance(meaning, tuple):
        assert (answer, complaint) == (meaning, "")
    else:
        assert answer is None
        assert meaning in complaint


def test_wrong_names_are_asked_for_again_and_then_left_out(
    server: HTTPServer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def stubborn(request: Request) -> Response:
        """Never knows "bde", and "bcf" at the second time."""
        again = "An earlier answer was wrong" in json.loads(request.data)["messages"][-1]["content"]
        answer = named(request)
        for number, text in pieces(request).items():
            if text == "bde" or (text == "bcf" and not again):
                answer[number]["task"] = "Zeta"
        return message(json.dumps(answer))

    requests = serve(server, stubborn)
    done = coded(store, coder(server))
    np.testing.assert_array_equal(done.codes_N, codes_of(["acf", "???", *TEXTS[2:]]))
    assert [list(pieces(request).values()) for request in requests[:3]] == [
        ["acf", "bde", "bcf"],
        ["bde", "bcf"],
        ["bde"],
    ]
    assert 'piece 2 had "Zeta", which is none of the tasks' in requests[1].get_data(as_text=True).replace("\\", "")
    assert counts(done)["missing"] == 1
    assert '1 chunks have no answer of tiny that fits: piece 1 had "Zeta"' in caplog.text
    count = len(requests)
    assert coded(store, coder(server, attempts=1)).codes_N[1] == tmd.MISSING  # type: ignore[index]
    assert [pieces(request) for request in requests[count:]] == [{"1": "bde"}], "it alone is asked for again"


def test_garbage_is_counted_and_written_nowhere(server: HTTPServer, store: Store) -> None:
    requests = serve(server, lambda request: message("I am happy to help!"))
    done = coded(store, coder(server, attempts=2))
    assert len(requests) == 6
    assert done.codes_N is None
    assert counts(done) == {"chunks": 0, "missing": 8, "by": "", "domains": {}}


def test_a_busy_endpoint_is_asked_again_after_the_wait_that_it_asks_for(
    server: HTTPServer, store: Store, waits: list[float]
) -> None:
    serve(server, status(429, **{"Retry-After": "7"}), status(500), status(429, **{"Retry-After": "999"}), well)
    done = coded(store, coder(server))
    np.testing.assert_array_equal(done.codes_N, codes_of(TEXTS))
    assert waits == [7.0, 2.0, 60.0]


def test_requests_keep_their_distance(server: HTTPServer, store: Store, waits: list[float]) -> None:
    requests = serve(server, well, status(503), well)
    coded(store, coder(server, requests_a_minute=20, first_wait=1.0))
    assert len(requests) == 4
    assert waits == [3.0, 1.0, 2.0, 3.0], "three seconds from one to the next, whatever it is sent for"


def test_an_endpoint_that_fails_leaves_what_it_gave(
    server: HTTPServer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    requests = serve(server, well, status(503))
    with caplog.at_level(logging.DEBUG), pytest.raises(EndpointError) as failure:
        coded(store, coder(server, retries=1))
    sentence = str(failure.value)
    assert sentence.endswith("give the same command again later, or raise tmd.timeout or tmd.retries.")
    assert "encoder" not in sentence
    assert KEY not in sentence + caplog.text
    np.testing.assert_array_equal(open_store(store.path).codes_N, codes_of([*TEXTS[:3], "???", "acf", *["???"] * 3]))
    server.clear()
    requests = serve(server, well)
    np.testing.assert_array_equal(coded(store, coder(server)).codes_N, codes_of(TEXTS))
    assert [list(pieces(request).values()) for request in requests] == [["ade", "bce", "adf"], ["bdf"]]


def test_a_slow_endpoint_is_given_up(server: HTTPServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "monotonic", time.monotonic)

    def slow(request: Request) -> Response:
        time.sleep(1)
        return well(request)

    serve(server, slow)
    with pytest.raises(EndpointError, match=r"did not answer within 0\.1 s \(asked once\).* raise tmd\.timeout"):
        coded(store, coder(server, timeout=0.1, retries=0))
    assert open_store(store.path).codes_N is None


def test_no_more_is_asked_after_so_many_minutes(
    server: HTTPServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = serve(server, well)
    monkeypatch.setattr(chat, "monotonic", lambda: 30.0 * len(requests))
    done = coded(store, coder(server, minutes=1))
    assert len(requests) == 2
    assert counts(done)["missing"] == 1


def test_a_text_that_is_refused_keeps_nobody_from_a_code(server: HTTPServer, store: Store) -> None:
    def filtering(request: Request) -> Response:
        return status(400)(request) if "bde" in pieces(request).values() else well(request)

    serve(server, filtering)
    done = coded(store, coder(server))
    np.testing.assert_array_equal(done.codes_N, codes_of(["acf", "???", *TEXTS[2:]]))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (status(400), r"answered 400 \(said to <secret>\); check tmd\.base_url and tmd\.model\.$"),
        (status(401), r"refused the key with 401 \(said to <secret>\); set OPENAI_API_KEY in the environment\.$"),
        (lambda request: Response("<html>"), r"answered with no JSON \(<html>\); check tmd\.base_url\.$"),
        (lambda request: Response("{}"), r"something that is no message of a model; check tmd\.base_url\.$"),
        (lambda request: Response("[3]"), r"something that is no message of a model; check tmd\.base_url\.$"),
    ],
)
def test_an_endpoint_that_does_this_to_all_is_one_sentence(
    server: HTTPServer, store: Store, answer: Answer, sentence: str
) -> None:
    requests = serve(server, answer)
    with pytest.raises(EndpointError, match=sentence):
        coded(store, coder(server))
    assert len(requests) <= 3


def test_documents_that_come_meanwhile_are_told(server: HTTPServer, store: Store) -> None:
    def appending(request: Request) -> Response:
        folder = store.path.with_name("part")
        with PartWriter(folder, 4, np.float32) as writer:
            writer.append(np.ones((2, 4), np.float32), make_documents([2], ids=["new"]), ["bdf", "acf"])
            part = writer.close()
        add_part(store.path, folder, part, store.contract)
        return well(request)

    serve(server, appending, well)
    with pytest.raises(UserError, match=r"has other documents than when .* give the same command again"):
        coded(store, coder(server))
    done = coded(store, coder(server))
    assert len(done.vectors_ND) == 10
    np.testing.assert_array_equal(done.codes_N, codes_of(done.texts()))  # type: ignore[arg-type]


def test_a_damaged_cache_is_warned_of_and_done_without(
    server: HTTPServer, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve(server, well)
    file = tmp_path / "answers" / FILE
    file.parent.mkdir()
    file.write_bytes(b"no database" * 1000)
    done = coded(store, coder(server, cache=str(file.parent)))
    np.testing.assert_array_equal(done.codes_N, codes_of(TEXTS))
    assert f"{file} keeps no answers (file is not a database)" in caplog.text
    assert file.read_bytes() == b"no database" * 1000
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    coded(store, coder(server, cache=str(file.parent)), redo=True)
    assert not (tmp_path / "elsewhere").exists()


def test_names_in_the_cache_are_held_against_the_table_too(server: HTTPServer, store: Store, tmp_path: Path) -> None:
    requests = serve(server, well)
    coded(store, coder(server))
    with sqlite3.connect(tmp_path / "cache/lvm_lab" / FILE) as answers:
        answers.execute("UPDATE answers SET domain = 'none of them' WHERE domain = 'a'")
    answers.close()
    count = len(requests)
    np.testing.assert_array_equal(coded(store, coder(server), redo=True).codes_N, codes_of(TEXTS))
    assert [list(pieces(request).values()) for request in requests[count:]] == [["acf", "ade", "adf"]]


@pytest.mark.slow
def test_killed_it_goes_on_with_what_was_not_answered(server: HTTPServer, store: Store, tmp_path: Path) -> None:
    """The endpoint itself kills who asks, at the third request."""
    body = (
        "from pathlib import Path; from lvm_lab.data.store import open_store;"
        "from lvm_lab.jobs.coding import give_codes; from lvm_lab.text.tmd.chat import Chat;"
        f"give_codes(open_store(Path('store')), Chat('tiny', {server.url_for('/v1')!r}, chunks=3), None, 'names.yaml')"
    )
    process = []

    def kill(request: Request) -> Response:
        os.kill(process[0].pid, signal.SIGKILL)
        return well(request)

    serve(server, well, well, kill)
    process.append(subprocess.Popen([sys.executable, "-c", body], cwd=tmp_path, env=os.environ | ENVIRONMENT))
    assert process[0].wait(PATIENCE) == -signal.SIGKILL
    assert open_store(store.path).codes_N is None
    server.clear()
    requests = serve(server, well)
    np.testing.assert_array_equal(coded(store, coder(server)).codes_N, codes_of(TEXTS))
    assert [list(pieces(request).values()) for request in requests] == [["bdf"]]


@pytest.mark.slow
def test_an_ingestion_never_fails_for_the_endpoint(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server.url_for("/v1")
    words = (
        "tmd=chat",
        "tmd.model=tiny",
        f"tmd.base_url={place}",
        "tmd.retries=0",
        "out=store",
        "checks=false",
        "reader.count=3",
    )
    serve(server, status(503))
    away = give(tmp_path, *words)
    assert away.code == 0, away.err
    bare = open_store(tmp_path / "store", verify=True)
    assert bare.codes_N is None
    typed = f"lvm-lab tmd store=store tmd=chat tmd.model=tiny tmd.base_url={place} tmd.retries=0"
    assert typed in " ".join(away.out.split())
    assert "answered 503 (said to <secret>)" in " ".join(away.out.split())
    (record,) = json.loads((tmp_path / "store/ingest.json").read_text())["ingestions"]
    assert record["tmd"] == {"chunks": 0, "missing": len(bare.vectors_ND), "by": "", "domains": {}}
    server.clear()
    requests = serve(server, well)
    there = call(tmp_path, *typed.split()[2:], main=command.main)
    assert there.code == 0, there.err
    done = open_store(tmp_path / "store", verify=True)
    assert done.content == bare.content
    assert done.codes_N is not None
    assert not (done.codes_N == tmd.MISSING).any()
    count = len(requests)
    again = give(tmp_path, *words)
    assert (again.code, len(requests)) == (0, count), "nothing is left to ask for"
    (record,) = json.loads((tmp_path / "store/ingest.json").read_text())["ingestions"]
    assert record["tmd"]["by"] == "chat, tiny"
    assert record["tmd"]["missing"] == 0
    holding = [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert holding == []
    assert KEY not in away.out + away.err + there.out + there.err + again.out + again.err


def test_the_composed_config_has_no_key(tmp_path: Path) -> None:
    said = call(tmp_path, "tmd=chat", "tmd.model=tiny", "--cfg", "job", "--resolve", main=command.main)
    assert said.code == 0, said.err
    assert "key_variable: OPENAI_API_KEY" in said.out
    assert KEY not in said.out + said.err


def test_a_mistake_in_its_settings_is_told_before_anything_is_made(tmp_path: Path) -> None:
    said = give(tmp_path, "tmd=chat", "out=store")
    assert (said.code, said.sentence) == (2, "tmd=chat needs a model; add tmd.model=NAME, as the endpoint calls it.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"base_url": f"ftp://me:{KEY}@host/v1"}, r"tmd\.base_url=ftp://host/v1 is no address"),
        ({"key_variable": KEY}, r"tmd\.key_variable is no name of an environment variable; put the key there"),
        ({"chunks": 0}, r"tmd\.chunks=0 does not fit; set 1 or more"),
        ({"attempts": 0}, r"tmd\.attempts=0 does not fit; set 1 or more"),
        ({"requests_a_minute": 0.0}, r"tmd\.requests_a_minute=0 does not fit; set more than 0, or null"),
        ({"minutes": float("nan")}, r"tmd\.minutes=nan does not fit; set more than 0, or null"),
        ({"timeout": 0}, r"tmd\.timeout=0 does not fit"),
        ({"retries": -1}, r"tmd\.retries=-1 does not fit"),
    ],
)
def test_settings_that_ask_for_nothing_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        Chat(**({"model": "tiny"} | settings))
    assert KEY not in str(refusal.value)
