"""Smoothers: a text for each text; an endpoint that is down, or has nothing to say, leaves them as they are."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from helpers.endpoint import Endpoint
from lvm_lab.commands.composing import compose
from lvm_lab.config.conf import conf_dir, options_of
from lvm_lab.errors import UserError
from lvm_lab.text import endpoint
from lvm_lab.text.endpoint import EndpointError
from lvm_lab.text.smoother import open_smoother, smoothed
from lvm_lab.text.smoothers.chat import INSTRUCTIONS, Chat

KEY = "sk-do-not-show-this"


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with Endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """The seconds that were waited between two requests."""
    seconds: list[float] = []
    monkeypatch.setattr(endpoint, "sleep", seconds.append)
    monkeypatch.setattr(logging.getLogger("lvm_lab"), "propagate", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return seconds


def serve(server: HTTPServer, answers: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked. answers: by text the message's content, or a status."""
    asked: list[dict[str, Any]] = []

    def handle(request: Request) -> Response:
        asked.append(json.loads(request.data))
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        answer = answers[asked[-1]["messages"][-1]["content"]]
        if isinstance(answer, int):
            return Response(json.dumps({"error": {"message": f"no, {KEY}"}}), status=answer)
        return Response(json.dumps({"choices": [{"message": {"content": answer}}]}))

    server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(handle)
    return asked


def smoother(server: HTTPServer, **settings: Any) -> Chat:
    return Chat(**({"model": "tiny", "base_url": server.url_for("/v1")} | settings))


def test_every_option_has_every_setting_of_its_class_and_none_is_none() -> None:
    nodes = {name: compose("generate", [f"smoother={name}"])["smoother"] for name in options_of("smoother")}
    assert set(nodes) == {"none", "chat"}
    assert open_smoother(nodes["none"]) is None
    defaults = {name: p.default for name, p in inspect.signature(Chat).parameters.items()}
    own = {key: value for key, value in nodes["chat"].items() if key not in ("name", "_target_")}
    assert own == defaults
    made = open_smoother(nodes["chat"] | {"model": "tiny"})
    assert made is not None
    assert made.source == "chat, tiny"
    for name in nodes:
        first = (conf_dir() / "smoother" / f"{name}.yaml").read_text().splitlines()[0]
        assert first.startswith(f"# lvm-lab generate RUN FILE smoother={name}")


def test_texts_come_back_in_their_order_and_each_is_asked_for_once(server: HTTPServer) -> None:
    asked = serve(server, {"a mill river": "A mill by the river.", "up lamp": "<think>hm</think>\n The lamp is up. "})
    one = smoother(server)
    assert one(["up lamp", "a mill river", " ", "up lamp"]) == [
        "The lamp is up.",
        "A mill by the river.",
        " ",
        "The lamp is up.",
    ]
    assert [request["messages"][0]["content"] for request in asked] == [INSTRUCTIONS] * 2
    assert {request["temperature"] for request in asked} == {0.0}
    assert smoother(server)(["a mill river"]) == ["A mill by the river."]
    assert len(asked) == 2, "the rest is in the cache"
    assert smoother(server, instructions="Be brief.", temperature=None)(["up lamp"]) == ["The lamp is up."]
    assert (len(asked), "temperature" in asked[2]) == (3, False)


def test_a_text_that_cannot_be_smoothed_stays_and_the_others_do_not(
    server: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    serve(server, {"good": "Good.", "long": 413, "empty": "", "odd": None, "half": "\ud800"})
    assert smoother(server)(["good", "long", "empty", "odd", "half"]) == ["Good.", "long", "empty", "odd", "half"]
    assert caplog.text.count("is left unsmoothed by tiny") == 4
    assert KEY not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_an_endpoint_that_fails_leaves_all_as_it_is_with_a_warning(
    server: HTTPServer, status: int, caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    asked = serve(server, {"good": status})
    one = smoother(server)
    with pytest.raises(EndpointError):
        one(["good"])
    assert len(asked) == 1 + len(waits) == (3 if status == 503 else 1)
    assert smoothed(one, ["good"]) is None
    assert "the texts are left unsmoothed" in caplog.text
    assert KEY not in caplog.text


def test_nobody_at_an_address_is_a_warning_too(caplog: pytest.LogCaptureFixture) -> None:
    down = Chat("tiny", "http://127.0.0.1:9/v1", retries=0)
    assert smoothed(down, ["good"]) is None
    assert "http://127.0.0.1:9/v1 cannot be reached" in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": None}, "smoother=chat needs a model; add smoother.model=NAME, as the endpoint calls it."),
        ({"key_variable": "sk-1"}, "smoother.key_variable is no name of an environment variable; put the key"),
        ({"base_url": "nowhere"}, "smoother.base_url=nowhere is no address; write it like http"),
        ({"retries": -1}, "smoother.retries=-1 does not fit; set 0 to"),
        ({"requests_a_minute": 0.0}, "smoother.requests_a_minute=0 does not fit; set more than 0, or null."),
    ],
)
def test_mistakes_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        Chat(**({"model": "tiny"} | settings))
    assert str(refused.value).startswith(sentence)
