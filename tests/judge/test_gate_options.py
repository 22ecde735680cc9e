"""Which gates judge is a setting: the files of judge/gates/, fewer of them, or a user's own beside them."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from helpers.judge_data import CONF, DIM, Leaky, linear, moving_average, preset, windows_of
from lvm_lab.config.presets import GATES, Preset
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.judge import gates, options
from lvm_lab.judge.five_cat import measure
from lvm_lab.judge.gate import Gate
from lvm_lab.reporting.tables import part_table
from lvm_lab.runs.judgement import Scores
from lvm_lab.runs.typed import typed

OWN = """
import numpy as np

from lvm_lab.judge.gate import Gate


class Length(Gate):
    letter = "F"
    name = "length"
    at_least = ("shortest",)
    at_most = ("length",)
    lead = "length"

    def __init__(self, power: float = 1.0):
        self.power = power

    def measure(self, part, draws):
        length_B = np.linalg.norm(part.raw_BD, axis=1) ** self.power
        return {"length": length_B, "shortest": length_B}
"""
LIMITS = {"length": 1.5, "shortest": 0.5}
NODE = {"_target_": "my_gates.Length", "power": 1.0}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module on the path."""
    (tmp_path / "my_gates.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_gates", raising=False)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Windows]:
    folder = tmp_path_factory.mktemp("stores")
    val, ood = (windows_of(folder / str(seed), moving_average(24, seed)) for seed in (1, 2))
    return val, ood


def six(**changes: object) -> Preset:
    return preset(gates=[*GATES, NODE], thresholds={"f": {"val": LIMITS, "ood": LIMITS}}, required=6, **changes)


def test_every_file_is_a_gate_of_the_standard_preset() -> None:
    listed = yaml.safe_load((CONF / "standard.yaml").read_text())["gates"]
    assert listed == list(GATES) == preset().gates
    assert sorted(listed) == options.stems(gates.__name__)
    assert "".join(gate.letter for gate in gates.load(preset())) == "ABCDE"
    assert gates.alone(preset()) == 4


def test_gates_are_free_of_torch() -> None:
    code = "from lvm_lab.judge import gates; from lvm_lab.config.presets import Preset; import sys; "
    code += "gates.load(Preset('x', {})); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("own")
def test_a_users_gate_is_measured_counted_and_shown(windows: tuple[Windows, Windows]) -> None:
    val, ood = windows
    gates.check(six())
    judged = measure(Leaky(val, ood), val, ood, six())
    assert (judged.of, judged.val.of) == (6, 5)
    assert "".join(judged.gates) == "ABCDEF"
    assert judged.gates["F"].state is True, "the answers have unit length"
    five = measure(Leaky(val, ood), val, ood, preset())
    assert judged.passed == five.passed + 1
    assert judged.val.passed == five.val.passed + 1
    assert judged.val.values()["F/length"] == pytest.approx(1)
    described = judged.val.halves["F"].to_dict()["numbers"]["length"]
    assert (described["threshold"], described["passed"]) == (1.5, True)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(part_table("VAL", typed(Scores, judged.val.to_dict(), "five_cat").halves))
    assert [line.split()[1] for line in console.export_text().splitlines() if " F " in line] == ["F", "F"]


@pytest.mark.usefixtures("own")
def test_a_users_gate_can_fail_and_leaves_the_others_as_they_were(windows: tuple[Windows, Windows]) -> None:
    val, ood = windows
    judged, five = (measure(linear(DIM), val, ood, one) for one in (six(), preset()))
    assert judged.gates["F"].state is False
    assert judged.gates["F"].reason.startswith("VAL: length ")
    assert judged.reason == f"{judged.passed} of 6 gates passed and 6 are needed"
    values = judged.val.values()
    assert {name: values[name] for name in five.val.values()} == pytest.approx(five.val.values(), abs=1e-12)


def test_fewer_gates_are_a_judgement_too(windows: tuple[Windows, Windows]) -> None:
    val, _ = windows
    some = preset(gates=["retrieval", "rollout"], required=2)
    gates.check(some)
    judged = measure(linear(DIM), val, None, some)
    assert (list(judged.gates), judged.of, judged.val.of) == (["B", "D"], 2, 2)
    assert (judged.val.best_k, judged.alarms, judged.val.rank[1]) == (None, [], float("-inf"))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gates": ["rollouts"], "required": 1}, "names rollouts, which does not exist; choose among ablations, "),
        ({"gates": []}, "give it a list"),
        ({"gates": ["offsets", "rollout"]}, "required=5 of 2 gates cannot be; set it from 0 to 2"),
        ({"gates": ["rollout"] * 5}, "two gates D"),
        ({"gates": [*GATES, NODE]}, "needs exactly a, b, c, d, e, f .wrong or missing: f"),
        ({"gates": [*GATES, {"_target_": "my_gates.Width"}]}, "my_gates.Width cannot be imported"),
        ({"gates": [*GATES, {"_target_": "pathlib.Path"}]}, "is no Gate; derive it from lvm_lab.judge.gate.Gate"),
        ({"gates": [*GATES, NODE | {"power": "two"}]}, "gates.5.power='two' does not fit; give it a number"),
        ({"gates": [*GATES, NODE], "tool": "lnsp_compat"}, "leave five_cat.gates as it is"),
        ({"thresholds": {"g": {}}}, "wrong or missing: g"),
        ({"thresholds": {"e": {"val": 1}}}, "thresholds.e needs exactly difference"),
        ({"thresholds": {"d": {"val": {"rollout": "high"}}}}, "d.val.rollout=high does not fit; give it a number"),
    ],
)
def test_mistakes_are_sentences(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        gates.check(preset(**changes))
    assert str(refusal.value).endswith(".")


def test_a_gate_says_how_it_is_measured() -> None:
    with pytest.raises(NotImplementedError):
        Gate().measure(None, {})  # type: ignore[arg-type]
