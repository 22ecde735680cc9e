"""Whatever lies on a disk or is typed: a command ends with 0 or 2, never with a traceback, and spares what is a user's.

`nox -s fuzz` hunts for longer; its seeds are printed, and LVM_LAB_FUZZ_SEED=N gives one of them again.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import lvm_lab
import lvm_lab.train
from helpers import fuzzing, run_files
from helpers.commands import PIXEL, TINY, call
from helpers.fuzzing import COUNTS, answered, content
from lvm_lab import card, convert_npz, evaluate, plots, report, status
from lvm_lab.build.training import prepare
from lvm_lab.commands.composing import compose
from lvm_lab.config.conf import spell_out
from lvm_lab.config.settings import settings as typed
from lvm_lab.jobs import check_data
from lvm_lab.jobs.session import Session
from lvm_lab.runs import folder as runs
from lvm_lab.runs import selecting
from lvm_lab.runs.identity import fingerprint
from lvm_lab.training import devices

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "schema1" / "checkpoints"
FAST_EXAMPLES = 12
HUNT = "LVM_LAB_FUZZ_MINUTES"
ARCHS = ("gru", "transformer", "ridge", "mamba2")
# Pairs of a door and how it is given a run's folder.
READERS = {
    "card": lambda run: card.main([str(run)]),
    "plots": lambda run: plots.main([str(run)]),
    "status": lambda run: status.main([str(run.parent)]),
    "report": lambda run: report.main([str(run.parent)]),
    "select": lambda run: print(selecting.find([str(run)])),
}
LABS = ("MODEL_CARD.md", "plots", "index.html", "leaderboard.csv", "leaderboard.md")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    cache = tmp_path_factory.mktemp("cache")
    tiny = [*TINY, f"run.cache={cache}", "data.dim=64", "data.documents=40", "data.ood_documents=12"]
    return compose("train", spell_out([*tiny, "trainer.batch_size=8"]))


@pytest.fixture(autouse=True)
def _no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_lab.reporting.plots._style.png", lambda figure: PIXEL)
    monkeypatch.setenv("COLUMNS", "120")


def vector_files(draw: fuzzing.Draw, home: Path, config: dict[str, Any]) -> None:
    """An .npz of nearly right arrays, perhaps damaged, looked at by check_data and convert_npz."""
    file = home / "vectors.npz"
    np.savez(file, **fuzzing.arrays(draw))
    if draw(st.booleans()):
        fuzzing.spoil(draw, file, structured=False)
    before = content(home)
    npz = {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": str(file)}
    cut = {key: config["data"][key] for key in ("context_length", "max_per_doc", "fold", "skip_repeated", "gate")}
    cache = {"run": config["run"] | {"cache": str(home / "cache")}}
    answered("vector files", lambda: check_data.examine(config | cache | {"data": cut | npz}))
    arguments = [str(file), str(home / "store"), *draw(st.sampled_from([[], ["--trust-pickle"]]))]
    answered("vector files", lambda: convert_npz.main(arguments), _as_it_is)
    assert {
        name: what for name, what in content(home).items() if name.split("/")[0] not in ("cache", "store")
    } == before


def run_folders(draw: fuzzing.Draw, home: Path, config: dict[str, Any]) -> None:
    """A run's folder of which files are damaged, read by every command and then trained in."""
    run_files.write_ranked(home / "sweep" / "good", 0.2)
    own = fingerprint(config, {})
    run = run_files.write_run(home / "sweep" / "run", settings={"identity": {"fingerprint": own, "content": {}}})
    for file in (run / "checkpoints").iterdir():
        shutil.copy(CHECKPOINTS / "gru.ckpt", file)
    (run / "notes.txt").write_text("dear")
    names = sorted(str(item.relative_to(run)) for item in run.rglob("*") if item.is_file() and item.name != "notes.txt")
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        fuzzing.spoil(draw, run / name)
    before = content(run)
    for reader in READERS.values():
        answered("run folders", lambda reader=reader: reader(run), _as_it_is)
        after = content(run)
        assert before == {
            name: what for name, what in after.items() if name.split("/")[0] not in LABS or name in before
        }
    force = draw(st.booleans())

    def train() -> None:
        with runs.claim(config, {}, directory=str(run), root=home, force=force):
            pass

    answered("run folders", train)
    assert (run / "notes.txt").read_text() == "dear"


def checkpoints(draw: fuzzing.Draw, home: Path, config: dict[str, Any]) -> None:
    """A checkpoint that is damaged, or in which values are others, loaded and asked for a prediction."""
    file = home / draw(st.sampled_from(["gru-linear.ckpt", "ridge.ckpt", "mamba2.ckpt", "ensemble.ckpt"]))
    shutil.copy(CHECKPOINTS / file.name, file)
    fuzzing.spoil(draw, file)
    before = content(home)

    def body() -> None:
        model = lvm_lab.load(file)
        with torch.no_grad():
            model.predict(torch.ones(1, model.context_length, len(model.mean_D)))

    answered("checkpoints", body)
    assert content(home) == before


def setting_values(draw: fuzzing.Draw, home: Path, config: dict[str, Any]) -> None:
    """A composed config of which values are others or gone, taken to where training would begin."""
    composed = fuzzing.changed(draw, config)

    def body() -> None:
        # As jobs/train.py begins.
        held = typed(composed)
        devices.check_available(held.device)
        devices.check_precision(held.trainer.precision, held.device)
        Session.check(held)
        prepare(held)

    here = os.getcwd()
    os.chdir(home)
    try:
        answered("setting values", body)
    finally:
        os.chdir(here)


def settings_as_typed(draw: fuzzing.Draw, home: Path, config: dict[str, Any]) -> None:
    """Arguments by grammar and against it, composed by train and evaluate and shown."""
    key = st.sampled_from(["arch", "arch.width", "5cat", "seed", "data.path", "run.dir", "logger", "x", "", "hydra.x"])
    sign = st.sampled_from(["", "+", "++", "~", "-", "--"])
    value = st.sampled_from([v for v in fuzzing.VALUES if isinstance(v, str)]) | st.text(max_size=12)
    pair = st.builds(lambda s, k, v: f"{s}{k}={v}", sign, key, value)
    arguments = draw(st.lists(pair | value, min_size=1, max_size=2))
    main = draw(st.sampled_from([lvm_lab.train.main, evaluate.main]))

    def body() -> None:
        outcome = call(home, *arguments, "--cfg", "job", main=main)
        print(outcome.err, file=sys.stderr)
        sys.exit(outcome.code)

    answered("settings as typed", body)
    assert not list(home.iterdir())


def _as_it_is(body: Callable[[], object]) -> int:
    """For a door that answers by itself."""
    return int(body() or 0)  # type: ignore[call-overload]


PROPERTIES = (vector_files, run_folders, checkpoints, setting_values, settings_as_typed)


def hold(prop: Callable[..., None], config: dict[str, Any], examples: int, number: int | None = None) -> None:
    """One property on so many examples: the same ones each time, or with a number those of that seed."""

    def one(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
            prop(data.draw, Path(home), copy.deepcopy(config))

    held = settings(
        max_examples=examples,
        derandomize=number is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(st.data())(one))
    (held if number is None else seed(number)(held))()


@pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: prop.__name__)
def test_a_few_of_each_kind(prop: Callable[..., None], config: dict[str, Any]) -> None:
    hold(prop, config, FAST_EXAMPLES)


@pytest.mark.slow
@pytest.mark.skipif(HUNT not in os.environ, reason="nox -s fuzz sets the minutes")
@pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: prop.__name__)
def test_a_hunt(prop: Callable[..., None], config: dict[str, Any]) -> None:
    """Seed after seed until the minutes are over; a failure shows the smallest example and its seed is the last."""
    ends = time.monotonic() + 60 * float(os.environ[HUNT]) / len(PROPERTIES)
    given_seed = os.environ.get("LVM_LAB_FUZZ_SEED")
    examples = 0
    while time.monotonic() < ends:
        number = int(given_seed) if given_seed else random.SystemRandom().randrange(2**32)
        print(f"{prop.__name__}: LVM_LAB_FUZZ_SEED={number}", flush=True)
        hold(prop, config, 50, number)
        examples += 50
        if given_seed:
            break
    kind = prop.__name__.replace("_", " ")
    told = ", ".join(f"{count} {outcome}" for (of, outcome), count in sorted(COUNTS.items()) if of == kind)
    print(f"{kind}: {examples} examples, answers: {told}", flush=True)
