"""What the columns of a table of chunks are for, and what they are called."""

from __future__ import annotations

from dataclasses import asdict, dataclass

TABLE = "cpe_entry"


@dataclass(frozen=True)
class Columns:
    """A column's name for each use, None where the table has none for it.

    id: of the chunk. article, chunk: the document, and the place in it, of whatever type that orders. dataset: the
    source. title: the document's. tmd: the chunk's TMD code (`lvm_lab.data.tmd`).
    """

    id: str | None = "cpe_id"
    text: str | None = "concept_text"
    vector: str | None = "concept_vec"
    article: str | None = "article_index"
    chunk: str | None = "chunk_index"
    dataset: str | None = "dataset_source"
    title: str | None = "title"
    tmd: str | None = "tmd_code"

    def named(self) -> dict[str, str]:
        """Use to name, of those that there are."""
        return {use: name for use, name in asdict(self).items() if name is not None}
