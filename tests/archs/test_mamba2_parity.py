"""Mamba-2 against its definition (the recurrence as plain loops) and against transformers' Mamba2Model.

Shape suffixes: B batch, L length, K heads, G groups, P head dim, N state size, H hidden dim.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers.mamba_kernels import causal_conv1d_fn, mamba_chunk_scan_combined
from lvm_lab.archs.mamba2 import Mamba2
from lvm_lab.nn.kernels import Kernels
from lvm_lab.nn.mamba2 import causal_conv
from lvm_lab.nn.ssd import ssd_scan

BATCH, HEADS, HEAD_DIM, STATE = 2, 4, 3, 5
WIDTH = 32


def scan_inputs(length: int, groups: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, dt, a, b, c with dt and a in the range of Mamba-2's own initial values."""
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x_BLKP = draw(BATCH, length, HEADS, HEAD_DIM)
    dt_BLK = 0.1 * draw(BATCH, length, HEADS).sigmoid()
    a_K = -torch.linspace(1, 16, HEADS, dtype=torch.float64)
    b_BLGN, c_BLGN = draw(BATCH, length, groups, STATE), draw(BATCH, length, groups, STATE)
    return tuple(v.to(dtype).requires_grad_() for v in (x_BLKP, dt_BLK, a_K, b_BLGN, c_BLGN))  # type: ignore[return-value]


def recurrence(x_BLKP: Tensor, dt_BLK: Tensor, a_K: Tensor, b_BLGN: Tensor, c_BLGN: Tensor) -> Tensor:
    heads_a_group = HEADS // b_BLGN.shape[2]
    rows = []
    for row in range(x_BLKP.shape[0]):
        heads = []
        for k in range(HEADS):
            state_PN = x_BLKP.new_zeros(HEAD_DIM, STATE)
            places = []
            for t in range(x_BLKP.shape[1]):
                dt = dt_BLK[row, t, k]
                b_N, c_N = b_BLGN[row, t, k // heads_a_group], c_BLGN[row, t, k // heads_a_group]
                state_PN = torch.exp(dt * a_K[k]) * state_PN + dt * torch.outer(x_BLKP[row, t, k], b_N)
                places.append(state_PN @ c_N)
            heads.append(torch.stack(places))
        rows.append(torch.stack(heads, dim=1))
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 256])
def test_scan_equals_the_recurrence(length: int) -> None:
    groups = 2 if length % 2 else 1
    inputs = scan_inputs(length, groups, torch.float64)
    want = recurrence(*inputs)
    weights = torch.randn(want.shape, dtype=torch.float64)
    want_gradients = torch.autograd.grad((want * weights).sum(), inputs)
    for chunk in (16, 64, 256):  # 256 is the quadratic form for all of these lengths, 16 the chunked one for most
        got = ssd_scan(*inputs, chunk=chunk)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        for mine, theirs in zip(torch.autograd.grad((got * weights).sum(), inputs), want_gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)
        single = ssd_scan(*(v.detach().float() for v in inputs), chunk=chunk)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), want, rtol=1e-5, atol=1e-5)


def test_scan_survives_decays_that_underflow() -> None:
    """exp of a future place would overflow; neither values nor gradients may become nan."""
    x, dt, a, b, c = scan_inputs(40, 1, torch.float32)
    strong = (dt.detach() * 1000).requires_grad_()
    for chunk in (8, 64):
        y = ssd_scan(x, strong, a, b, c, chunk=chunk)
        assert y.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum(), (x, strong, a, b, c)))


def test_half_precision_keeps_its_dtype_and_stays_close() -> None:
    x, dt, a, b, c = (v.detach() for v in scan_inputs(100, 1, torch.float32))
    want = ssd_scan(x, dt, a, b, c, chunk=64)
    got = ssd_scan(x.bfloat16(), dt, a, b.bfloat16(), c.bfloat16(), chunk=64)
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).norm() < 0.02 * want.norm()


@pytest.mark.parametrize("length", [1, 3, 4, 9])
def test_shifted_products_equal_conv1d(length: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(6, 6, 4, groups=6, padding=3).double()
    x_BLM = torch.randn(2, length, 6, dtype=torch.float64)
    want_BLM = torch.nn.functional.silu(conv(x_BLM.transpose(1, 2))[..., :length]).transpose(1, 2)
    torch.testing.assert_close(causal_conv(x_BLM, conv), want_BLM, rtol=1e-12, atol=1e-12)


def hf_pair(chunk: int) -> tuple[Any, Any]:
    """Our stack and transformers' model with the same weights; its chunk is small, since it pads to it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = Mamba2(WIDTH, 5, width=WIDTH, layers=2, state=8, head_dim=16, chunk=chunk).stack
    config = transformers.Mamba2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        state_size=8,
        head_dim=16,
        num_heads=4,
        expand=2,
        n_groups=1,
        conv_kernel=4,
        chunk_size=8,
        vocab_size=3,
        use_cache=False,
    )
    theirs = transformers.Mamba2Model(config)
    with torch.no_grad():
        for parameter in ours.parameters():  # off the initial ones and zeros, so that a swapped name would show
            parameter += 0.05 * torch.randn(parameter.shape)
    problems = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert problems.missing_keys == ["embeddings.weight"]
    assert problems.unexpected_keys == []
    return ours, theirs


@pytest.mark.parametrize(("length", "chunk"), [(1, 64), (5, 64), (19, 64), (19, 4)])
def test_equals_transformers_forward_and_backward(length: int, chunk: int) -> None:
    ours, theirs = hf_pair(chunk)
    x_BLH = torch.randn(2, length, WIDTH)
    mine_BLH, other_BLH = x_BLH.clone().requires_grad_(), x_BLH.clone().requires_grad_()
    got, want = ours(mine_BLH), theirs(inputs_embeds=other_BLH).last_hidden_state
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)

    weights = torch.randn(got.shape)
    (got * weights).sum().backward()
    (want * weights).sum().backward()
    torch.testing.assert_close(mine_BLH.grad, other_BLH.grad, rtol=1e-4, atol=1e-5)
    other = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, other[name].grad, rtol=1e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_transformers_weights_load_strictly() -> None:
    ours, theirs = hf_pair(64)
    state = theirs.state_dict()
    del state["embeddings.weight"]
    ours.load_state_dict(state, strict=True)


def test_mixer_has_mamba_ssm_names_and_initial_values() -> None:
    torch.manual_seed(0)
    mixer = Mamba2(WIDTH, 5, width=64, head_dim=8).stack.layers[0].mixer
    assert {name for name, _ in mixer.named_parameters()} == {
        "dt_bias",
        "A_log",
        "D",
        "in_proj.weight",
        "conv1d.weight",
        "conv1d.bias",
        "norm.weight",
        "out_proj.weight",
    }
    dt_K = torch.nn.functional.softplus(mixer.dt_bias)
    assert (dt_K >= 0.999e-3).all()
    assert (dt_K <= 0.1001).all()
    assert (mixer.A_log.exp() >= 0.999).all()
    assert (mixer.A_log.exp() <= 16.01).all()
    assert (mixer.D == 1).all()


@pytest.mark.parametrize("convolution", [causal_conv1d_fn, None], ids=["both", "without causal-conv1d"])
def test_kernels_get_their_arguments_in_their_documented_places(convolution: Callable[..., Tensor] | None) -> None:
    """The CUDA path's wiring, with the kernels played in PyTorch by their documented signatures."""
    torch.manual_seed(0)
    mixer = Mamba2(WIDTH, 5, width=WIDTH, head_dim=8, state=8, groups=2).stack.layers[0].mixer
    x_BLM, dt_BLK = torch.randn(2, 7, mixer.conv1d.in_channels), torch.randn(2, 7, mixer.heads)
    want = mixer._scan(causal_conv(x_BLM, mixer.conv1d), dt_BLK)
    got = mixer._scan_fused(x_BLM, dt_BLK, Kernels(mamba_chunk_scan_combined, convolution))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
