"""The architectures against their definitions, written out in tests/parity/, and the particulars of five of them.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, K heads, P dim of a head, M features.
"""

import math
from importlib import import_module
from typing import Any

import pytest
import torch

from helpers.parity.performer import far_from_softmax
from lvm_lab.archs.hyena import Hyena
from lvm_lab.archs.linformer import Linformer
from lvm_lab.archs.performer import Performer, favor, orthogonal_directions
from lvm_lab.archs.retnet import RetNet, retention_chunkwise, retention_parallel, retention_recurrent
from lvm_lab.archs.s4 import S4, S4D, hippo_legs
from lvm_lab.errors import UserError
from lvm_lab.nn.convolution import fourier_convolution, short_convolution

NAMES = ("s4", "retnet", "hyena", "linformer", "performer", "lstm", "gru", "amn", "ridge", "linear_metric")
BOUND = {"float32": 1e-5, "float64": 1e-10}


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_definition(name: str) -> None:
    rows = import_module(f"helpers.parity.{name}").comparisons()
    assert {(length, dtype) for _, _, length, dtype, _ in rows} == {(n, d) for n in (5, 256) for d in BOUND}
    for arch, reference, length, dtype, difference in rows:
        assert arch == name
        assert difference <= BOUND[dtype], (reference, length, dtype)


@pytest.mark.parametrize("length", [1, 64, 65, 100])
def test_direct_and_fourier_convolution_agree(length: int) -> None:
    torch.manual_seed(0)
    x_BLH = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    kernel_LH = torch.randn(length, 3, dtype=torch.float64, requires_grad=True)
    direct, fourier = short_convolution(x_BLH, kernel_LH), fourier_convolution(x_BLH, kernel_LH)
    torch.testing.assert_close(direct, fourier, rtol=1e-10, atol=1e-10)
    for mine, other in zip(
        torch.autograd.grad(direct.square().sum(), (x_BLH, kernel_LH)),
        torch.autograd.grad(fourier.square().sum(), (x_BLH, kernel_LH)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_legs_frequencies_are_those_of_the_hippo_matrix() -> None:
    """Against the eigenvalues of the whole matrix by a general solver; S4D-Lin approximates them for large states."""
    size = 8
    n_N = torch.arange(size, dtype=torch.float64)
    root_N = (2 * n_N + 1).sqrt()
    hippo_NN = -(root_N[:, None] * root_N).tril(-1) - torch.diag(n_N + 1)
    normal_NN = hippo_NN + (n_N + 0.5).sqrt()[:, None] * (n_N + 0.5).sqrt()
    values_N = torch.linalg.eigvals(normal_NN)
    torch.testing.assert_close(values_N.real, torch.full((size,), -0.5, dtype=torch.float64))
    want_N = values_N.imag[values_N.imag > 0].sort().values
    torch.testing.assert_close(hippo_legs(size).double(), want_N, rtol=1e-5, atol=1e-6)


def test_s4_starts_with_the_steps_it_was_asked_for() -> None:
    torch.manual_seed(0)
    dt_H = S4D(500, 4, dt_min=0.05, dt_max=0.5).log_dt.exp()
    assert 0.0499 < dt_H.min() < 0.06
    assert 0.4 < dt_H.max() < 0.501
    assert dt_H.log().mean().item() == pytest.approx(math.log(0.025) / 2, abs=0.1)


def test_a_state_carries_retention_and_attention_on() -> None:
    """Two halves with the state between them are the whole, in the forms that have a state."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 20, 4, dtype=torch.float64)
    log_gamma_K = -1.0 / torch.tensor([4.0, 32.0], dtype=torch.float64)
    want = retention_parallel(query, key, value, log_gamma_K)
    _, state = retention_recurrent(*(x[:, :, :7] for x in (query, key, value)), log_gamma_K)
    got, _ = retention_chunkwise(*(x[:, :, 7:] for x in (query, key, value)), log_gamma_K, 4, state)
    torch.testing.assert_close(got, want[:, :, 7:], rtol=1e-10, atol=1e-10)

    directions_MP = orthogonal_directions(6, 4).double()
    whole, _ = favor(query, key, value, directions_MP, 20)
    _, sums = favor(*(x[:, :, :7] for x in (query, key, value)), directions_MP, 3)
    rest, _ = favor(*(x[:, :, 7:] for x in (query, key, value)), directions_MP, 4, sums)
    torch.testing.assert_close(rest, whole[:, :, 7:], rtol=1e-10, atol=1e-10)


def test_retention_survives_decays_that_underflow() -> None:
    query, key, value = torch.randn(3, 1, 1, 200, 4).requires_grad_()
    log_gamma_K = torch.tensor([-20.0])
    for y in (
        retention_parallel(query, key, value, log_gamma_K),
        retention_chunkwise(query, key, value, log_gamma_K, 16)[0],
    ):
        (gradient,) = torch.autograd.grad(y.sum(), value)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


def test_more_features_come_closer_to_softmax_attention() -> None:
    far = [far_from_softmax(features) for features in (8, 512, 4096)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 0.1


def test_directions_are_orthogonal_in_blocks_and_kept() -> None:
    torch.manual_seed(0)
    directions_MP = orthogonal_directions(20, 8)
    unit_MP = directions_MP / directions_MP.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit_MP[8:16] @ unit_MP[8:16].T, torch.eye(8), rtol=0, atol=1e-5)
    torch.manual_seed(1)
    first = Performer(12, 5, width=16, heads=2)
    torch.manual_seed(1)
    same, other = Performer(12, 5, width=16, heads=2), Performer(12, 5, width=16, heads=2)
    name = "layers.0.directions_MP"
    assert torch.equal(first.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    other.load_state_dict(first.state_dict())
    x_BLD = torch.randn(2, 5, 12)
    assert torch.equal(other(x_BLD), first(x_BLD))


@pytest.mark.parametrize("chunk", [1, 8, 64])
def test_performer_takes_large_keys_and_hides_the_future(chunk: int) -> None:
    """Exponents of several hundred: a stabiliser over the whole sequence would show, and none would overflow."""
    torch.manual_seed(0)
    directions_MP = orthogonal_directions(16, 4)
    query, key, value = torch.randn(3, 1, 2, 40, 4)
    before, _ = favor(query, key, value, directions_MP, chunk)
    key[:, :, 30:] *= 200
    key.requires_grad_()
    after, _ = favor(query, key, value, directions_MP, chunk)
    (gradient,) = torch.autograd.grad(after.sum(), key)
    assert torch.equal(after[:, :, :30], before[:, :, :30])
    assert after.isfinite().all()
    assert gradient.isfinite().all()


def test_hyena_filters_do_not_know_the_length() -> None:
    torch.manual_seed(0)
    filters: Any = Hyena(12, 5, width=8).layers[0].operator.filters
    long_NLH = filters(torch.arange(300))
    torch.testing.assert_close(filters(torch.arange(7)), long_NLH[:, :7])
    assert long_NLH.isfinite().all()
    assert long_NLH[:, 299].abs().max() < long_NLH[:, :5].abs().max() * 1e-3  # far beyond the context it has faded


def test_linformer_refuses_a_longer_context_and_counts_a_shorter_one_from_its_end() -> None:
    torch.manual_seed(0)
    backbone = Linformer(12, 5, width=16, heads=2, rank=3)
    with pytest.raises(UserError, match=r"^linformer: .* 6 vectors .*at most 5; shorten .*data\.context_length=6\.$"):
        backbone(torch.randn(2, 6, 12))
    x_BLD = torch.randn(2, 3, 12)
    shorter = Linformer(12, 3, width=16, heads=2, rank=3)
    state = {
        name: x[:, -3:] if name.endswith("_RN") else x[-3:] if name == "place_NH" else x
        for name, x in backbone.state_dict().items()
    }
    shorter.load_state_dict(state)
    torch.testing.assert_close(shorter(x_BLD), backbone(x_BLD))


@pytest.mark.parametrize("rank", [1, 3, 5, 9])
def test_linformer_takes_any_rank(rank: int) -> None:
    assert Linformer(12, 5, width=16, heads=2, rank=rank)(torch.randn(2, 5, 12)).shape == (2, 5, 16)


BAD = [
    (S4, {"state": 7}, "state = 7 is odd; set it"),
    (S4, {"init": "random"}, "init is random; set it to legs or lin"),
    (S4, {"dt_min": 0.0}, "set them so that 0 < dt_min <= dt_max"),
    (S4, {"dt_min": 2.0}, "set them so that 0 < dt_min <= dt_max"),
    (RetNet, {"width": 20}, "is odd; choose sizes"),
    (RetNet, {"value_mult": 0}, "value_mult is 0; set it to 1 or more"),
    (RetNet, {"shortest": 600.0}, "set them so that 0 < shortest <= longest"),
    (Hyena, {"order": 0}, "order is 0; set it to 1 or more"),
    (Hyena, {"bands": 0}, "bands is 0; set it to 1 or more"),
    (Hyena, {"shortest": -1.0}, "set them so that 0 < shortest <= longest"),
    (Linformer, {"rank": 0}, "rank is 0; set it to 1 or more"),
    (Linformer, {"heads": 5}, "does not divide width"),
    (Performer, {"features": 0}, "features is 0; set it to 1 or more"),
    (Performer, {"width": 20}, "is odd; choose sizes"),
]


@pytest.mark.parametrize(("cls", "changes", "sentence"), BAD)
def test_bad_sizes_are_a_sentence(cls: Any, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{cls.__name__.lower()}: .*{sentence}[^.]*\\.$"):
        cls(12, 5, **changes)
