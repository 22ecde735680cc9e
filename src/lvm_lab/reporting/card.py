"""The model card of a run, from its own files alone; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvm_lab.config.data import DataSettings
from lvm_lab.files import write_atomically
from lvm_lab.reporting import card_parts
from lvm_lab.reporting.card_parts import value
from lvm_lab.reporting.limits import limits
from lvm_lab.reporting.markdown import bullets, plain, table
from lvm_lab.reporting.numbers import fixed, interval, percent, short, whole
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.reporting.plots.record import Record
from lvm_lab.reporting.plots.record import whole as whole_run
from lvm_lab.reporting.words import FOLLOWING, MARKS, compared, predictor
from lvm_lab.reporting.words import part as part_title
from lvm_lab.runs import written
from lvm_lab.runs.judgement import Number, Verdict
from lvm_lab.runs.result import PARTS, Result

CARD = "MODEL_CARD.md"
LIFTS = (("cos", "A/cos"), ("margin", "A/margin"), ("unseen MRR", "B/mrr_unseen"), ("rollout", "D/rollout"))


def write(run: Record) -> Path:
    """Write RUN/MODEL_CARD.md whole or not at all."""
    written.check_plain(run.folder, [CARD])
    file = run.folder / CARD
    with whole_run(run.folder):
        content = text(run)
    write_atomically(file, content)
    return file


def text(run: Record, exported: str | None = None) -> str:
    """The card in GitHub's Markdown. exported: the name of the folder of an export, without the figures, that it is
    for."""
    blocks = [
        f"# Model card: {run.result.name}",
        _head(run),
        "## What it is",
        table(("", ""), _facts(run)),
        "## How it was trained",
        bullets(_training(run)),
        "## Verdict",
        *_verdict(run.result),
        *_baselines(run.result),
        *card_parts.blocks(run.result),
        "## Alarms and diagnostics",
        bullets(_diagnostics(run)),
        "## Limits",
        bullets(limits(run)),
        *_use(run, exported),
        *(_plots(run) if exported is None else ()),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(run: Record) -> str:
    result, length = run.result, DataSettings.of_windows(run.config["data"]).length_words
    if result.status == "failed":
        return f"**This run failed and made no model to use**: {plain(result.error or 'no reason is recorded')}."
    if result.status == "diverged":
        return (
            f"**This run diverged in epoch {result.epochs}: the loss became no number**, so nothing was judged and "
            "there is no model to use."
        )
    verdict = result.verdict
    outcome = "not judged (`5cat=off`)"
    if verdict is not None:
        reason = f" ({plain(verdict.reason)})" if verdict.reason else ""
        outcome = f"**5CAT {verdict.passed} of {verdict.of}: {verdict.verdict}**{reason}"
    return f"Reads {length} vectors of a document's chunks and predicts the vector of the next. {outcome}."


def _facts(run: Record) -> Iterator[tuple[str, str]]:
    result, config = run.result, run.config
    weights = {name: term.get("weight", 1.0) for name, term in config["loss"]["terms"].items()}
    yield "arch", f"`{result.arch}`, {whole(result.params)} parameters"
    yield "head", f"`{config['head']['name']}`"
    yield "loss", f"`{result.loss}`: " + ", ".join(f"{weight:g} {name}" for name, weight in weights.items())
    variant = config["data"].get("variant")
    yield "data", f"`{result.data}`" + (f", variant {variant}" if variant else "")
    if parts := result.parts:
        sizes = [f"{name} {p['windows']:,} of {p['documents']:,}" for name, p in parts.items() if name != "documents"]
        yield "windows of documents", f"{'; '.join(sizes)}; {parts['documents']:,} documents without OOD"
    if result.contract:
        yield "encoder", _encoder(result.contract)
    yield (
        "context",
        f"{DataSettings.of_windows(config['data']).length_words} vectors; normaliser `{config['normaliser']}`",
    )
    yield "seed", str(result.seed)
    yield "fingerprint", f"`{result.fingerprint}`"
    yield "lvm_lab", f"{result.version}, commit {result.commit or 'not recorded'}"
    yield "checkpoint", f"`checkpoints/{result.checkpoint}`" if result.checkpoint else "none"


def _encoder(contract: dict[str, Any]) -> str:
    facts = [f"`{plain(contract['encoder'])}`" if contract["encoder"] else "not recorded", f"{contract['dim']} dims"]
    facts += [f"{contract['pooling']} pooling"] if contract["pooling"] else []
    facts += [] if contract["dense"] is None else ["a dense layer" if contract["dense"] else "no dense layer"]
    if contract["normalised"] is not None:
        facts.append("unit length" if contract["normalised"] else "not normalised")
    return ", ".join([*facts, contract["dtype"]])


def _training(run: Record) -> Iterator[str]:
    result, trainer = run.result, run.config["trainer"]
    optim = trainer["optim"]
    yield (
        f"{result.epochs} of {trainer['max_epochs']} epochs, batches of {trainer['batch_size']}, "
        f"precision {trainer['precision']}, supervision of the {trainer['supervision']} position"
        + ("s" if trainer["supervision"] == "all" else "")
        + f"; {result.seconds:.0f} s with the scoring"
    )
    yield (
        f"AdamW, learning rate {optim['lr']:g}, weight decay {optim['weight_decay']:g}, warm-up "
        f"{optim['warmup']:g} of the steps, gradients clipped at {optim['clip']:g}"
    )
    losses = {row["epoch"]: row["val/loss"] for row in run.history if row.get("val/loss") is not None}
    if losses:
        best, last = min(losses, key=lambda epoch: losses[epoch]), max(losses)
        yield f"validation loss {losses[best]:.4f} at best (epoch {best}), {losses[last]:.4f} in epoch {last}"
    if gate := result.data_gate:
        state = "passed" if gate["passed"] else f"failed ({'; '.join(gate['failed'])})"
        curve = " ".join(fixed(cosine) for cosine in gate["curve"])
        yield f"data gate {state}: coherence {short(gate['coherence'])}, position curve {curve}"


def _verdict(result: Result) -> Iterator[str]:
    verdict = result.verdict
    if verdict is None:
        yield "Not judged."
        return
    required = f"preset `{verdict.preset}`, {verdict.required} of {verdict.of} gates needed"
    yield f"{verdict.passed} of {verdict.of} gates passed: **{verdict.verdict}** ({required})."
    states = [
        (letter, _mark(gate.state), gate.name, plain(gate.reason or "")) for letter, gate in verdict.gates.items()
    ]
    yield table(("gate", "state", "what", "why not"), states)
    heads = ("gate", "number", "part", "value", "95% interval", "threshold", "")
    yield table(heads, _checks(result, verdict), right=(3, 5))
    yield "Changes (C) have to be at most their threshold, E's difference at most in size, all others at least."


def _checks(result: Result, verdict: Verdict) -> Iterator[tuple[str, ...]]:
    """A row for each number that a gate asks for."""
    for letter, gate in verdict.gates.items():
        numbers = [
            (name, part_title(part), number) for part in PARTS for name, number in result.numbers(part, letter).items()
        ]
        numbers += [("normal bins", "VAL - OOD", gate.difference)] if gate.difference else []
        for name, where, number in numbers:
            if number.threshold is not None:
                yield letter, name, where, *_check(number)


def _check(number: Number) -> tuple[str, ...]:
    mark = _mark(number.passed) + (" (undecided)" if number.undecided else "")
    between = interval(number.interval, short)
    return short(number.value), f"({between})" if between else "", short(number.threshold), mark


def _baselines(result: Result) -> Iterator[str]:
    if not result.baselines:
        return
    yield "## Beside the baselines (VAL)"
    # An arch may have a baseline's name.
    (_, own), *others = result.summaries
    heads = compared(summary.val for _, summary in result.summaries)
    rows = [
        (shown, *(short(summary.val.get(key)) for _, key in heads), f"{summary.passed}/{summary.of}")
        for shown, summary in [(f"**{result.arch}**", own), *((predictor(name), other) for name, other in others)]
    ]
    yield table(("", *(head for head, _ in heads), "gates"), rows, right=range(1, len(heads) + 2))
    yield "The model less each baseline, paired over documents, with 95% intervals:"
    differences = (*LIFTS, FOLLOWING) if FOLLOWING in heads else LIFTS
    rows = [
        (predictor(name), *(value(other.model_lift_val.get(key)) for _, key in differences)) for name, other in others
    ]
    yield table(("less", *(head for head, _ in differences)), rows, right=range(1, len(differences) + 1))


def _diagnostics(run: Record) -> Iterator[str]:
    result = run.result
    for alarm in result.alarms:
        where = f"{alarm.part.upper()} (best offset {alarm.best_k:+d})"
        yield f"**{alarm.name}** on {where}: check {alarm.check}"
    for part in PARTS:
        for finding in result.findings(part):
            yield f"**{finding.name}** on {part.upper()}: {finding.measured}; look at {finding.check}"
    if not result.alarms:
        yield "no alarm of 5CAT" if result.verdict else "not judged, so no alarm could be raised"
    last = run.history[-1] if run.history else {}
    shares = {name.partition("/")[2]: x for name, x in last.items() if name.startswith("gradient_share/")}
    if shares:
        listed = ", ".join(f"{name} {percent(share, 1) or 'no number'}" for name, share in shares.items())
        yield f"share of the gradient at `raw` in the last epoch: {listed}"
    for part in PARTS:
        numbers = result.part(part)
        if numbers and numbers.not_finite:
            yield f"{numbers.not_finite} windows of {part} have a prediction that is not finite"
    for note in result.notes:
        yield plain(note)


def _use(run: Record, exported: str | None) -> Iterator[str]:
    result = run.result
    if not result.checkpoint:
        return
    yield "## Use"
    length, dim = run.config["data"]["context_length"], result.contract.get("dim", "D")
    path = exported or f"{run.folder.name}/checkpoints/{result.checkpoint}"
    yield f"""```python
import lvm_lab
import torch

model = lvm_lab.load("{path}")
with torch.no_grad():
    prediction = model.predict(context_BLD)  # float32, batch x {length} x {dim}, oldest vector first
```"""
    yield (
        "`prediction.raw_ND` lives in the encoder's own distribution and is what a decoder gets; `prediction.unit_ND` "
        "is the same at length 1, for cosine and retrieval. The context has to come from the encoder above, unchanged: "
        "vectors of another one are read without an error and predicted without sense."
    )


def _plots(run: Record) -> Iterator[str]:
    drawn = {name: caption for name, caption in FIGURES.items() if (run.folder / "plots" / f"{name}.png").is_file()}
    if not drawn:
        return
    yield "## Plots"
    for name, caption in drawn.items():
        yield f"![{caption}](plots/{name}.png)"


def _mark(state: bool | None) -> str:
    return f"**{MARKS[state]}**" if state is False else MARKS[state]
