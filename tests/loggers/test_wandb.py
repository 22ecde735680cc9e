"""The mirror in W&B: offline files read back, ids over resumes and folders, no secrets; the dashboard's view."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.commands import ENVIRONMENT, HELPERS, PATIENCE, call, finish, fork, only_run, rows
from lvm_lab.errors import UserError
from lvm_lab.loggers import dashboard as wandb_dashboard
from lvm_lab.loggers import wandb as mirror
from lvm_lab.runs import reading

# Each trains with W&B beside it: seconds each, minutes in all.
pytestmark = pytest.mark.slow

WORLD = ("data.dim=32", "data.documents=60", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
TINY = (*WORLD, "arch=gru", "arch.width=16", "trainer.batch_size=64", "5cat=smoke", "device=cpu", "device.threads=1")
DOCS = Path(__file__).parents[2] / "docs"
KEY = "0123456789abcdef0123456789abcdef01234567"
NO_ACCOUNT = {"WANDB_API_KEY": None, "NETRC": "/nonexistent"}
needs_workspaces = pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None, reason="needs the extra wandb_dashboard"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def records(file: Path) -> list[dict[str, Any]]:
    """What one offline session recorded, as W&B's own reader tells it."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def sessions(folder: Path) -> list[list[dict[str, Any]]]:
    """The records of each session of a run, in order."""
    return [records(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def begun(session: list[dict[str, Any]]) -> dict[str, Any]:
    return next(r["run"] for r in session if r["type"] == "run")


def logged(session: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The history's rows as W&B has them, without what it adds of its own."""
    items = [r["history"]["item"] for r in session if r["type"] == "history"]
    ours = [{k: v for k, v in item.items() if not k.startswith(("_", "5cat/gates", "plots/"))} for item in items]
    return [item for item in ours if item]


def told(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if v is not None} for row in history]


def mirrored(folder: Path, cache: Path, *arguments: str) -> Path:
    said = call(folder, *TINY, "logger=wandb", f"run.cache={cache}", "trainer.max_epochs=2", *arguments)
    assert said.code == 0, said.err
    return only_run(folder / "outputs")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a finished run, its checkpoints mirrored too."""
    return mirrored(tmp_path_factory.mktemp("done"), cache, "logger.artifacts=true", "logger.project=vectors")


def test_config_history_and_names(done: Path) -> None:
    (session,) = sessions(done)
    run = begun(session)
    assert (run["project"], run["display_name"]) == ("vectors", done.name)
    assert not run.get("run_group")
    config = run["config"]["update"]
    assert (config["arch"]["width"], config["trainer"]["max_epochs"], config["loss"]["name"]) == (16, 2, "infonce")
    assert set(config) >= {"arch", "head", "loss", "data", "five_cat", "trainer", "seed"}
    assert logged(session) == told(rows(done))
    assert {"5cat/alarms", "5cat/rank", "5cat/val/A/margin", "gradient_share/infonce"} <= set(logged(session)[-1])


def test_gate_table_holds_every_number_of_the_result(done: Path) -> None:
    (file,) = done.glob("wandb/offline-run-*/files/media/table/5cat/gates_*.table.json")
    table = json.loads(file.read_text())
    assert tuple(table["columns"]) == mirror.COLUMNS
    result = reading.read(done).result
    assert result is not None
    found = {(r[0], r[2], r[4]): r for r in table["data"]}
    count = 0
    for letter, gate in result.gates.items():
        for part in ("val", "test", "ood"):
            half = result.half(part, letter)
            for name, number in half.numbers.items():
                row = found[letter, part, name]
                assert row[3] == half.state
                assert row[5] == pytest.approx(number.value)
                assert row[6:8] == pytest.approx(number.interval or [None, None])
                undecided = number.undecided if number.threshold is not None else None
                assert row[8:] == [number.threshold, number.passed, undecided]
                count += 1
        count += gate.difference is not None
    assert len(found) == len(table["data"]) == count > 40
    # The copy that an upload reads lies in the run's folder too.
    (session,) = sessions(done)
    (staged,) = (r["artifact"]["manifest"]["contents"] for r in session if is_artifact(r, "run_table"))
    assert Path(staged[0]["local_path"]).is_relative_to(done)


def is_artifact(record: dict[str, Any], kind: str) -> bool:
    return record["type"] == "artifact" and record["artifact"]["type"] == kind


def test_best_checkpoints_are_an_artifact_where_asked_for_and_take_no_room_twice(done: Path, resumed: Path) -> None:
    (session,) = sessions(done)
    (artifact,) = (r["artifact"] for r in session if is_artifact(r, "model"))
    assert "best" in artifact["aliases"]
    paths = [Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]]
    assert paths == [done / "checkpoints" / name for name in ("best.ckpt", "best_5cat.ckpt")]
    size = (done / "checkpoints" / "best.ckpt").stat().st_size
    assert max(p.stat().st_size for p in (done / "wandb").rglob("*") if p.is_file() and p.suffix != ".png") < size
    assert not [p for p in (done / "wandb").rglob("*") if p.suffix == ".ckpt"]
    assert not any(is_artifact(r, "model") for session in sessions(resumed) for r in session)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a run in a sweep's folder that was killed in its third validation and taken up again."""
    work = tmp_path_factory.mktemp("resumed")
    command = (*TINY, "logger=wandb", f"run.cache={cache}", "trainer.max_epochs=4", "run.dir=multirun/nightly/gru-1")
    command += ("logger.group=nightly",)
    cut = finish(fork(work, "validation", "3", *command, script=HELPERS / "interrupting.py", **NO_ACCOUNT))
    assert cut.code == -9, cut.err
    folder = work / "multirun" / "nightly" / "gru-1"
    (folder / "wandb" / "before").write_text(only_session(folder).name)
    said = call(work, *command)
    assert "going on after epoch" in said.out, said.err
    return folder


def only_session(folder: Path) -> Path:
    (session,) = folder.glob("wandb/offline-run-*")
    return session


def test_a_resumed_run_goes_on_under_its_id_and_holds_every_epoch(resumed: Path) -> None:
    (session,) = sessions(resumed)
    run, before = begun(session), (resumed / "wandb" / "before").read_text()
    assert only_session(resumed).name != before
    assert only_session(resumed).name.rpartition("-")[2] == before.rpartition("-")[2] == run["run_id"]
    assert (run["run_group"], run["display_name"]) == ("nightly", "gru-1")
    # What the killed session had not written down is told again from the history.
    assert logged(session) == told(rows(resumed))
    assert [row["epoch"] for row in logged(session)] == [0, 1, 2, 3]


def test_a_session_that_was_synced_is_kept_and_not_told_again(tmp_path: Path) -> None:
    for name in ("offline-run-1-a", "offline-run-2-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run-a.wandb").touch()
    synced = tmp_path / "offline-run-1-a" / "run-a.wandb.synced"
    synced.touch()
    assert not mirror._supersede(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    synced.unlink()
    assert mirror._supersede(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ids_are_kept_with_a_folder_and_shared_by_none(tmp_path: Path) -> None:
    folders = [tmp_path / sweep / name for sweep in ("a", "b") for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    ids = [mirror._id(folder) for folder in folders]
    assert len(set(ids)) == len(ids)
    assert [mirror._id(folder) for folder in folders] == ids
    assert all(re.fullmatch(r"[0-9a-f]{16}", known) for known in ids)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert mirror._id(tmp_path / "copy" / "one") != ids[0]
    shutil.rmtree(folders[0] / "wandb")
    assert mirror._id(folders[0]) != ids[0]


def test_two_runs_of_a_multirun_in_one_process_are_two_and_of_one_group(tmp_path: Path, cache: Path) -> None:
    command = ("-m", *TINY, "5cat=off", "logger=wandb", f"run.cache={cache}", "trainer.max_epochs=1", "seed=0,1")
    said = call(tmp_path, *command, "hydra.sweep.dir=multirun/seeds")
    assert said.code == 0, said.err
    folders = sorted(p for p in (tmp_path / "multirun" / "seeds").iterdir() if p.is_dir())
    assert len(folders) == 2
    runs = [begun(session) for folder in folders for session in sessions(folder)]
    assert len({run["run_id"] for run in runs}) == len(runs) == 2
    assert [run["run_group"] for run in runs] == ["seeds", "seeds"]
    assert [run["display_name"] for run in runs] == [folder.name for folder in folders]
    assert all(logged(session) == told(rows(folder)) for folder in folders for session in sessions(folder))


class Cloud(BaseHTTPRequestHandler):
    """Answers as far as a view's saving needs; refuse: answers nothing but "not authorised"."""

    asked: list[dict[str, Any]]
    refuse: bool

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = json.loads(body) if self.path == "/graphql" else {}
        self.asked.append({"path": self.path, **said})
        view = {"id": "Vmlldzox", "name": said.get("variables", {}).get("name", "")}
        viewer = {"id": "u", "entity": "somebody", "username": "somebody", "flags": "{}", "admin": False}
        viewer |= {"teams": {"edges": []}, "apiKeys": {"edges": []}, "email": "", "name": "", "deletedAt": None}
        answer = {"data": {"viewer": viewer, "upsertView": {"view": view, "inserted": True}}}
        self._answer(401 if self.refuse else 200, answer)

    def do_GET(self) -> None:
        self._answer(200, {})

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[False], ids=["willing"])
def cloud(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server of this machine in W&B's place, and what it was asked."""
    handler = type("Handler", (Cloud,), {"asked": [], "refuse": request.param})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("cloud", [True], indirect=True, ids=["refusing"])
def test_a_server_that_refuses_costs_no_run_and_the_key_is_written_nowhere(
    tmp_path: Path, cache: Path, cloud: tuple[str, list[dict[str, Any]]]
) -> None:
    account = {"WANDB_MODE": None, "WANDB_BASE_URL": cloud[0], "WANDB_API_KEY": KEY, "WANDB_INIT_TIMEOUT": "300"}
    command = (*TINY, "5cat=off", "logger=wandb", f"run.cache={cache}", "trainer.max_epochs=1")
    said = finish(fork(tmp_path, *command, **account))
    assert said.code == 0, said.err
    assert cloud[1], "the server was not asked"
    folder = only_run(tmp_path / "outputs")
    assert "mirrored offline" in (folder / "train.log").read_text()
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"
    assert any(logged(session) == told(rows(folder)) for session in sessions(folder))
    assert [p for p in folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []
    assert KEY not in said.out + said.err


def dashboard(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    merged = os.environ | ENVIRONMENT | environment
    command = [sys.executable, "-m", "lvm_lab.wandb_dashboard", *arguments]
    known = {name: value for name, value in merged.items() if value is not None}
    return subprocess.run(command, env=known, capture_output=True, text=True, timeout=PATIENCE)


def test_dashboard_without_an_account_says_so(tmp_path: Path) -> None:
    said = dashboard(**NO_ACCOUNT, HOME=str(tmp_path))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "error: W&B knows no account on this machine; run `wandb login`, or set WANDB_API_KEY.\n"


def test_dashboard_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(UserError, match=re.escape("[wandb_dashboard]")):
        wandb_dashboard.create("vectors", None, None)


@needs_workspaces
def test_dashboard_asks_the_server_for_a_view_of_what_is_logged(
    done: Path, tmp_path: Path, cloud: tuple[str, list[dict[str, Any]]]
) -> None:
    address, asked = cloud
    arguments = ("--project", "vectors", "--group", "nightly")
    said = dashboard(*arguments, WANDB_BASE_URL=address, WANDB_API_KEY=KEY, HOME=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"{address}/somebody/vectors?nw=")
    assert KEY not in said.stdout + said.stderr
    (saved,) = (a["variables"] for a in asked if "upsertView" in a.get("query", ""))
    assert (saved["entityName"], saved["projectName"], saved["type"]) == ("somebody", "vectors", "project-view")
    spec = json.loads(saved["spec"])
    text = json.dumps(spec)
    assert '"nightly"' in text
    assert '"group"' in text
    sections = {s["name"]: s["panels"] for s in spec["section"]["panelBankConfig"]["sections"]}
    assert set(sections) == {*wandb_dashboard.CURVES, "Side by side"}
    # Every curve is of something that a run logs.
    known = set(logged(sessions(done)[0])[-1])
    for name, curves in wandb_dashboard.CURVES.items():
        assert [p["config"]["metrics"] for p in sections[name]] == [[metric] for metric in curves.values()]
        assert set(curves.values()) <= known
    assert mirror.GATES_KEY in json.dumps(sections["Side by side"])


@needs_workspaces
@pytest.mark.parametrize("cloud", [True], indirect=True, ids=["refusing"])
def test_dashboard_that_is_refused_says_so(tmp_path: Path, cloud: tuple[str, list[dict[str, Any]]]) -> None:
    said = dashboard("--entity", "others", WANDB_BASE_URL=cloud[0], WANDB_API_KEY=KEY, HOME=str(tmp_path))
    assert said.returncode == 2
    (sentence,) = (line for line in said.stderr.splitlines() if line.startswith("error:"))
    assert "W&B refused" in sentence
    assert "--entity others" in sentence
    assert KEY not in said.stdout + said.stderr


def agents_command(sweep: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """The command of one run of a W&B sweep, put together by the functions of W&B's agent."""
    from wandb.sdk.launch.sweeps import utils

    command: dict[str, Any] = {"program": sweep["program"], "args": {k: {"value": v} for k, v in parameters.items()}}
    filled = utils.create_sweep_command_args(command)
    filled |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    words = [str(word) for word in utils.create_sweep_command([*sweep["command"]])]
    return [w for word in words for w in (filled[word[2:-1]] if word.startswith("${") else [word])]


def test_the_documented_sweep_runs_as_the_agent_starts_it_and_logs_its_metric(tmp_path: Path) -> None:
    """As far as it goes without an account: what the server does, proposing and collecting, is not in here."""
    (text,) = re.findall(r"```yaml\n(program: .*?)```", (DOCS / "sweeps.md").read_text(), re.DOTALL)
    sweep = yaml.safe_load(text)
    assert sweep["metric"]["goal"] == "maximize"
    drawn = {name: node.get("value", node.get("min")) for name, node in sweep["parameters"].items()}
    command = agents_command(sweep, drawn | {"arch.width": 16})
    assert command[:4] == ["/usr/bin/env", "python", "-m", "lvm_lab.train"]
    assert "trainer.optim.lr=0.0001" in command
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({name: {"value": value} for name, value in drawn.items()}))
    agents = {"WANDB_SWEEP_ID": "abc12345", "WANDB_RUN_ID": "run67890", "WANDB_SWEEP_PARAM_PATH": "params.yaml"}
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    settings = [*TINY[:5], *TINY[7:], "trainer.max_epochs=1", "run.cache=cache"]
    done = subprocess.run(
        [*command, *settings],
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT | agents | path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path / "outputs" / "wandb-sweep")
    (session,) = sessions(folder)
    assert begun(session)["run_id"] == "run67890"
    updates = [r["summary"]["update"] for r in session if r["type"] == "summary"]
    summary = {key: value for update in updates for key, value in update.items()}
    result = json.loads((folder / "result.json").read_text())
    assert summary[sweep["metric"]["name"]] == result["val"]["five_cat"]["margin"]
