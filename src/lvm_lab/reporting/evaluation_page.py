"""An evaluation as a Markdown page, with intervals; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lvm_lab.reporting import evaluation_numbers as lookup
from lvm_lab.reporting import markdown, words
from lvm_lab.reporting.numbers import fixed, interval, scientific, signed, whole, with_interval

# What a reader compares first, by head: where it lies in one part's numbers.
HEADS = {
    "cos": ("metrics", "cos"),
    "margin": ("A", "margin"),
    "unseen": ("unseen", "mrr"),
    "following": ("following", "mrr"),
    "own": ("B", "mrr_unseen"),
    "store": ("store", "mrr_unseen"),
    "across": ("contrastive", "across_documents"),
    "rollout": ("D", "rollout"),
}
LEGEND = (
    "cos of prediction and target; margin over every other offset; unseen, following and own: below; store: MRR among "
    "all chunks of the store, but for those that unseen leaves out; across: first against targets of other documents; "
    "rollout over 5 steps; gates: those that one part alone can pass, on OOD all of them with VAL; ms: p50 of one "
    "prediction."
)
ONCE = "Val chooses; test and OOD are scored once and choose nothing."
DESCRIBES = (
    "What the others are compared with was chosen on val, so that differences there describe and have no p-value; "
    "those of test and OOD are tested, and corrected for how many were compared (Holm)."
)
# Tables of the page: title, group of numbers, head to number.
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
            "MRR, own context left out": "mrr_unseen",
            "chance of that": "chance_mrr_unseen",
        },
    ),
    (
        "Within the document, without what the longest reader has read (unseen)",
        "unseen",
        {"R@1": "r1", "R@5": "r5", "MRR": "mrr", "chance of MRR": "chance_mrr"},
    ),
    (
        "Among the target and all later chunks (following)",
        "following",
        {"R@1": "r1", "R@5": "r5", "MRR": "mrr", "chance of MRR": "chance_mrr"},
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
SKILLS = {"cos": "A/cos", "MRR": "B/mrr", "MRR, own context left out": "B/mrr_unseen", "rollout": "D/rollout"}
SPEED = ("", "reads", "parameters", "p50 ms, batch 1", "p99 ms", "p50 ms, batch 64", "p99 ms", "windows/s")
COMPARED = ("", "part", "number", "difference", "95% interval", "p", "p (Holm)")


def page(report: dict[str, Any]) -> str:
    lines = ["# Evaluation", "", f"{LEGEND} 95% intervals are over documents. {ONCE}", ""]
    lines += [f"Judged by `5cat={report['preset']}` on {report['device']}, {report['threads']} CPU threads."]
    for data in report["data"]:
        lines += _tables(data)
    models = [p for data in report["data"] for p in data["predictors"] if p["checkpoint"]]
    items = [f"{p['name']}: `{p['checkpoint']}`" for p in models]
    not_fitted = [item for data in report["data"] for item in data["not_fitted"].items()]
    items += [f"{words.predictor(name)} is not fitted: {reason}" for name, reason in not_fitted]
    items += [f"note: {note}" for data in report["data"] for note in data.get("notes", [])]
    items += [f"skipped `{skipped['path']}`: {skipped['reason']}" for skipped in report["skipped"]]
    return "\n".join([*lines, "", "## Checkpoints", "", markdown.bullets(items)]) + "\n"


def _tables(data: dict[str, Any]) -> Iterator[str]:
    predictors, each = data["predictors"], lookup.each_part(data)
    yield f"\n{markdown.bullets(words.explained(data))}"
    for part, size in data["parts"].items():
        title = f"{part}: {size['source']}, {size['windows']:,} windows of {size['documents']} documents"
        yield _section(title, ("", *HEADS, "gates"), [_part_row(p, part) for p in predictors])
    yield _section("5CAT", ("", "half", "OOD", "passed", "verdict", *_letters(data), "why"), _verdicts(data))
    yield _section("Rollout by step (cosine)", *_rollouts(each))
    for title, group, names in GROUPS:
        rows = [_group_row(p, part, group, names.values()) for p, part in each]
        yield _section(title, ("", "part", *names), rows)
    yield _section("Speed", SPEED, map(_speed_row, predictors))
    skills = [_skill_row(p, part) for p, part in each if p.get("skill", {}).get(part)]
    yield _section(
        "Skill: the share of the way from the best trivial baseline to perfect", ("", "part", *SKILLS), skills
    )
    title = f"Against {data['best']}, on the same windows"
    yield _section(title, COMPARED, map(_comparison_row, data["comparisons"]))
    if data["comparisons"]:
        yield f"\n{DESCRIBES}"


def _section(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return f"\n## {title}\n\n{markdown.table(heads, rows)}"


def _part_row(predictor: dict[str, Any], part: str) -> list[str]:
    cells = [_number(lookup.number(predictor, part, *place)) for place in HEADS.values()]
    return [_name(predictor), *cells, lookup.gates(predictor, part)]


def _letters(data: dict[str, Any]) -> list[str]:
    verdicts = [v for p in data["predictors"] for by_store in p["five_cat"].values() for v in by_store.values()]
    return list(dict.fromkeys(letter for verdict in verdicts for letter in verdict["gates"])) or list("ABCDE")


def _verdicts(data: dict[str, Any]) -> Iterator[list[str]]:
    for predictor in data["predictors"]:
        for part, by_store in predictor["five_cat"].items():
            for store, verdict in by_store.items():
                states = [words.MARKS[gate["state"]] for gate in verdict["gates"].values()]
                passed = f"{verdict['passed']} of {verdict['of']}"
                why = markdown.plain(verdict["reason"] or "")
                yield [_name(predictor), part, store, passed, verdict["verdict"], *states, why]


def _rollouts(each: list[tuple[dict[str, Any], str]]) -> tuple[list[str], list[list[str]]]:
    steps: list[str] = []
    rows = []
    for predictor, part in each:
        by_name = lookup.groups(predictor["parts"][part]).get("D", {})
        names = [name for name in by_name if name != "rollout"]
        steps = names if len(names) > len(steps) else steps
        rows.append([_name(predictor), part, *(_number(by_name[name]) for name in names)])
    return ["", "part", *steps], rows


def _group_row(predictor: dict[str, Any], part: str, group: str, names: Iterable[str]) -> list[str]:
    numbers = {name: lookup.number(predictor, part, group, name) for name in names}
    cells = [scientific(x.get("value")) if "chance" in name else _number(x) for name, x in numbers.items()]
    return [_name(predictor), part, *cells]


def _skill_row(predictor: dict[str, Any], part: str) -> list[str]:
    shares = predictor["skill"][part]
    return [_name(predictor), part, *(_number(shares.get(key, {})) for key in SKILLS.values())]


def _speed_row(predictor: dict[str, Any]) -> list[str]:
    speed = predictor["speed"]
    ms = [f"{speed[batch][p]:.3g}" for batch in ("batch_1", "batch_64") for p in ("p50_ms", "p99_ms")]
    return [
        _name(predictor),
        whole(predictor["reads"]),
        whole(predictor["params"]),
        *ms,
        f"{speed['windows_per_second']:,.0f}",
    ]


def _comparison_row(comparison: dict[str, Any]) -> list[str]:
    between = interval(comparison["interval"], signed)
    cells = [comparison["part"], comparison["number"], signed(comparison["value"]), between]
    return [_name(comparison), *cells, *(fixed(comparison[key]) for key in ("p", "p_holm"))]


def _name(predictor: dict[str, Any]) -> str:
    return words.predictor(predictor["name"])


def _number(number: dict[str, Any]) -> str:
    return with_interval(number.get("value"), number.get("interval"), scientific)
