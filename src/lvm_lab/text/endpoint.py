"""Requests to an endpoint over HTTP: answered whole in time, sent again where waiting helps, the key shown nowhere."""

from __future__ import annotations

import email.utils
import functools
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic, sleep, time
from typing import Any
from urllib.parse import urlsplit

from lvm_lab.errors import UserError
from lvm_lab.files import address
from lvm_lab.text.installed import needed

log = logging.getLogger(__name__)

# Statuses after which the same request may succeed.
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
# Of an answer that is shown in a message.
SHOWN = 200
# More is no answer to any batch that we send.
LARGEST = 1 << 30
KEY = "OPENAI_API_KEY"
# Seconds, the most that anybody waits for an answer.
DAY = 86_400
# Doubling a wait more often is more than a float holds.
MOST_RETRIES = 1_000


class EndpointError(UserError):
    """An endpoint does not answer, or not with what was asked of it. status: of its answer, where it is another than
    200 and the same request would get it again."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class Pace:
    """Requests no nearer to each other than so many a minute allow; None: as fast as they are answered."""

    a_minute: float | None = None
    _next: float = field(default=0.0, init=False)

    def wait(self) -> None:
        if self.a_minute is None:
            return
        now = monotonic()
        if self._next > now:
            sleep(self._next - now)
        self._next = max(self._next, now) + 60 / self.a_minute


class _Failure(Exception):
    """What waiting may mend. wait: seconds that the endpoint asks for."""

    def __init__(self, words: str, wait: float | None = None) -> None:
        super().__init__(words)
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """base_url: what paths go behind. timeout: seconds for a whole answer. retries: how often a request is sent again;
    first_wait doubles from one time to the next, up to longest_wait. group: whose settings these are, for messages, and
    key_variable: where the key stands in the environment. pace: of requests, those that are sent again among them."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout: float
    retries: int
    first_wait: float
    longest_wait: float
    group: str = "encoder"
    key_variable: str = KEY
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        if not _is_address(self.base_url):
            example = "http://localhost:8000/v1"
            raise UserError(f"{self.group}.base_url={self.shown} is no address; write it like {example}.")
        if not 0 < self.timeout <= DAY:
            raise UserError(f"{self.group}.timeout={self.timeout:g} does not fit; set seconds above 0, {DAY} at most.")
        for name in ("first_wait", "longest_wait"):
            if not 0 <= getattr(self, name) <= DAY:
                raise UserError(f"{self.group}.{name}={getattr(self, name):g} does not fit; set 0 to {DAY} seconds.")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise UserError(f"{self.group}.retries={self.retries} does not fit; set 0 to {MOST_RETRIES}.")

    @property
    def shown(self) -> str:
        """The address as messages have it."""
        return address(self.base_url)

    def post(self, path: str, content: dict[str, Any]) -> Any:
        """The JSON that the endpoint answers with. EndpointError where it does not, however often it is asked."""
        for attempt in range(self.retries + 1):
            self.pace.wait()
            try:
                return self._once(path, content)
            except _Failure as failure:
                if attempt == self.retries:
                    times = f"{attempt + 1} times" if attempt else "once"
                    raise EndpointError(
                        f"{self.shown} {failure} (asked {times}); give the same command again later, or raise "
                        f"{self.group}.timeout or {self.group}.retries."
                    ) from None
                wait = self.first_wait * 2**attempt if failure.wait is None else failure.wait
                wait = min(wait, self.longest_wait)
                log.warning("%s %s; asked again in %.0f s", self.shown, failure, wait)
                sleep(wait)
        raise AssertionError("a request is sent at least once")

    def _once(self, path: str, content: dict[str, Any]) -> Any:
        httpx = needed("httpx")
        # It would name every request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        ends = monotonic() + self.timeout
        try:
            address = f"{self.base_url.rstrip('/')}/{path}"
            with (
                httpx.Client(timeout=self.timeout, headers=headers, verify=_certificates()) as client,
                client.stream("POST", address, json=content) as response,
            ):
                body = _read(response.iter_bytes(), ends)
                status, asked_wait = response.status_code, response.headers.get("retry-after")
        except httpx.TimeoutException:
            raise _Failure(f"did not answer within {self.timeout:g} s") from None
        except httpx.TransportError as error:
            raise _Failure(f"cannot be reached ({self.plain(str(error)) or type(error).__name__})") from None
        except (httpx.InvalidURL, httpx.HTTPError, UnicodeError, ValueError) as error:
            raise EndpointError(
                f"{self.group}.base_url={self.shown} cannot be asked ({self.plain(str(error))}); check it and "
                f"{self.key_variable}."
            ) from None
        if body is None:
            raise _Failure(f"did not answer within {self.timeout:g} s")
        return self._answer(status, body, asked_wait)

    def _answer(self, status: int, body: bytes, asked_wait: str | None) -> Any:
        words = self.plain(_error_of(body))
        said = f" ({words})" if words else ""
        if status in AGAIN:
            raise _Failure(f"answered {status}{said}", seconds(asked_wait))
        if status in (401, 403):
            way_out = f"set {self.key_variable} in the environment."
            raise EndpointError(f"{self.shown} refused the key with {status}{said}; {way_out}", status)
        if status != 200:
            way_out = f"check {self.group}.base_url and {self.group}.model."
            raise EndpointError(f"{self.shown} answered {status}{said}; {way_out}", status)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise EndpointError(f"{self.shown} answered with no JSON{said}; check {self.group}.base_url.") from None

    def plain(self, words: str) -> str:
        """Somebody's words for a message: on one line, short, without the key."""
        hidden = words.replace(self.api_key, "<secret>") if self.api_key else words
        return " ".join("".join(c if c.isprintable() else " " for c in hidden).split())[:SHOWN]


@functools.cache
def _certificates() -> Any:
    """Whom HTTPS trusts, read once: reading it takes longer than most requests here."""
    return needed("httpx").create_ssl_context()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _read(pieces: Iterable[bytes], ends: float) -> bytes | None:
    """A body; None where it is not whole in time, however steadily it comes."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if monotonic() > ends or len(body) > LARGEST:
            return None
    return bytes(body)


def _error_of(body: bytes) -> str:
    """What an answer says of itself: OpenAI's `error.message`, or its beginning."""
    text = body[: 16 * SHOWN].decode(errors="replace")
    try:
        node = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("error", "message", "detail"):
        if isinstance(node, dict) and key in node:
            node = node[key]
    return node if isinstance(node, str) else text


def seconds(value: str | None) -> float | None:
    """Of a Retry-After: seconds, or a date; None where it is neither."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0) if float(value) < float("inf") else None
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time(), 0.0)
    except (ValueError, TypeError):
        return None
