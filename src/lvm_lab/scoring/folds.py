"""Tables of an evaluation whose models differ in their fold alone, as one more over the documents of all folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvm_lab.runs.folds import pooled_number, pooled_part, pooled_verdict
from lvm_lab.scoring.ground import kind_of

Json = dict[str, Any]


def pooled_tables(tables: Sequence[Json], folds: Mapping[str, tuple[str, int] | None], clear: bool) -> list[Json]:
    """One table for all models that were judged on the same folds, with the baselines that all of these have.

    tables: data sets of evaluation.json. folds: of each model by name, see `fold_of`. clear: whether the preset wants
    every interval clear.
    """
    places: dict[str, dict[int, tuple[int, str]]] = {}
    for place, table in enumerate(tables):
        for predictor in table["predictors"]:
            known = folds.get(predictor["name"]) if predictor["kind"] == "model" else None
            if known is not None:
                places.setdefault(known[0], {}).setdefault(known[1], (place, predictor["name"]))
    alike: dict[tuple[int, ...], list[list[str]]] = {}
    for by_fold in places.values():
        members = [by_fold[fold] for fold in sorted(by_fold)]
        if len(members) > 1:
            alike.setdefault(tuple(place for place, _ in members), []).append([name for _, name in members])
    return [_table([tables[i] for i in chosen], models, clear) for chosen, models in alike.items()]


def _table(tables: Sequence[Json], models: Sequence[Sequence[str]], clear: bool) -> Json:
    first = tables[0]
    by_name = [{predictor["name"]: predictor for predictor in table["predictors"]} for table in tables]
    predictors = [
        _predictor([here[name] for here, name in zip(by_name, names, strict=True)], clear)
        | {"name": f"{names[0]} ({len(names)} folds)", "checkpoint": None, "folds": list(names)}
        for names in models
    ]
    baselines = [p["name"] for p in first["predictors"] if p["kind"] == "baseline"]
    shared = [name for name in baselines if all(name in here for here in by_name)]
    predictors += [_predictor([here[name] for here in by_name], clear) for name in shared]
    sizes = {
        part: {"source": size["source"]}
        | {
            key: (sum if kind_of(part) != "ood" else max)(table["parts"][part][key] for table in tables)
            for key in ("windows", "documents")
        }
        for part, size in first["parts"].items()
        if all(part in table["parts"] for table in tables)
    }
    kept = {key: first[key] for key in ("documents", "content", "columns")}
    best = predictors[0]["name"]
    return kept | {"parts": sizes, "predictors": predictors, "not_fitted": {}, "best": best, "comparisons": []}


def _predictor(folds: Sequence[Json], clear: bool) -> Json:
    first = folds[0]
    shared = [part for part in first["parts"] if all(part in one["parts"] for one in folds)]
    parts = {part: pooled_part([one["parts"][part] for one in folds], kind_of(part) != "ood", clear) for part in shared}
    scores: dict[str, Any] = {part: node.get("five_cat") for part, node in parts.items()}
    verdicts = {
        part: {
            store: pooled_verdict(
                [one["five_cat"][part][store] for one in folds], scores[part], scores.get(store), clear
            )
            for store in by_store
            if all(store in one["five_cat"].get(part, {}) for one in folds)
        }
        for part, by_store in first["five_cat"].items()
    }
    node = first | {"parts": parts, "five_cat": verdicts, "speed": _mean([one["speed"] for one in folds])}
    if "skill" in first:
        node["skill"] = {
            part: {
                key: pooled_number([one["skill"][part][key] for one in folds], kind_of(part) != "ood")
                for key in shares
                if all(key in one["skill"].get(part, {}) for one in folds)
            }
            for part, shares in first["skill"].items()
        }
    return node


def _mean(speeds: Sequence[Any]) -> Any:
    """Of every figure of their speed."""
    if isinstance(speeds[0], dict):
        return {key: _mean([speed[key] for speed in speeds]) for key in speeds[0]}
    return sum(speeds) / len(speeds)
