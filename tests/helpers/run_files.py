"""The folders of made-up runs, whose every number is known, for what reads runs from their files alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lvm_lab.reporting.plots.record import write_moments
from lvm_lab.runs.reading import BEST, CHECKPOINTS, CONFIG, HISTORY
from lvm_lab.runs.result import FILE, Outcome, Result
from lvm_lab.sweeps.leaderboard import TABLE

Json = dict[str, Any]
DIM = 12
EPOCHS = 6
PARTS = ("val", "ood")
CHANGES = ("shuffled", "reversed", "left_out", "repeated", "foreign")
NAMES = {
    "A": "offset sweep",
    "B": "retrieval rank",
    "C": "order ablations",
    "D": "rollout",
    "E": "coherence bins",
}
THRESHOLDS = {
    "val": {"cos": 0.5, "margin": 0.12, "r1": 0.6, "r5": 0.95, "mrr": 0.8, "rollout": 0.45},
    "ood": {"cos": 0.48, "margin": 0.1, "r1": 0.55, "r5": 0.92, "mrr": 0.75, "rollout": 0.42},
}
LIMITS = {"shuffled": -0.15, "reversed": -0.1, "left_out": -0.08, "repeated": 0.05, "foreign": 0.05}
OOD_SHIFT = -0.05
SETTINGS: Json = {
    "seed": 3,
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


def number(value: float, reach: float = 0.02, threshold: float | None = None, sense: int = 1) -> Json:
    """A number as result.json has it; its interval is `reach` wide on either side."""
    node: Json = {"value": value, "interval": [value - reach, value + reach], "windows": 400, "documents": 40}
    if threshold is not None:
        passed = sense * (value - threshold) >= 0
        node |= {"threshold": threshold, "passed": passed, "undecided": abs(value - threshold) < reach}
    return node


def half(numbers: dict[str, Json]) -> Json:
    """One gate in one part; without a number that has a threshold it needs both parts."""
    checked = [n["passed"] for n in numbers.values() if "passed" in n]
    missed = "; ".join(name for name, n in numbers.items() if n.get("passed") is False)
    state = all(checked) if checked else None
    reason = "needs both parts" if state is None else missed or None
    return {"state": state, "reason": reason, "windows": 400, "documents": 40, "share": 0.8, "numbers": numbers}


def halves(part: str, shift: float) -> dict[str, Json]:
    """Gates A to E with every number that a run has; a higher shift is a better model."""
    asked = THRESHOLDS[part]
    ranks: dict[str, Json] = {}
    for suffix, start in (("", 0.5), ("_unseen", 0.4)):
        for k in range(1, 11):
            ranks[f"r{k}{suffix}"] = number(min(1.0, start + shift + 0.05 * k))
            ranks[f"chance_r{k}{suffix}"] = number(k / 20, 0.0)
        ranks[f"mrr{suffix}"] = number(start + shift + 0.15)
    for name in ("r1", "r5", "mrr"):
        ranks[name] = number(ranks[name]["value"], threshold=asked[name])
    steps = {f"h{h}": number(0.6 + shift - 0.04 * h) for h in range(1, 6)}
    return {
        "A": half(offsets(part, 0.62 + shift, 0.11 + shift / 10, 0.11)),
        "B": half(ranks),
        "C": half({name: number(LIMITS[name] - 0.03, threshold=LIMITS[name], sense=-1) for name in CHANGES}),
        "D": half({**steps, "rollout": number(0.48 + shift, threshold=asked["rollout"])}),
        "E": half({"low": number(0.55 + shift), "normal": number(0.6 + shift), "high": number(0.66 + shift)}),
    }


def graded(part: str, quality: float) -> dict[str, Json]:
    """Gates A to E with few numbers; quality is the margin, and from .12 on everything else passes too."""
    asked = THRESHOLDS[part]
    return {
        "A": half(offsets(part, 0.5 + quality, quality, 0.1)),
        "B": half({"r1": number(0.6 + quality, threshold=asked["r1"]), "mrr_unseen": number(0.3 + quality)}),
        "C": half({"shuffled": number(-0.1 - quality, threshold=LIMITS["shuffled"], sense=-1)}),
        "D": half({"rollout": number(0.35 + quality, threshold=asked["rollout"])}),
        "E": half({"normal": number(0.5 + quality)}),
    }


def offsets(part: str, cos: float, margin: float, fall: float) -> dict[str, Json]:
    """Gate A's numbers: the cosine falls by `fall` with each step away from k = +1."""
    asked = THRESHOLDS[part]
    return {
        "cos": number(cos, threshold=asked["cos"]),
        "margin": number(margin, threshold=asked["margin"]),
        **{f"k{k:+d}": number(cos - fall * abs(k - 1)) for k in range(-3, 4)},
    }


def scores(part: str, by_gate: dict[str, Json]) -> Json:
    """5CAT in one part."""
    passed = sum(by_gate[letter]["state"] is True for letter in "ABCD")
    margin = by_gate["A"]["numbers"]["margin"]["value"]
    sizes = {"windows": 500, "documents": 40, "not_finite": 0, "best_k": 1}
    return {"part": part, **sizes, "passed": passed, "of": 4, "margin": margin, "alarms": [], "halves": by_gate}


def verdict(parts: dict[str, dict[str, Json]], required: int = 5, difference: Json | None = None) -> Json:
    """5CAT over all parts. difference: gate E's number; without one it cannot be measured."""
    gates: dict[str, Json] = {}
    for letter, name in NAMES.items():
        states = {part: by_gate[letter]["state"] for part, by_gate in parts.items()}
        reasons = [f"{p.upper()}: {parts[p][letter]['reason']}" for p, state in states.items() if state is False]
        gates[letter] = {"name": name, "state": all(states.values()), "reason": "; ".join(reasons) or None}
    gates["E"] |= {"state": None, "reason": "needs more windows", "difference": number(0.01, 0.05)}
    if difference is not None:
        gates["E"] |= {"state": True, "reason": None, "difference": difference}
    passed = sum(gate["state"] is True for gate in gates.values())
    return {
        "preset": "standard",
        "required": required,
        "of": len(gates),
        "passed": passed,
        "verdict": "pass" if passed >= required else "fail",
        "reason": None if passed >= required else f"{passed} of 5 gates passed and {required} are needed",
        "alarms": [],
        "gates": gates,
    }


def summary(parts: dict[str, dict[str, Json]], lifts: dict[str, Json]) -> Json:
    """A baseline that passes one gate."""
    points = {
        part: {f"{letter}/{name}": n["value"] for letter, h in by_gate.items() for name, n in h["numbers"].items()}
        for part, by_gate in parts.items()
    }
    return {"passed": 1, "verdict": "fail", "gates": {}, "ood": {}} | points | {"model_lift_val": lifts}


def result(**changes: Any) -> Result:
    """The result of a finished run that fails gates A and B."""
    parts = {"val": halves("val", 0.0), "ood": halves("ood", -0.01)}
    weak = {part: halves(part, -0.2) for part in PARTS}
    lifts = {
        "A/cos": number(0.2),
        "A/margin": number(0.3),
        "B/mrr_unseen": number(0.01, 0.02),
        "D/rollout": number(0.2),
    }
    plain: Json = {
        "windows": 500,
        "documents": 40,
        "not_finite": 0,
        "std_ratio": {"low": 0.9, "median": 1.05, "high": 1.2},
        **{name: number(0.3) for name in ("cos", "mse", "mse_standardised", "copying", "gain_over_copy", "raw_norm")},
    }
    wide = {"std_ratio": {"low": 1.2, "median": 1.4, "high": 1.7}}
    fields: Json = {
        "name": "gru-infonce-npz-0123abcd",
        "arch": "gru",
        "loss": "infonce",
        "data": "npz",
        "status": "finished",
        "seed": 3,
        "fingerprint": "0123abcd" * 8,
        "seconds": 61.5,
        "params": 1_234_567,
        "epochs": EPOCHS,
        "checkpoint": "best_5cat.ckpt",
        "five_cat": verdict(parts, difference=number(0.01, 0.03, threshold=0.05, sense=-1)),
        "val": plain | {"five_cat": scores("val", parts["val"])},
        "test": plain,
        "ood": plain | wide | {"five_cat": scores("ood", parts["ood"])},
        "baselines": {"copy_last": summary(weak, lifts)},
        "data_gate": {
            "passed": True,
            "coherence": 0.5,
            "signal": 0.1,
            "curve": [0.3, 0.4],
            "failed": [],
            "windows": 9,
        },
        "contract": {
            "encoder": "all-MiniLM-L6-v2",
            "pooling": "mean",
            "dense": False,
            "normalised": True,
            "dim": DIM,
            "dtype": "float16",
        },
        "parts": {"documents": 60, **{p: {"windows": 900, "documents": 42} for p in ("train", "val", "test", "ood")}},
        "commit": "f" * 40,
    }
    return Result(**(fields | changes))


def without_model(status: Outcome, **changes: Any) -> Result:
    """The result of a run that was not judged."""
    empty: Json = {name: {} for name in ("five_cat", "val", "test", "ood", "baselines")}
    return result(**({"status": status, "checkpoint": None} | empty | changes))


def judgement(quality: float, required: int = 5) -> Json:
    """The fields of a result that say how well a run did; quality is VAL's margin, and OOD's is .05 lower."""
    parts = {"val": graded("val", quality), "ood": graded("ood", quality + OOD_SHIFT)}
    alarm = {"name": "copying", "part": "val", "best_k": 0, "check": "the data"}
    share = number(quality) | {"over": "copy_last", "baseline": 0.5}
    lift = number(quality) | {"p": 0.01, "p_holm": 0.04}
    return {
        "five_cat": verdict(parts, required) | {"alarms": [alarm] if quality < 0 else []},
        "val": {"five_cat": scores("val", parts["val"])},
        "test": {},
        "ood": {"five_cat": scores("ood", parts["ood"])},
        "baselines": {"copy_last": summary({"val": graded("val", 0.0)}, {"A/cos": lift})},
        "skill": {part: {"A/cos": share} for part in PARTS},
    }


def ranked(passed: int, margin: float | None, unseen: float, required: int = 3) -> Json:
    """The fields of a result that a leaderboard ranks by: VAL's halves, margin and unseen MRR."""
    by_gate = {"B": half({"mrr_unseen": number(unseen)})}
    val = {"passed": passed, "of": 4, "margin": margin, "halves": by_gate}
    return {"five_cat": {"required": required, "passed": 0, "verdict": "fail"}, "val": {"five_cat": val}}


def following(mrr: float | None, digest: str | None = "d" * 64) -> Json:
    """A part's `following` as result.json has it; without a number where mrr is None."""
    node: Json = {"judge_from": 16, "targets": 90, "documents": 30, "digest": digest, "reason": None, "numbers": {}}
    if mrr is None:
        return node | {"targets": 0, "documents": 0, "digest": None, "reason": "no document has 22 chunks"}
    return node | {"numbers": {"mrr": number(mrr), "r1": number(mrr - 0.1), "chance_mrr": number(0.3, 0.0)}}


def history(epochs: int = EPOCHS) -> list[Json]:
    rows = []
    for epoch in range(epochs):
        row: Json = {"epoch": epoch, "step": 10 * epoch, "val/cos": 0.5 + 0.01 * epoch, "lr": 1e-3}
        for side in ("train", "val"):
            row |= {f"{side}/{part}": x / (epoch + 1) for part, x in (("loss", 1.1), ("infonce", 0.9), ("moment", 0.7))}
        row |= {"gradient_share/infonce": 0.93, "gradient_share/moment": 0.07, "seconds": 1.0}
        row["windows_per_second"] = 1000.0 + epoch
        if epoch % 5 == 4 or epoch == epochs - 1:
            row["5cat/val/A/margin"] = 0.02 * epoch
        rows.append(row)
    return rows


def moments() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    names = ("raw_mean_D", "raw_std_D", "target_mean_D", "target_std_D")
    return {part: {name: rng.random(DIM) + 0.1 for name in names} for part in ("val", "test", "ood")}


def config(arch: str = "gru", loss: str = "infonce", seed: int = 0, epochs: int = 4, **more: Any) -> Json:
    """What config.yaml holds of a run on the planted world."""
    groups = {"arch": {"name": arch, "width": 64}, "loss": {"name": loss}, "data": {"name": "planted", "path": None}}
    identity = {"fingerprint": f"{seed:08x}" * 8, "content": {"planted": "c" * 64}}
    return groups | {"seed": seed, "trainer": {"max_epochs": epochs}, "identity": identity} | more


def write(folder: Path, settings: Json, rows: list[Json], written: Result | None) -> Path:
    """The files of a run, the checkpoints without a model; without a result it is cut off before its end."""
    (folder / CHECKPOINTS).mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(settings))
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if written is not None:
        (folder / FILE).write_text(json.dumps(written.to_json(), indent=2))
    names = [written.checkpoint] if written and written.checkpoint else [] if written else ["last.ckpt", *BEST]
    for name in names:
        write_checkpoint(folder / CHECKPOINTS / str(name))
    return folder


def write_checkpoint(file: Path, content: bytes = b"") -> None:
    """A file that is laid out as a checkpoint, with `content` for weights, and no model."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.writestr("archive/data/0", content)


def write_run(
    folder: Path, written: Result | None = None, rows: list[Json] | None = None, settings: Json | None = None
) -> Path:
    """The folder of a run as training leaves it, without plots and card; by default that of `result`."""
    write(folder, SETTINGS | (settings or {}), history() if rows is None else rows, written or result())
    write_moments(folder, moments())
    return folder


def write_ranked(
    folder: Path, quality: float | None = 0.2, changes: Json | None = None, required: int = 5, **settings: Any
) -> Result:
    """The folder of a run for a leaderboard, and its result. quality: see `judgement`; None: never judged.

    changes: of the result. settings: as in `config`.
    """
    composed = config(**settings)
    epochs = composed["trainer"]["max_epochs"]
    names = {group: composed[group]["name"] for group in ("arch", "loss", "data")}
    fields: Json = {"name": folder.name, "status": "finished", "seed": composed["seed"], "fingerprint": "f" * 64}
    fields |= {"seconds": 12.34, "params": 123_456, "epochs": epochs, "checkpoint": "best_5cat.ckpt"}
    fields |= names | ({} if quality is None else judgement(quality, required)) | (changes or {})
    written = Result(**fields)
    write(folder, composed, history(epochs), written)
    return written


def write_table(sweep: Path, ids: list[str]) -> None:
    """The sweep's own word of which rows it has."""
    rows = [{"id": i, "week": 1, "phase": 1, "overrides": ["arch=lstm", "loss=mse"]} for i in ids]
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / TABLE).write_text(yaml.safe_dump({"name": "made-up", "scale": "full", "rows": rows}))
