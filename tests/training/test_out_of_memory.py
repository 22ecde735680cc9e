"""A device without memory left is told in one sentence with what would fit, and the run can be taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.commands import TINY, call
from lvm_lab.jobs import session
from lvm_lab.training import devices
from lvm_lab.training.module import LatentVectorModule

ERRORS = {
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total ..."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 400000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)"),
    "numpy": MemoryError("Unable to allocate 3.00 TiB for an array"),
}


def failing(error: BaseException) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("name", ERRORS)
def test_a_training_without_memory_says_the_batch_size_that_may_fit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LatentVectorModule, "training_step", failing(ERRORS[name]))
    refusal = call(tmp_path, *TINY)
    assert refusal.code == 2
    assert refusal.sentence == (
        "cpu ran out of memory with trainer.batch_size=64; "
        "set trainer.batch_size=32, half of it (which is another run), or a smaller arch."
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_scoring_without_memory_goes_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(session, "score", failing(ERRORS["cuda"]))
        refusal = call(tmp_path, *TINY)
    assert refusal.code == 2
    assert "ran out of memory while the trained model was scored; the same command with device=cpu" in refusal.sentence
    again = call(tmp_path, *TINY)
    assert again.code == 0, again.err
    assert "going on after epoch 2 of 2" in again.out + again.err


def test_other_errors_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatentVectorModule, "training_step", failing(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        call(tmp_path, *TINY)


def test_torch_says_it_as_the_sentence_expects() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as error:
        torch.empty(10**15)
    assert devices.out_of_memory(error.value)


@pytest.mark.parametrize(
    ("batch_size", "count", "words"),
    [(256, 1, "trainer.batch_size=128,"), (100, 4, "trainer.batch_size=48,"), (3, 1, "a smaller arch.width")],
)
def test_half_of_a_batch_is_shared_evenly(batch_size: int, count: int, words: str) -> None:
    assert words in devices.smaller_batch(batch_size, count)
