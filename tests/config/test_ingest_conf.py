"""conf/ingest.yaml and the options of its groups: each composes, binds to its class and says how it is called."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvm_lab.commands.composing import compose
from lvm_lab.config import targets
from lvm_lab.config.ingest import GROUPS, IngestSettings
from lvm_lab.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


def composed(*settings: str) -> dict[str, Any]:
    return compose("ingest", ["out=store", *settings])


@pytest.mark.parametrize(("group", "stem"), OPTIONS, ids=[f"{group}={stem}" for group, stem in OPTIONS])
def test_an_option_composes_binds_and_opens_with_its_command(group: str, stem: str) -> None:
    settings = IngestSettings.from_dict(composed(f"{group}={stem}"))
    node = {key: value for key, value in getattr(settings, group).items() if key != "name"}
    assert node["_target_"].startswith(f"lvm_lab.text.{group}s.{stem}.")
    given = {"model": "a-model"} if "model" in node and node["model"] is None else {}
    targets.make(node | given, f"text.{group}s", group)
    first = (CONF / group / f"{stem}.yaml").read_text().splitlines()[0]
    assert "lvm-lab ingest " in first
    assert f"{group}={stem}" in first


def test_the_primary_config_fits_a_screen_and_its_defaults_are_those_in_code() -> None:
    text = (CONF / "ingest.yaml").read_text()
    assert len(text.splitlines()) < 50
    node = yaml.safe_load(text)
    keys = [key for key in node if key not in ("defaults", "hydra")]
    fields = {field.name: field.default for field in dataclasses.fields(IngestSettings)}
    assert keys == [name for name in fields if name not in (*GROUPS, "tmd")]
    assert {key: node[key] for key in keys} == {key: fields[key] for key in keys}
    assert all("#" in line for line in text.splitlines() if line.partition(":")[0] in keys)


def test_threads_are_shared_by_the_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for settings, threads in {("shards=1",): 8, ("shards=4", "shard=1"): 2, ("shards=20", "shard=1"): 1}.items():
        assert IngestSettings.from_dict(composed(*settings)).threads_used == threads
    assert IngestSettings.from_dict(composed("shards=4", "shard=1", "threads=3")).threads_used == 3


def test_a_setting_is_refused_by_the_name_that_is_typed() -> None:
    with pytest.raises(UserError, match=r"^dtype='float64' does not fit; give it one of float16, float32\.$"):
        IngestSettings.from_dict(composed("dtype=float64"))


def test_own_settings_are_taken_from_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "ingest.yaml").write_text("block: 7\n")
    assert compose("ingest", [f"hydra.searchpath=[file://{tmp_path}]"])["block"] == 7


@pytest.mark.parametrize("key", ["reader", "block"])
def test_what_is_taken_away_is_told(key: str) -> None:
    config = composed()
    del config[key]
    with pytest.raises(UserError, match=rf"{key} is taken away, and an ingestion needs it; leave ~{key} out"):
        IngestSettings.from_dict(config)
