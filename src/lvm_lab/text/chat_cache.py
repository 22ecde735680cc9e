"""Answers of a chat endpoint on disk, each under its model, what the model was told and the text, so that none is asked
for twice."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from lvm_lab.errors import UserError
from lvm_lab.files import check_replaceable
from lvm_lab.text.chat_answer import Answer

log = logging.getLogger(__name__)

FILE = "tmd_chat.sqlite"
COLUMNS = ("domain", "task", "modifier")
# Seconds for another process to finish its writing.
PATIENCE = 60.0


class AnswerCache:
    """A context manager. A folder that cannot be read or written is warned of, and done without: it only spares work.

    instructions: with the table of names. file, columns: where and as what answers are kept. Answers of one call of
    `keep` are all on disk, or none is.
    """

    def __init__(
        self, folder: Path, model: str, instructions: str, file: str = FILE, columns: tuple[str, ...] = COLUMNS
    ) -> None:
        self.file, self._told = folder / file, (model, instructions)
        fields = ", ".join(f"{column} TEXT NOT NULL" for column in columns)
        self._create = f"CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, {fields}) WITHOUT ROWID"
        self._select = f"SELECT {', '.join(columns)} FROM answers WHERE key = ?"
        self._keep = f"INSERT OR REPLACE INTO answers VALUES (?{', ?' * len(columns)})"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> AnswerCache:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            check_replaceable(self.file)
            self._connection = sqlite3.connect(self.file, timeout=PATIENCE)
            with self._connection:
                self._connection.execute(self._create)
        except (sqlite3.Error, OSError, UserError) as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def known(self, texts: Iterable[str]) -> dict[str, Answer]:
        """The answers to those of the texts that have one here."""
        answers: dict[str, Answer] = {}
        if self._connection is None:
            return answers
        try:
            for text in texts:
                row = self._connection.execute(self._select, (self._key(text),)).fetchone()
                if row is not None:
                    answers[text] = tuple(row)
        except sqlite3.Error as error:
            self._give_up(error)
        return answers

    def keep(self, answers: Mapping[str, Answer]) -> None:
        if self._connection is None:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    self._keep, [(self._key(text), *answer) for text, answer in answers.items()]
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(json.dumps([*self._told, text]).encode()).digest()

    def _give_up(self, error: Exception) -> None:
        log.warning("%s keeps no answers (%s); what is asked now is asked again by a later command", self.file, error)
        if self._connection is not None:
            self._connection.close()
        self._connection = None
