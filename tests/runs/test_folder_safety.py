"""Nothing but what the lab wrote is removed from a folder, and no checkpoint of another run is taken from one."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lvm_lab
from helpers import run_files
from helpers.commands import TINY, call
from helpers.ingesting import OWN
from lvm_lab import __main__ as lister
from lvm_lab import (
    card,
    check_data,
    compare,
    completion,
    convert_npz,
    diagnose,
    evaluate,
    export,
    export_data,
    generate,
    index,
    ingest,
    pipeline_test,
    plots,
    predict,
    promote,
    prune,
    report,
    serve,
    status,
    tmd,
    train_decoder,
    verify,
    wandb_dashboard,
)
from lvm_lab.errors import UserError
from lvm_lab.runs import folder as runs
from lvm_lab.runs import written
from lvm_lab.runs.identity import fingerprint

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
(RUN,) = (SCHEMA1 / "outputs").iterdir()
SMOKE = SCHEMA1 / "multirun" / "smoke"
CONFIG: dict[str, Any] = {key: {"name": key} for key in ("arch", "loss", "data")} | {"seed": 0}
LABS = (*written.FILES, *written.IN_FOLDERS)
USERS = (
    "notes.txt",
    ".env.local",
    ".config.yaml.bak",
    ".git/HEAD",
    "config.yml",
    "checkpoints/mine.ckpt",
    "checkpoints/.notes.7",
    "checkpoints/backup/best.ckpt",
    "plots/drawing.svg",
    "plots/sketches/one.png",
    "wandb/notes.md",
    "csv/own.csv",
    "tensorboard/readme",
    "results/result.json",
)


def content(folder: Path, *names: str) -> dict[str, str]:
    """Digests of files, or of all files below a folder."""
    files = [folder / name for name in names] or [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def users_files(folder: Path) -> dict[str, str]:
    for name in USERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the user's {name}")
    return content(folder, *USERS)


def claim(folder: Path, force: bool = False, seed: int = 0) -> runs.State:
    config = CONFIG | {"seed": seed}
    with runs.claim(config, {}, directory=str(folder), root=folder.parent, force=force) as claimed:
        return claimed.state


def a_run(folder: Path) -> None:
    """A run's folder with every name that the lab writes."""
    claim(folder)
    for name in written.FILES:
        if name != "config.yaml" and name != "result.json":
            (folder / name).write_text("")
    inside = ("checkpoints/best.ckpt", "checkpoints/epoch=04.ckpt", "plots/offsets.png", "csv/metrics.csv")
    for name in (*inside, "wandb/seed", "wandb/offline-run-1-a/run.wandb", "tensorboard/events.out.tfevents.1.2"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a run's")
    (folder / ".config.yaml.4711").write_text("torn")
    (folder / "checkpoints" / ".last.ckpt.4711").write_text("torn")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", [".git/HEAD", ".env", ".config.yaml.bak", "notes.txt", "checkpoints/best.ckpt"])
def test_a_run_does_not_start_where_anything_lies(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("dear")
    before = content(tmp_path)
    with pytest.raises(UserError, match="is not a run's folder and is not empty; choose another"):
        claim(tmp_path, force)
    assert content(tmp_path) == before


def test_a_run_does_not_start_in_a_repository(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    before = content(repository)
    for force in ("false", "true"):
        outcome = call(repository, *TINY, "run.dir=.", f"run.force={force}", "run.cache=../cache")
        assert outcome.code == 2
        assert "is not a run's folder and is not empty" in outcome.sentence
        assert content(repository) == before


@pytest.mark.parametrize("leftover", [".lock", ".config.yaml.4711"])
def test_what_a_killed_start_left_is_nothing(tmp_path: Path, leftover: str) -> None:
    (tmp_path / leftover).touch()
    assert claim(tmp_path) == "new"


@pytest.mark.parametrize("link", [True, False])
def test_a_lock_that_is_none_is_not_emptied(tmp_path: Path, link: bool) -> None:
    run, dear = tmp_path / "run", tmp_path / "dear"
    claim(run)
    dear.write_text("dear")
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").symlink_to(dear) if link else (run / ".lock").write_text("dear")
    with pytest.raises(UserError, match="is no lock of lvm_lab; move it away"):
        claim(run, force=True)
    assert dear.read_text() == "dear"
    assert (run / ".lock").read_text() == "dear"


def test_force_removes_what_the_lab_wrote_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    a_run(run)
    before = users_files(run)
    assert claim(run, force=True, seed=1) == "new"
    left = content(run)
    assert {name: digest for name, digest in left.items() if name not in ("config.yaml", ".lock")} == before
    assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == 1


def test_a_failed_start_leaves_the_users_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    a_run(run)
    before = users_files(run)
    with (
        pytest.raises(UserError, match="no such thing"),
        runs.claim(CONFIG, {}, directory=str(run), root=tmp_path, force=True),
    ):
        raise UserError("no such thing.")
    assert content(run, *USERS) == before
    assert not (run / "config.yaml").exists()


def test_links_are_unlinked_and_never_followed(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    a_run(run)
    users_files(elsewhere)
    (elsewhere / "best.ckpt").write_text("dear")
    before = content(elsewhere)
    shutil.rmtree(run / "plots")
    (run / "plots").symlink_to(elsewhere)
    (run / "checkpoints" / "last.ckpt").symlink_to(elsewhere / "best.ckpt")
    (run / "checkpoints" / "best_5cat.ckpt").symlink_to(tmp_path / "nowhere")
    (run / "wandb" / "latest-run").symlink_to(elsewhere, target_is_directory=True)
    (run / "wandb" / "offline-run-1-a" / "out").symlink_to(elsewhere)
    (run / "wandb" / "run-2-b").symlink_to(elsewhere)
    (run / "MODEL_CARD.md").unlink()
    (run / "MODEL_CARD.md").symlink_to(elsewhere / "notes.txt")
    (tmp_path / "inwards").symlink_to(run)
    assert claim(tmp_path / "inwards", force=True) == "new"
    assert content(elsewhere) == before
    assert {item.name for item in run.iterdir()} - {".lock"} == {"config.yaml"}


@pytest.mark.parametrize("name", ["result.json", "train.log", "checkpoints/best.ckpt", "wandb/seed"])
def test_force_checks_everything_before_it_removes_anything(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    a_run(run)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    (run / name / "dear").write_text("dear")
    before = content(run)
    with pytest.raises(UserError, match="is a folder where a run has a file; move it away"):
        claim(run, force=True)
    assert content(run) == before


def test_a_failed_row_writes_nothing_into_a_users_folder(tmp_path: Path) -> None:
    before = users_files(tmp_path)
    runs.record_failure(tmp_path, CONFIG | {"data": {"name": "data"}}, "no such thing")
    assert content(tmp_path) == before


def command(body: Callable[[list[str]], int], *arguments: str) -> Callable[[], None]:
    def main() -> None:
        sys.exit(body(list(arguments)))

    return main


# Every command, and what it is given of a home with a run in outputs/, vectors and a sweep's settings.
COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "plots": lambda home, run: call(home, main=command(plots.main, str(run))),
    "card": lambda home, run: call(home, main=command(card.main, str(run))),
    "report": lambda home, run: call(home, main=command(report.main, str(run.parent))),
    "status": lambda home, run: call(home, main=command(status.main, str(run.parent))),
    "diagnose": lambda home, run: call(home, main=command(diagnose.main, str(run), "--device", "cpu")),
    "generate": lambda home, run: call(
        home, main=command(generate.main, str(run), "--text", "One.", "--device", "cpu")
    ),
    "pipeline_test": lambda home, run: call(home, main=command(pipeline_test.main, str(run), "--device", "cpu")),
    # A port that nobody may take, so that it loads nothing and ends; tests/serving asks one that serves.
    "serve": lambda home, run: call(home, f"checkpoint={run}", "host=192.0.2.1", main=serve.main),
    "evaluate": lambda home, run: call(home, str(run), "device=cpu", "5cat=smoke", "cache=cache", main=evaluate.main),
    "check_data": lambda home, run: call(home, *TINY[:3], "run.cache=cache", main=check_data.main),
    "convert_npz": lambda home, run: call(home, main=command(convert_npz.main, "notes.npz", str(run))),
    "export_data": lambda home, run: call(
        home, main=command(export_data.main, str(run), str(run / "moments.npz"), "layout=sequences", "--force")
    ),
    "ingest": lambda home, run: call(home, *OWN, f"out={run}", main=ingest.main),
    "ingest a folder of texts": lambda home, run: call(home, *OWN, "out=texts_store", main=ingest.main),
    "verify": lambda home, run: call(home, str(run), main=verify.main),
    "index": lambda home, run: call(home, "notes.npz", f"out={run}", "cache=cache", main=index.main),
    "tmd": lambda home, run: call(home, f"store={run}", main=tmd.main),
    "train_decoder": lambda home, run: call(home, main=command(train_decoder.main, "notes.npz", str(run))),
    "export": lambda home, run: call(home, str(run), f"out={run}", main=export.main),
    "export beside it": lambda home, run: call(home, str(run), "out=exports/mine", main=export.main),
    "promote": lambda home, run: call(home, str(run), "cache=cache", "reason=why not", main=promote.main),
    "wandb_dashboard": lambda home, run: call(home, main=command(wandb_dashboard.main)),
    "compare": lambda home, run: call(home, main=command(compare.main, str(run), str(run), "--cache", "cache")),
    "predict": lambda home, run: call(home, main=command(predict.main, str(run), "notes.npz", str(run / "notes.npz"))),
    "prune": lambda home, run: call(home, main=command(prune.main, str(run.parent), "--keep", "none", "--yes")),
    "completion": lambda home, run: call(home, main=command(completion.main, "bash")),
    "train": lambda home, run: call(home, *TINY, "run.cache=cache", f"run.dir={run}"),
    "train by force": lambda home, run: call(home, *TINY, "run.cache=cache", f"run.dir={run}", "run.force=true"),
    "multirun": lambda home, run: call(home, "-m", *TINY, "run.cache=cache", f"hydra.sweep.dir={run}", "seed=0"),
    "schedule": lambda home, run: call(home, "schedule=smoke", f"schedule.dir={run.parent}", "schedule.dry_run=true"),
}


def everything(folder: Path) -> dict[str, str]:
    """Digests of all files, targets of all links, kinds of the rest."""
    kinds = {item: os.readlink(item) if item.is_symlink() else "no file" for item in folder.rglob("*")}
    plain = {str(item.relative_to(folder)): kind for item, kind in kinds.items()}
    return plain | content(folder, *(str(f.relative_to(folder)) for f in kinds if f.is_file() and not f.is_symlink()))


def test_no_command_is_left_out() -> None:
    assert {name.partition(" ")[0] for name in COMMANDS} >= set(lister.summaries())


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_spares_a_repository_a_users_files_and_links(name: str, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    users_files(elsewhere)
    run = home / "outputs" / RUN.name
    shutil.copytree(RUN, run)
    users_files(run)
    subprocess.run(["git", "init", "-q", str(run)], check=True)
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    (home / "notes.npz").write_text("no vectors")
    (run / "outwards").symlink_to(elsewhere)
    (run / "checkpoints" / "mine").symlink_to(elsewhere / "checkpoints")
    (run / "plots" / "mine.svg").symlink_to(elsewhere / "notes.txt")
    (home / "inwards").symlink_to(run)
    users = {item for item in everything(run) if item.split("/")[0] not in LABS and item not in content(RUN)}
    users |= {"checkpoints/mine", "plots/mine.svg", *USERS}
    before, far, git = everything(run), everything(elsewhere), everything(home / ".git")
    COMMANDS[name](home, run)
    after = everything(run)
    assert {item: after.get(item) for item in users} == {item: before[item] for item in users}
    assert everything(elsewhere) == far
    assert everything(home / ".git") == git
    assert (home / "notes.npz").read_text() == "no vectors"
    assert os.readlink(home / "inwards") == str(run)


WRITTEN_BY_TRAINING = ("history.jsonl", "train.log", "checkpoints", "plots", "MODEL_CARD.md", "moments.npz")


@pytest.mark.parametrize("kind", ["file", "folder", "nowhere", "pipe"])
@pytest.mark.parametrize("name", [*WRITTEN_BY_TRAINING, "csv", "tensorboard", "wandb", "checkpoints/last.ckpt"])
def test_no_run_goes_on_through_a_link_or_a_pipe(tmp_path: Path, name: str, kind: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    claim(run)
    elsewhere.mkdir()
    (elsewhere / "dear").write_text("dear")
    place = run / name
    place.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to({"file": elsewhere / "dear", "folder": elsewhere, "nowhere": tmp_path / "nowhere"}[kind])
    before, far = everything(run), everything(elsewhere)
    with pytest.raises(UserError, match=f"{name} is no .* of the run's own but a .*; move it away and give"):
        claim(run)
    assert everything(run) == before
    assert everything(elsewhere) == far
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("body", "name"), [(card.main, "MODEL_CARD.md"), (plots.main, "plots"), (plots.main, "plots/offsets.png")]
)
def test_a_figure_or_a_card_is_not_written_through_a_link(tmp_path: Path, body: Any, name: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run_files.write_run(run)
    elsewhere.mkdir()
    (elsewhere / "dear").write_text("dear")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(elsewhere if name == "plots" else elsewhere / "dear")
    before, far = everything(run), everything(elsewhere)
    outcome = call(tmp_path, main=command(body, str(run)))
    assert (outcome.code, "is no" in outcome.sentence, "of the run's own but a symbolic link" in outcome.sentence) == (
        2,
        True,
        True,
    )
    assert everything(run) == before
    assert everything(elsewhere) == far


@pytest.mark.parametrize("name", ["leaderboard.csv", "leaderboard.md", "index.html"])
def test_a_leaderboard_is_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    run_files.write_ranked(tmp_path / "sweep" / "one", 0.2)
    (tmp_path / "dear").write_text("dear")
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "dear")
    before = everything(tmp_path / "sweep")
    outcome = call(tmp_path, main=command(report.main, "sweep"))
    assert (outcome.code, "is a symbolic link where a file is written" in outcome.sentence) == (2, True)
    assert everything(tmp_path / "sweep") == before
    assert (tmp_path / "dear").read_text() == "dear"


def test_a_folder_that_is_no_runs_is_refused_before_data_are_opened(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear")
    outcome = call(tmp_path, *TINY, "run.dir=.", "run.cache=cache")
    assert outcome.code == 2
    assert outcome.sentence == f"{tmp_path} is not a run's folder and is not empty; choose another run.dir."
    assert [item.name for item in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_every_command_leaves_what_is_a_users(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / RUN.name
    shutil.copytree(RUN, run)
    before = users_files(run)
    for body in (plots.main, card.main, report.main, status.main, diagnose.main):
        argument = str(tmp_path / "outputs") if body in (report.main, status.main) else str(run)
        call(tmp_path, main=command(body, argument))
        assert content(run, *USERS) == before, body.__module__
    judged = call(tmp_path, str(run), "device=cpu", "5cat=smoke", "cache=cache", main=evaluate.main)
    assert judged.code == 0, judged.err
    assert content(run, *USERS) == before


@pytest.mark.slow
def test_a_run_with_every_logger_writes_no_other_names(tmp_path: Path) -> None:
    loggers = "logger=[csv,tensorboard,wandb]"
    tiny = [setting for setting in TINY if setting != "logger=none"]
    arguments = (*tiny, loggers, "trainer.max_epochs=1", "trainer.checkpoint.every_n_epochs=1", "run.dir=run")
    done = call(tmp_path, *arguments, "trainer.checkpoint.keep_best=1", "run.cache=cache")
    assert done.code == 0, done.err
    before = users_files(tmp_path / "run")
    written.remove(tmp_path / "run")
    left = content(tmp_path / "run")
    left.pop(".lock", None)
    assert left == before


def foreign(home: Path, name: str = "best_5cat.ckpt") -> Path:
    """A GRU's run in whose folder an LSTM's checkpoint lies."""
    run = home / "gru"
    shutil.copytree(SMOKE / "gru", run)
    shutil.copy(SMOKE / "lstm" / "checkpoints" / "best_5cat.ckpt", run / "checkpoints" / name)
    return run


def test_a_foreign_checkpoint_is_refused_with_both_names(tmp_path: Path) -> None:
    run = foreign(tmp_path)
    for path in (run, run / "checkpoints" / "best_5cat.ckpt"):
        with pytest.raises(UserError) as refusal:
            lvm_lab.load(path)
        assert "is of another run (lstm-infonce-planted-" in str(refusal.value)
        assert "than its folder (gru-infonce-planted-" in str(refusal.value)
    judged = call(tmp_path, "gru", "device=cpu", "cache=cache", main=evaluate.main)
    assert "is of another run (lstm-" in judged.sentence
    diagnosed = call(tmp_path, main=command(diagnose.main, "gru", "--device", "cpu"))
    assert (diagnosed.code, "is of another run (lstm-" in diagnosed.sentence) == (2, True)
    joined = call(tmp_path, "arch=ensemble", "head=ensemble", "loss=cosine", "arch.members=[gru]", *TINY[:3])
    assert (joined.code, "is of another run (lstm-" in joined.err) == (2, True)


def test_a_checkpoint_of_other_settings_is_foreign_too(tmp_path: Path) -> None:
    run = tmp_path / "gru"
    shutil.copytree(SMOKE / "gru", run)
    file = run / "checkpoints" / "best_5cat.ckpt"
    assert lvm_lab.load(run).config["arch"]["name"] == "gru"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["lvm_lab"]["config"]["seed"] = 17
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match="is of another run"):
        lvm_lab.load(run)
    shutil.copy(file, tmp_path / "alone.ckpt")
    assert lvm_lab.load(tmp_path / "alone.ckpt").config["seed"] == 17


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.ckpt", "best_5cat.ckpt"])
def test_nothing_goes_on_from_a_foreign_checkpoint_and_none_is_scored(tmp_path: Path, name: str) -> None:
    run = tmp_path / "killed"
    shutil.copytree(SCHEMA1 / "killed", run)
    file = run / "checkpoints" / name
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["lvm_lab"]["config"]["arch"]["name"] = "gru"
    torch.save(checkpoint, file)
    before = file.read_bytes()
    settings = json.loads((SCHEMA1 / "commands.json").read_text())["killed"]
    outcome = call(tmp_path, *settings, "run.dir=killed")
    # Training may find a better epoch, whose checkpoint takes the place of the foreign one.
    if name == "last.ckpt" or file.read_bytes() == before:
        assert (outcome.code, "is of another run (gru-" in outcome.err) == (2, True), outcome.err
        assert file.read_bytes() == before
        assert not (run / "result.json").exists()


@pytest.mark.parametrize("name", ["result.json", "config.yaml", "history.jsonl", "checkpoints/best.ckpt"])
@pytest.mark.parametrize("command", ["diagnose", "compare"])
def test_a_report_takes_the_place_of_no_file_of_a_run(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(next((SCHEMA1 / "outputs").iterdir()), run)
    before = (run / name).read_bytes()
    runs = [str(run)] * (2 if command == "compare" else 1)
    assert importlib.import_module(f"lvm_lab.{command}").main([*runs, "--json", str(run / name)]) == 2
    assert "is a file of the lab's own; name another one" in capsys.readouterr().err
    assert (run / name).read_bytes() == before


# What is done to a file of a finished run whose training's command is then given again, and what it says.
BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("checkpoints/best_5cat.ckpt", Path.unlink, "is missing"),
    "folder": (
        "checkpoints/best_5cat.ckpt",
        lambda file: (file.unlink(), file.mkdir()),
        "is no file; move it away and",
    ),
    "empty": ("checkpoints/best_5cat.ckpt", lambda file: file.write_bytes(b""), "is no whole checkpoint"),
    "text": ("checkpoints/best_5cat.ckpt", lambda file: file.write_text("weights"), "is no whole checkpoint"),
    "binary history": (
        "history.jsonl",
        lambda file: file.write_bytes(b"\x00\xff"),
        "cannot be read (UnicodeDecodeError)",
    ),
    "short history": ("history.jsonl", lambda file: file.write_text(""), "has 0 of 6 epochs"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_finished_run_that_is_damaged_is_not_called_finished(broken: str, tmp_path: Path) -> None:
    name, spoil, reason = BROKEN[broken]
    run, own = tmp_path / "run", fingerprint(run_files.SETTINGS, {})
    run_files.write_run(run, settings={"identity": {"fingerprint": own, "content": {}}})
    spoil(run / name)
    before = everything(run)

    def state(force: bool) -> runs.State:
        with runs.claim(run_files.SETTINGS, {}, directory=str(run), root=tmp_path, force=force) as claimed:
            return claimed.state

    words = re.escape(f"{run / name} {reason}") + ";? give the training's command again with run.force=true"
    with pytest.raises(UserError, match=words):
        state(force=False)
    assert everything(run) == before
    if broken == "folder":
        (run / name).rmdir()
    assert state(force=True) == "new"


@pytest.mark.slow
def test_training_again_tells_what_a_finished_run_lost(tmp_path: Path) -> None:
    training = (*TINY, "trainer.max_epochs=1", "run.dir=run", "run.cache=cache")
    assert call(tmp_path, *training).code == 0
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / json.loads((run / "result.json").read_text())["checkpoint"]
    assert call(tmp_path, *training).code == 0
    checkpoint.write_bytes(b"")
    outcome = call(tmp_path, *training)
    assert outcome.code == 2
    assert outcome.sentence.endswith("is no whole checkpoint; give the training's command again with run.force=true.")
    assert call(tmp_path, *training, "run.force=true").code == 0
