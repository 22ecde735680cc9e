"""What is to be done with each row, over every combination of what a folder can say and a command can ask."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.sweeps import plan
from lvm_lab.sweeps.plan import TRIES, Rate, Standing, Step, UnreadDataError, Work
from lvm_lab.sweeps.schedule import TOP, Row

STATUSES = ("missing", "started", "running", "damaged", "finished", "diverged", "failed")
DONE = ("finished", "diverged", "failed")
SINCE = 100.0
AGES = {"before": 99.0, "since": 101.0}
COMBINATIONS = list(itertools.product(STATUSES, AGES, *[(False, True)] * 4))
ROWS = {
    False: Row("a", 1, 1, ["arch=gru"]),
    True: Row("a", 5, 5, ["arch=ensemble", f"arch.members={TOP}"]),
}


def standing(status: str, age: str, resumable: bool = False, reads_files: bool = False) -> Standing:
    outcome: Any = status if status in DONE else None
    return Standing(status, outcome, AGES[age] if outcome else 0.0, resumable, reads_files)  # type: ignore[arg-type]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("status", "age", "resumable", "reads_files", "force", "launched"), COMBINATIONS)
def test_every_combination_has_the_action_that_the_guide_says(
    status: str, age: str, resumable: bool, reads_files: bool, force: bool, launched: bool, waits: bool
) -> None:
    board = {"a": standing(status, age, resumable, reads_files)}
    actions = plan.plan([ROWS[waits]], board, since=SINCE, force=force, launched={"a"} if launched else set())
    if status == "running":
        expected = "wait"
    elif status not in DONE:
        expected = "go on" if resumable else "run"
    elif age == "since":
        # Somebody has ended it while this command was at work: that counts, forced or not.
        expected = "skip"
    elif force:
        expected = "start over"
    elif status == "failed":
        expected = "try again"
    else:
        expected = "run" if reads_files and not launched else "skip"
    assert actions == {"a": expected}


@given(st.lists(st.sampled_from([(s, a) for s in STATUSES for a in AGES]), max_size=6))
def test_a_row_that_refers_to_the_leaderboard_waits_for_the_first_that_is_not_done(said: list[tuple[str, str]]) -> None:
    rows = [Row(f"r{i}", 1, 1, []) for i in range(len(said))]
    board = {row.id: standing(*one) for row, one in zip(rows, said, strict=True)}
    undone = [row for row, (status, _) in zip(rows, said, strict=True) if status not in DONE]
    assert plan.blocker(rows, board) == (undone[0] if undone else None)


ACTIONS = st.dictionaries(
    st.sampled_from("abcdef"), st.sampled_from(["run", "go on", "try again", "skip", "wait", "start over"]), max_size=6
)
TRIED = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, TRIES + 1), max_size=6)


@given(ACTIONS, TRIED)
def test_a_step_is_one_thing_and_leaves_nothing_behind(actions: dict[str, Any], tries: dict[str, int]) -> None:
    step = plan.step(actions, tries)
    todo = [name for name, what in actions.items() if what not in ("skip", "wait")]
    assert sum(map(bool, (step.launch, step.give_up, step.wait_for))) <= 1
    # Done only where nothing is to do and nobody is waited for; waiting only where nothing is to do.
    assert (step == Step()) == all(what == "skip" for what in actions.values())
    assert bool(step.wait_for) == (not todo and "wait" in actions.values())
    assert set(step.launch) | set(step.give_up) <= set(todo)
    assert all(tries[name] >= TRIES for name in step.give_up)
    assert all(tries.get(name, 0) < TRIES for name in step.launch)
    # A row that took its process down takes no other with it.
    assert len(step.launch) == 1 or not any(tries.get(name) for name in step.launch)


@given(st.sets(st.sampled_from("abcdef"), min_size=1), st.sets(st.sampled_from("abcdef")))
def test_a_phase_ends_though_some_rows_always_take_their_process_down(names: set[str], killers: set[str]) -> None:
    """Whoever is launched beside a killer ends without a result; nobody but the killers is given up."""
    actions: dict[str, Any] = dict.fromkeys(sorted(names), "run")
    tries: dict[str, int] = {}
    given_up: set[str] = set()
    for _ in range(3 * len(names) + 1):
        step = plan.step(actions, tries)
        if step == Step():
            break
        given_up |= set(step.give_up)
        actions |= dict.fromkeys(step.give_up, "skip")
        if not killers & set(step.launch):
            actions |= dict.fromkeys(step.launch, "skip")
        tries |= {name: tries.get(name, 0) + 1 for name in step.launch}
    assert all(what == "skip" for what in actions.values())
    assert given_up == names & killers


def test_a_forecast_is_the_mean_of_finished_runs_of_the_architecture() -> None:
    rows = [Row(name, 1, 1, [f"arch={arch}"]) for name, arch in (("a", "gru"), ("b", "gru"), ("c", "lstm"))]
    forecasts = plan.forecast(rows, {"a": "run", "b": "skip", "c": "go on"}, {"gru": [10.0, 20.0]})
    assert [(f.row.id, f.action, f.seconds) for f in forecasts] == [
        ("a", "run", 15.0),
        ("b", "skip", 0.0),
        ("c", "go on", None),
    ]


def test_where_no_run_of_the_architecture_is_finished_work_at_the_rate_of_others_says_it() -> None:
    rows = [
        Row(name, 1, 1, [f"arch={arch}"]) for name, arch in (("a", "gru"), ("b", "lstm"), ("c", "amn"), ("d", "s4"))
    ]
    works = {"a": Work(100, 50, 2), "b": Work(200, 50, 3), "c": UnreadDataError("no file")}
    board = {"a": Standing("finished", "finished", 1.0, seconds=6.0), "b": Standing(), "c": Standing(), "d": Standing()}
    rate = plan.rate_of(works, board)
    assert rate == Rate(6 * 100 * 50 * 2 / 6.0, 1)
    actions: dict[str, Any] = {"a": "skip", "b": "run", "c": "run", "d": "run"}
    a, b, c, d = plan.forecast(rows, actions, {"gru": [6.0]}, works, rate)
    assert (a.seconds, a.rate, a.work) == (0.0, None, works["a"])
    assert (b.seconds, b.rate) == (6 * 200 * 50 * 3 / rate.flop_per_second, rate)
    assert (c.seconds, c.work, c.unread) == (None, None, "no file")
    assert (d.seconds, d.work, d.unread) == (None, None, None)
    # Its own architecture's runs say more than others' work.
    (known,) = plan.forecast([rows[1]], actions, {"lstm": [9.0]}, works, rate)
    assert (known.seconds, known.rate) == (9.0, None)
    assert plan.rate_of(works, dict.fromkeys("abcd", Standing())) is None
