"""Every option in conf/ composes, binds to what it names, and says how it is called; a new file is covered at once."""

from __future__ import annotations

import functools
import inspect
import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from lvm_lab.build import members
from lvm_lab.build.training import module
from lvm_lab.config import binding
from lvm_lab.config.data import DataSettings
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import (
    DATA_KEYS,
    CheckpointSettings,
    DeviceSettings,
    OptimSettings,
    RunSettings,
    TrainerSettings,
    settings,
)
from lvm_lab.config.targets import make
from lvm_lab.errors import UserError
from lvm_lab.loggers.wandb import WandB
from lvm_lab.training import devices
from lvm_lab.types import Stats

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("arch", "head", "loss", "data", "device", "five_cat", "logger", "strategy")
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
RECIPES = sorted(file.stem for file in (CONF / "recipe").glob("*.yaml"))
NAMED = ("arch", "head", "loss", "data", "five_cat", "strategy")
# What code passes, beside the config's keys.
GIVEN = {"arch": {"dim", "context_length"}, "head": {"width", "stats"}}
SPELT = {"five_cat": "5cat"}

every_option = pytest.mark.parametrize(("group", "stem"), OPTIONS, ids=[f"{g}={s}" for g, s in OPTIONS])


@functools.cache
def composed_once(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", overrides=list(overrides))


def compose(*overrides: str) -> dict[str, Any]:
    """A container of the caller's own, which it may change."""
    composed = composed_once(*overrides)
    return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def targets(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """(path, node) of every node with a `_target_`, at any depth."""
    if not isinstance(node, dict):
        return []
    deeper = [found for key, value in node.items() for found in targets(value, f"{path}.{key}")]
    return ([(path, node)] if "_target_" in node else []) + deeper


def imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def test_every_group_has_options_and_every_folder_is_a_group():
    assert {group for group, _ in OPTIONS} == set(GROUPS)
    tested_elsewhere = {"local", "schedule", "reader", "chunker", "encoder", "decoder", "index", "recipe", "callbacks"}
    tested_elsewhere |= {"tmd", "smoother", "criteria"}
    assert {item.name for item in CONF.iterdir() if item.is_dir()} - tested_elsewhere == set(GROUPS)


@every_option
def test_an_option_composes_under_its_own_name(group, stem):
    node = compose(f"{group}={stem}")[group]
    if group in NAMED:
        assert node["name"] == stem
    else:
        assert "name" not in node or node["name"] == stem


@every_option
def test_every_target_binds(group, stem):
    node = compose(f"{group}={stem}")[group]
    found = targets(node, group)
    if group in ("arch", "head", "data"):
        assert [path for path, _ in found] == [group]
    if group == "logger":
        assert [path for path, _ in found] == ([] if stem == "none" else [f"logger.{stem}"])
    if group == "loss":
        assert sorted(path for path, _ in found) == sorted(f"loss.terms.{term}" for term in node["terms"])
    if group == "strategy":
        terms = [f"strategy.loss.terms.{term}" for term in node.get("loss", {}).get("terms", {})]
        assert sorted(path for path, _ in found) == ([] if stem == "none" else sorted(["strategy", *terms]))
    for path, one in found:
        target, given = imported(one["_target_"]), GIVEN.get(path, set())
        ours = {"_target_", *(("name",) if path in NAMED else ()), *(("weight",) if "loss.terms" in path else ())}
        ours |= set(DATA_KEYS) if path == "data" else set()
        keys = {key: value for key, value in one.items() if key not in ours}
        binding.check(keys, target, path, given)
        bound = inspect.signature(target).bind(**keys, **dict.fromkeys(given))
        required = {
            name
            for name, p in inspect.signature(target).parameters.items()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }
        assert required <= set(bound.arguments), path


def test_a_typo_in_an_option_would_be_seen():
    node = compose("arch=gru")["arch"] | {"widht": 3}
    keys = {key: value for key, value in node.items() if key not in ("_target_", "name")}
    with pytest.raises(UserError, match=r"arch.widht does not exist \(did you mean width\?\)"):
        binding.check(keys, imported(node["_target_"]), "arch", GIVEN["arch"])


@every_option
def test_an_option_opens_with_its_command(group, stem):
    text = (CONF / group / f"{stem}.yaml").read_text()
    command = f"# lvm-lab train {SPELT.get(group, group)}={stem}"
    # An option that sets a run's other keys too says so first, as Hydra wants it.
    first = text.removeprefix("# @package _global_\n").splitlines()[0]
    assert first == command or first.startswith(f"{command} "), first


@pytest.mark.parametrize("stem", RECIPES)
def test_a_recipe_opens_with_its_command_and_changes_settings_that_are_there(stem):
    lines = (CONF / "recipe" / f"{stem}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith(f"# lvm-lab train recipe={stem}")
    plain, composed = compose(), compose(f"recipe={stem}")
    assert composed != plain
    settings(composed)
    assert "recipe" not in composed


@pytest.mark.parametrize("stem", RECIPES)
@pytest.mark.parametrize(
    ("override", "group"), [("arch=gru", "arch"), ("loss=mse", "loss"), ("head=linear", "head"), ("arch=ridge", "arch")]
)
def test_the_command_line_wins_over_a_recipe(stem, override, group):
    composed = compose(f"recipe={stem}", override, "data.context_length=3", "trainer.optim.lr=0.5")
    assert composed[group]["name"] == override.partition("=")[2]
    assert composed["data"]["context_length"] == 3
    assert composed["trainer"]["optim"]["lr"] == 0.5
    chosen = settings(composed)
    model = module(chosen, Stats(torch.zeros(16), torch.ones(16)), {})
    assert model.predict(torch.randn(2, 3, 16)).raw_ND.shape == (2, 16)


def test_the_recipe_for_real_text_begins_as_copy_last():
    """The linear metric, and a sequence model beside it."""
    stats = Stats(torch.zeros(16), torch.ones(16))
    context_BLD = torch.randn(4, 16, 16)
    for overrides in ([], ["arch=gru", "head=residual"]):
        model = module(settings(compose("recipe=real_text", *overrides)), stats, {}).eval()
        torch.testing.assert_close(model.predict(context_BLD).raw_ND, context_BLD[:, -1], rtol=1e-5, atol=1e-5)


@every_option
def test_settings_accept_every_option(group, stem):
    chosen = settings(compose(f"{group}={stem}"))
    assert chosen.preset.name == (stem if group == "five_cat" else "standard")
    if group == "device":
        assert chosen.device.accelerator == compose(f"device={stem}")["device"]["accelerator"]


# The other groups' keys are held against a signature when their object is made.
@pytest.mark.parametrize("group", ["device", "five_cat", "logger"])
def test_settings_refuse_a_key_that_no_option_has(group):
    config = compose()
    config[group]["zzz"] = 1
    with pytest.raises(UserError, match=rf"{group}.zzz "):
        settings(config)


@pytest.mark.parametrize(("key", "value"), [("trainer.lr", 1), ("data.max_per_doc", 0), ("seed", -1), ("seed", "x")])
def test_settings_say_which_setting_is_wrong(key, value):
    config = compose()
    node = config
    *path, last = key.split(".")
    for name in path:
        node = node[name]
    node[last] = value
    with pytest.raises(UserError, match=rf"^{re.escape(key)}"):
        settings(config)


def test_settings_are_typed_on_any_machine_without_torch_and_without_files():
    """So that a dry run types every row of a schedule, ensembles of runs that are still to come included."""
    script = """
import json, sys
from lvm_lab.config.settings import settings
for config in json.load(sys.stdin):
    settings(config)
assert not {"torch", "hydra", "omegaconf", "pytorch_lightning"} & set(sys.modules)
"""
    configs = [compose("device=cuda"), compose("arch=ensemble", "arch.members=top3")]
    subprocess.run([sys.executable, "-c", script], input=json.dumps(configs), text=True, check=True, timeout=1800)


def test_an_ensemble_without_members_is_told():
    """It has none until somebody names them."""
    with pytest.raises(UserError, match="list run folders or checkpoints"):
        members.resolve(settings(compose("arch=ensemble")))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "lvm_lab.archs.gru.GRUU",
            r"^arch._target_=lvm_lab.archs.gru.GRUU cannot be imported \(.*GRUU.*\); name a ",
        ),
        ("lvm_lab.archs.nowhere.GRU", "cannot be imported"),
        ("GRU", "cannot be imported"),
        (3, "cannot be imported"),
        ("math.sqrt", "is no class; name a class, as the options of lvm_lab.archs do"),
    ],
)
def test_what_names_no_class_is_told_with_its_setting(target, words):
    config = compose()
    config["arch"]["_target_"] = target
    with pytest.raises(UserError, match=words):
        module(settings(config), Stats(torch.zeros(16), torch.ones(16)), {})


class Keeper(torch.nn.Module):
    causal, width = True, 1

    def __init__(self, values: list[Any], extra: Any = None) -> None:
        super().__init__()
        self.values, self.extra = values, extra


def test_an_object_gets_values_of_its_own_and_what_code_adds_as_it_is():
    node, extra = {"_target_": f"{__name__}.Keeper", "values": [{"a": 1}]}, object()
    keeper = make(node, "archs", "arch", allow=[__name__], extra=extra)
    assert type(keeper).__name__ == "Keeper"
    assert keeper.extra is extra
    keeper.values[0]["a"] = 2
    assert node["values"] == [{"a": 1}]


def test_a_device_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"no gpu device .* set device=cpu"):
        devices.check_available(settings(compose("device=cuda")).device)


def test_the_primary_config_fits_a_screen_and_is_commented():
    lines = (CONF / "train.yaml").read_text().splitlines()
    assert len(lines) <= 60
    assert lines[0].startswith("# One run:     lvm-lab train ")
    plain = yaml.safe_load((CONF / "train.yaml").read_text())
    for section in (line for line in lines if line and line[0].isalpha()):
        key = section.partition(":")[0]
        # A section is commented at its head or at each of its keys.
        if "#" not in section and key not in ("defaults", "hydra"):
            assert all(
                any(line.strip().startswith(f"{name}:") and "#" in line for line in lines)
                for name in plain[key]
                if name not in ("max_epochs", "precision")
            ), key
    groups = [next(iter(entry)) for entry in plain["defaults"] if isinstance(entry, dict)]
    assert set(GROUPS) <= set(groups)


@pytest.mark.parametrize(
    ("cls", "path"),
    [
        (TrainerSettings, "trainer"),
        (OptimSettings, "trainer.optim"),
        (CheckpointSettings, "trainer.checkpoint"),
        (DataSettings, "data"),
        (RunSettings, "run"),
    ],
)
def test_defaults_in_code_are_those_of_the_primary_config(cls, path):
    node = OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml"))
    for name in path.split("."):
        node = node[name]  # type: ignore[index,call-overload]
    made = cls()
    assert list(node) == [f.name for f in fields(cls)]
    for name, value in node.items():  # type: ignore[union-attr]
        if not isinstance(value, dict):
            assert getattr(made, name) == value, f"{path}.{name}"


def defaults_of(cls: type[Any]) -> dict[str, Any]:
    """A node with a class's own defaults."""
    parameters = inspect.signature(cls).parameters.values()
    return {"_target_": f"{cls.__module__}.{cls.__qualname__}"} | {p.name: p.default for p in parameters}


def test_defaults_in_code_are_those_of_the_plain_options():
    assert DeviceSettings() == DeviceSettings(**compose("device=auto")["device"])
    assert targets(compose("logger=wandb")["logger"], "logger")[0][1] == defaults_of(WandB)
    standard = compose("five_cat=standard")["five_cat"]
    plain = [f for f in fields(Preset) if f.default is not MISSING]
    assert {f.name: f.default for f in plain} == {f.name: standard[f.name] for f in plain}


def test_presets_change_what_they_say_and_nothing_else():
    standard = compose("five_cat=standard")["five_cat"]
    for stem, keys in {
        "production": {"name", "required", "thresholds"},
        "strict": {"name", "every_interval_clear"},
        "lnsp_compat": {"name", "tool"},
        "smoke": {"name", "max_windows", "eval_windows", "baselines"},
        "off": {"name", "every_n_epochs", "eval_windows"},
    }.items():
        node = compose(f"five_cat={stem}")["five_cat"]
        assert list(node) == list(standard)
        assert {key for key in node if node[key] != standard[key]} == keys, stem


def test_the_standard_thresholds_are_the_designs():
    thresholds = compose("five_cat=standard")["five_cat"]["thresholds"]
    assert thresholds["a"] == {"val": {"cos": 0.50, "margin": 0.12}, "ood": {"cos": 0.48, "margin": 0.10}}
    assert thresholds["b"]["val"] == {"r1": 0.60, "r5": 0.95, "mrr": 0.80}
    assert thresholds["b"]["ood"] == {"r1": 0.55, "r5": 0.92, "mrr": 0.75}
    changes = {"shuffled": -0.15, "reversed": -0.10, "left_out": -0.08, "repeated": 0.05, "foreign": 0.05}
    assert thresholds["c"] == {"val": changes, "ood": changes}
    assert thresholds["d"] == {"val": {"rollout": 0.45}, "ood": {"rollout": 0.42}}
    assert thresholds["e"] == {"difference": 0.05}
