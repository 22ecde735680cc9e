"""The judge's numbers and gates against the slow reimplementation, window by window, quirks included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import judge_data
from lvm_lab.data.windows import Windows
from lvm_lab.judge.five_cat import measure
from lvm_lab.judge.gates.ablations import derangements, foreign_partners
from lvm_lab.judge.lnsp_compat import old_orders
from lvm_lab.judge.results import FiveCat, PartScores
from lvm_lab.types import Prediction
from reference_five_cat import gate_states, reference

DIM = 24
LENGTHS = [9, 14, 23, 8, 12] * 3
MATRIX = torch.from_numpy(np.random.default_rng(5).standard_normal((DIM, DIM)).astype(np.float32) / 5)
NAMES = {
    "A": {"margin": "A_margin", "contrast": "forward_contrast", **{f"k{k:+d}": f"A_cos{k:+d}" for k in range(-3, 4)}},
    "B": {name: f"B_{name}" for name in ("r1", "r5", "mrr", "mrr_unseen")},
    "C": {name: f"C_{name}" for name in ("shuffled", "reversed", "left_out", "repeated", "foreign")},
    "D": {"rollout": "D_mean", **{f"h{h}": f"D_cos{h:+d}" for h in range(1, 6)}},
    "E": {name: f"E_{name}" for name in ("low", "normal", "high")},
}


def linear(context_BLD: torch.Tensor) -> torch.Tensor:
    return context_BLD[:, -1] + context_BLD[:, -2] @ MATRIX + 0.3 * context_BLD[:, 0]


def scattered(context_BLD: torch.Tensor) -> torch.Tensor:
    return torch.sin(5 * context_BLD[:, -1] + 3 * context_BLD[:, 1])


def tied(context_BLD: torch.Tensor) -> torch.Tensor:
    """Nothing of the first half of the dimensions, so that chunks that differ there alone tie."""
    kept = context_BLD[:, -1].clone()
    kept[:, : DIM // 2] = 0
    return kept


def constant(context_BLD: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(context_BLD), DIM)


def zero(context_BLD: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(context_BLD), DIM)


PREDICTORS = {f.__name__: f for f in (linear, scattered, tied, constant, zero)}


def walks(seed: int) -> np.ndarray:
    """Random walks with repeats and with chunks that differ in the first half of the dimensions alone."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in LENGTHS:
        steps = np.cumsum(rng.standard_normal((length, DIM)), axis=0) + 2 * rng.standard_normal(DIM)
        steps[6] = steps[2]
        steps[7, DIM // 2 :] = steps[3, DIM // 2 :] * 1.0
        rows.append(steps / np.linalg.norm(steps, axis=1, keepdims=True))
    return np.concatenate(rows).astype(np.float32)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Windows]:
    folder = tmp_path_factory.mktemp("walks")
    val, ood = (judge_data.windows_of(folder / name, walks(seed), LENGTHS) for seed, name in enumerate(("val", "ood")))
    return val, ood


def slow(function: Callable[[torch.Tensor], torch.Tensor], windows: Windows, seed: int, compat: bool) -> dict[str, Any]:
    def predict(context: np.ndarray) -> np.ndarray:
        return function(torch.from_numpy(context.astype(np.float32))[None])[0].numpy()

    listed = list(zip(windows.target_row_W, windows.start_W, windows.end_W, windows.document_W.tolist(), strict=True))
    if compat:
        orders = old_orders(len(windows), 5, seed)["shuffled"][0]
        strangers: list[Any] = [None] * len(windows)
    else:
        orders = derangements(len(windows), 5, seed)
        strangers = windows.rows(0)[foreign_partners(windows.document_W, seed)].tolist()
    return reference(predict, windows.vectors_ND, listed, strangers, orders.tolist(), compat=compat)


def compare(fast: PartScores, expected: dict[str, Any]) -> None:
    for gate, names in NAMES.items():
        for name, other in names.items():
            number = fast.halves[gate].numbers.get(name)
            if number is None or np.isnan(number.value):
                assert np.isnan(expected[other]), (gate, name)
            else:
                assert number.value == pytest.approx(expected[other], abs=1e-6), (gate, name)


@pytest.mark.parametrize("tool", ["standard", "lnsp_compat"])
@pytest.mark.parametrize("name", sorted(PREDICTORS))
def test_every_number_and_gate_agrees_with_the_slow_reference(
    name: str, tool: str, parts: tuple[Windows, Windows]
) -> None:
    function, compat = PREDICTORS[name], tool == "lnsp_compat"
    preset = judge_data.preset(tool, resamples=20)
    judged: FiveCat = measure(lambda x: Prediction.from_raw(function(x)), *parts, preset)
    val, ood = (slow(function, windows, preset.seed, compat) for windows in parts)
    compare(judged.val, val)
    assert judged.ood is not None
    compare(judged.ood, ood)
    assert {letter: gate.state for letter, gate in judged.gates.items()} == gate_states(val, ood)
