"""Which kernels Mamba-2 takes, with the packages' modules played in PyTorch and a CPU that passes for a CUDA device."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.mamba_kernels import causal_conv1d_fn, mamba_chunk_scan_combined
from lvm_lab.archs.mamba2 import Mamba2
from lvm_lab.archs.mamba2_attention import Mamba2Attention
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.errors import UserError
from lvm_lab.nn import kernels
from lvm_lab.training import devices

SHORT, LONG = 5, kernels.FUSED_FROM
Calls = list[str]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What a process remembers of kernels, forgotten before and after."""

    def forget() -> None:
        kernels.installed.cache_clear()
        kernels._say.cache_clear()
        kernels.choose("auto")

    forget()
    yield
    forget()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Put modules of the kernels in place; the list that comes back is of the calls to them."""

    def put(scan: bool = True, convolution: bool = True) -> Calls:
        calls: Calls = []

        def recording(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def call(*arguments: Any, **more: Any) -> Tensor:
                calls.append(name)
                return function(*arguments, **more)

            return call

        modules = {
            "causal_conv1d": convolution and {"causal_conv1d_fn": recording("convolution", causal_conv1d_fn)},
            "mamba_ssm.ops.triton.ssd_combined": scan
            and {"mamba_chunk_scan_combined": recording("scan", mamba_chunk_scan_combined)},
        }
        for name, contents in modules.items():
            module = ModuleType(name)
            vars(module).update(contents or {})
            # None in sys.modules is what Python takes for a module that cannot be imported.
            monkeypatch.setitem(sys.modules, name, module if contents else None)
        for parent in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        monkeypatch.setattr(kernels, "_on_cuda", lambda x: True)
        return calls

    return put


def read(length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    model = Mamba2(16, 5, width=16, layers=1, head_dim=8, state=4).to(dtype).eval()
    with torch.no_grad():
        return model(torch.randn(2, length, 16, dtype=dtype))


@pytest.mark.parametrize(
    ("choice", "length", "fused"),
    [
        ("auto", SHORT, False),
        ("auto", LONG - 1, False),
        ("auto", LONG, True),
        ("auto", 256, True),
        ("fused", SHORT, True),
        ("plain", 256, False),
    ],
)
def test_the_path_follows_the_choice_and_the_length(
    install: Callable[..., Calls], choice: kernels.Choice, length: int, fused: bool
) -> None:
    want = read(length)
    calls = install()
    kernels.choose(choice)
    torch.testing.assert_close(read(length), want, rtol=1e-4, atol=1e-5)
    assert calls == (["convolution", "scan"] if fused else [])


def test_without_causal_conv1d_the_scan_is_still_taken(install: Callable[..., Calls]) -> None:
    want = read(LONG)
    calls = install(convolution=False)
    torch.testing.assert_close(read(LONG), want, rtol=1e-4, atol=1e-5)
    assert calls == ["scan"]


def test_without_the_scan_float64_or_a_cuda_device_everything_is_plain(
    install: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install()
    kernels.choose("fused")
    read(LONG, torch.float64)
    monkeypatch.setattr(kernels, "_on_cuda", lambda x: x.is_cuda)
    read(LONG)
    calls += install(scan=False)
    kernels.installed.cache_clear()
    read(LONG)
    assert calls == []


def test_the_hybrid_takes_them_too(install: Callable[..., Calls]) -> None:
    calls = install()
    model = Mamba2Attention(16, 5, width=16, layers=2, attention_every=2, heads=2, head_dim=8, state=4)
    model(torch.randn(2, LONG, 16))
    assert calls == ["convolution", "scan"]


def test_the_choice_is_logged_once(install: Callable[..., Calls], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lvm_lab.nn.kernels")
    install()
    for length in (SHORT, LONG, SHORT, LONG):
        read(length)
    assert caplog.messages == [
        "Mamba-2 computes contexts of 5 with plain PyTorch (device.kernels=auto)",
        f"Mamba-2 computes contexts of {LONG} with the fused kernels (device.kernels=auto)",
    ]
    caplog.clear()
    kernels.installed.cache_clear()
    install(convolution=False)
    read(LONG)
    assert "the fused scan, without causal-conv1d's convolution" in caplog.text
    caplog.clear()
    kernels.installed.cache_clear()
    install(scan=False)
    read(LONG)
    assert "plain PyTorch, since mamba-ssm does not import" in caplog.text


def test_fused_kernels_that_cannot_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"device.kernels=fused needs a CUDA device .* set device.kernels=auto"):
        devices.choose_kernels(DeviceSettings(accelerator="cpu", kernels="fused"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels, "installed", lambda: None)
    with pytest.raises(UserError, match=r"pip install '.\[mamba\]'"):
        devices.choose_kernels(DeviceSettings(kernels="fused"))
    monkeypatch.setattr(kernels, "installed", lambda: kernels.Kernels(min, None))
    devices.choose_kernels(DeviceSettings(kernels="fused"))
    assert kernels._choice == "fused"
    devices.choose_kernels(DeviceSettings(accelerator="cpu"))
    assert kernels._choice == "auto"
