"""Every option in conf/arch is built from its YAML and held to the backbone contract; a new file is covered at once.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from lvm_lab.archs.amn import AMN
from lvm_lab.archs.linear_metric import LinearMetric
from lvm_lab.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "arch"
# An ensemble is made of trained runs: tests/test_ensemble.py.
ARCHS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "ensemble")
DIM, CONTEXT = 48, 5
# Smaller than the shipped sizes wherever an arch has such a key, so that the tests stay quick.
SMALL = {"width": 32, "heads": 4, "head_dim": 8, "state": 8, "chunk": 16}


def conf(arch: str) -> tuple[type[nn.Module], dict[str, Any]]:
    options = yaml.safe_load((CONF / f"{arch}.yaml").read_text())
    assert options.pop("name") == arch
    options.pop("defaults", None)
    module, _, name = options.pop("_target_").rpartition(".")
    return getattr(import_module(module), name), options


def build(arch: str, **changes: Any) -> Any:
    cls, options = conf(arch)
    torch.manual_seed(0)
    options |= {key: value for key, value in SMALL.items() if key in options}
    backbone = cls(dim=DIM, context_length=CONTEXT, **options | changes).eval()
    if arch == "linear_metric":
        # It begins as a copy of the last vector, blind to all others.
        torch.nn.init.normal_(backbone.metric.weight_T)
    return backbone


def context(batch: int, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x_BLD = torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return F.normalize(x_BLD, dim=-1).to(dtype)


def test_the_five_are_there() -> None:
    assert {"lstm", "gru", "transformer", "amn", "mamba2"} <= set(ARCHS)


@pytest.mark.parametrize("arch", ARCHS)
def test_yaml_names_every_hyper_parameter_and_no_other(arch: str) -> None:
    cls, options = conf(arch)
    bound = inspect.signature(cls).bind(dim=DIM, context_length=CONTEXT, **options)
    assert set(bound.arguments) == set(inspect.signature(cls).parameters)
    assert (CONF / f"{arch}.yaml").read_text().startswith(f"# lvm-lab train arch={arch}\n")


@pytest.mark.parametrize("arch", ARCHS)
def test_shipped_sizes_build(arch: str) -> None:
    cls, options = conf(arch)
    backbone: Any = cls(dim=384, context_length=CONTEXT, **options)
    x_BLD = F.normalize(torch.randn(2, CONTEXT, 384), dim=-1)
    assert backbone(x_BLD).shape == (2, CONTEXT, backbone.width)


@pytest.mark.parametrize("length", [1, 2, CONTEXT, 23])
@pytest.mark.parametrize("arch", ARCHS)
def test_any_length_and_every_parameter_learns(arch: str, length: int) -> None:
    backbone = build(arch)
    if length > getattr(backbone, "max_length", length):
        pytest.skip("of fixed length: refuses a longer context")
    hidden_BLH = backbone(context(3, length))
    assert hidden_BLH.shape == (3, length, backbone.width)
    assert hidden_BLH.isfinite().all()
    # A random direction: the plain sum of a normalised output has no gradient.
    (hidden_BLH * torch.randn(hidden_BLH.shape)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if length == CONTEXT:
            assert parameter.grad.any(), name


@pytest.mark.parametrize("length", [CONTEXT, 70])
@pytest.mark.parametrize("arch", ARCHS)
def test_causal_means_that_the_future_changes_nothing(arch: str, length: int) -> None:
    backbone = build(arch)
    if not backbone.causal:
        pytest.skip("not causal")
    x_BLD = context(2, length)
    with torch.no_grad():
        before_BLH = backbone(x_BLD)
        for j in range(0, length, max(1, length // 6)):
            changed_BLD = x_BLD.clone()
            changed_BLD[:, j] = -changed_BLD[:, j].flip(-1)
            after_BLH = backbone(changed_BLD)
            torch.testing.assert_close(after_BLH[:, :j], before_BLH[:, :j], rtol=0, atol=1e-6)
            # and it does change its own place and the next, or the test would be empty
            assert (after_BLH[:, j : j + 2] - before_BLH[:, j : j + 2]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("arch", ARCHS)
def test_a_prefix_alone_gives_the_same_as_within_a_longer_context(arch: str) -> None:
    backbone = build(arch)
    if not backbone.causal:
        pytest.skip("not causal")
    x_BLD = context(2, 37)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x_BLD[:, :11]), backbone(x_BLD)[:, :11], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_float64_agrees_with_float32(arch: str) -> None:
    backbone = build(arch)
    length = getattr(backbone, "max_length", 20)
    with torch.no_grad():
        single_BLH = backbone(context(2, length))
        double_BLH = backbone.double()(context(2, length, torch.float64))
    assert double_BLH.dtype == torch.float64
    torch.testing.assert_close(single_BLH.double(), double_BLH, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_order_of_the_context_matters(arch: str) -> None:
    backbone = build(arch)
    x_BLD = context(4, CONTEXT)
    with torch.no_grad():
        same = F.cosine_similarity(backbone(x_BLD)[:, -1], backbone(x_BLD.flip(1))[:, -1])
        swapped_BLD = x_BLD[:, [1, 0, 2, 3, 4]]
        moved_BH = backbone(x_BLD)[:, -1] - backbone(swapped_BLD)[:, -1]
    assert (same < 0.999).all()
    assert (moved_BH.abs().amax(-1) > 1e-4).all()


BAD = {
    "width": 0,
    "layers": 0,
    "heads": 5,
    "dropout": 1.0,
    "ff_mult": 0.0,
    "state": 0,
    "head_dim": 7,
    "expand": 0,
    "conv": 0,
    "groups": 3,
    "chunk": 0,
}


@pytest.mark.parametrize(("arch", "key"), [(arch, key) for arch in ARCHS for key in BAD if key in conf(arch)[1]])
def test_bad_sizes_are_one_sentence_with_the_way_out(arch: str, key: str) -> None:
    with pytest.raises(UserError, match=f"^{arch}: .*(; set it to|; choose sizes)[^.]*\\.$"):
        build(arch, **{key: BAD[key]})


@pytest.mark.parametrize("arch", ARCHS)
def test_vectors_of_another_dim_are_a_sentence(arch: str) -> None:
    with pytest.raises(UserError, match="use data of that dim"):
        build(arch)(torch.zeros(2, CONTEXT, DIM + 1))


def test_the_linear_metric_begins_as_a_copy_and_is_its_formula() -> None:
    x_BLD = context(3, 7, torch.float64)
    fresh = LinearMetric(DIM, CONTEXT).double()
    torch.testing.assert_close(fresh(x_BLD), x_BLD, rtol=0, atol=0)
    backbone = build("linear_metric").double()
    torch.nn.init.normal_(backbone.metric.change.weight, std=0.1)
    weight_T, change_DD = backbone.metric.weight_T, backbone.metric.change.weight
    for t in range(7):
        mixed_BD = torch.stack([weight_T[k] * x_BLD[:, t - k] for k in range(min(CONTEXT, t + 1))]).sum(0)
        wanted_BD = mixed_BD @ (torch.eye(DIM) + change_DD).T
        torch.testing.assert_close(backbone(x_BLD)[:, t], wanted_BD, rtol=1e-12, atol=1e-12)


def test_transformer_heads_of_odd_size() -> None:
    with pytest.raises(UserError, match="is odd; choose sizes"):
        build("transformer", width=20, heads=4)


@pytest.mark.parametrize("layers", [1, 2])
def test_amn_without_positions_ignores_the_order(layers: int) -> None:
    backbone = build("amn", positions=False, layers=layers).double()
    x_BLD = context(4, 9, torch.float64)
    with torch.no_grad():
        last_BH = backbone(x_BLD)[:, -1]
        shuffled_BH = backbone(x_BLD[:, torch.randperm(9, generator=torch.Generator().manual_seed(2))])[:, -1]
        other_BH = backbone(x_BLD.roll(1, 0))[:, -1]
    torch.testing.assert_close(shuffled_BH, last_BH, rtol=0, atol=1e-12)
    assert (other_BH - last_BH).abs().max() > 0.1


def test_amn_counts_places_beyond_the_table_as_the_farthest() -> None:
    """Two vectors that both lie beyond the table can be swapped; within it they cannot."""
    backbone = build("amn").double()
    x_BLD = context(2, 9, torch.float64)
    order = list(range(9))
    far, near = order.copy(), order.copy()
    far[0], far[1] = 1, 0
    near[6], near[7] = 7, 6
    with torch.no_grad():
        last_BH = backbone(x_BLD)[:, -1]
        torch.testing.assert_close(backbone(x_BLD[:, far])[:, -1], last_BH, rtol=0, atol=1e-12)
        assert (backbone(x_BLD[:, near])[:, -1] - last_BH).abs().max() > 1e-3


def test_amn_relative_places_equal_a_key_and_a_value_for_every_pair() -> None:
    """The table's shortcut against Shaw et al.'s definition, written out."""
    torch.manual_seed(0)
    layer: Any = AMN(DIM, 3, width=16, heads=2).double().layers[0]
    query_BTH, context_BJH = torch.randn(2, 1, 7, 16, dtype=torch.float64)
    got_TH = layer._attend(query_BTH, layer.extend(context_BJH))[0]
    key_JH, value_JH = layer.key_value(context_BJH)[0].chunk(2, dim=-1)
    for t in range(7):
        for head in range(2):
            part = slice(head * 8, head * 8 + 8)
            back = [min(t - j, 2) for j in range(t + 1)]
            key_JP = key_JH[: t + 1, part] + layer.place_key_KRP[head, back]
            value_JP = value_JH[: t + 1, part] + layer.place_value_KRP[head, back]
            score_J = key_JP @ query_BTH[0, t, part] / 8**0.5 + layer.place_score_KR[head, back]
            torch.testing.assert_close(got_TH[t, part], score_J.softmax(0) @ value_JP, rtol=1e-10, atol=1e-12)
