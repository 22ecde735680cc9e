"""The model card's table of VAL, test and OOD; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lvm_lab.reporting.markdown import plain, table
from lvm_lab.reporting.numbers import short, whole, with_interval
from lvm_lab.reporting.words import part as part_title
from lvm_lab.runs.judgement import Following, Number
from lvm_lab.runs.result import PARTS, Result

PLAIN = ("cos", "mse", "mse_standardised", "copying", "gain_over_copy", "gain_over_mean", "raw_norm", "target_norm")
# Of the unit predictions, and in brackets of the targets.
SPREADS = {
    "effective_rank": "effective rank (targets)",
    "pairwise_cos": "mean pairwise cosine (targets)",
    "diversity": "share of dimensions that move (targets)",
}


def blocks(result: Result) -> Iterator[str]:
    parts = {name: numbers for name in PARTS if (numbers := result.part(name))}
    if not parts:
        return
    yield "## VAL, test and OOD"
    rows = [(name, *(value(numbers.numbers.get(name)) for numbers in parts.values())) for name in PLAIN]
    ratios = [_ratio(numbers.spreads.get("std_ratio")) for numbers in parts.values()]
    rows.append(("std ratio, median (5% .. 95% of dims)", *ratios))
    for key, title in SPREADS.items():
        rows.append((title, *(_spread(numbers.spreads.get(key)) for numbers in parts.values())))
    windows = [f"{whole(numbers.windows)} / {whole(numbers.documents)}" for numbers in parts.values()]
    rows.append(("windows / documents", *windows))
    rows += _following([numbers.following for numbers in parts.values()])
    yield table(("", *map(part_title, parts)), rows, right=range(1, 4))
    yield (
        "`mse` in the encoder's units, `mse_standardised` over the training part's variance, `copying` the cosine to "
        "the last context vector, std ratio raw over encoder. Test and OOD were scored once and chose nothing."
    )


def _following(parts: Sequence[Following | None]) -> Iterator[tuple[str, ...]]:
    """Its rows of the table of parts; none in a card of a result of before."""
    known = [one for one in parts if one is not None]
    if not known:
        return
    title = f"following MRR (target and all later chunks, from row {known[0].judge_from} on)"
    means = [one and ("null" if one.reason else value(one.numbers.get("mrr"))) for one in parts]
    yield title, *(mean or "" for mean in means)
    if any(not one.reason for one in known):
        chances = [one.numbers.get("chance_mrr") if one else None for one in parts]
        yield "chance of that", *(short(chance.value) if chance else "" for chance in chances)
        sizes = [f"{whole(one.targets)} / {whole(one.documents)}" if one else "" for one in parts]
        yield "targets / documents of that", *sizes
    if any(one.reason for one in known):
        yield "why that is null", *(plain((one.reason if one else None) or "") for one in parts)


def value(number: Number | None) -> str:
    """A number with its interval; nothing where there is none."""
    return "" if number is None else with_interval(number.value, number.interval)


def _ratio(ratio: Mapping[str, float | None] | None) -> str:
    return with_interval(ratio["median"], (ratio["low"], ratio["high"])) if ratio else ""


def _spread(spread: Mapping[str, float | None] | None) -> str:
    return f"{short(spread['prediction'])} ({short(spread['target'])})" if spread else ""
