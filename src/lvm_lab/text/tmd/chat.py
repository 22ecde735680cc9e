"""`tmd=chat`: any endpoint that answers `POST /v1/chat/completions` as OpenAI's does says what kind of text a chunk is.

Shape suffixes: N chunks, D vector dim.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import ClassVar

import numpy as np

from lvm_lab.config.settings import cache_folder
from lvm_lab.errors import UserError
from lvm_lab.text.chat_answer import Answer, Question
from lvm_lab.text.chat_cache import AnswerCache
from lvm_lab.text.chat_model import REFUSED, ChatModel, check_positive
from lvm_lab.text.coder import Coder, Table
from lvm_lab.text.encoder import FIRST_TEXT, Encoder
from lvm_lab.text.endpoint import KEY, EndpointError

log = logging.getLogger(__name__)

# Chunks whose codes are written at once; what an endpoint answered meanwhile is in the cache.
STRETCH = 512


class Chat(Coder):
    """model: as the endpoint calls it. base_url: up to and with /v1. key_variable: the environment variable that holds
    the key, which is no setting and so is written nowhere.

    chunks: of one request. requests_a_minute: at most; None: as fast as answers come. attempts: how often names are
    asked for where the answer has others than the table. minutes: after so many no more is asked. temperature: None
    for the endpoint's own. timeout, retries, first_wait, longest_wait: of requests, as of `encoder=openai`. cache: the
    folder of the answers; None: the user's cache.
    """

    places: ClassVar[tuple[str, ...]] = ("base_url", "cache")
    needs_texts: ClassVar[bool] = True

    def __init__(
        self,
        model: str | None = None,
        base_url: str = "https://api.openai.com/v1",
        key_variable: str = KEY,
        *,
        chunks: int = 8,
        requests_a_minute: float | None = None,
        attempts: int = 3,
        minutes: float | None = None,
        temperature: float | None = 0.0,
        timeout: float = 60.0,
        retries: int = 6,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        cache: str | None = None,
    ) -> None:
        self._model = ChatModel(
            "tmd",
            model,
            base_url,
            key_variable,
            temperature=temperature,
            requests_a_minute=requests_a_minute,
            waits=(timeout, retries, first_wait, longest_wait),
        )
        for name, count in (("chunks", chunks), ("attempts", attempts)):
            if count < 1:
                raise UserError(f"tmd.{name}={count} does not fit; set 1 or more.")
        check_positive("tmd.minutes", minutes)
        self.chunks, self.attempts, self.minutes, self.cache = chunks, attempts, minutes, cache
        self._works = False

    @property
    def by(self) -> str:
        return f"chat, {self._model.name}"

    def codes(
        self, table: Table, vectors_ND: np.ndarray, texts: Sequence[str] | None, encoder: Encoder | None
    ) -> Iterator[np.ndarray]:
        assert texts is not None, "texts are what is read"
        question = Question(table)
        ends = float("inf") if self.minutes is None else monotonic() + 60 * self.minutes
        with AnswerCache(cache_folder(self.cache), self._model.name, question.instructions) as cache:
            for first in range(0, len(texts), STRETCH):
                stretch = texts[first : first + STRETCH]
                answers = {text: one for text, one in cache.known(stretch).items() if question.fits(one)}
                try:
                    self._fill(answers, stretch, question, cache, ends)
                except EndpointError:
                    yield question.codes(stretch, answers)
                    raise
                yield question.codes(stretch, answers)
                if monotonic() >= ends:
                    return

    def _fill(
        self, answers: dict[str, Answer], texts: Sequence[str], question: Question, cache: AnswerCache, ends: float
    ) -> None:
        """Ask for what is not among the answers, and keep what comes."""
        open_texts = [text for text in dict.fromkeys(texts) if text.strip() and text not in answers]
        complaint = ""
        for first in range(0, len(open_texts), self.chunks):
            if monotonic() >= ends:
                return
            for some, fault in self._answers(open_texts[first : first + self.chunks], question):
                cache.keep(some)
                answers |= some
                complaint = fault or complaint
        count = sum(text not in answers for text in open_texts)
        if count:
            log.warning(
                "%d chunks have no answer of %s that fits: %s",
                count,
                self._model.name,
                self._model.endpoint.plain(complaint),
            )

    def _answers(self, texts: list[str], question: Question) -> Iterator[tuple[dict[str, Answer], str]]:
        """The answers to some texts as they come, each time with what is wrong with the rest."""
        complaint = ""
        for _ in range(self.attempts):
            try:
                content = self._model.answer(question.messages(texts, complaint))
            except EndpointError as error:
                if error.status not in REFUSED:
                    raise
                if len(texts) > 1:
                    for text in texts:
                        yield from self._answers([text], question)
                    return
                self._check(question)
                yield {}, str(error)
                return
            self._works = True
            answers, complaint = question.read(content, len(texts))
            yield {text: one for text, one in zip(texts, answers, strict=True) if one is not None}, complaint
            texts = [text for text, one in zip(texts, answers, strict=True) if one is None]
            if not texts:
                return

    def _check(self, question: Question) -> None:
        """Whether it is the text that was refused, and not every request: EndpointError for what is refused always."""
        if not self._works:
            self._model.answer(question.messages([FIRST_TEXT]))
            self._works = True
