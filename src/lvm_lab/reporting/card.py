"""The model card of a run, from its own files alone: `python -m lvm_lab.card RUN...`; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lvm_lab.commands.over_runs import over_runs
from lvm_lab.files import write_atomically
from lvm_lab.reporting.limits import limits
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.reporting.plots.record import Record
from lvm_lab.reporting.tables import COLUMNS, NAMES

CARD = "MODEL_CARD.md"
STATES = {True: "pass", False: "**FAIL**", None: "null"}
PLAIN = ("cos", "mse", "mse_standardised", "copying", "gain_over_copy", "gain_over_mean", "raw_norm", "target_norm")
# Of the unit predictions, and in brackets of the targets.
SPREADS = {
    "effective_rank": "effective rank (targets)",
    "pairwise_cos": "mean pairwise cosine (targets)",
    "diversity": "share of dimensions that move (targets)",
}
LIFTS = (("cos", "A/cos"), ("margin", "A/margin"), ("unseen MRR", "B/mrr_unseen"), ("rollout", "D/rollout"))


def write(run: Record) -> Path:
    """Write RUN/MODEL_CARD.md whole or not at all."""
    file = run.folder / CARD
    write_atomically(file, text(run))
    return file


def text(run: Record) -> str:
    """The card in GitHub's Markdown."""
    blocks = [
        f"# Model card: {run.result['name']}",
        _head(run),
        "## What it is",
        _table(("", ""), _facts(run)),
        "## How it was trained",
        *_training(run),
        "## Verdict",
        *_verdict(run),
        *_beside(run),
        *_parts(run),
        "## Alarms and diagnostics",
        _list(_diagnostics(run)),
        "## Limits",
        _list(limits(run)),
        *_use(run),
        *_plots(run),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(run: Record) -> str:
    result, length = run.result, run.config["data"]["context_length"]
    if result["status"] == "failed":
        return f"**This run failed and made no model to use**: {_plain(result['error'] or 'no reason is recorded')}."
    if result["status"] == "diverged":
        return (
            f"**This run diverged in epoch {result['epochs']}: the loss became no number**, so nothing was judged and "
            "there is no model to use."
        )
    judged = result["five_cat"]
    said = "not judged (`5cat=off`)" if not judged else f"**5CAT {judged['passed']} of 5: {judged['verdict']}**"
    reason = f" ({_plain(judged['reason'])})" if judged.get("reason") else ""
    return f"Reads {length} vectors of a document's chunks and predicts the vector of the next. {said}{reason}."


def _facts(run: Record) -> Iterator[tuple[str, str]]:
    result, config = run.result, run.config
    weights = {name: term.get("weight", 1.0) for name, term in config["loss"]["terms"].items()}
    contract, parts = result.get("contract", {}), result.get("parts", {})
    yield "arch", f"`{result['arch']}`, {result['params']:,} parameters"
    yield "head", f"`{config['head']['name']}`"
    yield "loss", f"`{result['loss']}`: " + ", ".join(f"{weight:g} {name}" for name, weight in weights.items())
    variant = config["data"].get("variant")
    yield "data", f"`{result['data']}`" + (f", variant {variant}" if variant else "")
    if parts:
        sizes = [f"{name} {p['windows']:,} of {p['documents']:,}" for name, p in parts.items() if name != "documents"]
        yield "windows of documents", f"{'; '.join(sizes)}; {parts['documents']:,} documents without OOD"
    if contract:
        yield "encoder", _encoder(contract)
    yield "context", f"{config['data']['context_length']} vectors; normaliser `{config['normaliser']}`"
    yield "seed", str(result["seed"])
    yield "fingerprint", f"`{result['fingerprint']}`"
    yield "lvm_lab", f"{result['version']}, commit {result['commit'] or 'not recorded'}"
    yield "checkpoint", f"`checkpoints/{result['checkpoint']}`" if result["checkpoint"] else "none"


def _encoder(contract: dict[str, Any]) -> str:
    said = [f"`{_plain(contract['encoder'])}`" if contract["encoder"] else "not recorded", f"{contract['dim']} dims"]
    said += [f"{contract['pooling']} pooling"] if contract["pooling"] else []
    said += [] if contract["dense"] is None else ["a dense layer" if contract["dense"] else "no dense layer"]
    if contract["normalised"] is not None:
        said.append("unit length" if contract["normalised"] else "not normalised")
    return ", ".join([*said, contract["dtype"]])


def _training(run: Record) -> Iterator[str]:
    result, trainer = run.result, run.config["trainer"]
    optim, gate = trainer["optim"], result["data_gate"]
    losses = {row["epoch"]: row["val/loss"] for row in run.history if row.get("val/loss") is not None}
    said = [
        f"{result['epochs']} of {trainer['max_epochs']} epochs, batches of {trainer['batch_size']}, "
        f"precision {trainer['precision']}, supervision of the {trainer['supervision']} position"
        + ("s" if trainer["supervision"] == "all" else "")
        + f"; {result['seconds']:.0f} s with the scoring",
        f"AdamW, learning rate {optim['lr']:g}, weight decay {optim['weight_decay']:g}, warm-up "
        f"{optim['warmup']:g} of the steps, gradients clipped at {optim['clip']:g}",
    ]
    if losses:
        best = min(losses, key=lambda epoch: losses[epoch])
        last = max(losses)
        said.append(f"validation loss {losses[best]:.4f} at best (epoch {best}), {losses[last]:.4f} in epoch {last}")
    if gate:
        state = "passed" if gate["passed"] else f"failed ({'; '.join(gate['failed'])})"
        curve = " ".join(f"{c:.3f}" for c in gate["curve"])
        said.append(f"data gate {state}: coherence {_show(gate['coherence'])}, position curve {curve}")
    yield _list(said)


def _verdict(run: Record) -> Iterator[str]:
    judged = run.result["five_cat"]
    if not judged:
        yield "Not judged."
        return
    required = f"preset `{judged['preset']}`, {judged['required']} of 5 gates needed"
    yield f"{judged['passed']} of 5 gates passed: **{judged['verdict']}** ({required})."
    rows = []
    for letter, gate in judged["gates"].items():
        rows.append((letter, STATES[gate["state"]], gate["name"], _plain(gate["reason"] or "")))
    yield _table(("gate", "state", "what", "why not"), rows)
    numbers = []
    for letter, gate in judged["gates"].items():
        for part in ("val", "ood"):
            half = gate[part]
            for name, number in (half or {"numbers": {}})["numbers"].items():
                if "threshold" in number:
                    numbers.append((letter, name, part.upper(), *_checked(number)))
        if "threshold" in gate.get("difference", {}):
            numbers.append((letter, "normal bins", "VAL - OOD", *_checked(gate["difference"])))
    heads = ("gate", "number", "part", "value", "95% interval", "threshold", "")
    yield _table(heads, numbers, right=(3, 5))
    yield "Changes (C) have to be at most their threshold, E's difference at most in size, all others at least."


def _beside(run: Record) -> Iterator[str]:
    result = run.result
    if not result["baselines"]:
        return
    yield "## Beside the baselines (VAL)"
    rows = []
    # Pairs, not one dict: an arch may have a baseline's name.
    told = [(f"**{result['arch']}**", result["five_cat"]["model"])]
    told += [(NAMES.get(name, name), row) for name, row in result["baselines"].items()]
    for shown, row in told:
        cells = [_show(row["val"].get(key)) for _, key in COLUMNS]
        rows.append((shown, *cells, f"{row['passed']}/5"))
    yield _table(("", *(head for head, _ in COLUMNS), "gates"), rows, right=range(1, len(COLUMNS) + 2))
    yield "The model less each baseline, paired over documents, with 95% intervals:"
    rows = [
        (NAMES.get(name, name), *(_with_interval(row["model_lift_val"].get(key)) for _, key in LIFTS))
        for name, row in result["baselines"].items()
    ]
    yield _table(("less", *(head for head, _ in LIFTS)), rows, right=range(1, len(LIFTS) + 1))


def _parts(run: Record) -> Iterator[str]:
    parts = {name: run.result[name] for name in ("val", "test", "ood") if run.result[name]}
    if not parts:
        return
    yield "## VAL, test and OOD"
    rows = [(name, *(_with_interval(part.get(name)) for part in parts.values())) for name in PLAIN]
    ratios = [part.get("std_ratio", {}) for part in parts.values()]
    rows.append(("std ratio, median (5% .. 95% of dims)", *(_ratio(ratio) for ratio in ratios)))
    for key, told in SPREADS.items():
        rows.append((told, *(_spread(part.get(key)) for part in parts.values())))
    windows = [f"{part['windows']:,} / {part['documents']:,}" for part in parts.values()]
    rows.append(("windows / documents", *windows))
    yield _table(("", *(name if name == "test" else name.upper() for name in parts)), rows, right=range(1, 4))
    yield (
        "`mse` in the encoder's units, `mse_standardised` over the training part's variance, `copying` the cosine to "
        "the last context vector, std ratio raw over encoder. Test and OOD were scored once and chose nothing."
    )


def _diagnostics(run: Record) -> Iterator[str]:
    alarms = run.result["five_cat"].get("alarms", [])
    for alarm in alarms:
        where = f"{alarm['part'].upper()} (best offset {alarm['best_k']:+d})"
        yield f"**{alarm['name']}** on {where}: check {alarm['check']}"
    for part in ("val", "test", "ood"):
        for finding in run.result[part].get("alarms", []):
            yield f"**{finding['name']}** on {part.upper()}: {finding['measured']}; look at {finding['check']}"
    if not alarms:
        yield "no alarm of 5CAT" if run.result["five_cat"] else "not judged, so no alarm could be raised"
    last = run.history[-1] if run.history else {}
    shares = {name.partition("/")[2]: x for name, x in last.items() if name.startswith("gradient_share/")}
    if shares:
        told = ", ".join(f"{name} {'no number' if x is None else f'{x:.1%}'}" for name, x in shares.items())
        yield f"share of the gradient at `raw` in the last epoch: {told}"
    for part in ("val", "test", "ood"):
        broken = run.result[part].get("not_finite")
        if broken:
            yield f"{broken} windows of {part} have a prediction that is not finite"
    for note in run.result["notes"]:
        yield _plain(note)


def _use(run: Record) -> Iterator[str]:
    result = run.result
    if not result["checkpoint"]:
        return
    yield "## Use"
    length, dim = run.config["data"]["context_length"], result.get("contract", {}).get("dim", "D")
    yield f"""```python
import lvm_lab
import torch

model = lvm_lab.load("{run.folder.name}/checkpoints/{result["checkpoint"]}")
with torch.no_grad():
    prediction = model.predict(context_BLD)  # float32, batch x {length} x {dim}, oldest vector first
```"""
    yield (
        "`prediction.raw_ND` lives in the encoder's own distribution and is what a decoder gets; `prediction.unit_ND` "
        "is the same at length 1, for cosine and retrieval. The context has to come from the encoder above, unchanged: "
        "vectors of another one are read without an error and predicted without sense."
    )


def _plots(run: Record) -> Iterator[str]:
    found = {name: says for name, says in FIGURES.items() if (run.folder / "plots" / f"{name}.png").is_file()}
    if not found:
        return
    yield "## Plots"
    for name, says in found.items():
        yield f"![{says}](plots/{name}.png)"


def _checked(number: dict[str, Any]) -> tuple[str, str, str, str]:
    mark = STATES[number["passed"]] + (" (undecided)" if number["undecided"] else "")
    return _show(number["value"]), _interval(number), _show(number["threshold"]), mark


def _with_interval(number: dict[str, Any] | None) -> str:
    return "" if number is None else f"{_show(number['value'])} {_interval(number)}".strip()


def _interval(number: dict[str, Any]) -> str:
    return f"({_show(number['interval'][0])} .. {_show(number['interval'][1])})" if number["interval"] else ""


def _ratio(ratio: dict[str, float | None]) -> str:
    return f"{_show(ratio['median'])} ({_show(ratio['low'])} .. {_show(ratio['high'])})" if ratio else ""


def _spread(spread: dict[str, float | None] | None) -> str:
    return "" if spread is None else f"{_show(spread['prediction'])} ({_show(spread['target'])})"


def _show(value: float | None) -> str:
    """Three places, or three digits of a small number."""
    return "" if value is None else f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> str:
    heads = list(heads)
    lines = [heads, ["---:" if i in set(right) else "---" for i in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _plain(words: str) -> str:
    """Words that somebody else chose, on one line and without Markdown of their own."""
    joined = " ".join(words.split())
    return "".join(f"\\{c}" if c in "\\`*_|<>[]#" else c for c in joined)


def main(argv: list[str] | None = None) -> int:
    return over_runs("lvm_lab.card", "Write RUN/MODEL_CARD.md from the folder of each run.", _one, argv)


def _one(run: Record) -> list[Path]:
    return [write(run)]
