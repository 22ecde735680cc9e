"""Every option of conf/reader and conf/chunker makes its part, has all its settings, and opens with its command."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lvm_lab.config.targets import make

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = [(group, file.stem) for group in ("reader", "chunker") for file in sorted((CONF / group).glob("*.yaml"))]
every_option = pytest.mark.parametrize(("group", "stem"), OPTIONS, ids=[f"{g}={s}" for g, s in OPTIONS])


def node(group: str, stem: str, *overrides: str) -> dict[str, Any]:
    """The option as a command composes it, whatever else the command has."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(overrides=[f"+{group}={stem}", *overrides])
    return OmegaConf.to_container(composed, resolve=True)[group]  # type: ignore[index,call-overload,return-value]


@every_option
def test_an_option_makes_its_part(group: str, stem: str) -> None:
    own = node(group, stem)
    assert own.pop("name") == stem
    part = make(own, f"text.{group}s", group)
    assert type(part).__module__ == f"lvm_lab.text.{group}s.{stem}"
    assert getattr(part, "kind", stem) == stem
    # All settings can be seen, and what they are without the option is the same.
    parameters = inspect.signature(type(part)).parameters
    assert set(parameters) == set(own) - {"_target_"}
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert {name: own[name] for name in defaults} == defaults


@every_option
def test_an_option_opens_with_its_command(group: str, stem: str) -> None:
    first, *rest = (CONF / group / f"{stem}.yaml").read_text().splitlines()
    assert first.startswith("# lvm-lab ingest ")
    assert f"{group}={stem}" in first.split()
    assert " out=" in first
    assert yaml.safe_load("\n".join(rest))["name"] == stem


def test_every_module_is_an_option() -> None:
    for group in ("reader", "chunker"):
        modules = {file.stem for file in (CONF.parent / "src" / "lvm_lab" / "text" / f"{group}s").glob("[a-z]*.py")}
        assert modules == {stem for kind, stem in OPTIONS if kind == group}


def test_the_chunker_within_episodes_is_chosen_and_set() -> None:
    own = node("chunker", "episodes", "chunker@chunker.of=paragraph", "chunker.of.min_characters=7")
    own.pop("name")
    assert make(own, "text.chunkers", "chunker").of.min_characters == 7


def test_opening_the_modules_imports_no_heavy_library() -> None:
    modules = " ".join(f"lvm_lab.text.{group}s.{stem}" for group, stem in OPTIONS)
    script = (
        "import importlib, sys\n"
        f"for name in '{modules}'.split(): importlib.import_module(name)\n"
        "heavy = {'torch', 'datasets', 'sentencex', 'markdown_it', 'pandas', 'psycopg', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    shown = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert shown.strip() == "[]"
