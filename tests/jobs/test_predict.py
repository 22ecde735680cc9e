"""`lvm_lab.predict`: the model's own predictions for whatever vectors there are, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lvm_lab
from helpers.commands import ENVIRONMENT, call, tree
from helpers.documents import make_documents
from lvm_lab import predict as command
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import write_store
from lvm_lab.errors import UserError
from lvm_lab.files import StreamedArrays
from lvm_lab.jobs.prediction import Predictions, predict

DIM, LENGTH = 24, 5


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on vectors of length 1 of an encoder that is named."""
    work = tmp_path_factory.mktemp("trained")
    documents = make_documents([12] * 40)
    contract = EncoderContract(encoder="walks", normalised=True)
    write_store(work / "own", unit(480, DIM, seed=9), documents, contract)
    said = call(
        work,
        *("data=npz", "data.path=own", "arch=gru", "arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64"),
        *("5cat=off", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache", "run.dir=run"),
    )
    assert said.code == 0, said.err
    return work


@pytest.fixture
def work(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder beside the run, in which commands are given."""
    (tmp_path / "run").symlink_to(trained / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(vectors: str, out: str = "out.npz", **options: Any) -> tuple[Predictions, dict[str, np.ndarray]]:
    predictions = predict("run", vectors, out, device="cpu", cache="cache", **options)
    return predictions, dict(np.load(out, allow_pickle=False))


def expected(context_BLD: np.ndarray, batch: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """What `model.predict` says of the same batches."""
    model = lvm_lab.load("run")
    with torch.inference_mode():
        batches = [
            model.predict(torch.from_numpy(context_BLD[i : i + batch])) for i in range(0, len(context_BLD), batch)
        ]
    raw_ND, unit_ND = (torch.cat([getattr(b, name) for b in batches]).numpy() for name in ("raw_ND", "unit_ND"))
    return raw_ND, unit_ND


def test_every_window_of_a_store_is_told_with_its_document_and_rows(work: Path) -> None:
    vectors_ND = unit(26, DIM)
    # The third document is too short; the last stretch is of the first document again.
    documents = make_documents([8, 5, 4, 9], ids=["a", "b", "c", "a"])
    write_store(work / "store", vectors_ND, documents, EncoderContract(encoder="walks", normalised=True))
    predictions, arrays = made("store", batch_size=4)
    windows = [
        (document, row if row < start + length else -1, row - 1)
        for document, start, length in ((0, 0, 8), (1, 8, 5), (0, 17, 9))
        for row in range(start + LENGTH, start + length + 1)
    ]
    assert (predictions.count, predictions.documents, predictions.not_finite) == (len(windows), 3, 0)
    places = zip(arrays["document"].tolist(), arrays["row"].tolist(), arrays["after_row"].tolist(), strict=True)
    assert list(places) == windows
    assert arrays["documents"].tolist() == ["a", "b", "c"]
    assert arrays["sources"].tolist() == ["test"] * 3
    context_BLD = np.stack([vectors_ND[last - LENGTH + 1 : last + 1] for _, _, last in windows])
    raw_ND, unit_ND = expected(context_BLD, 4)
    np.testing.assert_array_equal(arrays["raw"], raw_ND)
    np.testing.assert_array_equal(arrays["unit"], unit_ND)
    assert arrays["raw"].dtype == np.float32


def test_a_store_is_predicted_from_behind_its_address(work: Path) -> None:
    contract = EncoderContract(encoder="walks", normalised=True)
    write_store(work / "store", unit(26, DIM), make_documents([8, 5, 4, 9]), contract)
    _, here = made("store")
    options = ["--device", "cpu", "--cache", "cache"]
    assert command.main(["run", f"file://{work / 'store'}", "there.npz", *options]) == 0
    there = dict(np.load("there.npz"))
    assert all(np.array_equal(there[name], here[name]) for name in here)


def test_a_bank_is_told_by_the_rows_of_its_file(work: Path) -> None:
    rng = np.random.default_rng(3)
    vectors_ND, order = unit(21, DIM), rng.permutation(21)
    articles, chunks = np.repeat([7, 2, 5], 7)[order], np.tile(np.arange(7), 3)[order]
    np.savez(work / "bank.npz", vectors=vectors_ND, article_indices=articles, chunk_indices=chunks)
    _, arrays = made("bank.npz")
    assert arrays["documents"].tolist() == ["2", "5", "7"]
    assert len(arrays["raw"]) == 9
    raw_ND = arrays["raw"]
    for number, row, last, raw_D in zip(arrays["document"], arrays["row"], arrays["after_row"], raw_ND, strict=True):
        article = int(arrays["documents"][number])
        assert articles[last] == article
        assert row == -1 if chunks[last] == 6 else (articles[row], chunks[row]) == (article, chunks[last] + 1)
        read = [int(np.flatnonzero((articles == article) & (chunks == chunks[last] - k))[0]) for k in range(4, -1, -1)]
        np.testing.assert_allclose(raw_D, expected(vectors_ND[read][None])[0][0], atol=1e-6)


@pytest.mark.parametrize("name", ["document.npy", "document.npz"])
def test_one_document_is_told_by_its_rows(work: Path, name: str) -> None:
    vectors_ND = unit(9, DIM)
    np.save(name, vectors_ND) if name.endswith("npy") else np.savez(name, vectors=vectors_ND)
    predictions, arrays = made(name)
    assert predictions.documents is None
    assert arrays["row"].tolist() == [5, 6, 7, 8, -1]
    assert arrays["after_row"].tolist() == [4, 5, 6, 7, 8]
    windows = np.stack([vectors_ND[i : i + LENGTH] for i in range(5)])
    np.testing.assert_array_equal(arrays["raw"], expected(windows)[0])


@pytest.mark.parametrize("name", ["contexts.npy", "contexts.npz", "packed.npz"])
def test_contexts_are_told_in_their_order(work: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # Blocks of 3 contexts, so that batches are put together of several.
    for place in ("lvm_lab.data.contexts", "lvm_lab.data.importers.npz_file"):
        monkeypatch.setattr(f"{place}.BLOCK_BYTES", 3 * LENGTH * DIM * 4)
    context_NLD = unit(17, LENGTH, DIM)
    if name.endswith("npy"):
        np.save(name, context_NLD)
    elif name == "packed.npz":
        np.savez_compressed(name, contexts=context_NLD, targets=unit(17, DIM))
    else:
        np.savez(name, contexts=context_NLD)
    predictions, arrays = made(name, batch_size=7)
    assert list(arrays) == ["raw", "unit"] == list(predictions.arrays)
    raw_ND, unit_ND = expected(context_NLD, 7)
    np.testing.assert_array_equal(arrays["raw"], raw_ND)
    np.testing.assert_array_equal(arrays["unit"], unit_ND)


def test_a_folder_holds_arrays_that_can_be_mapped(work: Path) -> None:
    np.save("contexts.npy", unit(4, LENGTH, DIM))
    predict("run", "contexts.npy", "deep/er/out", output="unit", device="cpu")
    assert sorted(tree(work / "deep")) == ["er", "er/out", "er/out/unit.npy"]
    mapped = np.load("deep/er/out/unit.npy", mmap_mode="r")
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, atol=1e-6)


def test_the_door_says_what_it_wrote(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("document.npy", unit(9, DIM))
    assert command.main(["run", "document.npy", "out.npz", "--output", "raw", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("out.npz: raw, row, after_row; 5 predictions of run/checkpoints/best")
    before = Path("out.npz").read_bytes()
    assert command.main(["run", "document.npy", "out.npz", "--device", "cpu"]) == 2
    assert (
        capsys.readouterr().err == "error: out.npz exists already; name another file, or write over it with --force.\n"
    )
    assert Path("out.npz").read_bytes() == before
    assert command.main(["run", "document.npy", "out.npz", "--device", "cpu", "--force"]) == 0
    assert set(np.load("out.npz")) == {"raw", "unit", "row", "after_row"}


def spoil(work: Path) -> None:
    """What no prediction can be made of, or written to."""
    np.save("document.npy", unit(9, DIM))
    np.save("wide.npy", unit(9, DIM + 1))
    np.save("long.npy", unit(3, LENGTH + 2, DIM))
    np.save("short.npy", unit(LENGTH - 1, DIM))
    np.save("scaled.npy", 3 * unit(9, DIM))
    np.save("flat.npy", unit(9 * DIM))
    np.save("whole.npy", np.ones((9, DIM), dtype=np.int64))
    np.save("holes.npy", np.where(np.arange(9)[:, None] == 7, np.nan, unit(9, DIM)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("orderless.npz", vectors=unit(9, DIM), article_indices=np.zeros(9, dtype=np.int64))
    np.savez("other.npz", numbers=unit(9, DIM))
    write_store(work / "other_store", unit(12, DIM), make_documents([12]), EncoderContract("else", normalised=True))
    (work / "folder").mkdir()
    (work / "folder.npz").mkdir()
    os.mkfifo("pipe.npz")
    os.mkfifo("pipe.npy")
    (work / "link.npz").symlink_to("document.npy")
    (work / "file").write_text("a user's")
    (work / "torn.npy").write_bytes(b"\x93NUMPY")


MISTAKES = [
    (["run", "wide.npy", "o.npz"], "wide.npy is not of the encoder that run/checkpoints/"),
    (["run", "wide.npy", "o.npz"], "(dim 24 against 25)"),
    (["run", "other_store", "o.npz"], "(encoder walks against else)"),
    (["run", "scaled.npy", "o.npz"], "(normalised True against False); normalise them to unit length, or give"),
    (["run", "long.npy", "o.npz"], "long.npy has contexts of 7 vectors and the model reads 5"),
    (["run", "short.npy", "o.npz"], "the model reads 5 vectors and the longest document has 4"),
    (["run", "flat.npy", "o.npz"], "save float vectors (N x D) or contexts (N x L x D)"),
    (["run", "whole.npy", "o.npz"], "holds int64 of shape (9, 24)"),
    (["run", "holes.npy", "o.npz"], "holes.npy: vector 7 holds NaN or infinity"),
    (["run", "objects.npy", "o.npz"], "objects.npy is not a readable .npy"),
    (["run", "torn.npy", "o.npz"], "torn.npy is not a readable .npy"),
    (["run", "orderless.npz", "o.npz"], "is a bank without order"),
    (["run", "other.npz", "o.npz"], "other.npz has numbers (9, 24), which is none of what is needed"),
    (["run", "gone.npz", "o.npz"], "gone.npz does not exist"),
    (["run", "gone.npy", "o.npz"], "gone.npy does not exist"),
    (["run", "folder", "o.npz"], "folder is a folder without manifest.json"),
    (["run", "pipe.npz", "o.npz"], "pipe.npz is a pipe or a device"),
    (["run", "pipe.npy", "o.npz"], "pipe.npy is no file"),
    (["run", "document.npy", "folder.npz", "--force"], "folder.npz is a folder, and nothing is written there"),
    (["run", "document.npy", "folder", "--force"], "folder is a folder, and nothing is written there"),
    (["run", "document.npy", "pipe.npz", "--force"], "pipe.npz is a pipe or a device"),
    (["run", "document.npy", "link.npz", "--force"], "link.npz is a link, and nothing is written there"),
    (["run", "document.npy", "file", "--force"], "file is a file where a folder is needed"),
    (["run", "document.npy", "/dev/null", "--force"], "/dev/null is a pipe or a device"),
    (["run", "document.npy", "o.csv"], "o.csv does not fit; name a file .npz"),
    (["run", "other.npz", "other.npz", "--force"], "other.npz is the vectors themselves"),
    (["run", "document.npy", "file/o.npz"], "file: "),
    (["run", "document.npy", "o.npz", "--batch", "0"], "--batch 0 leaves nothing to predict"),
    (["folder", "document.npy", "o.npz"], "folder holds no run"),
    (["gone", "document.npy", "o.npz"], "gone does not exist"),
    (["file", "document.npy", "o.npz"], "file is no readable checkpoint"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[f"{' '.join(a)}: {w}" for a, w in MISTAKES])
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    spoil(work)
    before = tree(work)
    assert command.main([*arguments, "--device", "cpu", "--cache", "cache"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert tree(work) == before


def test_a_prediction_that_breaks_off_leaves_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("document.npy", unit(30, DIM))
    Path("out.npz").write_text("what was there before")
    before = tree(work)
    calls = 0

    def breaks(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        return np.ones((2, 4, DIM), dtype=np.float32)

    monkeypatch.setattr("lvm_lab.judge.predictions.predict", breaks)
    for out in ("out.npz", "new.npz", "new"):
        calls = 0
        with pytest.raises(OSError, match="No space"):
            predict("run", "document.npy", out, batch_size=4, device="cpu", force=out == "out.npz")
        assert tree(work) == before


def test_what_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"

    def late() -> None:
        with StreamedArrays(out, {"x": (np.dtype(np.float32), (2,))}, force=False) as arrays:
            arrays.append(x=np.zeros(2))
            out.write_text("somebody else's")

    with pytest.raises(UserError, match="exists already"):
        late()
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("out.npz", "somebody else's")]


# Two stores, one ten times the other: (rows in thousands, MiB of anonymous memory over the baseline at the most).
MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from pathlib import Path
from memory import watched
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, write_store
from lvm_lab.jobs.prediction import predict

for rows in (20_000, 200_000):
    vectors = np.lib.format.open_memmap("raw.npy", mode="w+", dtype=np.float16, shape=(rows, 24))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 10_000):
        part = rng.standard_normal((10_000, 24), dtype=np.float32)
        vectors[start : start + 10_000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    names = [f"{i:06d}" for i in range(rows // 1000)]
    starts = np.arange(len(names), dtype=np.int64) * 1000
    documents = Documents(names, names, ["test"] * len(names), starts, np.full(len(names), 1000))
    write_store(Path(f"store{rows}"), vectors, documents, EncoderContract(encoder="walks", normalised=True))
    del vectors
predict("run", "store20000", "warm.npz", device="cpu")
for rows in (20_000, 200_000):
    with watched(0.002) as peak:
        predict("run", f"store{rows}", f"out{rows}.npz", device="cpu")
    print(rows, round(peak.grown, 1))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is read from Linux's /proc")
def test_memory_does_not_grow_with_the_store(work: Path) -> None:
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    command = [sys.executable, "-c", MEMORY, str(benchmarks)]
    done = subprocess.run(command, cwd=work, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (_, small), (_, large) = (map(float, line.split()) for line in done.stdout.splitlines())
    # What is written is 200,000 x 24 float32 twice, 37 MiB, and the index of all windows would be 5 MiB.
    assert Path(work / "out200000.npz").stat().st_size > 2 * 199_000 * 24 * 4
    assert large < small + 8, (small, large)
