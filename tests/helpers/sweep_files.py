"""The folders of made-up runs, whose every number is known, for what reads a sweep from its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lvm_lab.files import write_atomically
from lvm_lab.runs.result import Result
from lvm_lab.sweeps.leaderboard import TABLE

THRESHOLDS = {"A": {"cos": 0.5, "margin": 0.12}, "B": {"r1": 0.6}, "C": {"shuffled": -0.15}, "D": {"rollout": 0.45}}
SHIFTS = {"val": 0.0, "ood": -0.05}


def number(value: float, threshold: float | None = None, sense: int = 1) -> dict[str, Any]:
    """A number as result.json has it, its interval .02 on either side."""
    found: dict[str, Any] = {"value": value, "interval": [value - 0.02, value + 0.02], "windows": 400, "documents": 40}
    if threshold is not None:
        found |= {"threshold": threshold, "passed": sense * (value - threshold) >= 0}
        found |= {"undecided": abs(value - threshold) < 0.02}
    return found


def judged(quality: float, required: int = 5) -> dict[str, Any]:
    """5CAT's judgement; quality is VAL's margin, and from .12 on everything else passes too."""
    parts = {part: _halves(quality + shift) for part, shift in SHIFTS.items()}
    gates: dict[str, Any] = {}
    for letter in "ABCDE":
        states = [parts[part][letter]["state"] for part in parts]
        gates[letter] = {"name": f"gate {letter}", "state": all(states), "reason": None if all(states) else "too low"}
        gates[letter] |= {part: parts[part][letter] for part in parts}
    gates["E"] |= {"state": None, "reason": "needs more windows", "difference": number(0.01, 0.05, sense=-1)}
    passed = sum(gate["state"] is True for gate in gates.values())
    said = {part: sum(half["state"] is True for half in halves.values()) for part, halves in parts.items()}
    return {
        "preset": "standard",
        "required": required,
        "passed": passed,
        "verdict": "pass" if passed >= required else "fail",
        "reason": None if passed >= required else f"{passed} of 5 gates passed and {required} are needed",
        "alarms": [{"name": "copying", "part": "val", "best_k": 0, "check": "the data"}] if quality < 0 else [],
        "gates": gates,
        **{part: {"passed": said[part], "margin": quality + shift, "best_k": 1} for part, shift in SHIFTS.items()},
        "model": {"passed": passed} | {part: _points(halves) for part, halves in parts.items()},
    }


def _halves(quality: float) -> dict[str, Any]:
    offsets = {f"k{k:+d}": number(0.5 + quality - 0.1 * abs(k - 1)) for k in range(-3, 4)}
    a, b, c, d = (THRESHOLDS[letter] for letter in "ABCD")
    numbers = {
        "A": {"cos": number(0.5 + quality, a["cos"]), "margin": number(quality, a["margin"]), **offsets},
        "B": {"r1": number(0.6 + quality, b["r1"]), "mrr_unseen": number(0.3 + quality)},
        "C": {"shuffled": number(-0.1 - quality, c["shuffled"], sense=-1)},
        "D": {"rollout": number(0.35 + quality, d["rollout"])},
        "E": {"normal": number(0.5 + quality)},
    }
    halves = {}
    for letter, found in numbers.items():
        checks = [n["passed"] for n in found.values() if "passed" in n]
        halves[letter] = {"state": all(checks) if checks else None, "reason": None, "numbers": found}
    return halves


def _points(halves: dict[str, Any]) -> dict[str, float]:
    return {f"{letter}/{name}": n["value"] for letter, half in halves.items() for name, n in half["numbers"].items()}


def config(arch: str = "gru", loss: str = "infonce", seed: int = 0, epochs: int = 4, **more: Any) -> dict[str, Any]:
    made = {"arch": {"name": arch, "width": 64}, "loss": {"name": loss}, "data": {"name": "planted", "path": None}}
    identity = {"fingerprint": f"{seed:08x}" * 8, "content": {"planted": "c" * 64}}
    return made | {"seed": seed, "trainer": {"max_epochs": epochs}, "identity": identity} | more


def history(epochs: int, start: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"epoch": e, "train/loss": start / (e + 1), "val/loss": start / (e + 1) + 0.1, "val/cos": 0.5 + 0.01 * e}
        | {"seconds": 2.0, "windows_per_second": 1000.0 + e}
        for e in range(epochs)
    ]


def write_run(
    folder: Path, quality: float | None = 0.2, said: dict[str, Any] | None = None, skill: bool = True, **chosen: Any
) -> dict[str, Any]:
    """A run's folder as training leaves it, and its result. quality None: never judged. said: changes of the result.

    chosen: as in `config`.
    """
    folder.mkdir(parents=True)
    made = config(**chosen)
    epochs = made["trainer"]["max_epochs"]
    (folder / "config.yaml").write_text(yaml.safe_dump(made))
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history(epochs)))
    five_cat = {} if quality is None else judged(quality)
    result = Result(
        name=folder.name, arch=made["arch"]["name"], loss=made["loss"]["name"], data="planted", status="finished",
        seed=made["seed"], fingerprint="f" * 64, seconds=12.34, params=123_456, epochs=epochs,
        checkpoint="best_5cat.ckpt", five_cat=five_cat,
        baselines={} if quality is None else {"copy_last": _copy_last(quality)},
    )  # fmt: skip
    found = vars(result) | (said or {})
    if skill and quality is not None:
        share = number(quality) | {"over": "copy_last", "baseline": 0.5}
        found["skill"] = {"val": {"A/cos": share}, "ood": {"A/cos": share}}
    write_atomically(folder / "result.json", json.dumps(found))
    return found


def _copy_last(quality: float) -> dict[str, Any]:
    lift = number(quality) | {"p": 0.01, "p_holm": 0.04}
    return {"passed": 1, "verdict": "fail", "gates": {}} | {
        "val": _points(_halves(0.0)), "ood": {}, "model_lift_val": {"A/cos": lift}
    }  # fmt: skip


def write_table(sweep: Path, ids: list[str]) -> None:
    """The sweep's own word of which rows it has."""
    rows = [{"id": i, "week": 1, "phase": 1, "overrides": ["arch=lstm", "loss=mse"]} for i in ids]
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / TABLE).write_text(yaml.safe_dump({"name": "made-up", "scale": "full", "rows": rows}))
