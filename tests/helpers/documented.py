"""Documented commands, read as the lab reads them and not run: settings composed and typed, files looked for, and what
a command would write put in its place, so that the next one finds it."""

from __future__ import annotations

import argparse
import functools
import importlib
import re
import sys
from dataclasses import dataclass, field
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from helpers.markdown import ROOT, commands
from lvm_lab.commands import composing, helping, launch, multirun, plain, rows, schedules, sharding, sweepers
from lvm_lab.commands.arguments import MULTIRUN, Files, sort
from lvm_lab.commands.doors import summaries
from lvm_lab.config import targets
from lvm_lab.config.conf import conf_dir
from lvm_lab.config.evaluation import EvaluationSettings
from lvm_lab.config.export import ExportSettings
from lvm_lab.config.index import IndexSettings
from lvm_lab.config.ingest import GROUPS, IngestSettings
from lvm_lab.config.promotion import PromotionSettings
from lvm_lab.config.serving import ServeSettings
from lvm_lab.config.settings import DATA_KEYS
from lvm_lab.config.settings import settings as typed
from lvm_lab.jobs.coding import CodingSettings
from lvm_lab.jobs.verification import VerifySettings
from lvm_lab.runs.identity import fingerprint
from lvm_lab.sweeps import schedule

DOORS = summaries()
# Arguments of plain commands that name what they write.
WRITTEN = {("predict", "out"), ("convert_npz", "folder"), ("export_data", "out")}
WRITTEN |= {("compare", "json"), ("diagnose", "json"), ("generate", "json"), ("train_decoder", "out")}
WRITTEN |= {("pipeline_test", "json")}
# Those that are words, since they may be addresses or patterns, and name what they read.
NAMED = {("predict", "vectors"), ("diagnose", "models"), ("generate", "run"), ("generate", "file")}
NAMED |= {("pipeline_test", "models")}
RUN = ("config.yaml", "result.json", *(f"checkpoints/{name}.ckpt" for name in ("best", "best_5cat", "last")))
REPORT = ("index.html", "leaderboard.csv", "leaderboard.md")
# What stands in documents and is not the lab's.
OTHERS = ("curl", "python3", ".", "eval", "source", "wandb")
EXPORT = ("model.safetensors", "config.json", "run_onnx.py")
EVALUATION = ("evaluation.json", "evaluation.md", "table.csv")
# What holds a composed config against its types, where it is not a training's.
TYPED = {
    "evaluate": EvaluationSettings.from_dict,
    "ingest": lambda config: _ingestion(config),
    "verify": VerifySettings.from_dict,
    "tmd": CodingSettings.from_dict,
    "index": IndexSettings.from_dict,
    "export": ExportSettings.from_dict,
    "promote": PromotionSettings.from_dict,
    "serve": ServeSettings.from_dict,
}


@dataclass
class Command:
    """What a command reads, as paths and patterns, and what it writes."""

    reads: list[str] = field(default_factory=list)
    writes: list[Path] = field(default_factory=list)


def check(line: str, patch: pytest.MonkeyPatch, files: bool) -> None:
    """Holds a documented line against the lab, in the current folder. files: whether what it reads has to be there.

    Raises AssertionError or the lab's own error for what cannot be typed so.
    """
    for words in commands(line):
        if words == ["lvm-lab"]:
            continue
        if words[0] == "lvm-lab":
            bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)
            assert "[" not in bare, "zsh takes brackets for a pattern, so that they need quotation marks"
            command = read(words[1:], patch)
            missing = [path for path in command.reads if not glob(path)]
            assert not missing or not files, f"neither there nor made by an earlier command: {', '.join(missing)}"
            _put(command.writes)
        elif words[0].endswith("nox"):
            sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
            assert words[-1] in sessions, f"{words[-1]} is no session of noxfile.py"
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file() or Path(words[1]).is_file(), f"{words[1]} does not exist"
        elif "install" in words:
            declared = (ROOT / "pyproject.toml").read_text()
            assert all(f"\n{extra} = [" in declared for extra in re.findall(r"\.\[(\w+)\]", words[-1])), words[-1]
            assert all((ROOT / words[place + 1]).is_file() for place, word in enumerate(words) if word == "-c")
        else:
            assert words[0] in OTHERS, f"{words[0]} is none of the commands that a reader has"


def folder_of(arguments: list[str]) -> str | None:
    """Where a single `train` with these arguments works; None where only its data or weights would tell."""
    words = sort(arguments).words()
    return _folder(_compose("train", *rows.searched(words), *rows.own_settings(words)))


def _folder(config: dict[str, Any]) -> str | None:
    if config["run"]["dir"]:
        return str(config["run"]["dir"])
    if config["data"]["name"] != "planted" or any(config["trainer"][key] for key in ("init_from", "continue_from")):
        return None
    names = [config[group]["name"] for group in ("arch", "loss", "data")]
    node = {key: value for key, value in config["data"].items() if key not in ("name", *DATA_KEYS)}
    content = targets.make(node, "data.sources", "data").content
    return str(Path(config["run"]["root"], "-".join([*names, fingerprint(config, {"planted": content})[:8]])))


def read(words: list[str], patch: pytest.MonkeyPatch) -> Command:
    """What a command of the lab would do: its own way of reading its line, and nothing behind it."""
    door, arguments = words[0].replace("-", "_"), words[1:]
    assert door in DOORS, f"{words[0]} is no command"
    module = importlib.import_module(f"lvm_lab.{door}")
    launched: list[tuple[str, Files | None]] = []
    parsed: list[argparse.Namespace] = []
    parse = argparse.ArgumentParser.parse_args

    def keep(*arguments: Any) -> argparse.Namespace:
        parsed.append(parse(*arguments))
        return parsed[-1]

    with patch.context() as inner:
        inner.setattr(sys, "argv", [door, *arguments])
        inner.setattr(launch, "launch", lambda name, job, files=None, **others: launched.append((name, files)))
        inner.setattr(plain, "answer", lambda body, **others: 0)
        inner.setattr(argparse.ArgumentParser, "parse_args", keep)
        try:
            code = module.main()
        except SystemExit as leaving:
            code = leaving.code
    assert not code, f"{' '.join(words)} cannot be parsed"
    if launched:
        return _composed(door, arguments, *launched[0])
    return _parsed(door, parsed[0]) if parsed else Command()


def _parsed(door: str, parsed: argparse.Namespace) -> Command:
    command = Command()
    for name, value in vars(parsed).items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            if (door, name) in WRITTEN:
                command.writes.append(one)
            elif (isinstance(one, Path) and name not in ("cache", "out")) or (door, name) in NAMED:
                command.reads.append(str(one))
    if door == "report":
        command.writes += [Path(parsed.out or parsed.folder, file) for file in REPORT]
    return command


def _composed(door: str, arguments: list[str], config_name: str, files: Files | None) -> Command:
    line = sort(arguments, helping.keys(config_name) if files else None)
    command = Command(reads=[*line.files])
    if line.help is not None or line.version:
        return command
    words = line.words(files)
    command.reads += [str(folder) for folder in composing.own_folders(words)]
    if door == "ingest":
        words = sharding.spread(config_name, words)
    request, others = schedules.split(words) if door == "train" else (None, words)
    configs = _configs(config_name, others)
    for config in configs:
        command.reads += _paths(config)
        TYPED.get(config_name, typed)(config)
    if request is not None:
        command.writes += _schedule(request, others)
    elif door == "ingest":
        command.writes += [Path(config["out"], "manifest.json") for config in configs if not config["dry_run"]]
    elif door == "export":
        command.writes += [ExportSettings.from_dict(config).folder / name for name in EXPORT for config in configs]
    elif door == "evaluate":
        command.writes += [Path(configs[0]["out"], file) for file in EVALUATION]
    elif door == "train" and not any(word.startswith("--cfg") for word in words):
        sweep = [word.partition("=")[2] for word in words if word.startswith("hydra.sweep.dir=")] or ["multirun/adhoc"]
        several = {*MULTIRUN} & {*words}
        for number, config in enumerate(configs):
            own = Path(sweep[0], f"run-{number}") if several else _folder(config)
            command.writes += _run(Path(own or f"outputs/run-{len(glob('outputs/*'))}"))
    return command


def _ingestion(config: dict[str, Any]) -> None:
    """Holds an ingestion's settings against their types and those of its parts."""
    settings = IngestSettings.from_dict(config)
    for group in GROUPS:
        node = {key: value for key, value in config[group].items() if key != "name"}
        targets.make(node, f"text.{group}s", group, allow=settings.allowed)


def _configs(config_name: str, words: list[str]) -> list[dict[str, Any]]:
    """What each job of a command composes to, Hydra's own settings checked with them."""
    own = [*rows.searched(words), *rows.own_settings(words)]
    optimiser = sweepers.named(words)
    # A sweeper that is not installed here has no options to hold its settings against.
    lacks = optimiser is not None and not find_spec(f"hydra_plugins.hydra_{optimiser}_sweeper")
    hydras = [] if lacks else [word for word in words if re.match(r"\+*hydra[./]", word)]
    jobs = [own]
    if {*MULTIRUN} & {*words}:
        jobs = multirun._neighbours(own) if optimiser else multirun._jobs(own)
    if hydras:
        # They are the same for all jobs.
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            hydra.compose(config_name, overrides=[*jobs[0], *hydras], return_hydra_config=True)
    return [_compose(config_name, *job) for job in jobs]


@functools.cache
def _compose(config_name: str, *words: str) -> dict[str, Any]:
    """Documents say some commands twice, and composing takes a tenth of a second."""
    return composing.compose(config_name, words)


def _schedule(request: schedule.Request, words: list[str]) -> list[Path]:
    """What a schedule writes; its first row stands for those that a test of conf/ composes."""
    table = _table(request.name, *composing.own_folders(words))
    assert request.scale is None or request.scale in table.scales, request.scale
    own = [*rows.searched(words), *rows.own_settings(words)]
    typed(rows.compose(next(row for row in table.rows if not row.waits), own))
    return [file for row in table.select(request) for file in _run(request.folder / row.id) if not request.dry_run]


@functools.cache
def _table(name: str, *folders: Path) -> schedule.Schedule:
    return schedule.load(name, folders)


def _paths(config: dict[str, Any]) -> list[str]:
    """The files and folders that a config reads, but for files of a command's own arguments."""
    data, trainer = config.get("data") or {}, config.get("trainer") or {}
    named = [data.get(key) for key in ("path", "val_path", "ood_path", "bank_path")]
    named += [trainer.get(key) for key in ("init_from", "continue_from")]
    named += [(config.get("reader") or {}).get("path")]
    named += [config.get("ood"), (config.get("arch") or {}).get("members")]
    flat = [one for value in named for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if one and not re.fullmatch(r"top\d", one)]


def _run(folder: Path) -> list[Path]:
    return [folder / name for name in RUN]


def _put(files: list[Path]) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_dir():
            file.touch()
