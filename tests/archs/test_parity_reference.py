"""The architectures that others have too, against those: tests/parity makes the rows, this holds them to a bound."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from lvm_lab.archs.distilgpt2 import DistilGPT2
from lvm_lab.archs.rwkv import wkv
from lvm_lab.errors import UserError

# Not imported here: that takes seconds of every process which collects tests.
pytestmark = pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
BOUND = {"float32": 1e-5, "float64": 1e-10}


NAMES = ["gpt2", "transformer", "lcm_base"]
SLOW = ["lcm_two_tower", "mamba2", "rwkv"]


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_equals_the_reference(name: str) -> None:
    rows = import_module(f"helpers.parity.{name}").comparisons()
    assert {length for _, _, length, _, _ in rows} == {5, 256}
    assert {dtype for _, _, _, dtype, _ in rows} == set(BOUND)
    for arch, reference, length, dtype, gap in rows:
        assert gap <= BOUND[dtype], f"{arch} against {reference}, L = {length}, {dtype}: {gap:.1e}"


def test_both_towers_equal_their_formulas_on_short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Place by place through 18 layers, 256 vectors take as long as ten other tests together."""
    monkeypatch.setattr("helpers.parity._common.LENGTHS", (5,))
    rows = import_module("helpers.parity.lcm_two_tower").comparisons()
    assert {length for _, _, length, _, _ in rows} == {5}
    assert [row for row in rows if row[-1] > BOUND[row[3]]] == []


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_wkv_and_its_gradients_equal_the_formula(length: int) -> None:
    from helpers.parity.rwkv import wkv_by_its_formula

    torch.manual_seed(length)
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in ((6,), (6,), (2, length, 6), (2, length, 6))]
    inputs = [x.requires_grad_() for x in inputs]
    weights = torch.randn(2, length, 6, dtype=torch.float64)
    got, want = wkv(*inputs), wkv_by_its_formula(*inputs)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    mine = torch.autograd.grad((got * weights).sum(), inputs)
    theirs = torch.autograd.grad((want * weights).sum(), inputs, allow_unused=True, materialize_grads=True)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_wkv_survives_keys_whose_exponential_overflows() -> None:
    torch.manual_seed(0)
    decay, first, key, value = torch.randn(6), torch.randn(6), 500 * torch.randn(2, 256, 6), torch.randn(2, 256, 6)
    inputs = [x.requires_grad_() for x in (decay, first, key, value)]
    got = wkv(*inputs)
    assert got.abs().max() <= value.abs().max()  # an average of values
    assert all(g.isfinite().all() for g in torch.autograd.grad(got.sum(), inputs))
    double = wkv(*(x.detach().double() for x in inputs))
    torch.testing.assert_close(got.double(), double, rtol=1e-3, atol=1e-3)
    half = wkv(decay, first, torch.randn(2, 256, 6).bfloat16(), value.bfloat16())
    assert half.dtype == torch.bfloat16


SIZES = {"width": 16, "layers": 2, "heads": 2, "max_positions": 12}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any]:
    """A tiny GPT-2 of the same sizes, as transformers saves it with its head, and the model."""
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=7, n_positions=12, n_embd=16, n_layer=2, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path)
    return tmp_path, model.transformer.eval()


def blocks(folder: Path, **changes: Any) -> Any:
    return DistilGPT2(24, 5, weights=str(folder), **SIZES | changes).eval()


@pytest.mark.parametrize("form", ["safetensors", "bin", "bin without prefix"])
def test_gpt2_weights_load_from_a_folder(saved: tuple[Path, Any], form: str) -> None:
    folder, theirs = saved
    if form != "safetensors":
        prefix = "transformer." if form == "bin" else ""
        torch.save({prefix + key: x for key, x in theirs.state_dict().items()}, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    ours = blocks(folder)
    torch.testing.assert_close(ours.input.norm.weight, theirs.wte.weight.std().expand(16))
    ours.input = torch.nn.Identity()
    x_BLH = torch.randn(2, 12, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x_BLH), theirs(inputs_embeds=x_BLH).last_hidden_state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 32}, "other sizes .*; choose sizes"),
        ({"layers": 3}, "other sizes .*h.2.* no here"),
        ({"layers": 1}, "other sizes .*h.1.*no such layer"),
        ({"max_positions": 1024}, "other sizes .*wpe"),
        ({"heads": 4}, "trained with heads = 2, not 4; set it to 2"),
    ],
)
def test_gpt2_weights_of_other_sizes_are_a_sentence(
    saved: tuple[Path, Any], changes: dict[str, int], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        blocks(saved[0], **changes)


def test_gpt2_weights_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*; set weights to"):
        blocks(tmp_path / "gone")
    with pytest.raises(UserError, match=r"neither model.safetensors nor pytorch_model.bin; set weights"):
        blocks(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"is damaged .*; copy it again"):
        blocks(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn as well")
    with pytest.raises(UserError, match=r"is damaged .*; copy it again"):
        blocks(tmp_path)


def test_gpt2_has_as_many_positions_as_it_was_given() -> None:
    with pytest.raises(UserError, match="max_positions = 4; set it to 5 or more"):
        DistilGPT2(24, 5, **SIZES | {"max_positions": 4})
    backbone = DistilGPT2(24, 5, **SIZES).eval()
    x_BLD, state = torch.randn(1, 13, 24), None
    with pytest.raises(UserError, match="set it to 13 or more, or take arch=transformer"):
        backbone(x_BLD)
    for t in range(12):
        _, state = backbone.step(x_BLD[:, t], state)
    with pytest.raises(UserError, match="set it to 13 or more"):
        backbone.step(x_BLD[:, 12], state)


def test_a_hybrid_without_attention_is_a_sentence() -> None:
    from lvm_lab.archs.mamba2_attention import Mamba2Attention

    with pytest.raises(UserError, match="no layer would be attention; set it to layers or less"):
        Mamba2Attention(24, 5, layers=5)
    kinds = [type(layer.mixer).__name__ for layer in Mamba2Attention(24, 5, layers=7, attention_every=3).stack.layers]
    assert kinds == ["Mixer", "Mixer", "RotaryAttention"] * 2 + ["Mixer"]
