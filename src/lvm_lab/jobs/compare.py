"""The body of `compare`: two runs' settings side by side, and their predictions paired on the same windows."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import reading
from lvm_lab.runs.differences import differences, other_ground
from lvm_lab.runs.reading import Run
from lvm_lab.runs.selecting import Checkpoint

log = logging.getLogger(__name__)

PARTS = ("val", "test", "ood")


def compare(
    first: str | Path,
    second: str | Path,
    *,
    parts: Sequence[str] = ("val",),
    device: str = "auto",
    allow: Sequence[str] = (),
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """Two runs' folders or checkpoints, ready for JSON.

    runs: what each is. config: by key, both values of what differs. parts: by part, every number of both with its
    paired difference (second less first), interval over documents and p, and the curves of gate A. Both are judged anew
    by the first's preset on the first's data, since a result keeps no number by document, and on windows that both
    have where they read contexts of different lengths. reason: why there are no numbers, where there are none: another
    VAL, or a run without a checkpoint to judge.

    Raises UserError for a path without a run, data that cannot be read and a checkpoint that cannot be loaded.
    """
    if not parts or not set(parts) <= set(PARTS):
        raise UserError(f"parts {', '.join(parts) or 'none'} do not fit; name some of {', '.join(PARTS)}.")
    paths = [Path(first), Path(second)]
    runs = [_run(path) for path in paths]
    report: dict[str, Any] = {"runs": [], "config": differences(*runs), "reason": None, "parts": {}}
    names = [run.name for run in runs]
    if names[0] == names[1]:
        names = [str(path) for path in paths]
    checkpoints: list[Checkpoint] = []
    reason = other_ground(*runs)
    reason = reason and f"VAL is not the same ({reason})"
    for path, run, name in zip(paths, runs, names, strict=True):
        try:
            checkpoints.append(Checkpoint(reading.checkpoint_of(path), run.identity.content))
        except UserError as error:
            reason = reason or str(error)
        report["runs"].append({"name": name, "path": str(path), "status": run.status, "checkpoint": None})
    if reason:
        return report | {"reason": reason}
    for facts, checkpoint in zip(report["runs"], checkpoints, strict=True):
        facts["checkpoint"] = checkpoint.file.name
    return report | {"parts": _paired(checkpoints, parts, device, allow, cache)}


def write(report: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(report, indent=1, allow_nan=False) + "\n")


def _run(path: Path) -> Run:
    folder = path if path.is_dir() else path.parent.parent
    run = reading.read(folder)
    if not path.exists() or not run.config:
        what = "does not exist" if not path.exists() else "holds no run" if path.is_dir() else "is of no run"
        raise UserError(f"{path} {what}; name a run's folder, or a checkpoint in one.")
    return run


def _paired(
    checkpoints: list[Checkpoint],
    parts: Sequence[str],
    device: str,
    allow: Sequence[str],
    cache: str | Path | None,
) -> dict[str, Any]:
    # Torch comes in only now: what differs in the configs alone is told without it.
    from lvm_lab.config.presets import Preset
    from lvm_lab.config.settings import DeviceSettings
    from lvm_lab.jobs import candidates
    from lvm_lab.jobs.shared_ground import grounds_of
    from lvm_lab.judge import gates
    from lvm_lab.judge.part_report import Measures
    from lvm_lab.scoring.ground import KINDS
    from lvm_lab.scoring.judging import Scope, judge

    where = candidates.judging_device(DeviceSettings(accelerator=device))
    models = [candidates.load(checkpoint.file, where, allow) for checkpoint in checkpoints]
    presets = [Preset.from_dict(model.config["five_cat"]) for model in models]
    # A run that was trained with 5cat=off names no gates.
    preset = next((preset for preset in presets if preset.eval_windows), presets[0])
    gates.check(preset)
    own = grounds_of(models, checkpoints, parts, preset, instead="another run", cache=cache, allow=allow)
    for note in own[0].notes:
        log.warning(note)
    scope = Scope({kind: Measures(plain=False, retrieval=True) for kind in KINDS if kind in parts})
    longest = max(ground.context_length for ground in own)
    judgements = [
        judge(model.predict, ground, scope, where, longest) for model, ground in zip(models, own, strict=True)
    ]
    return {part: sizes | _part(judgements, part, preset) for part, sizes in own[0].sizes().items()}


def _part(judged: list[Any], part: str, preset: Any) -> dict[str, Any]:
    """Both judgements of one part: numbers by name, and gate A's curves."""
    from lvm_lab.judge.bootstrap import finite
    from lvm_lab.judge.comparison import paired
    from lvm_lab.judge.gates.offsets import OFFSET
    from lvm_lab.judge.results import CURVE
    from lvm_lab.scoring.comparison import against

    mine, theirs = (judgement.scores(part) for judgement in judged)
    numbers: dict[str, Any] = {}
    offsets: dict[str, Any] = {}
    if mine is not None and theirs is not None:
        values = [scores.numbers() for scores in (mine, theirs)]
        for key, test in paired(theirs, mine).items():
            both = [finite(by_key[key].value) for by_key in values]
            gate, _, name = key.partition("/")
            if gate == "A" and OFFSET.fullmatch(name):
                offsets[name] = both
            elif not CURVE.match(key):
                numbers[key] = {"values": both} | test.to_dict()
    if judged[0].reads != judged[1].reads:
        # Each without its own context: that compares nothing.
        numbers = {key: number for key, number in numbers.items() if not key.endswith("_unseen")}
    both_judged = {"first": judged[0], "second": judged[1]}
    for comparison in against("first", both_judged, preset):
        if comparison.part == part:
            both = [_value(judgement, part, comparison.number) for judgement in judged]
            numbers[comparison.number] = {"values": both} | comparison.tested.test.to_dict()
    return {"numbers": dict(sorted(numbers.items())), "offsets": dict(sorted(offsets.items(), key=_place))}


def _value(judgement: Any, part: str, number: str) -> float | None:
    """The mean of one number of a comparison, by window or of `following`."""
    from lvm_lab.judge.bootstrap import finite

    report = judgement.reports[part]
    by_window = report.retrieval.paired
    if number in by_window:
        return finite(float(by_window[number].mean()))
    value: float = report.following.values()[number]
    return value


def _place(item: tuple[str, Any]) -> int:
    return int(item[0].removeprefix("k"))
