"""A language model behind an endpoint that answers `POST /v1/chat/completions` as OpenAI's does.

https://platform.openai.com/docs/api-reference/chat is what is asked and answered.
"""

from __future__ import annotations

import os
import re
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.text.endpoint import Endpoint, EndpointError, Pace

VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# What is answered to a text that is too long or that the endpoint will not read.
REFUSED = (400, 413, 422)
# What models put before their answer.
THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class ChatModel:
    """name: as the endpoint calls it. key_variable: the environment variable that holds the key, which is no setting
    and so is written nowhere. temperature: None for the endpoint's own. requests_a_minute: at most; None: as fast as
    answers come. waits: timeout, retries, first_wait and longest_wait of `Endpoint`. group: whose settings these are,
    for messages. Raises UserError for settings that do not fit.
    """

    def __init__(
        self,
        group: str,
        name: str | None,
        base_url: str,
        key_variable: str,
        *,
        temperature: float | None,
        requests_a_minute: float | None,
        waits: tuple[float, int, float, float],
    ) -> None:
        if not name:
            raise UserError(f"{group}=chat needs a model; add {group}.model=NAME, as the endpoint calls it.")
        if not VARIABLE.fullmatch(key_variable):
            # Not shown: it may be the key itself.
            raise UserError(
                f"{group}.key_variable is no name of an environment variable; put the key there and name that."
            )
        check_positive(f"{group}.requests_a_minute", requests_a_minute)
        self.group, self.name, self.temperature = group, name, temperature
        key, pace = os.environ.get(key_variable), Pace(requests_a_minute)
        self.endpoint = Endpoint(base_url, key, *waits, group=group, key_variable=key_variable, pace=pace)

    def answer(self, messages: list[dict[str, str]]) -> Any:
        """The content of the message that it answers with; None where that has none. Raises EndpointError."""
        request: dict[str, Any] = {"model": self.name, "messages": messages}
        if self.temperature is not None:
            request["temperature"] = self.temperature
        answer = self.endpoint.post("chat/completions", request)
        try:
            return answer["choices"][0]["message"].get("content")
        except (TypeError, LookupError, AttributeError):
            raise EndpointError(
                f"{self.endpoint.shown} answered with something that is no message of a model; check "
                f"{self.group}.base_url."
            ) from None


def check_positive(setting: str, value: float | None) -> None:
    """UserError for a limit that is none."""
    if value is not None and not 0 < value < float("inf"):
        raise UserError(f"{setting}={value:g} does not fit; set more than 0, or null.")


def without_thought(content: str) -> str:
    """What a model answers, without what it thought before."""
    thought = THOUGHT.match(content)
    return content[thought.end() if thought else 0 :].strip()
