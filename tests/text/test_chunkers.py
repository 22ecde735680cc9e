"""Chunkers lose no word, double none and move none, and treat each document as if it were alone."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.chunkers.episodes import Episodes
from lvm_lab.text.chunkers.paragraph import Paragraph
from lvm_lab.text.chunkers.semantic import Semantic
from lvm_lab.text.chunkers.sentences import Sentences
from lvm_lab.text.collection import cleaned
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.ingestion.chunking import chunk

pytest.importorskip("sentencex", reason="needs the extra text")

INNER = {"name": "paragraph", "_target_": "lvm_lab.text.chunkers.paragraph.Paragraph"}
LOSSLESS: list[Chunker] = [
    Paragraph(),
    Paragraph(min_characters=30),
    Paragraph(min_characters=20, max_characters=60),
    Sentences(length=40),
    Sentences(length=7, unit="words", across_paragraphs=True),
    Sentences(length=50, language="de"),
    Semantic(min_characters=0),
    Semantic(percentile=None, threshold=0.1, min_characters=10, max_characters=80),
]
ALL = [*LOSSLESS, Episodes(of=INNER, threshold=0.0, min_chunks=2)]
# Words, stops, quotes, abbreviations and what else a splitter may stumble over, and any text at all.
PIECE = st.sampled_from(
    ["Dr.", "Smith", "said", "“Hello!”", "e.g.", "3.14", "U.S.", "(see", "p.", "5).", "…", "Why?", "No.", "—", "a", "ß",
     "¿Qué?", "是。好", "\u00a0", "\u2028", "x\ty", "\x1c", "\U0001f600"]
)  # fmt: skip
PARAGRAPH = (st.lists(PIECE, min_size=1, max_size=12).map(" ".join) | st.text(max_size=60)).map(str.strip).filter(bool)
DOCUMENTS = st.lists(st.lists(PARAGRAPH, min_size=1, max_size=5), min_size=1, max_size=4)


class Hashes:
    """Vectors of texts' first words: the same for the same text, near for texts that begin alike."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        return np.stack([self.vector(text) for text in texts]).astype(np.float32)

    def vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256((text.split() or [""])[0].encode()).digest()[:4])
        own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        return np.random.default_rng(seed).standard_normal(8) + 0.3 * np.random.default_rng(own).standard_normal(8)


def made(paragraphs: list[list[str]]) -> list[Document]:
    return [Document(str(i), "", "s", tuple(texts)) for i, texts in enumerate(paragraphs)]


def words(texts: Sequence[str]) -> list[str]:
    """Words as blanks part them and, in scripts without blanks, as full stops do."""
    return re.sub("(?<=[。！？．｡︒﹗﹖។])", " ", " ".join(texts)).split()  # noqa: RUF001


def same(one: Chunked, other: Chunked) -> bool:
    if (one.texts, one.lengths, one.coherence) != (other.texts, other.lengths, other.coherence):
        return False
    return one.vectors_ND is other.vectors_ND is None or np.array_equal(one.vectors_ND, other.vectors_ND)  # type: ignore[arg-type]


def names(chunkers: Sequence[Any]) -> list[str]:
    return [f"{type(chunker).__name__}-{i}" for i, chunker in enumerate(chunkers)]


@pytest.mark.parametrize("chunker", LOSSLESS, ids=names(LOSSLESS))
@settings(max_examples=40)
@given(paragraphs=DOCUMENTS)
def test_no_word_is_lost_doubled_or_moved(chunker: Chunker, paragraphs: list[list[str]]) -> None:
    documents = made(paragraphs)
    chunked = chunker.chunk(documents, Hashes())
    assert len(chunked) == len(documents)
    for document, chunks in zip(documents, chunked, strict=True):
        assert words(chunks.texts) == words(document.paragraphs)
        assert all(text == text.strip() and text for text in chunks.texts)
        assert sum(chunks.lengths) == len(chunks.texts)


@pytest.mark.parametrize("chunker", ALL, ids=names(ALL))
@settings(max_examples=40)
@given(paragraphs=DOCUMENTS)
def test_a_document_is_cut_as_if_it_were_alone(chunker: Chunker, paragraphs: list[list[str]]) -> None:
    documents = made(paragraphs)
    together = chunker.chunk(documents, Hashes())
    alone = [chunker.chunk([document], Hashes())[0] for document in documents]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))


@pytest.mark.parametrize("chunker", ALL, ids=names(ALL))
def test_a_document_of_chunks_stays_as_it_is(chunker: Chunker) -> None:
    vectors_ND = np.ones((2, 4), np.float32)
    document = Document("a", "", "s", ("A. B. C.", "d"), chunked=True, vectors_ND=vectors_ND)
    encode = Hashes()
    (chunks,) = chunker.chunk([document], encode)
    assert (chunks.texts, chunks.lengths, encode.calls) == (document.paragraphs, (2,), [])
    assert chunks.vectors_ND is vectors_ND


@pytest.mark.parametrize(("chunker", "codes"), [(Paragraph(), [2, 6]), (Paragraph(min_characters=5), [MISSING])])
def test_codes_go_with_paragraphs_that_stay_chunks(chunker: Chunker, codes: list[int]) -> None:
    document = Document("a", "", "s", ("One.", " ", "Two."), codes_N=np.array([2, 4, 6], np.uint16))
    (piece,) = chunk([cleaned(document)], chunker, Hashes(), [0.0])
    assert piece.codes_N.tolist() == codes


def test_short_paragraphs_join_the_next_and_long_ones_split_between_sentences() -> None:
    document = Document("a", "", "s", ("Heading", "The first one. The second one.", "Long. Long. Long. Long.", "End"))
    (chunks,) = Paragraph(min_characters=10, max_characters=12).chunk([document], Hashes())
    assert chunks.texts == ("Heading The first one.", "The second one.", "Long. Long.", "Long. Long.", "End")
    (chunks,) = Paragraph(min_characters=10).chunk([document], Hashes())
    assert chunks.texts == ("Heading The first one. The second one.", "Long. Long. Long. Long. End")


@given(paragraphs=DOCUMENTS, length=st.integers(1, 60), unit=st.sampled_from(["characters", "words"]))
def test_sentences_are_packed_to_their_length(paragraphs: list[list[str]], length: int, unit: Any) -> None:
    def size(text: str) -> int:
        return len(text) if unit == "characters" else len(text.split())

    documents = made(paragraphs)
    for single, packed in zip(
        Sentences(length=1, unit=unit).chunk(documents, Hashes()),
        Sentences(length=length, unit=unit).chunk(documents, Hashes()),
        strict=True,
    ):
        assert all(size(text) <= length or text in single.texts for text in packed.texts)


def test_sentences_cross_no_paragraph_unless_they_may() -> None:
    document = Document("a", "", "s", ("Dr. Smith went. He came back.", "Then he left."))
    assert Sentences(length=80).chunk([document], Hashes())[0].texts == document.paragraphs
    assert Sentences(length=80, across_paragraphs=True).chunk([document], Hashes())[0].texts == (
        "Dr. Smith went. He came back. Then he left.",
    )
    assert Sentences(length=16).chunk([document], Hashes())[0].texts == (
        "Dr. Smith went.", "He came back.", "Then he left.",
    )  # fmt: skip


def turning(texts: Sequence[str]) -> np.ndarray:
    """Cats and ships, at right angles."""
    return np.array([[1, 0.1] if "cat" in text else [0.1, 1] for text in texts], np.float32)


CATS = Document("a", "", "s", ("A cat sleeps. The cat wakes up.", "Ships sail. A ship sinks. The cat swims."))


@pytest.mark.parametrize("settings", [{"percentile": 50.0}, {"percentile": None, "threshold": 0.5}])
def test_a_boundary_is_where_the_meaning_turns(settings: dict[str, Any]) -> None:
    (chunks,) = Semantic(min_characters=0, **settings).chunk([CATS], turning)
    assert chunks.texts == ("A cat sleeps. The cat wakes up.", "Ships sail. A ship sinks.", "The cat swims.")


def test_the_lengths_of_semantic_chunks_have_bounds() -> None:
    (chunks,) = Semantic(percentile=50.0, min_characters=40, max_characters=None).chunk([CATS], turning)
    assert chunks.texts == ("A cat sleeps. The cat wakes up. Ships sail. A ship sinks.", "The cat swims.")
    (chunks,) = Semantic(min_characters=0, max_characters=18, percentile=0.0).chunk([CATS], turning)
    assert all(len(text) <= 18 for text in chunks.texts)


@pytest.mark.parametrize("chunker", [Semantic(), Episodes(of=INNER)], ids=["semantic", "episodes"])
def test_all_documents_are_encoded_in_one_call(chunker: Chunker) -> None:
    encode = Hashes()
    chunker.chunk([CATS, Document("b", "", "s", ("One. Two.", "Three. Four.")), CATS], encode)
    assert len(encode.calls) == 1


def test_episodes_hold_together_and_the_rest_is_dropped() -> None:
    texts = ("cat 1", "cat 2", "cat 3", "ship", "cat 4", "cat 5")
    (chunks,) = Episodes(of=INNER, threshold=0.5, min_chunks=2).chunk([Document("a", "", "s", texts)], turning)
    assert chunks.texts == ("cat 1", "cat 2", "cat 3", "cat 4", "cat 5")
    assert chunks.lengths == (3, 2)
    assert chunks.coherence == pytest.approx((1.0, 1.0))
    assert chunks.vectors_ND is not None
    assert (chunks.vectors_ND == turning(chunks.texts)).all()
    (none,) = Episodes(of=INNER, threshold=0.5, min_chunks=4).chunk([Document("a", "", "s", texts)], turning)
    assert (none.texts, none.lengths, none.coherence) == ((), (), ())


@given(paragraphs=DOCUMENTS, threshold=st.floats(-1, 1), least=st.integers(2, 4))
def test_episodes_are_stretches_of_the_other_chunkers_chunks(
    paragraphs: list[list[str]], threshold: float, least: int
) -> None:
    documents, encode = made(paragraphs), Hashes()
    for document, chunks in zip(
        documents, Episodes(of=INNER, threshold=threshold, min_chunks=least).chunk(documents, encode), strict=True
    ):
        place, first = 0, 0
        assert chunks.coherence is not None
        assert chunks.vectors_ND is not None
        for length, coherence in zip(chunks.lengths, chunks.coherence, strict=True):
            episode = chunks.texts[first : first + length]
            vectors_ND = chunks.vectors_ND[first : first + length]
            assert (vectors_ND == encode(episode)).all()
            units_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
            cosine_P = (units_ND[1:] * units_ND[:-1]).sum(axis=1)
            assert length >= least
            assert cosine_P.min() >= threshold - 1e-3
            assert coherence == pytest.approx(cosine_P.mean(), abs=1e-3)
            # In order, and as they stand.
            place = next(i for i in range(place, 99) if document.paragraphs[i : i + length] == episode) + length
            first += length


@pytest.mark.parametrize(
    ("make", "settings", "sentence"),
    [
        (Paragraph, {"min_characters": -1}, "chunker.min_characters=-1 does not fit; give it 0 or more."),
        (Paragraph, {"min_characters": 9, "max_characters": 5}, "give it less."),
        (Sentences, {"length": 0}, "chunker.length=0 does not fit; give it 1 or more."),
        (Semantic, {"threshold": 0.3}, "set one of them to null and the other to a number."),
        (
            Semantic,
            {"percentile": None},
            "chunker.percentile=null and chunker.threshold=null say twice, or not at all, where a boundary is; set one "
            "of them to null and the other to a number.",
        ),
        (Semantic, {"percentile": 101.0}, "give it a number from 0 to 100."),
        (Episodes, {"of": INNER, "min_chunks": 1}, "chunker.min_chunks=1 does not fit; give it 2 or more."),
        (Episodes, {"of": {"_target_": "os.system"}}, "name a class, as the options of lvm_lab.text.chunkers do."),
        (Episodes, {"of": INNER | {"lenght": 3}}, "in chunker.of there are language, max_characters, min_characters."),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        make(**settings)
    assert str(caught.value).endswith(sentence)


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencex", None)
    with pytest.raises(UserError, match=r"^sentencex is not installed; pip install lvm_lab\[text\] brings it\.$"):
        Sentences().chunk([CATS], Hashes())


def test_an_unknown_language_is_cut_by_common_rules() -> None:
    document = Document("a", "", "s", ("One. Two.",))
    assert words(Sentences(language="xx").chunk([document], Hashes())[0].texts) == ["One.", "Two."]
