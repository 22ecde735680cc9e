"""`from lvm_lab.jobs import train, evaluate`: settings in, result out, and the caller's process as it was."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers.commands import ENVIRONMENT, PATIENCE, TINY
from lvm_lab import jobs
from lvm_lab.errors import UserError

SETTINGS = (*TINY, "arch.width=16", "trainer.max_epochs=1", "run.cache=cache")
OUTER = f"""
import logging, os, sys
import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base="1.1", config_path="outer", config_name="app")
def app(config):
    from lvm_lab.jobs import train
    before = [*sys.argv], dict(os.environ), GlobalHydra.instance().hydra, HydraConfig.get(), [*logging.root.handlers]
    run = train({SETTINGS!r})
    assert run.status == "finished"
    try:
        train("arch=nope")
    except ValueError as error:
        assert str(error).startswith("arch=nope does not exist")
    assert before == ([*sys.argv], dict(os.environ), GlobalHydra.instance().hydra, HydraConfig.get(),
                      [*logging.root.handlers])
    print("x is", config.x)

app()
"""


def test_no_file_takes_a_functions_place() -> None:
    for name in jobs.FUNCTIONS:
        assert not Path(jobs.__path__[0], f"{name}.py").exists()
        assert callable(getattr(jobs, name))
    with pytest.raises(AttributeError):
        jobs.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["arch=nope"], "arch=nope does not exist"),
        (["trainer.max_epoch=3"], "did you mean max_epochs?"),
        (["5cat.max_windows=abc"], "5cat.max_windows='abc' does not fit"),
        (["-m", "seed=0,1"], "a call takes settings and no flags"),
        (["device=ddp"], "set device.devices=1"),
        (["arch=gru,lstm"], "names several values; call train once for each"),
        (["local=nope"], "local=nope does not exist"),
    ],
)
def test_a_mistake_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence.replace("?", r"\?").replace(".", r"\.")):
        jobs.train(settings)
    assert os.listdir(tmp_path) == []


def test_a_folder_of_own_options_that_is_none_is_raised(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder; name the one with your own options"):
        jobs.train("arch=gru", config_dir=tmp_path / "nope")


@pytest.mark.slow
def test_twice_in_one_process_and_under_a_running_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lab = logging.getLogger("lvm_lab")
    GlobalHydra.instance().clear()
    (tmp_path / "outer").mkdir()
    with hydra.initialize_config_dir(str(tmp_path / "outer"), version_base="1.1"):
        own = GlobalHydra.instance().hydra
        before: Any = (dict(os.environ), [*sys.argv], lab.level, lab.propagate, [*lab.handlers], random.getstate())

        async def notebook() -> Any:
            return jobs.train(*SETTINGS)

        run = asyncio.run(notebook())
        assert run.result.status == "finished"
        scope: dict[str, Any] = {"settings": [*SETTINGS, "seed=1"]}
        exec("from lvm_lab.jobs import train\nrun = train(settings)", scope)
        assert scope["run"].folder != run.folder
        judged = ("parts=[val]", "5cat=smoke", "device=cpu", "cache=cache")
        report = jobs.evaluate(run.folder, scope["run"].folder, *judged)
        assert report["skipped"] == []
        assert not (tmp_path / "evaluation").exists()
        jobs.evaluate([str(run.folder)], *judged, "out=e")
        assert (tmp_path / "e" / "evaluation.json").is_file()
        assert GlobalHydra.instance().hydra is own
        assert before == (dict(os.environ), [*sys.argv], lab.level, lab.propagate, [*lab.handlers], random.getstate())


@pytest.mark.slow
def test_inside_another_hydra_application(tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    OmegaConf.save({"x": 1}, tmp_path / "outer" / "app.yaml")
    (tmp_path / "app.py").write_text(OUTER)
    done = subprocess.run(
        [sys.executable, "app.py", "x=2", "hydra.run.dir=."],
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "x is 2" in done.stdout
