"""An evaluation as files and as a table in the terminal; no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from lvm_lab.files import write_atomically
from lvm_lab.reporting.tables import NAMES

# What a reader compares first, by head: where it lies in one part's numbers.
HEADS = {
    "cos": ("metrics", "cos"),
    "margin": ("A", "margin"),
    "unseen": ("B", "mrr_unseen"),
    "store": ("store", "mrr_unseen"),
    "across": ("contrastive", "across_documents"),
    "rollout": ("D", "rollout"),
}
SAYS = (
    "cos of prediction and target; margin over every other offset; MRR of the target among the chunks of its document "
    "(unseen) and of the whole store (store), the context's own left out; across: first against targets of other "
    "documents; rollout over 5 steps; gates: halves A to D, on OOD all five with VAL; ms: p50 of one prediction."
)
TEST = "Val chooses; test and OOD are scored once and choose nothing."
# Tables of the Markdown page: title, where the numbers are, head to number.
GROUPS = (
    (
        "Plain numbers of raw",
        "metrics",
        {"MSE": "mse", "MSE, standardised": "mse_standardised", "norm": "raw_norm", "target's norm": "target_norm"},
    ),
    (
        "Within the document",
        "B",
        {
            "R@1": "r1",
            "R@5": "r5",
            "MRR": "mrr",
            "chance of MRR": "chance_mrr",
            "MRR, context left out": "mrr_unseen",
            "chance of that": "chance_mrr_unseen",
        },
    ),
    (
        "Contrastive accuracy, beside chance",
        "contrastive",
        {
            "in batch": "in_batch",
            "chance": "chance_in_batch",
            "across documents": "across_documents",
            "chance across": "chance_across_documents",
        },
    ),
    (
        "Against all chunks of the store",
        "store",
        {
            "R@1": "r1",
            "R@5": "r5",
            "R@10": "r10",
            "MRR": "mrr",
            "chance of MRR": "chance_mrr",
            "MRR, context left out": "mrr_unseen",
        },
    ),
)
SKILLS = ("A/cos", "B/mrr", "B/mrr_unseen", "D/rollout")
SKILL = ("", "part", "cos", "MRR", "MRR, context left out", "rollout")
SPEED = ("", "parameters", "p50 ms, batch 1", "p99 ms", "p50 ms, batch 64", "p99 ms", "windows/s")
COMPARED = ("", "part", "number", "difference", "95% interval", "p", "p (Holm)")
COLUMNS_AHEAD = (
    "data",
    "name",
    "kind",
    "part",
    "windows",
    "documents",
    "checkpoint",
    "arch",
    "loss",
    "trained_on",
    "seed",
    "params",
)


def write(report: dict[str, Any], folder: Path) -> None:
    """evaluation.json (everything), table.csv (a row a predictor and part) and evaluation.md, each whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "evaluation.json", json.dumps(report, indent=1, allow_nan=False))
    write_atomically(folder / "table.csv", _csv(report))
    write_atomically(folder / "evaluation.md", _markdown(report))


def show(report: dict[str, Any], folder: Path, console: Console) -> None:
    """One table of 80 columns, the checkpoints that its names stand for, and where the rest is."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", overflow="fold", max_width=15)
    table.add_column("part", overflow="fold", max_width=8)
    for head in (*HEADS, "gates", "ms"):
        table.add_column(head, justify="right", no_wrap=True)
    for data in report["data"]:
        for predictor in data["predictors"]:
            style = "bold" if predictor["kind"] == "model" else None
            for i, part in enumerate(predictor["parts"]):
                name = NAMES.get(predictor["name"], predictor["name"]) if i == 0 else ""
                cells = [_fixed(_number(predictor, part, *HEADS[head])) for head in HEADS]
                speed = predictor["speed"]["batch_1"]["p50_ms"]
                ms = f"{speed:.2f}" if i == 0 else ""
                table.add_row(name, part, *cells, _gates(predictor, part), ms, style=style)
        table.add_section()
    console.print(table)
    for data in report["data"]:
        for predictor in data["predictors"]:
            if predictor["checkpoint"]:
                console.print(f"{predictor['name']}: {predictor['checkpoint']}", highlight=False, soft_wrap=True)
        for name, reason in data["not_fitted"].items():
            console.print(
                f"{NAMES.get(name, name)}: not fitted: {reason}", highlight=False, soft_wrap=True, markup=False
            )
    for skipped in report["skipped"]:
        console.print(f"skipped: {skipped['reason']}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{SAYS} {TEST}", highlight=False)
    console.print(f"everything with intervals: {folder / 'evaluation.json'}", highlight=False, soft_wrap=True)


def _csv(report: dict[str, Any]) -> str:
    rows = list(_rows(report))
    heads = list(COLUMNS_AHEAD) + list(dict.fromkeys(k for row in rows for k in row if k not in COLUMNS_AHEAD))
    out = io.StringIO()
    writer = csv.DictWriter(out, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _rows(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One flat row for each predictor and part: point estimates, without the intervals."""
    for number, data in enumerate(report["data"]):
        for predictor in data["predictors"]:
            said = {k: v for k, v in predictor.items() if k not in ("parts", "five_cat", "speed", "skill")}
            speed = {f"speed/{k}": v for k, v in _flat(predictor["speed"]).items()}
            for part, found in predictor["parts"].items():
                sizes = {k: data["parts"][part][k] for k in ("windows", "documents")}
                gates = {f"gates/{k}": v for k, v in _flat(_judged(predictor, part)).items()}
                numbers = {f"{group}/{name}": x.get("value") for group, name, x in _numbers(found)}
                yield {"data": number, **said, "part": part, **sizes, **gates, **numbers, **speed}


def _numbers(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(group, name, number) of everything with a value in one part; 5CAT's groups are its gates' letters."""
    groups = {key: found[key] for key in ("metrics", "contrastive", "store")}
    if found["five_cat"]:
        groups |= {letter: half["numbers"] for letter, half in found["five_cat"]["halves"].items()}
    for group, numbers in groups.items():
        for name, number in numbers.items():
            if isinstance(number, dict) and "value" in number:
                yield group, name, number


def _judged(predictor: dict[str, Any], part: str) -> dict[str, Any]:
    """Whether each of this part's halves passed."""
    five_cat = predictor["parts"][part]["five_cat"]
    return {} if not five_cat else {k: half["state"] for k, half in five_cat["halves"].items() if k != "E"}


def _number(predictor: dict[str, Any], part: str, group: str, name: str) -> dict[str, Any]:
    """One number with its interval; empty where there is none. Groups are those of `_numbers`."""
    found = predictor["parts"][part]
    numbers = found.get(group)
    if numbers is None:
        numbers = found["five_cat"]["halves"][group]["numbers"] if found["five_cat"] else {}
    number: dict[str, Any] = numbers.get(name, {})
    return number


def _gates(predictor: dict[str, Any], part: str) -> str:
    whole = predictor["five_cat"].get("val", {}).get(part)
    if whole is not None:
        return f"{whole['passed']}/5"
    halves = _judged(predictor, part)
    return f"{sum(state is True for state in halves.values())}/4" if halves else ""


def _fixed(number: dict[str, Any]) -> str:
    value = number.get("value")
    return "" if value is None else f"{value:.3f}"


def _cell(number: dict[str, Any]) -> str:
    value = number.get("value")
    return f"{value:.1e}" if value and abs(value) < 5e-4 else _fixed(number)


def _markdown(report: dict[str, Any]) -> str:
    lines = ["# Evaluation", "", f"{SAYS} 95% intervals are over documents. {TEST}", ""]
    lines += [f"Judged by `5cat={report['preset']}` on {report['device']}, {report['threads']} CPU threads."]
    for data in report["data"]:
        predictors = data["predictors"]
        each = [(predictor, part) for predictor in predictors for part in predictor["parts"]]
        for part, size in data["parts"].items():
            title = f"{part}: {size['source']}, {size['windows']:,} windows of {size['documents']} documents"
            lines += _section(title, ("", *HEADS, "gates"), [_part_row(p, part) for p in predictors])
        lines += _section("5CAT", ("", "half", "OOD", "passed", "verdict", *"ABCDE"), _verdicts(data))
        lines += _section("Rollout by step (cosine)", *_rollouts(each))
        for title, group, numbers in GROUPS:
            rows = [_group_row(p, part, group, tuple(numbers.values())) for p, part in each]
            lines += _section(title, ("", "part", *numbers), rows)
        lines += _section("Speed", SPEED, map(_speed_row, predictors))
        skills = [_skill_row(p, part) for p, part in each if p.get("skill", {}).get(part)]
        lines += _section("Skill: the share of the way from the best trivial baseline to perfect", SKILL, skills)
        title = f"Against {data['best']}, on the same windows"
        lines += _section(title, COMPARED, map(_comparison_row, data["comparisons"]))
    lines += ["", "## Checkpoints", ""]
    models = [p for data in report["data"] for p in data["predictors"] if p["checkpoint"]]
    lines += [f"- {p['name']}: `{p['checkpoint']}`" for p in models]
    lines += [f"- {NAMES.get(n, n)} is not fitted: {why}" for d in report["data"] for n, why in d["not_fitted"].items()]
    lines += [f"- skipped `{s['path']}`: {s['reason']}" for s in report["skipped"]]
    return "\n".join(lines) + "\n"


def _section(title: str, heads: Iterable[str], rows: Iterable[list[str]]) -> list[str]:
    heads = list(heads)
    lines = ["", f"## {title}", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _part_row(predictor: dict[str, Any], part: str) -> list[str]:
    cells = [_with_interval(_number(predictor, part, *HEADS[head])) for head in HEADS]
    return [_name(predictor), *cells, _gates(predictor, part)]


def _verdicts(data: dict[str, Any]) -> Iterator[list[str]]:
    for predictor in data["predictors"]:
        for half, by_store in predictor["five_cat"].items():
            for store, said in by_store.items():
                states = [{True: "pass", False: "FAIL", None: "null"}[gate["state"]] for gate in said["gates"].values()]
                yield [_name(predictor), half, store, f"{said['passed']} of 5", said["verdict"], *states]


def _rollouts(each: list[tuple[dict[str, Any], str]]) -> tuple[list[str], list[list[str]]]:
    steps: list[str] = []
    rows = []
    for predictor, part in each:
        five_cat = predictor["parts"][part]["five_cat"]
        numbers = five_cat["halves"]["D"]["numbers"] if five_cat else {}
        named = [name for name in numbers if name != "rollout"]
        steps = named if len(named) > len(steps) else steps
        rows.append([_name(predictor), part, *(_with_interval(numbers[name]) for name in named)])
    return ["", "part", *steps], rows


def _group_row(predictor: dict[str, Any], part: str, group: str, names: tuple[str, ...]) -> list[str]:
    numbers = {name: _number(predictor, part, group, name) for name in names}
    cells = [_cell(x) if "chance" in name else _with_interval(x) for name, x in numbers.items()]
    return [_name(predictor), part, *cells]


def _skill_row(predictor: dict[str, Any], part: str) -> list[str]:
    shares = predictor["skill"][part]
    return [_name(predictor), part, *(_with_interval(shares.get(key, {})) for key in SKILLS)]


def _speed_row(predictor: dict[str, Any]) -> list[str]:
    speed = predictor["speed"]
    ms = [f"{speed[batch][p]:.3g}" for batch in ("batch_1", "batch_64") for p in ("p50_ms", "p99_ms")]
    params = "" if predictor["params"] is None else f"{predictor['params']:,}"
    return [_name(predictor), params, *ms, f"{speed['windows_per_second']:,.0f}"]


def _comparison_row(apart: dict[str, Any]) -> list[str]:
    low_high = apart["interval"]
    interval = f"{low_high[0]:+.3f} to {low_high[1]:+.3f}" if low_high and None not in low_high else ""
    value = "" if apart["value"] is None else f"{apart['value']:+.3f}"
    p = ["" if apart[k] is None else f"{apart[k]:.3f}" for k in ("p", "p_holm")]
    return [NAMES.get(apart["name"], apart["name"]), apart["part"], apart["number"], value, interval, *p]


def _name(predictor: dict[str, Any]) -> str:
    return NAMES.get(predictor["name"], predictor["name"])


def _with_interval(number: dict[str, Any]) -> str:
    interval = number.get("interval")
    if number.get("value") is None or not interval or None in interval:
        return _cell(number)
    low, high = ({"value": limit} for limit in interval)
    return f"{_cell(number)} ({_cell(low)} to {_cell(high)})"


def _flat(nested: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= _flat(value, f"{before}{key}/") if isinstance(value, dict) else {f"{before}{key}": value}
    return found
