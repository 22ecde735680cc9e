"""Reading an `.npz` safely: headers first, values in slices, pickled objects never.

`np.load` reads a whole member at once and finds out about pickles late; here the headers say what a
file holds before any value is read, so that every refusal comes first and memory holds one slice.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from lvm_lab.config.command import command
from lvm_lab.data.flaws import flaw
from lvm_lab.data.importers.npz_header import Header, read_header
from lvm_lab.errors import UserError

BLOCK_BYTES = 8 << 20
# Deflate cannot shrink anything further, so a member that declares more was tampered with.
DEFLATE_LIMIT = 1_032
TEXT_KEYS = ("concept_texts", "target_texts", "texts")


class NpzFile:
    """An open `.npz`. Use as a context manager.

    plain: arrays that stand in for members, such as what the converter took out of pickles.
    texts: the rows' texts by key, where the caller has them already.
    scratch: the folder on whose disk what an import makes of the vectors may lie; None for memory alone.
    """

    def __init__(
        self,
        path: Path,
        *,
        plain: Mapping[str, np.ndarray] | None = None,
        texts: Mapping[str, list[str]] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.path, self.scratch = path, scratch
        self._plain = dict(plain or {})
        self._texts = dict(texts or {})
        if path.is_dir():
            raise UserError(f"{path} is a folder where an .npz file is needed; give the path of the file itself.")
        if not path.exists():
            raise UserError(f"{path} does not exist; check the path.")
        if not path.is_file():
            # Opening a pipe would wait for somebody to write into it.
            raise UserError(f"{path} is a pipe or a device where an .npz file is needed; save the vectors to a file.")
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged file makes zipfile raise nearly anything
            raise self.unreadable(error) from error
        try:
            self.headers = self._read_headers() | {
                key: Header(array.shape, array.dtype) for key, array in self._plain.items()
            }
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def find(self, *names: str, rank: int | None = None) -> str | None:
        """The first of the names that the file has, those that need no unpickling before the others.

        rank: `X` counts only where it has this rank (or is pickled), since it is an alias in both layouts.
        """
        there = [name for name in names if name in self.headers]
        if rank is not None and "X" in there:
            header = self.headers["X"]
            if len(header.shape) != rank and not header.pickled:
                there.remove("X")
        there.sort(key=lambda name: self.headers[name].pickled)
        return there[0] if there else None

    def pickled(self) -> list[str]:
        return sorted(key for key, header in self.headers.items() if header.pickled)

    def require(self, key: str, shape: tuple[int | None, ...], meaning: str) -> None:
        """Refuse a needed key that is pickled, empty or of another shape (None: any length)."""
        header = self.headers[key]
        if header.pickled:
            raise UserError(
                f"{self.path}: {key} is a pickled object array, which is never unpickled here because reading one can "
                f"run code; if you trust the file, convert it with {converter_command(self.path)}."
            )
        if len(header.shape) != len(shape):
            raise UserError(
                f"{self.path}: {key} has shape {header.shape} where {meaning} is needed; save it in that form."
            )
        if header.values == 0:
            raise UserError(f"{self.path}: {key} is empty (shape {header.shape}); save the file again with its data.")
        if any(need is not None and need != got for need, got in zip(shape, header.shape, strict=True)):
            wants = "(" + ", ".join("any" if need is None else str(need) for need in shape) + ")"
            raise UserError(
                f"{self.path}: {key} has shape {header.shape} and does not fit the other arrays, which need {wants}; "
                "save all arrays from the same rows."
            )

    def vector_dtype(self, *keys: str) -> np.dtype:
        """float16 where all the keys hold it, else float32."""
        for key in keys:
            if self.headers[key].dtype.kind != "f":
                raise UserError(
                    f"{self.path}: {key} holds {self.headers[key].dtype} where float vectors are needed; "
                    "save it as float16 or float32."
                )
        half = all(self.headers[key].dtype.itemsize == 2 for key in keys)
        return np.dtype(np.float16 if half else np.float32)

    def vectors(self, key: str, dtype: np.dtype, keep_N: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Slices of vectors as (first row, block), cast, with NaN, infinity and zero vectors refused.

        keep_N: a mask of the rows that are read, and counted; None for all.
        """
        place = 0
        for first, block in self.blocks(key):
            if keep_N is not None:
                block = block[keep_N[first : first + len(block)]]
            # As the file has it: a float64 may be too large for the dtype that is kept.
            flawed = flaw(block)
            if flawed is not None:
                (row, *rest), words = flawed
                in_file = place + row if keep_N is None else int(np.flatnonzero(keep_N)[place + row])
                raise UserError(f"{self.path}: {key}[{', '.join(map(str, (in_file, *rest)))}] {words}.")
            yield place, block.astype(dtype, copy=False)
            place += len(block)

    def indices(self, key: str, shape: tuple[int | None, ...], meaning: str) -> np.ndarray:
        """An array of non-negative integers, as int64."""
        self.require(key, shape, meaning)
        dtype = self.headers[key].dtype
        if dtype.kind not in "iu":
            raise UserError(f"{self.path}: {key} holds {dtype} where integers are needed; save it as int64.")
        values = np.concatenate([block for _, block in self.blocks(key)])
        bad = (values < 0) | (values > np.iinfo(np.int64).max)
        if bad.any():
            raise UserError(
                f"{self.path}: {key} holds {values[bad][0]}, which is no index; number from 0 or 1, without negatives."
            )
        return values.astype(np.int64)

    def texts(self, rows: int, prefix: str = "") -> list[str] | None:
        """The texts of the rows where the file has them in plain form; prefix: before the names of its keys."""
        names = [prefix + name for name in TEXT_KEYS]
        key = next((name for name in names if name in self._texts or self._has_texts(name)), None)
        if key is None:
            return None
        texts = self._texts.get(key)
        if texts is None:
            try:
                texts = [text for _, block in self.blocks(key) for text in block.tolist()]
            except (ValueError, SystemError) as error:  # bytes that are no characters
                raise self.unreadable(f"{key} holds what is no text: {error}") from error
        if len(texts) != rows:
            raise UserError(f"{self.path}: {len(texts)} texts stand beside {rows} rows; save one text for each row.")
        return texts

    def _has_texts(self, key: str) -> bool:
        return key in self.headers and self.headers[key].dtype.kind == "U" and len(self.headers[key].shape) == 1

    def blocks(self, key: str) -> Iterator[tuple[int, np.ndarray]]:
        """A member in slices along its first axis, as (first row, block)."""
        header = self.headers[key]
        length = header.shape[0]
        row_bytes = max(1, header.dtype.itemsize * math.prod(header.shape[1:]))
        step = max(1, BLOCK_BYTES // row_bytes)
        if key in self._plain or header.fortran:
            # Column order scatters each row over the whole member, so that it has to be read at once.
            whole = self._plain[key] if key in self._plain else self._whole(key)
            for first in range(0, length, step):
                yield first, whole[first : first + step]
            return
        with self._open(key) as handle:
            self._read(handle, header.size)
            for first in range(0, length, step):
                count = min(step, length - first)
                data = self._read(handle, count * row_bytes)
                yield first, np.frombuffer(data, header.dtype).reshape(count, *header.shape[1:])

    def _whole(self, key: str) -> np.ndarray:
        header = self.headers[key]
        with self._open(key) as handle:
            self._read(handle, header.size)
            data = self._read(handle, header.values * header.dtype.itemsize)
        return np.frombuffer(data, header.dtype).reshape(header.shape, order="F")

    def _open(self, key: str) -> IO[bytes]:
        try:
            return self._zip.open(key + ".npy")
        except Exception as error:
            raise self.unreadable(error) from error

    def _read(self, handle: IO[bytes], count: int) -> bytes:
        try:
            data = handle.read(count)
        except Exception as error:
            raise self.unreadable(error) from error
        if len(data) != count:
            raise self.unreadable("a member ends too early")
        return data

    def _read_headers(self) -> dict[str, Header]:
        headers: dict[str, Header] = {}
        on_disk = self.path.stat().st_size
        for info in self._zip.infolist():
            if not info.filename.endswith(".npy"):
                continue
            key = info.filename[: -len(".npy")]
            if info.compress_size > on_disk or info.file_size > DEFLATE_LIMIT * (info.compress_size + 1):
                raise self.unreadable(f"{key} declares {info.file_size:,} bytes, which {on_disk:,} cannot hold")
            with self._open(key) as handle:
                try:
                    header = read_header(handle)
                except Exception as error:
                    raise self.unreadable(error) from error
            size = header.size + header.values * header.dtype.itemsize
            if not header.pickled and (min(header.shape, default=0) < 0 or size != info.file_size):
                raise self.unreadable(f"{key} declares shape {header.shape}, which does not match its size")
            headers[key] = header
        if not headers and not self._plain:
            raise self.unreadable("it holds no .npy members")
        return headers

    def unreadable(self, reason: object) -> UserError:
        words = " ".join(str(reason).split())[:200]
        return UserError(
            f"{self.path} is not a readable .npz ({words}): it may be cut off or of another format; "
            "copy it again or save it with numpy.savez."
        )


def converter_command(path: Path) -> str:
    return f"`{command('convert_npz', path, 'FOLDER', '--trust-pickle')}`"
