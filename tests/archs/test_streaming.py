"""Every causal option in conf/arch, one vector at a time, equals its parallel form over the whole prefix.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from lvm_lab.types import state_bytes

CONF = Path(__file__).parents[2] / "conf" / "arch"
DIM, CONTEXT = 48, 5
# Smaller than the shipped sizes wherever an arch has such a key, so that the tests stay quick.
SMALL = {"width": 32, "heads": 4, "head_dim": 8, "state": 8, "chunk": 16}
# Whatever was read, the state keeps its size; what reads the whole past again grows with it.
CONSTANT = {"lstm", "gru", "mamba2", "rwkv", "s4", "retnet", "performer", "ridge"}
GROWING = {"transformer", "amn", "distilgpt2", "mamba2_attention", "lcm_base", "hyena"}


def arch_class(arch: str) -> tuple[Any, dict[str, Any]]:
    options = yaml.safe_load((CONF / f"{arch}.yaml").read_text())
    del options["name"]
    options.pop("defaults", None)
    module, _, name = options.pop("_target_").rpartition(".")
    return getattr(import_module(module), name), options


# `causal` stands on the class, or on the object where an option sets it.
ARCHS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "ensemble")
CAUSAL = [arch for arch in ARCHS if getattr(arch_class(arch)[0], "causal", True)]


def build(arch: str, dtype: torch.dtype, **changes: Any) -> Any:
    cls, options = arch_class(arch)
    options |= {key: value for key, value in SMALL.items() if key in options}
    torch.manual_seed(0)
    backbone = cls(dim=DIM, context_length=CONTEXT, **options | changes).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():  # off the initial ones and zeros, so that an unread one would show
            parameter += 0.02 * torch.randn(parameter.shape)
    if not backbone.causal:
        pytest.skip("not causal as shipped")
    return backbone.to(dtype)


def context(batch: int, length: int, dtype: torch.dtype) -> Tensor:
    x_BLD = torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return F.normalize(x_BLD, dim=-1).to(dtype)


def stream(backbone: Any, x_BLD: Tensor) -> tuple[Tensor, list[Any]]:
    """hidden_BLH of all places, one step each, and the state after each."""
    hidden, states, state = [], [], None
    for x_BD in x_BLD.unbind(1):
        hidden_BH, state = backbone.step(x_BD, state)
        hidden.append(hidden_BH)
        states.append(state)
    return torch.stack(hidden, dim=1), states


def tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    assert isinstance(state, dict | tuple | list), type(state)
    return [x for part in (state.values() if isinstance(state, dict) else state) for x in tensors(part)]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("length", [CONTEXT, 70])
@pytest.mark.parametrize("arch", CAUSAL)
@torch.no_grad()
def test_steps_equal_the_parallel_form(arch: str, length: int, dtype: torch.dtype, bound: float) -> None:
    backbone = build(arch, dtype)
    x_BLD = context(3, length, dtype)
    hidden_BLH, _ = stream(backbone, x_BLD)
    assert hidden_BLH.dtype == dtype
    want_BLH = backbone(x_BLD)
    assert (hidden_BLH - want_BLH).abs().max() <= bound * want_BLH.abs().max()
    # each prefix by itself too, where the whole could hide a form that depends on the length
    for end in {1, 2, 3, length // 2}:
        last_BH = backbone(x_BLD[:, :end])[:, -1]
        assert (hidden_BLH[:, end - 1] - last_BH).abs().max() <= bound * last_BH.abs().max()


@pytest.mark.parametrize("arch", CAUSAL)
@torch.no_grad()
def test_the_size_of_the_state(arch: str) -> None:
    backbone = build(arch, torch.float32)
    _, states = stream(backbone, context(2, 12, torch.float32))
    sizes = [state_bytes(state) for state in states]
    assert sizes == [sum(x.numel() * x.element_size() for x in tensors(state)) for state in states]
    assert sizes[0] > 0
    if arch in CONSTANT:
        assert set(sizes) == {sizes[0]}
    elif arch in GROWING:
        assert sizes == sorted(set(sizes))
    # rows first, so that a caller can pick or repeat them; a number that all rows share has no dim
    assert all(len(x) == 2 for x in tensors(states[-1]) if x.ndim)


@pytest.mark.parametrize("arch", CAUSAL)
@torch.no_grad()
def test_a_state_can_be_stepped_from_again(arch: str) -> None:
    """A search keeps one state for several continuations: a step must not change the state it was given."""
    backbone = build(arch, torch.float64)
    x_BLD = context(2, 6, torch.float64)
    _, states = stream(backbone, x_BLD[:, :4])
    first_BH, _ = backbone.step(x_BLD[:, 4], states[-1])
    backbone.step(x_BLD[:, 5], states[-1])
    again_BH, _ = backbone.step(x_BLD[:, 4], states[-1])
    torch.testing.assert_close(again_BH, first_BH, rtol=0, atol=0)
    begun_BH, _ = backbone.step(x_BLD[:, 0], None)
    torch.testing.assert_close(begun_BH, backbone.step(x_BLD[:, 0])[0], rtol=0, atol=0)


@pytest.mark.parametrize("arch", CAUSAL)
@torch.no_grad()
def test_rows_know_nothing_of_each_other(arch: str) -> None:
    backbone = build(arch, torch.float64)
    x_BLD = context(4, 7, torch.float64)
    together_BLH, _ = stream(backbone, x_BLD)
    for row in range(4):
        alone_BLH, _ = stream(backbone, x_BLD[row : row + 1])
        torch.testing.assert_close(alone_BLH[0], together_BLH[row], rtol=1e-10, atol=1e-10)


def test_the_lists_name_what_there_is() -> None:
    assert not CONSTANT & GROWING
    assert {"lstm", "gru", "transformer", "amn", "mamba2", "rwkv", "mamba2_attention", "distilgpt2"} <= set(CAUSAL)
    for arch in CAUSAL:
        assert list(inspect.signature(arch_class(arch)[0].step).parameters) == ["self", "x_BD", "state"], arch


# Sizes that the shipped ones leave out and that take another way through a step.
OTHER = [
    ("mamba2", {"conv": 1}),
    ("mamba2", {"groups": 2}),
    ("mamba2_attention", {"layers": 4, "attention_every": 2}),
    ("mamba2_attention", {"layers": 2, "attention_every": 1}),
    ("amn", {"layers": 2}),
    ("amn", {"positions": False}),
    ("rwkv", {"layers": 1}),
    ("rwkv", {"layers": 4}),
]


@pytest.mark.parametrize(("arch", "changes"), OTHER)
@torch.no_grad()
def test_steps_of_other_sizes(arch: str, changes: dict[str, Any]) -> None:
    backbone = build(arch, torch.float64, **changes)
    x_BLD = context(2, 20, torch.float64)
    torch.testing.assert_close(stream(backbone, x_BLD)[0], backbone(x_BLD), rtol=1e-10, atol=1e-10)


def test_state_bytes() -> None:
    assert state_bytes(None) == 0
    assert state_bytes({"a": [torch.zeros(2, 3), (torch.zeros(4, dtype=torch.float64),)]}) == 24 + 32
    with pytest.raises(TypeError, match="not int"):
        state_bytes([1])
