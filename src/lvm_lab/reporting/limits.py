"""What a model must not be used for, in plain words, from the numbers of its run; no torch."""

from __future__ import annotations

from collections.abc import Iterator

from lvm_lab.config.thresholds import DOCUMENTS_FOR_REPORT, STD_RATIO
from lvm_lab.reporting.numbers import known, signed
from lvm_lab.reporting.plots.record import Record
from lvm_lab.reporting.words import predictor
from lvm_lab.runs.result import JUDGED

FEW_JUDGED = 30
FORBIDS = {
    "A": "its predictions are not clearly nearest to the next vector: not to be used where what comes next has to be "
    "told from what came before or comes later",
    "B": "it does not find the next chunk reliably among those of its document: not to be used for retrieval there",
    "C": "what the order of its context is worth to it was not shown: not to be used as a model of order",
    "D": "its own predictions, fed back, lose the document: not to be used for several steps",
    "E": "its cosine changes from one domain to the other at equal coherence: a figure of one says little of the other",
}
# What a model has to be better in than every baseline.
BEATEN_IN = {
    "A/cos": "cosine",
    "B/mrr_unseen": "ranking of chunks that it has not read (unseen MRR)",
    "following/mrr": "ranking of the target among later chunks (following)",
}
# Of a gate that is not the lab's own.
OTHERWISE = "not to be used where what this gate asks for matters"


def limits(run: Record) -> Iterator[str]:
    """One phrase each; never none, since no run is judged on everything."""
    result = run.result
    if result.status != "finished":
        yield f"the run {result.status}: not to be used at all"
        return
    yield from _gates(run)
    yield from _against_baselines(run)
    yield from _scale(run)
    yield from _data(run)
    yield (
        "only vectors of the encoder above mean anything to it; vectors of another one, of other pooling or another "
        "model of equal size, are novel to it and nothing here was measured on them"
    )


def _gates(run: Record) -> Iterator[str]:
    result = run.result
    if result.verdict is None:
        yield "5CAT was off: whether it predicts forwards at all is unknown"
    if run.old_tool:
        yield "judged by the old tool, in which a perfect predictor fails gate A: judge it with 5cat=standard"
    for letter, gate in result.gates.items():
        halves = {part: half for part in JUDGED if (half := result.half(part, letter))}
        if gate.state is False:
            where = " and ".join(part.upper() for part, half in halves.items() if half.state is False)
            on = f" on {where}" if where else ""
            yield f"fails gate {letter} ({gate.name}){on}: {FORBIDS.get(letter, OTHERWISE)}"
        elif gate.state is None:
            yield f"gate {letter} ({gate.name}) could not be measured, so what it asks for is unknown"
        unclear = [
            f"{name} on {part.upper()}"
            for part, half in halves.items()
            for name, number in half.numbers.items()
            if number.undecided and number.value is not None
        ]
        if unclear and gate.state is True:
            yield f"gate {letter} is passed by a margin that chance could take back: {', '.join(unclear)}"


def _against_baselines(run: Record) -> Iterator[str]:
    for key, what in BEATEN_IN.items():
        not_beaten = []
        for name, baseline in run.result.baseline_summaries.items():
            lift = baseline.model_lift_val.get(key)
            if name == "oracle" or lift is None or lift.value is None:
                continue
            if not (known(lift.interval) and lift.interval[0] > 0):
                not_beaten.append(f"{predictor(name)} ({signed(lift.value)})")
        if not_beaten:
            yield f"in {what} on VAL it is not clearly better than {', '.join(not_beaten)}"


def _scale(run: Record) -> Iterator[str]:
    low, high = STD_RATIO
    for part in JUDGED:
        numbers = run.result.part(part)
        ratio = numbers.spreads.get("std_ratio", {}).get("median") if numbers else None
        if ratio is not None and not low <= ratio <= high:
            spread = "more widely" if ratio > high else "less widely"
            yield (
                f"`raw` spreads {spread} than the encoder's vectors on {part.upper()} (std ratio {ratio:.2f}, wanted "
                f"{low:g} to {high:g}): not for a decoder as it is; cosine and retrieval take `unit`"
            )


def _data(run: Record) -> Iterator[str]:
    result = run.result
    documents = result.parts.get("documents")
    if documents is not None and documents < DOCUMENTS_FOR_REPORT:
        few = f"{documents} documents are fewer than {DOCUMENTS_FOR_REPORT}"
        yield f"{few}: cross-fit before these figures go into a report"
    val = result.part("val")
    if val is not None and val.documents < FEW_JUDGED:
        yield f"the VAL figures are of {val.documents} documents, and their intervals are as wide as that"
    if not result.ood:
        yield "no out-of-domain set was judged: nothing is known of other domains"
    if result.data == "planted":
        yield "trained on the planted world, which is synthetic: says nothing about text"
    if result.data_gate and not result.data_gate["passed"]:
        yield f"its training data failed the data gate ({'; '.join(result.data_gate['failed'])})"
    for alarm in result.alarms:
        yield f"alarm {alarm.name} on {alarm.part.upper()}: not to be used before {alarm.check} are checked"
