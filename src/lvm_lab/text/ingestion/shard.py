"""The blocks of one shard on disk, and what says that its last one is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.text.ingestion.block_file import Block

DONE, BLOCK = "done.json", "block-{:06d}.npz"


@dataclass(frozen=True)
class Done:
    """What a shard leaves when its last block is there. skipped: what the reader left out, reason to number of
    documents, of all shards together. origins: where its sources' texts come from. writing: seconds of the last block;
    opening: those before the reader's first document.
    """

    blocks: int
    skipped: dict[str, int]
    origins: list[dict[str, str | None]]
    writing: float
    opening: float


@dataclass(frozen=True)
class Shard:
    """A shard's blocks."""

    folder: Path

    def kept(self) -> tuple[int, Block | None]:
        """(how many blocks are there, the last of them)."""
        count = 0
        while self._file(count).exists():
            count += 1
        return count, Block.read(self._file(count - 1), vectors=False) if count else None

    def blocks(self, vectors: bool = True) -> Iterator[Block]:
        """All of a shard that is done; vectors: as of `Block.read`."""
        done = self.done()
        assert done is not None, f"{self.folder} is not done"
        return (Block.read(self._file(number), vectors) for number in range(done.blocks))

    def write(self, number: int, block: Block) -> None:
        block.write(self._file(number))

    def finish(self, done: Done) -> None:
        write_atomically(self.folder / DONE, json.dumps(asdict(done)))

    def done(self) -> Done | None:
        file = self.folder / DONE
        try:
            return Done(**json.loads(file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{file} is damaged ({error}); delete the folder {self.folder.parent} and give the command again."
            ) from error

    def _file(self, number: int) -> Path:
        return self.folder / BLOCK.format(number)
