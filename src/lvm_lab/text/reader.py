"""What a reader is: a place of texts that is read in one order, from any document on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lvm_lab.data.tmd import Names
from lvm_lab.text.document import Document


@dataclass(frozen=True)
class Origin:
    """Where a source's texts come from, for the store's manifest: a licence's name and an address, as far as known."""

    source: str
    licence: str | None = None
    origin: str | None = None


class Reader(ABC):
    """`reader=...` of an ingestion: its constructor takes the settings of conf/reader/<name>.yaml.

    places, secrets: as of a data source (`lvm_lab.data.source.Source`).
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Every document, in the same order each time, read as it is asked for. An id comes once.

        Raises UserError, naming the file and the line, for what is no document; a document without text is left out
        and counted in `skipped`.
        """

    @abstractmethod
    def content(self) -> str:
        """A digest of what will be read: an ingestion that was interrupted goes on only where it is the same."""

    @abstractmethod
    def origins(self) -> list[Origin]:
        """One a source, without reading all of it."""

    def tmd_table(self) -> Names | None:
        """What the TMD codes of its documents mean, empty where nothing says; None where they bring no codes."""
        return None

    def skipped(self) -> dict[str, int]:
        """What was left out so far, reason to number of documents."""
        return {}
