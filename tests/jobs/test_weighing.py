"""How much work a run is, said before it: parameters and positions as training has them, and what it would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvm_lab.build import data as build_data
from lvm_lab.build.training import module
from lvm_lab.commands import composing
from lvm_lab.config.settings import settings
from lvm_lab.errors import UserError
from lvm_lab.jobs.weighing import Weigher
from lvm_lab.sweeps.plan import UnreadDataError, Work
from lvm_lab.types import count_parameters

CHUNKS = 20
TINY = ("data.dim=64", "data.documents=120", "data.ood_documents=20", "arch.width=16", "trainer.max_epochs=3")


def config_of(cache: Path, *more: str) -> dict[str, Any]:
    return composing.compose("train", [*TINY, f"run.cache='{cache}'", *more])


@pytest.mark.parametrize("arch", ["gru", "s4", "hyena"])
def test_parameters_are_those_of_the_model_that_is_trained(tmp_path: Path, arch: str) -> None:
    config = config_of(tmp_path, f"arch={arch}")
    typed = settings(config)
    parts = build_data.parts(typed)
    real = count_parameters(module(typed, parts.stats, parts.contract.recorded()).model)
    assert Weigher()(config).parameters == real


def test_positions_are_the_vectors_that_an_epochs_batches_read(tmp_path: Path) -> None:
    weigh = Weigher()
    sliding = config_of(tmp_path, "arch=gru", "trainer.batch_size=64")
    documents = len(np.unique(build_data.parts(settings(sliding)).train.document_W))
    batches = documents * (CHUNKS - 5) // 64
    assert weigh(sliding).positions == batches * 64 * 5
    # A document of 20 chunks is one segment, whose last chunk is a target alone.
    whole = ("arch=gru", "data.windows=documents", "data.context_length=64", "trainer.batch_size=32")
    assert weigh(config_of(tmp_path, *whole)).positions == documents // 32 * 32 * (CHUNKS - 1)


def test_an_epochs_work_is_six_operations_a_parameter_and_position() -> None:
    assert Work(parameters=10, positions=7, epochs=3).flop_per_epoch == 420


def test_what_training_would_refuse_is_refused_and_missing_data_are_told_apart(tmp_path: Path) -> None:
    weigh = Weigher()
    with pytest.raises(UserError, match="arch=linformer reads a context as a whole") as refused:
        weigh(config_of(tmp_path, "arch=linformer", "data.windows=documents"))
    assert not isinstance(refused.value, UnreadDataError)
    with pytest.raises(UnreadDataError, match="cannot fill one batch of 4096"):
        weigh(config_of(tmp_path, "arch=gru", "data.windows=documents", "trainer.batch_size=4096"))
    settings_of_data = [word for word in TINY if not word.startswith("data.")]
    missing = ["data=npz", f"data.path='{tmp_path / 'nowhere.npz'}'", f"run.cache='{tmp_path}'", "arch=gru"]
    with pytest.raises(UnreadDataError, match="nowhere"):
        weigh(composing.compose("train", [*settings_of_data, *missing]))
