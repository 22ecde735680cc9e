"""The files of a made-up run, whose every number is known, for what is made from a run's files alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lvm_lab.reporting.plots.record import write_moments
from lvm_lab.runs.result import Result

DIM = 12
EPOCHS = 6
CHANGES = ("shuffled", "reversed", "left_out", "repeated", "foreign")
THRESHOLDS = {
    "val": {"cos": 0.5, "margin": 0.12, "r1": 0.6, "r5": 0.95, "mrr": 0.8, "rollout": 0.45},
    "ood": {"cos": 0.48, "margin": 0.1, "r1": 0.55, "r5": 0.92, "mrr": 0.75, "rollout": 0.42},
}
LIMITS = {"shuffled": -0.15, "reversed": -0.1, "left_out": -0.08, "repeated": 0.05, "foreign": 0.05}
CONFIG = {
    "arch": {"name": "gru"},
    "head": {"name": "dual"},
    "loss": {"name": "infonce", "terms": {"infonce": {"weight": 1.0}, "moment": {"weight": 0.01}}},
    "data": {"name": "npz", "context_length": 5},
    "normaliser": "none",
    "trainer": {
        "max_epochs": EPOCHS,
        "batch_size": 256,
        "precision": "32-true",
        "supervision": "last",
        "optim": {"lr": 3e-3, "weight_decay": 0.01, "warmup": 0.05, "clip": 1.0},
    },
    "five_cat": {"name": "standard", "tool": "five_cat", "thresholds": {"e": {"difference": 0.05}}},
}


def number(value: float, reach: float = 0.02, threshold: float | None = None, sense: int = 1) -> dict[str, Any]:
    """A number as result.json has it; its interval is `reach` wide on either side."""
    found: dict[str, Any] = {
        "value": value,
        "interval": [value - reach, value + reach],
        "windows": 400,
        "documents": 40,
    }
    if threshold is not None:
        passed = sense * (value - threshold) >= 0
        found |= {"threshold": threshold, "passed": passed, "undecided": abs(value - threshold) < reach}
    return found


def half(numbers: dict[str, Any]) -> dict[str, Any]:
    checked = [n["passed"] for n in numbers.values() if "passed" in n]
    missed = "; ".join(name for name, n in numbers.items() if n.get("passed") is False)
    state = all(checked) if checked else None
    reason = "needs both parts" if state is None else missed or None
    return {"state": state, "reason": reason, "windows": 400, "documents": 40, "share": 0.8, "numbers": numbers}


def halves(part: str, shift: float) -> dict[str, Any]:
    """Gates A to E on one part; a higher shift is a better model."""
    asked = THRESHOLDS[part]
    offsets = {f"k{k:+d}": number(0.62 + shift - 0.11 * abs(k - 1)) for k in range(-3, 4)}
    cos = offsets["k+1"]["value"]
    ranks: dict[str, Any] = {}
    for suffix, start in (("", 0.5), ("_unseen", 0.4)):
        for k in range(1, 11):
            ranks[f"r{k}{suffix}"] = number(min(1.0, start + shift + 0.05 * k), threshold=None)
            ranks[f"chance_r{k}{suffix}"] = number(k / 20, 0.0)
        ranks[f"mrr{suffix}"] = number(start + shift + 0.15)
    for name in ("r1", "r5", "mrr"):
        ranks[name] = number(ranks[name]["value"], threshold=asked[name])
    steps = {f"h{h}": number(0.6 + shift - 0.04 * h) for h in range(1, 6)}
    return {
        "A": half(
            {
                "cos": number(cos, threshold=asked["cos"]),
                "margin": number(0.11 + shift / 10, threshold=asked["margin"]),
                **offsets,
            }
        ),
        "B": half(ranks),
        "C": half({name: number(LIMITS[name] - 0.03, threshold=LIMITS[name], sense=-1) for name in CHANGES}),
        "D": half({**steps, "rollout": number(0.48 + shift, threshold=asked["rollout"])}),
        "E": half({"low": number(0.55 + shift), "normal": number(0.6 + shift), "high": number(0.66 + shift)}),
    }


def judged() -> dict[str, Any]:
    val, ood = halves("val", 0.0), halves("ood", -0.01)
    names = ("offset sweep", "retrieval rank", "order ablations", "rollout", "coherence bins")
    gates: dict[str, Any] = {}
    for letter, name in zip("ABCDE", names, strict=True):
        state = val[letter]["state"] and ood[letter]["state"]
        reasons = [
            f"{p}: {h[letter]['reason']}" for p, h in (("VAL", val), ("OOD", ood)) if h[letter]["state"] is False
        ]
        gates[letter] = {"name": name, "state": state, "reason": "; ".join(reasons) or None}
        gates[letter] |= {"val": val[letter], "ood": ood[letter]}
    gates["E"] |= {"state": True, "difference": number(0.01, 0.03, threshold=0.05, sense=-1)}
    passed = sum(gate["state"] is True for gate in gates.values())
    part = {"windows": 500, "documents": 40, "not_finite": 0, "best_k": 1, "passed": 2, "margin": 0.11, "alarms": []}
    return {
        "preset": "standard",
        "required": 5,
        "passed": passed,
        "verdict": "fail",
        "reason": f"{passed} of 5 gates passed and 5 are needed",
        "alarms": [],
        "gates": gates,
        "val": part,
        "ood": part,
        "model": summary(val, ood, passed),
    }


def summary(val: dict[str, Any], ood: dict[str, Any], passed: int) -> dict[str, Any]:
    points = [
        {f"{letter}/{name}": n["value"] for letter, h in part.items() for name, n in h["numbers"].items()}
        for part in (val, ood)
    ]
    return {"passed": passed, "verdict": "fail", "gates": {}, "val": points[0], "ood": points[1]}


def result(**changes: Any) -> dict[str, Any]:
    """result.json of a finished run that fails gates A and B."""
    weak = {part: halves(part, -0.2) for part in ("val", "ood")}
    lift = {"A/cos": number(0.2), "A/margin": number(0.3), "B/mrr_unseen": number(0.01, 0.02), "D/rollout": number(0.2)}
    plain = {
        "windows": 500,
        "documents": 40,
        "not_finite": 0,
        "std_ratio": {"low": 0.9, "median": 1.05, "high": 1.2},
        **{name: number(0.3) for name in ("cos", "mse", "mse_standardised", "copying", "gain_over_copy", "raw_norm")},
    }
    made = Result(
        name="gru-infonce-npz-0123abcd",
        arch="gru",
        loss="infonce",
        data="npz",
        status="finished",
        seed=3,
        fingerprint="0123abcd" * 8,
        seconds=61.5,
        params=1_234_567,
        epochs=EPOCHS,
        checkpoint="best_5cat.ckpt",
        five_cat=judged(),
        val=plain,
        test=plain,
        ood=plain | {"std_ratio": {"low": 1.2, "median": 1.4, "high": 1.7}},
        baselines={"copy_last": summary(weak["val"], weak["ood"], 1) | {"model_lift_val": lift}},
        data_gate={"passed": True, "coherence": 0.5, "signal": 0.1, "curve": [0.3, 0.4], "failed": [], "windows": 9},
        contract={
            "encoder": "all-MiniLM-L6-v2",
            "pooling": "mean",
            "dense": False,
            "normalised": True,
            "dim": DIM,
            "dtype": "float16",
        },
        parts={"documents": 60, **{p: {"windows": 900, "documents": 42} for p in ("train", "val", "test", "ood")}},
        commit="f" * 40,
    )
    return dataclasses.asdict(made) | changes


def history(epochs: int = EPOCHS) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(epochs):
        row: dict[str, Any] = {"epoch": epoch, "step": 10 * epoch, "val/cos": 0.5 + 0.01 * epoch, "lr": 1e-3}
        for side in ("train", "val"):
            row |= {f"{side}/{part}": x / (epoch + 1) for part, x in (("loss", 1.1), ("infonce", 0.9), ("moment", 0.7))}
        row |= {"gradient_share/infonce": 0.93, "gradient_share/moment": 0.07, "seconds": 1.0}
        if epoch % 5 == 4 or epoch == epochs - 1:
            row["5cat/val/A/margin"] = 0.02 * epoch
        rows.append(row)
    return rows


def moments() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    names = ("raw_mean_D", "raw_std_D", "target_mean_D", "target_std_D")
    return {part: {name: rng.random(DIM) + 0.1 for name in names} for part in ("val", "test", "ood")}


def write_run(
    folder: Path,
    said: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """The folder of a run as training leaves it, without plots and card."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | (config or {})))
    rows = history() if rows is None else rows
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_moments(folder, moments())
    (folder / "result.json").write_text(json.dumps(result() if said is None else said, indent=2))
    return folder
