"""A schedule at work with the test's own launcher: phases, what is skipped, retried or refused, and who is best."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from rich.console import Console

from helpers import run_files
from helpers.run_files import following, ranked
from lvm_lab import status as status_command
from lvm_lab.commands import rows, schedules
from lvm_lab.errors import UserError
from lvm_lab.reporting import status
from lvm_lab.reporting import sweep as sweep_tables
from lvm_lab.runs.identity import fingerprint
from lvm_lab.runs.reading import Run
from lvm_lab.runs.result import Outcome, Result
from lvm_lab.sweeps import leaderboard, schedule, sweep
from lvm_lab.sweeps.plan import UnreadDataError, Weigh, Work
from lvm_lab.sweeps.sweep import Failure

TABLE = {
    "common": ["trainer.max_epochs=3", "logger=none"],
    "rows": [
        {"id": "a-gru", "week": 1, "overrides": ["arch=gru"]},
        {"id": "a-lstm", "week": 1, "overrides": ["arch=lstm"]},
        {"id": "b-amn", "week": 2, "overrides": ["arch=amn"]},
        {"id": "c-best1", "week": 5, "from": "best1", "overrides": ["seed=7"]},
        {"id": "c-best2", "week": 5, "from": "best2", "overrides": ["seed=7"]},
        {"id": "d-mix", "week": 5, "phase": 6, "overrides": ["arch=ensemble", "arch.members=top3"]},
    ],
}
QUALITY = {"a-gru": (3, 0.10, 0.5), "a-lstm": (4, 0.05, 0.5), "b-amn": (4, 0.20, 0.5)}


def write_run(folder: Path, config: dict[str, Any], status: str = "finished", **more: Any) -> None:
    """What a run leaves behind, with its true fingerprint."""
    own = fingerprint(config, {})
    names = (config[group]["name"] for group in ("arch", "loss", "data"))
    result = Result(folder.name, *names, status, config["seed"], own, 12.0, **more)  # type: ignore[arg-type]
    shutil.rmtree(folder, ignore_errors=True)
    settings = config | {"identity": {"fingerprint": own, "content": {}}}
    run_files.write(folder, settings, [], None if status == "started" else result)


class World:
    """A table of its own and a launcher that leaves results behind; `launched` is what it was asked for."""

    def __init__(self, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = work / "little.yaml"
        file.write_text(yaml.safe_dump(TABLE))
        monkeypatch.setattr(schedule, "load", lambda name, folders=(): schedule.read(file))
        monkeypatch.setattr(sweep, "POLL_SECONDS", 0.01)
        monkeypatch.chdir(work)
        self.launched: list[list[str]] = []
        self.registered: dict[str, schedule.Row] = {}
        self.ends: dict[str, Callable[[Path, dict[str, Any]], list[Failure]]] = {}
        monkeypatch.setattr(rows, "register", lambda row, folder: self.registered.update({row.id: row}))

    def request(self, **more: Any) -> schedule.Request:
        return schedule.Request("little", **more)

    @property
    def folder(self) -> Path:
        return self.request().folder

    def launch(self, arguments: Sequence[str]) -> list[Failure]:
        (chosen,) = (a.partition("=")[2].split(",") for a in arguments if a.startswith("+run_id="))
        self.launched.append(chosen)
        failures: list[Failure] = []
        for row_id in chosen:
            config = rows.compose(self.registered[row_id])
            end = self.ends.get(row_id, self.finish)
            failures += end(self.folder / row_id, config)
        return failures

    def finish(self, folder: Path, config: dict[str, Any]) -> list[Failure]:
        write_run(folder, config, **ranked(*QUALITY.get(folder.name, (3, 0.0, 0.0))))
        return []

    def run(self, rest: Sequence[str] = ("-m",), **more: Any) -> list[Failure]:
        return schedules.run(self.request(**more), list(rest), self.launch)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_phases_run_one_after_the_other_and_the_same_command_again_runs_nothing(world: World) -> None:
    assert world.run() == []
    assert world.launched == [["a-gru", "a-lstm"], ["b-amn"], ["c-best1", "c-best2"], ["d-mix"]]
    assert [(row.name, row.status) for row in leaderboard.read(world.folder)] == [
        (row["id"], "finished") for row in TABLE["rows"]
    ]
    world.launched.clear()
    # An ensemble reads its members' files, which may have changed: the run itself looks.
    assert world.run() == []
    assert world.launched == [["d-mix"]]


def test_week_5_takes_the_best_by_val_and_writes_it_down(world: World) -> None:
    assert world.run() == []
    resolved = leaderboard.resolved_of(world.folder)
    # amn and lstm pass four halves each and amn's margin is larger; gru passes three.
    assert [resolved[i]["of"] for i in ("c-best1", "c-best2", "d-mix")][:2] == [["b-amn"], ["a-lstm"]]
    assert "arch=amn" in world.registered["c-best1"].overrides
    assert "seed=7" in world.registered["c-best1"].overrides
    assert "trainer.max_epochs=3" in world.registered["c-best1"].overrides
    assert resolved["d-mix"]["of"] == ["b-amn", "a-lstm", "a-gru"]
    members = [f"'multirun/little/{name}'" for name in ("b-amn", "a-lstm", "a-gru")]
    assert f"arch.members=[{','.join(members)}]" in world.registered["d-mix"].overrides


def test_what_was_resolved_stands_when_the_leaderboard_changes(world: World) -> None:
    world.ends["c-best2"] = lambda folder, config: [Failure("c-best2", "no room left")]
    assert [f.row for f in world.run()][:1] == ["c-best2"]
    before = (world.folder / leaderboard.RESOLVED).read_text()
    file = world.folder / "a-gru" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | ranked(4, 0.9, 0.9)))
    del world.ends["c-best2"]
    assert world.run() == []
    assert leaderboard.resolved_of(world.folder)["c-best2"] == yaml.safe_load(before)["c-best2"]
    assert "arch=lstm" in world.registered["c-best2"].overrides


def test_too_few_that_pass_are_told_and_any_takes_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(QUALITY, "a-lstm", (2, 0.9, 0.9))
    monkeypatch.setitem(QUALITY, "a-gru", (2, 0.9, 0.8))
    (failure,) = world.run()
    assert str(failure) == (
        "c-best1: week 5 needs 2 architectures that pass their 5CAT preset on VAL and there are 1; "
        "schedule.best=any takes the best of all."
    )
    assert not (world.folder / leaderboard.RESOLVED).exists()
    assert world.run(best="any") == []
    assert leaderboard.resolved_of(world.folder)["c-best2"]["of"] == ["a-lstm"]


def test_week_5_alone_is_refused_while_an_earlier_row_is_missing(world: World) -> None:
    assert world.run(week=1) == []
    with pytest.raises(UserError, match="c-best1 takes the best of the earlier rows, and b-amn is missing"):
        world.run(week=5)
    with pytest.raises(UserError, match="d-mix takes the best of the earlier rows, and b-amn is missing"):
        world.run(["device=cpu"], ids=["d-mix"])
    assert world.launched == [["a-gru", "a-lstm"]]


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_diverged_or_failed_row_does_not_hold_week_5_back(world: World, status: str) -> None:
    def end(folder: Path, config: dict[str, Any]) -> list[Failure]:
        write_run(folder, config, status, error="a bug" if status == "failed" else None)
        return []

    world.ends["a-gru"] = end
    failures = world.run(only="a-*,b-*,c-*")
    assert [str(f) for f in failures] == (
        ["a-gru: a bug; see multirun/little/a-gru/train.log"] if status == "failed" else []
    )
    assert leaderboard.entry(world.folder / "c-best1").status == "finished"
    world.launched.clear()
    world.run(only="a-*")
    # What diverged counts as finished, what failed is tried again.
    assert world.launched == ([["a-gru"]] if status == "failed" else [])


def test_a_row_that_takes_its_process_down_is_tried_once_more_alone_and_told(world: World) -> None:
    def killed(folder: Path, config: dict[str, Any]) -> list[Failure]:
        raise RuntimeError("a worker was killed")

    world.ends["a-gru"] = killed
    failures = world.run(week=1)
    assert world.launched == [["a-gru", "a-lstm"], ["a-gru"], ["a-lstm"]]
    assert [f.row for f in failures] == ["a-gru"]
    assert "ended 2 times without a result" in failures[0].sentence


def test_a_locked_row_is_left_to_the_other_process_and_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.folder / "a-lstm"
    (row,) = (r for r in schedule.load("little").scaled(None, rows.compose).rows if r.id == "a-lstm")
    config = rows.compose(row)
    write_run(folder, config, "started")
    other = FileLock(folder / ".lock")
    other.acquire()

    def finish_elsewhere(seconds: float) -> None:
        write_run(folder, config, **ranked(3, 0.1, 0.5))
        other.release()

    monkeypatch.setattr(time, "sleep", finish_elsewhere)
    assert world.run(week=1) == []
    assert world.launched == [["a-gru"]]
    assert "waiting for another process, which works on a-lstm" in capsys.readouterr().out


def test_a_locked_row_whose_process_died_is_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.folder / "a-lstm"
    (row,) = (r for r in schedule.load("little").scaled(None, rows.compose).rows if r.id == "a-lstm")
    write_run(folder, rows.compose(row), "started")
    other = FileLock(folder / ".lock")
    other.acquire()
    monkeypatch.setattr(time, "sleep", lambda seconds: other.release())
    assert world.run(week=1) == []
    assert world.launched == [["a-gru"], ["a-lstm"]]


def test_force_starts_finished_rows_over_once(world: World) -> None:
    world.run(week=1)
    for row_id in ("a-gru", "a-lstm"):
        os.utime(world.folder / row_id / "result.json", (1, 1))
    world.launched.clear()
    assert world.run(["-m", "run.force=true"], week=1) == []
    assert world.launched == [["a-gru", "a-lstm"]]


def test_a_changed_row_under_a_finished_id_is_refused_before_anything_runs(world: World) -> None:
    world.run(week=1)
    world.launched.clear()
    with pytest.raises(
        UserError, match=r"a-gru holds a run of another config \(trainer.max_epochs is 3 there and 5 here"
    ):
        world.run(["-m", "trainer.max_epochs=5"])
    assert world.launched == []
    # What does not change what is computed is no other run.
    assert world.run(["-m", "device=cpu", "run.cache=elsewhere", "hydra/launcher=joblib"], week=1) == []
    assert world.launched == []


def test_an_edited_config_under_a_finished_id_is_refused(world: World) -> None:
    world.run(week=1)
    file = world.folder / "a-gru" / "config.yaml"
    file.write_text(file.read_text().replace("max_epochs: 3", "max_epochs: 4"))
    with pytest.raises(UserError, match=r"a-gru/config.yaml was changed after it was written"):
        world.run()


def test_a_folder_of_another_schedule_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(week=1)
    table = leaderboard.table_of(world.folder) | {"name": "other"}
    (world.folder / leaderboard.TABLE).write_text(yaml.safe_dump(table))
    with pytest.raises(UserError, match="is the folder of schedule=other"):
        world.run()


def dry(world: World, weigh: Weigh | None = None, **more: Any) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    request = world.request(**more)
    table = schedule.load("little").scaled(None, rows.compose)
    forecasts = sweep.Sweep(request, table, rows.HydraLauncher((), world.launch)).forecast(weigh)
    sweep_tables.show("little", world.folder, forecasts, console)
    return console.export_text()


def test_the_dry_run_says_what_would_be_done_and_how_long_it_takes(world: World) -> None:
    assert "6 to run" in dry(world)
    assert "6 rows of unknown time" in dry(world)
    assert "the leaderboard says" in dry(world)
    world.run(week=1)
    (row,) = (r for r in schedule.load("little").scaled(None, rows.compose).rows if r.id == "b-amn")
    write_run(world.folder / "b-amn", rows.compose(row), "started")
    said = dry(world)
    assert "2 to skip, 1 to go on, 3 to run" in said
    world.run(week=2)
    (world.folder / "b-amn" / "result.json").unlink()
    write_run(world.folder / "more", rows.compose(row))
    # A run of the same architecture took 12 s.
    assert "about 0.2 minutes one after the other; 3 rows of unknown time" in dry(world)
    assert world.run(["-m"], dry_run=True) == []
    assert len(world.launched) == 2


MISTYPED = {
    "trainer.batch_size=many": "trainer.batch_size='many' does not fit; give it a whole number.",
    "arch.width=wide": "arch.width='wide' does not fit; give it a whole number.",
    "loss.terms.infonce.temperature=hot": "loss.terms.infonce.temperature='hot' does not fit; give it a number.",
    "5cat.rollout_steps=0": "five_cat.rollout_steps=0 is too small; set it to 1 or more.",
}


@pytest.mark.parametrize("override", MISTYPED)
def test_a_mistyped_value_in_a_late_row_is_told_before_anything_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, override: str
) -> None:
    rows = [{"id": f"r{i}", "overrides": ["arch=gru", *([override] if i == 7 else [])]} for i in range(9)]
    file = Path("many.yaml")
    file.write_text(yaml.safe_dump({"rows": rows}))
    monkeypatch.setattr(schedule, "load", lambda name, folders=(): schedule.read(file))
    for command in ({"dry_run": True}, {}):
        with pytest.raises(UserError) as refusal:
            world.run(**command)
        assert str(refusal.value).startswith(f"many.yaml, line 23, row r7: {MISTYPED[override]}")
    assert world.launched == []
    assert not world.folder.exists()


def test_every_reader_sees_missing_started_running_failed_and_foreign_runs(world: World) -> None:
    world.run(week=1)
    (row,) = (r for r in schedule.load("little").scaled(None, rows.compose).rows if r.id == "b-amn")
    config = rows.compose(row)
    write_run(world.folder / "b-amn", config, "started")
    write_run(world.folder / "mine", config, "failed", error="a bug")
    (world.folder / "b-amn" / "history.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n{"epo')
    found = {row.name: row for row in leaderboard.read(world.folder)}
    assert [r.status for r in found.values()] == [
        "finished",
        "finished",
        "started",
        "missing",
        "missing",
        "missing",
        "failed",
    ]
    assert found["b-amn"].epochs == (2, 3)
    assert (found["b-amn"].arch, found["d-mix"].arch, found["c-best1"].arch) == ("amn", "ensemble", "")
    assert found["mine"].week is None
    lock = FileLock(world.folder / "b-amn" / ".lock")
    with lock:
        assert leaderboard.entry(world.folder / "b-amn").status == "running"
    assert leaderboard.entry(world.folder / "b-amn").status == "started"
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    status.show(list(found.values()), console)
    said = console.export_text()
    assert "2 finished, 1 started, 3 missing, 1 failed" in said
    assert "best by VAL: a-lstm" in said
    assert "a bug" in said


def test_status_of_no_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_command.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def entry_of(
    name: str, fields: dict[str, Any], arch: str = "gru", status: Outcome = "finished", **config: Any
) -> leaderboard.Entry:
    result = Result(name, arch, "mse", "planted", status, 0, "0" * 64, 1.0, **fields)
    return leaderboard.Entry(Run(Path(name), status, config, result))


def test_best_is_by_gates_then_margin_then_unseen_and_only_what_passes() -> None:
    rows = [
        entry_of("fails", ranked(2, 0.9, 0.9)),
        entry_of("more gates", ranked(4, 0.1, 0.1)),
        entry_of("larger margin", ranked(3, 0.3, 0.1)),
        entry_of("larger unseen", ranked(3, 0.2, 0.3)),
        entry_of("last", ranked(3, 0.2, 0.2)),
        entry_of("not measured", ranked(3, None, 0.9)),
        entry_of("diverged", {}, status="diverged"),
        entry_of("not judged", {}),
    ]
    expected = ["more gates", "larger margin", "larger unseen", "last", "not measured"]
    assert [r.name for r in leaderboard.ranked(rows)] == expected
    assert [r.name for r in leaderboard.ranked(reversed(rows), gated=False)] == [*expected, "fails"]
    assert [r.passes for r in rows] == [False, True, True, True, True, True, None, None]


def reading(name: str, length: int | None, margin: float, node: Any = None, digest: str = "c") -> leaderboard.Entry:
    """A run that reads so many vectors. node: its `following` on VAL."""
    fields = ranked(3, margin, 0.9 if length == 5 else 0.1)
    fields["val"] |= {} if node is None else {"following": node}
    identity = {"content": {"planted": digest}}
    return entry_of(name, fields, data={"context_length": length}, identity=identity)


def test_following_settles_equal_margins_and_unseen_only_where_it_is_missing() -> None:
    rows = [
        reading("low", 5, 0.2, following(0.3)),
        reading("high", 5, 0.2, following(0.4)),
        reading("margin", 5, 0.3, following(0.1)),
        reading("before", 5, 0.2),
        reading("short", 5, 0.2, following(None)),
    ]
    assert [r.name for r in leaderboard.ranked(rows)] == ["margin", "high", "low", "before", "short"]


def test_context_lengths_take_places_together_on_equal_target_sets_alone() -> None:
    five, sixteen = reading("five", 5, 0.2, following(0.4)), reading("sixteen", 16, 0.2, following(0.5))
    assert [r.name for r in leaderboard.ranked([five, sixteen])] == ["sixteen", "five"]
    more = reading("more", 5, 0.1, following(0.4))
    for other in (
        reading("sixteen", 16, 0.9, following(0.9, "e" * 64)),
        reading("sixteen", 16, 0.9, following(None)),
        reading("sixteen", 16, 0.9),
        reading("sixteen", 16, 0.9, following(0.9), digest="other data"),
    ):
        placed = leaderboard.ranked([five, other, more])
        assert [r.name for r in placed] == ["five", "more"]
        assert "it reads 16 vectors and most read 5" in str(leaderboard.why_apart(other, placed))
        assert leaderboard.why_apart(five, placed) is None
    before = reading("before", 5, 0.3)
    # Results of before compare with their own length, as they did.
    assert [r.name for r in leaderboard.ranked([before, five, more, sixteen])] == ["before", "five", "more"]
    elsewhere = reading("elsewhere", 5, 0.9, following(0.9, "e" * 64), digest="other data")
    assert "judged on another VAL" in str(leaderboard.why_apart(elsewhere, [five, more]))


def test_short_contexts_are_another_ground_than_whole_ones() -> None:
    """Runs that read up to 16 vectors, of which one is judged on windows near a document's beginning too."""
    whole = [reading(name, 16, margin) for name, margin in (("a", 0.2), ("b", 0.1))]
    short = reading("short", 16, 0.9)
    short.config["data"] |= {"windows": "documents", "min_context": None}
    placed = leaderboard.ranked([*whole, short])
    assert [r.name for r in placed] == ["a", "b"]
    assert "it reads 5 to 16 vectors and most read 16" in str(leaderboard.why_apart(short, placed))


def test_ood_chooses_nothing() -> None:
    """The verdict looks at OOD too; who is best must not change with it."""
    rows = []
    for name, margin, passed, ood in (("a", 0.2, 0, -1.0), ("b", 0.1, 5, 1.0)):
        fields = ranked(4, margin, 0.5, required=5)
        fields["five_cat"] |= {"passed": passed, "verdict": "pass" if passed else "fail"}
        fields["ood"] = {"five_cat": {"passed": 4 if passed else 0, "margin": ood}}
        rows.append(entry_of(name, fields))
    assert [r.name for r in leaderboard.ranked(rows)] == ["a", "b"]


def test_higher_numbers_on_other_documents_are_not_better() -> None:
    """Folds, other data and other context lengths are no competitors of what most runs were judged on."""

    def on(name: str, margin: float, content: str = "c", member_0: str = "", **data: Any) -> leaderboard.Entry:
        members = {"member_0": member_0} if member_0 else {}
        identity = {"content": {"planted": content} | members}
        return entry_of(name, ranked(4, margin, 0.5), data=data, identity=identity)

    rows = [
        on("a", 0.1),
        on("b", 0.2, max_per_doc=4),
        on("mix", 0.3, member_0="e"),
        on("fold", 0.9, fold=0),
        on("longer", 0.9, context_length=16),
        on("other", 0.9, "d"),
    ]
    assert [r.name for r in leaderboard.ranked(rows)] == ["mix", "b", "a"]
    assert [r.name for r in leaderboard.ranked(reversed(rows), gated=False)] == ["mix", "b", "a"]


def test_other_gates_are_no_competitors_and_a_validation_set_of_its_own_is_one() -> None:
    def on(run: str, content: dict[str, str], **preset: Any) -> leaderboard.Entry:
        return entry_of(run, ranked(4, 0.5, 0.5), data={}, identity={"content": content}, five_cat=preset)

    rows = [
        on("a", {"store": "1", "val": "v"}, name="standard", required=5),
        on("b", {"store": "2", "val": "v"}, name="mild", required=3),
        on("lower", {"store": "1", "val": "v"}, thresholds={"a": 0}),
        on("old", {"store": "1", "val": "v"}, tool="lnsp_compat"),
    ]
    assert [r.name for r in leaderboard.ranked(rows)] == ["a", "b"]


def test_best_architectures_are_one_run_each_and_no_ensembles() -> None:
    rows = [
        entry_of("e", ranked(4, 0.9, 0.9), "ensemble"),
        entry_of("g1", ranked(4, 0.3, 0.9), "gru"),
        entry_of("g2", ranked(4, 0.4, 0.9), "gru"),
        entry_of("l", ranked(3, 0.4, 0.9), "lstm"),
    ]
    assert [r.name for r in leaderboard.best_architectures(rows, 3)] == ["g2", "l"]
    assert [r.name for r in leaderboard.best_architectures(rows, 1)] == ["g2"]


def test_an_ensembles_members_read_as_many_vectors_as_it_does() -> None:
    """A run of another length takes a place by `following`, and cannot be joined."""

    def on(name: str, arch: str, margin: float, reads: int) -> leaderboard.Entry:
        fields = ranked(4, margin, 0.5)
        fields["val"] |= {"following": following(0.5)}
        identity = {"content": {"planted": "c"}}
        return entry_of(name, fields, arch, data={"context_length": reads}, identity=identity)

    rows = [on("f", "linformer", 0.9, 16), on("g", "gru", 0.5, 64), on("l", "lstm", 0.4, 64)]
    assert [r.name for r in leaderboard.best_architectures(rows, 2)] == ["f", "g"]
    assert [r.name for r in leaderboard.best_architectures(rows, 2, reads=64)] == ["g", "l"]


def test_a_dry_run_that_weighs_says_work_rate_and_what_it_cannot_read(world: World) -> None:
    def weigh(config: dict[str, Any]) -> Work:
        if config["arch"]["name"] == "amn":
            raise UnreadDataError("the train part has no window.")
        return Work(1_000_000, 2_000_000, config["trainer"]["max_epochs"])

    text = dry(world, weigh)
    (gru,) = (line.split("│") for line in text.splitlines() if "a-gru" in line)
    assert [cell.strip() for cell in gru[-4:-1]] == ["unknown", "1,000,000", "12.00"]
    assert "24.0 TFLOP for an epoch of 2 rows, 72.0 for all their epochs" in " ".join(text.split())
    assert "1 row of unknown work: the train part has no window." in text
    assert "6 rows of unknown time" in text
    world.run(only="a-gru")
    # 36 TFLOP in the 12 s of the finished run.
    text = dry(world, weigh)
    assert "about 0.0 hours by their work for others; 4 rows of unknown time" in text
    assert "~ 12 s" in text
    assert "~: that work at 3 TFLOP/s, the median of 1 finished run here" in text


def test_a_row_that_training_would_refuse_is_told_by_the_dry_run(world: World) -> None:
    def weigh(config: dict[str, Any]) -> Work:
        raise UserError("arch=gru does not go with that; set another.")

    with pytest.raises(UserError, match=r"row a-gru: arch=gru does not go with that; set another\."):
        dry(world, weigh)
