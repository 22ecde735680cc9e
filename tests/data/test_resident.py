"""Vectors that live on the device give the batches that the memory map gives."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from lvm_lab.data.batches import WindowBatches, from_map
from lvm_lab.data.resident import Resident
from lvm_lab.data.rows import JoinedRows
from lvm_lab.data.sampler import Draw
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("joined", [False, True], ids=["one store", "two stores"])
def test_batches_are_equal_wherever_the_vectors_live(make_store, joined: bool) -> None:
    store = make_store([30, 9, 12])
    windows = index_windows(store, np.arange(3), 5)
    vectors_ND = JoinedRows([store.vectors_ND[:20], store.vectors_ND[20:]]) if joined else store.vectors_ND
    draw = Draw(np.array([3, 0, 7, 20]), (0, 1))
    resident = Resident(CPU, "always").gather(vectors_ND)
    at_rest, on_device = WindowBatches(windows, 4)[draw], WindowBatches(windows, 4, gather=resident)[draw]
    for name, value in vars(at_rest).items():
        there = getattr(on_device, name)
        assert (value is None and there is None) or torch.equal(value, there), name


def test_a_store_is_copied_once_and_a_slice_at_a_time(make_store, monkeypatch, caplog) -> None:
    monkeypatch.setattr("lvm_lab.data.resident.SLICE", 7)
    store = make_store([30, 9])
    vectors = Resident(CPU, "always")
    with caplog.at_level(logging.INFO, "lvm_lab"):
        first, second = vectors.gather(store.vectors_ND), vectors.gather(store.vectors_ND)
    assert len(caplog.records) == 1
    rows = np.arange(39).reshape(3, 13)
    expected = from_map(store.vectors_ND)(rows)
    assert torch.equal(first(rows), expected)
    assert torch.equal(second(rows), expected)


def test_on_a_cpu_auto_reads_the_map(make_store, caplog) -> None:
    store = make_store([30])
    with caplog.at_level(logging.INFO, "lvm_lab"):
        Resident(CPU, "auto").gather(store.vectors_ND)
    assert not caplog.records


def test_what_does_not_fit_is_refused_in_a_sentence(make_store, monkeypatch) -> None:
    def full(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("out of memory")

    store = make_store([30])
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(UserError, match=r"do not fit on cpu; set device\.resident=never, or auto\.$"):
        Resident(CPU, "always").gather(store.vectors_ND)
