"""What weight decay is of: every parameter of every arch, head and loss, held against the table in the docs."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from lvm_lab.archs.ensemble import Ensemble
from lvm_lab.build.training import module
from lvm_lab.commands import launch
from lvm_lab.config.settings import settings
from lvm_lab.errors import UserError
from lvm_lab.training import weight_decay
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Stats

CONF = launch.conf_dir()
PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
DIM = 24
ARCHS, HEADS, LOSSES = (
    sorted(file.stem for file in (CONF / group).glob("*.yaml")) for group in ("arch", "head", "loss")
)
# What an option goes with where the defaults do not.
WITH = {
    "lcm_two_tower": ["head=two_tower", "loss=diffusion"],
    "two_tower": ["arch=gru", "loss=diffusion"],
    "diffusion": ["arch=gru", "head=diffusion", "loss=diffusion"],
    "energy": ["arch=gru", "head=energy", "loss=energy"],
    "quantised": ["arch=gru", "loss=codes"],
    "codes": ["arch=gru", "head=quantised"],
    "identity": ["arch=linear_metric"],
}
OPTIONS = [
    *(("arch", arch) for arch in ARCHS),
    *(("head", head) for head in HEADS),
    *(("loss", loss) for loss in LOSSES),
]
LAYER = re.compile(r"\.\d+(?=\.)")
NORMS = ("LayerNorm", "RMSNorm", "GroupNorm")


def built(group: str, option: str, *more: str) -> LatentVectorModule:
    overrides = [f"data.dim={DIM}", f"{group}={option}", *more]
    overrides += [other for other in WITH.get(option, []) if not other.startswith(f"{group}=")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("train", overrides=overrides), resolve=True)
    stats = Stats(torch.zeros(DIM), torch.ones(DIM), codes_QKD=torch.ones(4, 256, DIM))
    return module(settings(config), stats, {})


@cache
def part_of(group: str, option: str) -> nn.Module:
    """The backbone, head or loss of an option."""
    if option == "ensemble":
        # It freezes them: not those of the cache.
        members = [built("arch", "gru").model.backbone]
        mixes = {mix: Ensemble(DIM, 5, members=members, mix=mix) for mix in ("weighted", "gate")}
        return nn.ModuleDict(mixes if group == "arch" else {})
    whole = built(group, option)
    return {"arch": whole.model.backbone, "head": whole.model.head, "loss": whole.loss}[group]


def row(group: str, option: str) -> str:
    """The line of the table: numbers of layers as a star, biases and the gains of norms left out."""
    part = part_of(group, option)
    gains = {f"{name}.weight" for name, owner in part.named_modules() if type(owner).__name__ in NORMS}
    decayed, kept = (names(group) for group in weight_decay.groups(part, weight_decay.maps(part), 1.0))
    rest = [name for name in kept if name not in gains and not re.search(r"\.bias(_[ih]h_l\d)?$", name)]
    columns = (", ".join(dict.fromkeys(f"`{LAYER.sub('.*', name)}`" for name in part)) for part in (decayed, rest))
    return f"| `{group}={option}` | " + " | ".join(columns) + " |"


def names(group: dict[str, Any]) -> list[str]:
    listed: list[str] = group["names"]
    return listed


def split(module: nn.Module) -> tuple[set[str], set[str]]:
    """Names of what decays and of what does not."""
    decayed, kept = weight_decay.groups(module, weight_decay.maps(module), 1.0)
    return set(names(decayed)), set(names(kept))


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] != "loss"])
def test_the_page_lists_what_decays(group: str, option: str) -> None:
    """docs/architectures.md names the parameters of every option; the line that is missing there is shown here."""
    lines = PAGE.read_text().splitlines()
    assert row(group, option) in lines
    assert sum(line.startswith(f"| `{group}={option}` |") for line in lines) == 1


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_trained_parameter_is_in_exactly_one_group(group: str, option: str) -> None:
    part = part_of(group, option)
    groups = weight_decay.groups(part, weight_decay.maps(part), 3.0)
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(ids) == sorted(id(parameter) for parameter in part.parameters() if parameter.requires_grad)
    assert [group["weight_decay"] for group in groups] == [3.0, 0.0]
    by_name = dict(part.named_parameters())
    for group in groups:
        assert [by_name[name] for name in group["names"]] == group["params"]
    # A map has an input and an output.
    assert all(parameter.ndim >= 2 for parameter in groups[0]["params"])


def test_a_head_that_begins_at_the_metric_is_drawn_back_to_it() -> None:
    """The matrix's difference from the identity and what moves the weights decay; the weights themselves do not."""
    head = built("head", "residual", "head.mix=adaptive").model.head
    decayed, kept = split(head)
    assert {name for name in decayed if name.startswith("metric.")} == {"metric.change.weight", "metric.adapt.weight"}
    assert "metric.weight_T" in kept
    for name in ("metric.change.weight", "metric.adapt.weight"):
        assert not dict(head.named_parameters())[name].any()


class Own(nn.Module):
    """What a user may bring: a map and a table as plain parameters, and torch's own modules."""

    decayed_parameters: tuple[str, ...] = ("map_DD",)

    def __init__(self) -> None:
        super().__init__()
        self.map_DD = nn.Parameter(torch.ones(4, 4))
        self.place_ND = nn.Parameter(torch.ones(5, 4))
        self.scale = nn.Parameter(torch.ones(()))
        self.begin = nn.Parameter(torch.ones(1, 1, 4))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True, kdim=3, vdim=3)
        self.joint = nn.MultiheadAttention(4, 2)
        self.cell = nn.LSTM(4, 4, proj_size=2)
        self.taps = nn.ConvTranspose1d(4, 4, 3)
        self.table, self.out = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_what_is_ones_own_decays_where_it_is_a_map_of_torchs_or_declared() -> None:
    decayed, kept = split(Own())
    assert decayed == {
        "map_DD",
        *(f"attention.{kind}_proj_weight" for kind in "qkv"),
        "attention.out_proj.weight",
        "joint.in_proj_weight",
        "joint.out_proj.weight",
        *(f"cell.weight_{kind}_l0" for kind in ("ih", "hh", "hr")),
        "taps.weight",
        "out.weight",
    }
    assert {"place_ND", "scale", "begin", "attention.bias_k", "table.weight", "taps.bias"} <= kept
    assert not any(name.startswith("frozen") for name in decayed | kept)


def test_a_shared_parameter_decays_once_if_it_is_a_map_anywhere() -> None:
    tied = Own()
    tied.out.weight = tied.table.weight
    decayed, kept = split(tied)
    assert "table.weight" in decayed
    assert not {"table.weight", "out.weight"} & kept


def test_a_declaration_of_no_parameter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "decayed_parameters", ("map_DD", "mop_DD"))
    with pytest.raises(UserError, match=r"^Own\.decayed_parameters names mop_DD, .* take one of map_DD, .*\.$"):
        weight_decay.maps(Own())


@pytest.mark.parametrize("named", [True, False], ids=["of a run", "of a run of version 0.1.0"])
def test_moments_go_to_the_parameters_that_they_are_of(named: bool) -> None:
    part = part_of("arch", "rwkv")
    old = weight_decay.groups(part, weight_decay.by_dimension(part), 1.0)
    if not named:
        for group in old:
            del group["names"]
    optimiser = torch.optim.AdamW(old)
    for parameter in part.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    before = {name: optimiser.state[parameter]["exp_avg"] for name, parameter in part.named_parameters()}
    decayed = weight_decay.maps(part)
    new = torch.optim.AdamW(weight_decay.groups(part, decayed, 1.0))
    moments = weight_decay.renumbered(optimiser.state_dict(), part, decayed)
    new.load_state_dict(new.state_dict() | {"state": moments})
    assert decayed != weight_decay.by_dimension(part)
    for name, parameter in part.named_parameters():
        assert torch.equal(new.state[parameter]["exp_avg"], before[name]), name
