"""A data source from outside the package: its places, secrets and content count as the lab's own do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.commands import TINY, call
from lvm_lab.config.sources import HIDDEN, places, secrets, source_class, without_secrets
from lvm_lab.runs import folder as runs
from lvm_lab.runs.identity import as_cut, computing, fingerprint, ground, left_out, reads_files
from lvm_lab.runs.reading import Run
from lvm_lab.sweeps import leaderboard

PASSWORD = "correct-horse-battery"
MODULE = '''
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from lvm_lab.data.source import Opened, Source
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Shelf(Source):
    """The planted world, behind a password."""

    places: ClassVar[tuple[str, ...]] = ("host",)
    secrets: ClassVar[tuple[str, ...]] = ("password",)

    host: str
    password: str
    world: int = 0
    dim: int = 128
    documents: int = 120
    ood_documents: int = 40

    def open(self, cache, settings):
        if self.password != "correct-horse-battery":
            raise RuntimeError(f"{self.host} does not know {self.password}")
        world = PlantedWorld(seed=self.world, dim=self.dim, documents=self.documents, ood_documents=self.ood_documents)
        opened = world.open(cache, settings)
        return Opened(opened.store, {"shelf": world.content}, ood_store=opened.ood_store)
'''
OPTION = {"name": "shelf", "_target_": "my_package.shelf.Shelf", "host": "here", "password": None}
OPTION |= {"world": 0, "dim": 128, "documents": 120, "ood_documents": 40}
SHELF = ("--config-dir", "conf", "data=shelf", f"data.password={PASSWORD}", "arch=gru", *TINY, "trainer.max_epochs=1")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with a package and a config folder of their own."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "shelf.py").write_text(MODULE)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "shelf.yaml").write_text(yaml.safe_dump(OPTION, sort_keys=False))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def composed(home: Path, **settings: Any) -> dict[str, Any]:
    node = OPTION | {"password": PASSWORD, "context_length": 5, "fold": None, "max_per_doc": 8} | settings
    return {"seed": 0, "arch": {"name": "gru"}, "loss": {"name": "mse"}, "data": node}


def files_with(word: str, folder: Path) -> list[Path]:
    """Every file below the folder that holds the word, in its bytes or its name."""
    return [f for f in folder.rglob("*") if f.is_file() and (word.encode() in f.read_bytes() or word in str(f))]


@pytest.mark.slow
def test_a_secret_leaves_no_trace_in_a_run_and_a_place_none_in_its_fingerprint(home: Path) -> None:
    tiny = [s for s in SHELF if s != "logger=none"]
    outcome = call(home, *tiny, "run.root=first", "run.cache=cache", "logger=wandb")
    assert outcome.code == 0, outcome.err
    (folder,) = (home / "first").iterdir()
    assert (folder / "train.log").exists()
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert files_with(PASSWORD, folder) == []
    assert files_with(HIDDEN, folder) != []
    assert PASSWORD not in outcome.out + outcome.err
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["password"] == HIDDEN
    assert config["identity"]["left_out"] == ["host", "password"]
    assert list(config["identity"]["content"]) == ["shelf"]
    assert fingerprint(config, config["identity"]["content"]) == config["identity"]["fingerprint"]

    again = call(home, *tiny, "run.root=first", "run.cache=cache", "data.host=there", "logger=none")
    assert again.code == 0, again.err
    assert "finished already" in again.out


def test_a_secret_from_the_environment_leaves_no_trace_in_a_sweep(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_PASSWORD", "open-sesame")
    option = OPTION | {"password": "${oc.env:SHELF_PASSWORD}"}
    (home / "conf" / "data" / "shelf.yaml").write_text(yaml.safe_dump(option, sort_keys=False))
    from_environment = [s for s in SHELF if "password" not in s]
    outcome = call(home, "-m", *from_environment, "hydra.sweep.dir=multirun/x")
    assert outcome.code == 1
    assert "here does not know open-sesame" in outcome.err
    assert files_with("open-sesame", home / "multirun") == []


def test_a_failure_is_recorded_without_its_secret(home: Path) -> None:
    runs.record_failure(home / "run", composed(home), f"here does not know {PASSWORD}")
    assert json.loads((home / "run" / "result.json").read_text())["error"] == f"here does not know {HIDDEN}"
    assert files_with(PASSWORD, home / "run") == []


def test_what_failed_is_recorded_without_the_settings_of_a_source_that_cannot_be_asked(tmp_path: Path) -> None:
    config = composed(tmp_path) | {"data": composed(tmp_path)["data"] | {"_target_": "no_such.package.Shelf"}}
    runs.record_failure(tmp_path / "run", config, f"no module for {PASSWORD}")
    assert files_with(PASSWORD, tmp_path / "run") == []
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["data"]["name"] == "shelf"
    assert written["data"]["host"] == HIDDEN


def test_a_checkpoint_says_that_its_data_needs_a_secret(home: Path) -> None:
    hidden = [s if "password" not in s else f"data.password='{HIDDEN}'" for s in SHELF]
    outcome = call(home, *hidden, "run.root=second")
    assert outcome.sentence.startswith("data.password opens this data and is kept in no file; give it again")
    assert not (home / "second").exists()


def test_places_and_secrets_of_an_own_source_enter_no_identity(home: Path) -> None:
    config = composed(home)
    for name in ("host", "password"):
        other = composed(home, **{name: "elsewhere"})
        assert computing(other) == computing(config)
    assert computing(composed(home, world=1)) != computing(config)
    assert reads_files(config)
    assert as_cut(composed(home, password=HIDDEN)["data"]) == as_cut(config["data"])
    assert as_cut(composed(home, host=["b", "a"])["data"]) == as_cut(composed(home, host=["a", "b"])["data"])
    assert without_secrets(config)["data"] == config["data"] | {"password": HIDDEN}


def test_no_module_is_imported_because_a_run_folder_names_it(home: Path) -> None:
    read = composed(home) | {"identity": {"fingerprint": "f", "content": {}, "left_out": ["host"]}}
    assert left_out(read) == ["host"]
    assert "my_package.shelf" not in sys.modules
    read["identity"].pop("left_out")
    assert left_out(read) == []
    assert as_cut(read["data"])["host"] == "here"
    assert source_class(read["data"]) is None
    assert "my_package.shelf" not in sys.modules
    assert source_class(read["data"], load=True) is not None


def test_the_lab_s_own_sources_say_which_settings_are_places() -> None:
    assert places({"_target_": "lvm_lab.data.sources.npz.Npz"}) == {"path", "val_path", "ood_path", "bank_path"}
    assert places({"_target_": "lvm_lab.data.npz_source.Npz"}) == {"path", "val_path", "ood_path", "bank_path"}
    assert secrets({"_target_": "lvm_lab.data.sources.npz.Npz"}) == frozenset()
    assert places({"_target_": "lvm_lab.data.sources.planted.PlantedWorld"}) == frozenset()


def test_two_runs_stand_on_one_ground_where_val_is_the_same() -> None:
    config: dict[str, Any] = {"data": {"fold": None}}
    one = ground(config, {"postgres": "1"})
    assert one != ground(config, {"postgres": "2"})
    assert one != ground({"data": {"fold": 1}}, {"postgres": "1"})
    assert one == ground(config, {"postgres": "1", "ood": "3", "member_0": "4", "weights_model.safetensors": "5"})
    own = ground(config, {"postgres": "1", "val": "6"})
    assert own == ground({"data": {"fold": 1}}, {"postgres": "2", "val": "6"})
    assert own != one


def test_a_leaderboard_keeps_two_sources_of_one_kind_apart(tmp_path: Path) -> None:
    rows = []
    for digest in ("1", "2"):
        config = {"data": {"name": "pg"}, "five_cat": {}, "identity": {"content": {"postgres": digest}}}
        rows.append(leaderboard.Entry(Run(tmp_path, "finished", config)))
    assert rows[0].judged_on != rows[1].judged_on


def test_sources_are_read_without_torch() -> None:
    read = "from lvm_lab.data.sources import npz, planted; print(planted.PlantedWorld().content, npz.Npz.places)"
    command = [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {read}"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
