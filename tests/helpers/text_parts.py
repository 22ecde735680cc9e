"""A reader, a chunker and an encoder that need no file and no model, and that fail where they are told to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.reader import Origin, Reader

CONF = Path(__file__).parents[1] / "fixtures" / "text_conf"
WORDS = ("river", "stone", "winter", "ladder", "copper", "garden", "thunder", "paper", "harbour", "candle")


@dataclass
class Stories(Reader):
    """Documents of made-up sentences: `count` from the number `first` on. fault: what is wrong at the number `at`."""

    reachable: ClassVar[bool] = False

    count: int = 12
    first: int = 0
    source: str = "stories"
    sentences: int = 9
    fault: str | None = None
    at: int = 5

    def documents(self) -> Iterator[Document]:
        for number in range(self.first, self.first + self.count):
            hit = number == self.at
            if hit and self.fault == "raises":
                raise KeyError("no such page")
            if hit and self.fault == "refuses":
                raise UserError("stories.txt, line 5 is no story; mend it.")
            if hit and self.fault == "unreachable" and not self.reachable:
                raise ConnectionRefusedError(111, "Connection refused")
            ident = "d0" if hit and self.fault == "twice" else f"d{number}"
            yield Document(ident, f"Story {number}", self.source, tuple(self._sentences(number)))

    def content(self) -> str:
        return f"{self.first} {self.count} {self.source} {self.sentences}"

    def origins(self) -> list[Origin]:
        return [Origin(self.source, "CC0", "https://example.org")]

    def skipped(self) -> dict[str, int]:
        return {"without text": 2}

    def _sentences(self, number: int) -> Iterator[str]:
        rng = np.random.default_rng(number)
        for place in range(self.sentences + number % 4):
            yield f"{' '.join(rng.choice(WORDS, 4 + place % 5))} {place} of {number}."


@dataclass
class Paragraphs(Chunker):
    """A chunk a paragraph. encodes: looks at vectors, as a chunker that measures does, and keeps a cosine."""

    encodes: bool = False
    fault: str | None = None

    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        if self.fault == "raises":
            raise RuntimeError("no rule for this script")
        if self.fault == "nothing":
            return [Chunked((), ()) for _ in documents]
        if self.fault == "fewer":
            return []
        chunks = [Chunked(document.paragraphs, (len(document.paragraphs),)) for document in documents]
        if self.fault == "lengths":
            return [replace(one, lengths=(1,)) for one in chunks]
        if self.fault == "blank":
            return [replace(one, texts=(" ", *one.texts[1:])) for one in chunks]
        if self.encodes:
            return [replace(one, coherence=(float(encode(one.texts).mean()),)) for one in chunks]
        return chunks


@dataclass
class Letters(Encoder):
    """How often each letter stands in a text, and a number of its hash; fault: what is wrong with chunks that have a
    word."""

    fault: str | None = None
    word: str = "of 5."
    model: str = "letters"
    limit_words: int | None = None

    def contract(self) -> EncoderContract:
        if self.fault == "missing":
            raise UserError("torch_of_letters is not installed; pip install lvm_lab[text] brings it.")
        return EncoderContract(encoder=self.model, pooling="sum", dense=False, normalised=False, dim=32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors_ND = np.stack([self._vector(text) for text in texts]).astype(np.float32)
        hit = [self.word in text for text in texts]
        if any(hit) and self.fault == "raises":
            raise RuntimeError("CUDA error: device-side assert triggered")
        if any(hit) and self.fault == "dims":
            return vectors_ND[:, :20]
        if any(hit) and self.fault == "rows":
            return vectors_ND[:-1]
        if any(hit) and self.fault in ("undefined", "zero", "huge"):
            vectors_ND[hit] = {"undefined": np.nan, "zero": 0.0, "huge": 1e6}[str(self.fault)]
        return vectors_ND

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    @property
    def limit(self) -> int | None:
        return self.limit_words

    def _vector(self, text: str) -> np.ndarray:
        counts = [text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
        digest = hashlib.sha256(f"{self.model} {text}".encode()).digest()[:6]
        return np.array([*counts, *digest], dtype=np.float64) / 100
