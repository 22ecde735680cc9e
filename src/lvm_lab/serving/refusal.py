"""What a request is refused with: a status and one sentence, of one shape for every path."""

from __future__ import annotations

import json
from typing import Any

# What OpenAI calls them, whose clients read it.
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
# Seconds.
RETRY_AFTER = 1


class Refusal(Exception):
    """What is wrong with a request, or what the server lacks for it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def unread(*media: str) -> str:
    """The sentence for a body that is of none of these types."""
    *others, last = media
    taken = f"{', '.join(others)} or {last}" if others else last
    return f"the body is of a type that is not read; send {taken}."


def content(status: int, sentence: str) -> dict[str, Any]:
    """The body of an answer that is an error."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": sentence, "type": kind, "code": status}}


def body(status: int, sentence: str) -> bytes:
    return json.dumps(content(status, sentence), ensure_ascii=False).encode("utf-8", "replace")


def headers(status: int) -> dict[str, str]:
    """What an error's answer says beside its body: when to come again, where the server is full with what all clients
    ask. No client is counted by itself, so that none gets 429."""
    if status == 503:
        return {"retry-after": str(RETRY_AFTER)}
    return {"www-authenticate": "Bearer"} if status == 401 else {}
