"""Scores many models on the same windows: what to judge, on which data, beside which baselines.

Everything that can be refused is looked at before the first long pass: paths, weights, dims, contracts, empty parts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lvm_lab import __version__
from lvm_lab.build import data as build_data
from lvm_lab.build.load import load
from lvm_lab.config import binding
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.parts import Parts, whole_windows
from lvm_lab.data.store import EncoderContract
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge.bootstrap import finite, p_value, paired_difference
from lvm_lab.judge.comparison import Paired, holm, skill
from lvm_lab.judge.latency import latency
from lvm_lab.judge.part_report import FEWEST_DOCUMENTS, PartReport, report_part
from lvm_lab.judge.results import FiveCat
from lvm_lab.judge.verdict import put_together
from lvm_lab.reporting.tables import NAMES
from lvm_lab.runs import selecting as selection
from lvm_lab.runs.identity import as_cut
from lvm_lab.runs.process import commit
from lvm_lab.scoring import baselines as fitted_baselines
from lvm_lab.training import devices
from lvm_lab.types import Predictor, count_parameters

log = logging.getLogger(__name__)

# Keys of data that change nothing about what is judged.
RESERVED = ("train", "val", "test", "ood")
KEYS = ("checkpoints", "parts", "ood", "out", "cache", "device", "five_cat")


@dataclass(frozen=True)
class Asked:
    """A resolved conf/evaluate.yaml, typed. data: a data node that all models are put on, or None for each its own."""

    checkpoints: list[str]
    parts: list[Literal["val", "test", "ood"]]
    ood: list[str]
    out: str
    cache: str | None
    device: DeviceSettings
    preset: Preset
    data: dict[str, Any] | None


@dataclass(frozen=True)
class Model:
    """A checkpoint that can be judged: where it is, and what it says of itself.

    node: the config of the data it is judged on; recorded: what its run knew of that data's content; trained_on: what
    it knew of its own.
    """

    file: Path
    config: dict[str, Any]
    contract: dict[str, Any]
    params: int
    node: dict[str, Any]
    recorded: dict[str, str]
    trained_on: dict[str, str]


@dataclass(frozen=True)
class Ground:
    """One data set and its samples by part; OOD stores are parts too. Models that share it saw the same windows."""

    parts: Parts
    cache: Path
    samples: dict[str, Windows]
    sources: dict[str, str]

    @property
    def ood(self) -> list[str]:
        return [name for name in self.samples if name not in ("val", "test")]


def settings(config: dict[str, Any]) -> Asked:
    """Every setting held against its type. Raises UserError with the setting's name and what it may be."""
    for key in config:
        if key not in (*KEYS, "data"):
            raise UserError(binding.unknown_key(key, (*KEYS, "data")))
    for key in KEYS:
        if key not in config:
            raise UserError(f"{key} is taken away, and an evaluation needs it; leave ~{key} out.")
    for key in ("device", "five_cat", "data"):
        if not isinstance(config.get(key), dict) and (key != "data" or config.get(key) is not None):
            raise UserError(f"{key}={config[key]!r} does not fit; set its keys, for instance {key}.KEY=VALUE.")
    plain = {key: value for key, value in config.items() if key not in ("device", "five_cat")} | {
        "device": binding.dataclass_from(DeviceSettings, config["device"], "device"),
        "preset": Preset.from_dict(config["five_cat"]),
        "data": config.get("data"),
    }
    for key, kind in (("checkpoints", list[str]), ("parts", list[Literal["val", "test", "ood"]]), ("ood", list[str])):
        if not binding.fits(plain[key], kind):
            raise UserError(f"{key}={plain[key]!r} does not fit; give it a list like [{_example(key)}].")
    asked: Asked = binding.dataclass_from(Asked, plain, "evaluate")
    devices.check_available(asked.device)
    if not asked.parts and not asked.ood:
        raise UserError("parts=[] and ood=[] leave nothing to judge on; name a part or a store.")
    if Path(asked.out).is_file():
        raise UserError(f"{asked.out} is a file where a folder is needed; choose another out.")
    for path in asked.ood:
        if not Path(path).exists():
            raise UserError(f"{path} of ood does not exist; check the path.")
    return asked


def evaluate(asked: Asked) -> dict[str, Any]:
    """The whole report, ready for JSON. Raises UserError where no model is left to judge."""
    found, skipped = selection.find(asked.checkpoints)
    models: list[Model] = []
    for one in found:
        with _passing_over(skipped, one.file):
            models.append(_look_at(one, asked))
    grounds: dict[str, Ground] = {}
    on: dict[str, list[Model]] = {}
    for model in models:
        with _passing_over(skipped, model.file):
            key = json.dumps(as_cut(model.node), sort_keys=True)
            if key not in grounds:
                grounds[key] = _open(model, asked)
            _check(model, grounds[key])
            on.setdefault(key, []).append(model)
    if not on:
        reason = next(iter(skipped.values()))
        raise UserError(f"none of {len(skipped)} can be judged: {reason}" if len(skipped) > 1 else reason)
    for path, reason in skipped.items():
        log.warning("skipped %s: %s", path, reason)
    if asked.device.threads:
        torch.set_num_threads(asked.device.threads)
    device = devices.judging_device(asked.device)
    judged = [model for listed in on.values() for model in listed]
    labels = dict(zip((model.file for model in judged), _labels(judged), strict=True))
    return {
        "version": __version__,
        "commit": commit(),
        "preset": asked.preset.name,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "data": [_judge_all(grounds[key], listed, labels, asked, device) for key, listed in on.items()],
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped.items()],
    }


class _passing_over:
    """Notes a UserError as the reason why a path is passed over."""

    def __init__(self, skipped: dict[str, str], file: Path) -> None:
        self.skipped, self.file = skipped, file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, UserError):
            self.skipped[str(self.file)] = str(error)
            return True
        return False


def _look_at(found: selection.Found, asked: Asked) -> Model:
    """Builds the model once, so that a checkpoint that cannot be loaded is told before anything is scored."""
    model = load(found.file)
    said = model.identity
    own = said["config"]["data"]
    if asked.data is None:
        node, recorded = own, found.content
    else:
        node, recorded = build_data.on_other_data(own, asked.data), {}
    params = count_parameters(model)
    return Model(found.file, said["config"], said["contract"], params, node, recorded, found.content)


def _open(model: Model, asked: Asked) -> Ground:
    chosen = build_data.as_judged(
        model.config | {"run": model.config["run"] | {"cache": asked.cache}}, model.node, asked.device
    )
    parts = build_data.parts(chosen)
    samples: dict[str, Windows] = {}
    sources: dict[str, str] = {}
    for part in asked.parts:
        windows: Windows | None = getattr(parts, part)
        if windows is not None:
            samples[part], sources[part] = windows, _source(model.node, part)
    for path in asked.ood:
        store = open_source(Path(path), chosen.cache, context_length=chosen.data.context_length)
        conflict = parts.contract.conflict(store.contract)
        if conflict:
            raise UserError(f"{path} does not come from the encoder of the data ({conflict}); leave it out of ood.")
        name = _free(Path(path), samples)
        samples[name], sources[name] = whole_windows(store, chosen.data, path), path
    for name, windows in samples.items():
        documents = len(np.unique(windows.document_W))
        if documents < FEWEST_DOCUMENTS:
            has = f"{documents} documents with windows" if documents else "no window"
            raise UserError(
                f"the {name} part has {has}, and a bootstrap over documents needs {FEWEST_DOCUMENTS}; "
                "bring more documents, or leave the part out."
            )
    count = asked.preset.eval_windows or asked.preset.max_windows
    samples = {name: sample_evenly(windows, count, asked.preset.seed) for name, windows in samples.items()}
    return Ground(parts, chosen.cache, samples, sources)


def _check(model: Model, ground: Ground) -> None:
    conflict = ground.parts.contract.conflict(EncoderContract(**model.contract)) if model.contract else None
    if conflict:
        raise UserError(
            f"{model.file} was trained on vectors of another encoder than the data's ({conflict}); "
            "give it data of its own encoder, or leave it out."
        )
    build_data.check_unseen(model.file, model.config["data"], model.node, model.trained_on, ground.parts)
    changed = [name for name, digest in ground.parts.content.items() if model.recorded.get(name, digest) != digest]
    if changed:
        raise UserError(
            f"{model.file} was trained on other content than its data has now ({', '.join(changed)}); bring that back, "
            "or name what to judge it on with data=npz data.path=FILE."
        )


def _judge_all(
    ground: Ground, models: list[Model], labels: dict[Path, str], asked: Asked, device: str
) -> dict[str, Any]:
    """Baselines and models on one ground, and the models held against the best of them, window by window."""
    preset, parts = asked.preset, ground.parts
    rows: list[dict[str, Any]] = []
    reports: dict[str, dict[str, PartReport]] = {}
    not_fitted: dict[str, str] = {}
    baselines = fitted_baselines.baselines(parts, ground.cache, device, preset.baselines, not_fitted)

    def judge(name: str, predictor: Predictor, **said: Any) -> None:
        log.info("judging %s on %s", name, ", ".join(ground.samples))
        reports[name] = {
            part: report_part(predictor, sample, parts.stats, preset, _half(part), device)
            for part, sample in ground.samples.items()
        }
        first = next(iter(ground.samples.values()))
        speed = latency(predictor, first.context(slice(0, 1024)), device)
        rows.append({"name": name, **said, "speed": speed, **_told(reports[name], ground, preset)})

    for model in models:
        config = model.config
        said = {"kind": "model", "checkpoint": str(model.file), "arch": config["arch"]["name"]}
        said |= {"loss": config["loss"]["name"], "trained_on": config["data"]["name"], "seed": config["seed"]}
        judge(labels[model.file], load(model.file, device).predict, **said, params=model.params)
    for name, baseline in baselines.items():
        judge(name, baseline, kind="baseline", checkpoint=None, params=None)
    for row in rows[: len(models)]:
        row["skill"] = _skill(reports, row["name"])
    best = _best(reports, [labels[model.file] for model in models])
    return {
        "documents": parts.documents,
        "content": parts.content,
        "parts": {
            name: {
                "source": ground.sources[name],
                "windows": len(sample),
                "documents": len(np.unique(sample.document_W)),
            }
            for name, sample in ground.samples.items()
        },
        "predictors": rows,
        "not_fitted": not_fitted,
        "best": best,
        "comparisons": list(_comparisons(reports, best, preset)),
    }


def _told(reports: dict[str, PartReport], ground: Ground, preset: Preset) -> dict[str, Any]:
    """One predictor's numbers by part, and 5CAT of VAL and of test with each OOD store (gates: of VAL and OOD)."""
    judged: dict[str, dict[str, Any]] = {}
    for half in ("val", "test"):
        scores = reports[half].scores if half in reports else None
        if scores is None:
            continue
        others = {name: reports[name].scores for name in ground.ood} or {"none": None}
        judged[half] = {
            name: _judgement(put_together(preset, scores, other, ground.parts.documents))
            for name, other in others.items()
        }
    return {"five_cat": judged, "parts": {part: report.to_dict() for part, report in reports.items()}}


def _skill(reports: dict[str, dict[str, PartReport]], name: str) -> dict[str, Any]:
    """By part: the share of the way from the best trivial baseline to perfect."""
    found = {}
    for part, report in reports[name].items():
        others = {trivial: reports[trivial][part].scores for trivial in fitted_baselines.TRIVIAL if trivial in reports}
        trivial = {other: scores for other, scores in others.items() if scores is not None}
        if report.scores is not None and trivial:
            found[part] = {key: share.to_dict() for key, share in skill(report.scores, trivial).items()}
    return found


def _judgement(judged: FiveCat) -> dict[str, Any]:
    """A verdict without its halves, which stand with their parts."""
    said = judged.to_dict()
    gates = {a: {k: v for k, v in gate.items() if k not in ("val", "ood")} for a, gate in said["gates"].items()}
    return {k: said[k] for k in ("passed", "required", "verdict", "reason")} | {"gates": gates}


def _best(reports: dict[str, dict[str, PartReport]], labels: list[str]) -> str:
    """The model with the most VAL halves, then the largest VAL margin; the first named where VAL is not judged."""
    ranks = {label: reports[label]["val"].scores for label in labels if "val" in reports[label]}
    judged = {label: scores.rank for label, scores in ranks.items() if scores is not None}
    return max(judged, key=lambda label: judged[label]) if judged else labels[0]


def _comparisons(reports: dict[str, dict[str, PartReport]], best: str, preset: Preset) -> Iterator[dict[str, Any]]:
    """Each predictor less the best model, on the same windows; p_holm is corrected for how many were compared."""
    how = {"resamples": preset.resamples, "seed": preset.seed}
    for part, of_best in reports[best].items():
        others = {name: by_part[part] for name, by_part in reports.items() if name != best and by_part[part].paired}
        for number, best_W in of_best.paired.items():
            tests: dict[str, Paired] = {}
            for name, report in others.items():
                apart = paired_difference(report.paired[number], best_W, report.document_W, **how)
                tests[name] = Paired(apart, p_value(apart))
            corrected = holm({name: test.p for name, test in tests.items()})
            for name, test in tests.items():
                said = {"part": part, "name": name, "against": best, "number": number}
                yield said | test.to_dict() | {"p_holm": finite(corrected[name])}


def _source(node: dict[str, Any], part: str) -> str:
    """What a part was read from, in a user's words."""
    found = node.get(f"{part}_path") or node.get("path") or node["name"]
    return ", ".join(found) if isinstance(found, list) else str(found)


def _half(part: str) -> str:
    """Which thresholds a part is held against: OOD stores go by any name."""
    return part if part in ("val", "test") else "ood"


def _free(path: Path, taken: Container[str]) -> str:
    """A store's name in tables: its file's, with what lies above it where that is taken."""
    name = path.stem
    for folder in (*path.resolve().parents, None):
        if name not in (*RESERVED, "") and name not in taken:
            break
        name = f"{folder.name if folder else 'ood'}/{name}"
    return name


def _labels(models: list[Model]) -> list[str]:
    """The shortest kind of name that tells all models apart, from each other and from the baselines."""

    def kinds(model: Model) -> list[str]:
        arch, loss = model.config["arch"]["name"], model.config["loss"]["name"]
        folder = model.file.parent.parent.name if model.file.parent.name == "checkpoints" else model.file.parent.name
        short = f"{arch}-{loss}"
        return [arch, short, f"{short}-seed{model.config['seed']}", folder, f"{folder}/{model.file.stem}"]

    for listed in zip(*map(kinds, models), strict=True):
        if len(set(listed)) == len(listed) and not set(listed) & set(NAMES):
            return list(listed)
    return [str(model.file) for model in models]


def _example(key: str) -> str:
    return {"parts": "val,test", "ood": "novel.npz"}.get(key, "outputs/gru")
