"""What a training is told of its own batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from helpers.commands import TINY, call, rows, timeless
from lvm_lab.data.parts import Parts
from lvm_lab.data.store import Store
from lvm_lab.data.windows import index_windows
from lvm_lab.model import read_checkpoint
from lvm_lab.training.datamodule import VectorDataModule


@pytest.mark.parametrize(("longest", "partial"), [(205, True), (17, False)])
def test_an_epoch_of_a_part_of_the_windows_says_how_many(
    make_store: Callable[..., Store], caplog: pytest.LogCaptureFixture, longest: int, partial: bool
) -> None:
    lengths = [longest, 15, 15, 15, 15]
    windows = index_windows(make_store(lengths), np.arange(len(lengths)), 5)
    data: Any = VectorDataModule(cast(Parts, SimpleNamespace(train=windows, training=None)), 20, 8, 0, seed=0)
    logger = logging.getLogger("lvm_lab.training.datamodule")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger.name):
        loader = data.train_dataloader()
    logger.removeHandler(caplog.handler)
    seen = sum(len(batch.target_ND) for batch in loader)
    expected = f"an epoch sees {seen} of {len(windows)} training windows ({100 * seen / len(windows):.0f}%)"
    assert {record.getMessage().partition(",")[0] for record in caplog.records} == ({expected} if partial else set())
    assert (seen < len(windows) - 20) == partial


def test_an_epoch_of_documents_counts_segments_and_their_targets(
    make_store: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    lengths = [50, 30, 22, 8, 45]
    windows = index_windows(make_store(lengths), np.arange(len(lengths)), 10, min_context=4)
    parts = cast(Parts, SimpleNamespace(train=windows, val=windows, training=None))
    data: Any = VectorDataModule(parts, 3, 2, 6, seed=0, shortest=4)
    logger = logging.getLogger("lvm_lab.training.datamodule")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger.name):
        loader = data.train_dataloader()
    logger.removeHandler(caplog.handler)
    first = [batch.target_ND for batch in loader]
    assert data.targets_an_epoch == sum(map(len, first)) > 3 * len(loader)
    total = loader.sampler.sampler.segments
    expected = f"an epoch reads {3 * len(loader)} of {total} segments ({100 * 3 * len(loader) / total:.0f}%)"
    assert caplog.records[0].getMessage().startswith(expected)
    assert str(len(windows)) in caplog.records[0].getMessage()
    # The same again for an epoch that is taken up, another for the next.
    assert all(map(torch.equal, first, [batch.target_ND for batch in loader]))
    loader.sampler.set_epoch(1)
    assert not all(
        a.shape == b.target_ND.shape and torch.equal(a, b.target_ND) for a, b in zip(first, loader, strict=True)
    )
    one, two = ([batch.target_ND for batch in data.val_dataloader()] for _ in range(2))
    assert sum(map(len, one)) == len(windows)
    assert all(map(torch.equal, one, two))


@pytest.mark.slow
def test_a_training_computes_the_same_wherever_its_vectors_live(tmp_path: Path) -> None:
    histories, weights = [], []
    for resident in ("never", "always"):
        folder = tmp_path / resident
        outcome = call(tmp_path, *TINY, f"device.resident={resident}", f"run.dir={folder}")
        assert outcome.code == 0, outcome.err
        histories.append(timeless(rows(folder)))
        weights.append(read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"])
    assert histories[0] == histories[1]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
