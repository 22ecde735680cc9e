"""Checkpoints on data: what a checkpoint says of itself, the data it is put on, and whether the two go together.

The only place from which `evaluate` and `diagnose` call the build.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_lab.build import data as build_data
from lvm_lab.build import seen
from lvm_lab.build.load import load
from lvm_lab.config.data import DataSettings
from lvm_lab.config.settings import DeviceSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.parts import Parts
from lvm_lab.data.seen import Trainings, hold_out
from lvm_lab.data.tmd import Names
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge.predictions import codes_read
from lvm_lab.model import LatentVectorModel
from lvm_lab.runs.identity import CODES, as_cut
from lvm_lab.runs.selecting import Checkpoint
from lvm_lab.training import devices
from lvm_lab.types import Predictor, count_parameters

log = logging.getLogger(__name__)

# Settings of data that say how far back a model reads, and nothing of what it is judged by.
READING = ("context_length", "windows", "min_context")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint to be judged, without its weights.

    node: the config of the data it is judged on. content: what its run recorded of its own data; own_data: whether
    that is what it is judged on. trainings: what it has seen. codes: what the TMD codes mean that it reads; None: it
    reads none.
    """

    file: Path
    config: dict[str, Any]
    contract: dict[str, Any]
    dim: int
    params: int
    node: dict[str, Any]
    content: dict[str, str]
    own_data: bool
    trainings: Trainings
    codes: Names | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it beside its numbers."""
        return {
            "checkpoint": str(self.file),
            "arch": self.config["arch"]["name"],
            "loss": self.config["loss"]["name"],
            "trained_on": self.config["data"]["name"],
            "seed": self.config["seed"],
            "params": self.params,
        }

    @property
    def cut(self) -> dict[str, Any]:
        """What decides which windows it is judged on: equal for those that stand on one ground."""
        return as_cut(self.node)

    @property
    def table(self) -> dict[str, Any]:
        """Equal for those that may stand in one table: how far back they read is their own matter."""
        return {key: value for key, value in self.cut.items() if key not in READING}


@dataclass(frozen=True)
class Data:
    """Open data, with the settings by which it was cut."""

    parts: Parts
    settings: DataSettings
    cache: Path


@dataclass(frozen=True)
class Subject:
    """A loaded model and a part of data to look at it on. windows: those of the part that it was not trained on."""

    model: LatentVectorModel
    candidate: Candidate
    data: Data
    windows: Windows
    device: str

    def sample(self, at_most: int) -> Windows:
        """At most so many of the windows, drawn evenly over documents, always the same."""
        return sample_evenly(self.windows, at_most, 0)


def judging_device(device: DeviceSettings) -> str:
    """The device to judge on, as torch names it. Raises UserError where this machine has none such."""
    devices.check_available(device)
    return devices.judging_device(device)


def predictor(file: Path, device: str, allow: Iterable[str]) -> Predictor:
    return load(file, device, allow).forward


def candidate(model: LatentVectorModel, checkpoint: Checkpoint, data: dict[str, Any] | None = None) -> Candidate:
    """A loaded checkpoint on its own data, or on that of another data node, cut as its own was."""
    identity = model.identity
    own = identity["config"]["data"]
    return Candidate(
        file=checkpoint.file,
        config=identity["config"],
        contract=identity["contract"],
        dim=len(model.stats.mean_D),
        params=count_parameters(model),
        node=own if data is None else build_data.on_other_data(own, data),
        content=identity.get("content", checkpoint.content),
        own_data=data is None,
        trainings=seen.of(model, str(checkpoint.file)),
        codes=codes_read(model),
    )


def open_data(
    one: Candidate, device: DeviceSettings, run: dict[str, Any] | None = None, allow: Iterable[str] = ()
) -> Data:
    """The candidate's data, cut as its run cut it.

    run: settings of the run to read it with, such as the cache. allow: packages and targets, beside the lab's own, of
    which the source may be.
    """
    config = one.config | {"run": one.config["run"] | (run or {})}
    settings = build_data.as_judged(config, one.node, device, allow)
    return Data(build_data.parts(settings), settings.data, settings.cache)


def check(one: Candidate, parts: Parts, *, instead: str) -> None:
    """UserError for a model of another encoder or dim than the data's, for data that changed since it was trained, and
    for one that records no training rows and whose files say that it was trained on what is held out here.

    instead: what a user can do who wants it judged on other data.
    """
    check_encoder(one, parts)
    if one.trainings.unrecorded:
        build_data.check_unseen(one.file, one.config["data"], one.node, one.content, parts)
    recorded = one.content if one.own_data else {}
    content = parts.content | ({CODES: parts.codes_content} if one.config["data"].get("tmd") else {})
    changed = [name for name, digest in content.items() if recorded.get(name, digest) != digest]
    if changed:
        raise UserError(
            f"{one.file} was trained on other content than its data has now ({', '.join(changed)}); bring that back, "
            f"or name what to judge it on with {instead}."
        )


def check_encoder(one: Candidate, parts: Parts) -> None:
    """UserError for a model of another encoder or dim than the data's."""
    conflict = parts.contract.conflict(EncoderContract(**one.contract)) if one.contract else None
    if conflict is None and one.dim != parts.train.dim:
        conflict = f"dim {parts.train.dim} against {one.dim}"
    if conflict:
        raise UserError(
            f"{one.file} was trained on vectors of another encoder than the data's ({conflict}); "
            "give it data of its own encoder, or leave it out."
        )


def held_out(one: Candidate, parts: Parts, part: str) -> Windows:
    """A part's windows that the candidate was not trained on; what was taken out is warned of.

    Raises UserError where it was trained on the part.
    """
    way_out = "judge it on documents that it has not seen"
    cut = parts.cut.get(part)
    left = hold_out(getattr(parts, part), one.trainings, str(one.file), part, cut, way_out)
    for note in (*parts.notes, *([left.note] if left.note else []), *one.trainings.notes):
        log.warning(note)
    return left.windows


def subject(
    checkpoint: Checkpoint, part: str, *, data: str | Path | None, device: str, allow: Iterable[str] = ()
) -> Subject:
    """A checkpoint on a part of its own data, or of that of a file.

    Raises UserError for a checkpoint or data that do not fit, and for a part without windows.
    """
    model, one, opened, where = on_data(checkpoint, data=data, device=device, allow=allow)
    check(one, opened.parts, instead="--data FILE")
    windows = getattr(opened.parts, part)
    if windows is None or len(windows) == 0:
        raise UserError(f"the data of {checkpoint.file} has no {part} part; choose another --part.")
    return Subject(model, one, opened, held_out(one, opened.parts, part), where)


def on_data(
    checkpoint: Checkpoint, *, data: str | Path | None, device: str, allow: Iterable[str] = ()
) -> tuple[LatentVectorModel, Candidate, Data, str]:
    """A loaded checkpoint, what it says of itself, its own data or that of a file, and the device that it is on."""
    where = judging_device(DeviceSettings(accelerator=device))
    model = load(checkpoint.file, where, allow)
    other = {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": str(data)}
    one = candidate(model, checkpoint, None if data is None else other)
    return model, one, open_data(one, DeviceSettings(accelerator="cpu"), allow=allow), where
