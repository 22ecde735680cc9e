"""What predictors are judged on: one data set with its windows by part, the same for all that stand on it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.config.mix import paths_of
from lvm_lab.config.presets import Preset
from lvm_lab.config.thresholds import DOCUMENTS_FOR_INTERVAL
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.joined import document_sources
from lvm_lab.data.parts import Parts, whole_windows
from lvm_lab.data.seen import Trainings, hold_out
from lvm_lab.data.tmd import Names
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge.following import Targets, later_windows, targets_of, without_seen
from lvm_lab.judge.part_report import windows_judged
from lvm_lab.judge.predictions import check_codes

Kind = Literal["val", "test", "ood"]
KINDS: tuple[Kind, ...] = ("val", "test", "ood")
WAY_OUT = "judge it on documents that it has not seen, or leave that part or store out"
# An OOD store of one of these names would be taken for the part.
RESERVED = ("train", *KINDS)
# Between a part and a source of it, in the name of the source's row.
OF_A_SOURCE = ": "


@dataclass(frozen=True)
class Ground:
    """windows, sources: by part, and by name for further OOD stores; sources are files or data sources in a user's
    words. stores: the content of each further OOD store, by name. cache: where fitted baselines are kept.
    skipped: the further OOD stores that are not judged, path to reason. notes: what a reader of numbers has to know of
    the windows. judge_from, later: the first row that `following` ranks, and by part every target of it, whatever the
    windows read. origins: by part the source of each document, by its number."""

    parts: Parts
    preset: Preset
    cache: Path
    windows: Mapping[str, Windows]
    sources: Mapping[str, str] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    judge_from: int = DataSettings.judge_from
    later: Mapping[str, Windows] = field(default_factory=dict)
    origins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of_run(cls, parts: Parts, preset: Preset, cache: Path, judge_from: int = DataSettings.judge_from) -> Ground:
        """A run's own parts that have windows."""
        windows = {kind: part for kind, part in _held_out(parts).items() if len(part)}
        return cls(parts, preset, cache, windows, judge_from=judge_from, later=_later(windows, judge_from))

    @property
    def context_length(self) -> int:
        """How many vectors are read on it."""
        return self.parts.train.context_length

    def apart_from(self, name: str, trainings: Trainings) -> Ground:
        """The ground for a model too, of this name: without windows that it was trained on, and without further OOD
        stores that it was.

        Raises UserError where it was trained on a part of the data set itself, or where no store is left.
        """
        windows, skipped, notes = dict(self.windows), dict(self.skipped), list(self.notes)
        later = dict(self.later)
        for part, there in self.windows.items():
            cut = self.parts.cut.get(part)
            try:
                windows[part] = hold_out(there, trainings, name, part, cut, WAY_OUT).noted(notes)
            except UserError as error:
                if part not in self.stores or len(windows) == 1:
                    raise
                del windows[part]
                skipped[self.sources[part]] = str(error)
                continue
            seen_N = windows[part].seen_N
            assert seen_N is not None, "what was trained on is marked"
            later[part] = without_seen(later[part], seen_N)
        notes += [note for note in trainings.notes if note not in notes]
        return replace(self, windows=windows, later=later, skipped=skipped, notes=tuple(notes))

    def coded(self, names: Names | None) -> Ground:
        """The ground for a model that reads TMD codes of these names too: without further OOD stores that have others
        or none. None: it reads no codes.

        Raises UserError where no store is left.
        """
        if names is None:
            return self
        windows, skipped = dict(self.windows), dict(self.skipped)
        for part in self.stores:
            try:
                check_codes(names, self.windows[part].table, self.sources[part])
            except UserError as error:
                if len(windows) == 1:
                    raise
                del windows[part]
                skipped[self.sources[part]] = str(error)
        return replace(self, windows=windows, skipped=skipped)

    @cached_property
    def samples(self) -> dict[str, Windows]:
        """The windows of each part that plain numbers, paired tests and times are of."""
        count = windows_judged(self.preset)
        return {name: sample_evenly(windows, count, self.preset.seed) for name, windows in self.windows.items()}

    @cached_property
    def following(self) -> dict[str, Targets]:
        """By part, what `following` is measured on."""
        count, seed = windows_judged(self.preset), self.preset.seed
        return {part: targets_of(self.later[part], self.judge_from, count, seed) for part in self.windows}

    @property
    def ood(self) -> list[str]:
        """The names of all OOD stores."""
        return [name for name in self.windows if kind_of(name) == "ood"]

    def sizes(self) -> dict[str, dict[str, Any]]:
        """Each part's source, and how many windows of how many documents are looked at."""
        return {
            name: {"source": self.sources.get(name), "windows": len(sample), "documents": _documents(sample)}
            for name, sample in self.samples.items()
        }


def kind_of(part: str) -> Kind:
    """Which thresholds a part is held against: OOD stores go by any name, a source's row by its part's."""
    part = part.partition(OF_A_SOURCE)[0]
    return "val" if part == "val" else "test" if part == "test" else "ood"


def sizes(parts: Parts) -> dict[str, Any]:
    """How many documents the store has, and how many windows of how many documents each part."""
    windows: dict[str, Windows] = {"train": parts.train, **_held_out(parts)}
    by_part = {name: {"windows": len(part), "documents": _documents(part)} for name, part in windows.items()}
    return {"documents": parts.documents} | by_part


def open_ground(
    parts: Parts,
    settings: DataSettings,
    preset: Preset,
    cache: Path,
    *,
    kinds: Iterable[Kind],
    sources: Mapping[str, str],
    stores: Iterable[str],
) -> Ground:
    """Some parts of a data set with further OOD stores, each judged whole, on its own and once.

    A store of another encoder is skipped, as is one with the content of a part or store that is judged already. Raises
    UserError where nothing is left to judge on, and for a part or store of too few documents.
    """
    held_out = _held_out(parts)
    windows: dict[str, Windows] = {kind: held_out[kind] for kind in kinds if kind in held_out}
    sources = {name: sources[name] for name in windows}
    contents: dict[str, str] = {}
    origins = dict(parts.origins)
    skipped: dict[str, str] = {}
    judged = {parts.content["ood"]: "ood"} if "ood" in windows and "ood" in parts.content else {}
    for path in stores:
        store = open_source(path, cache, context_length=settings.context_length, min_context=settings.shortest)
        conflict = parts.contract.conflict(store.contract)
        if conflict:
            skipped[path] = f"{path} does not come from the encoder of the data ({conflict}); leave it out of ood."
            continue
        if store.content in judged:
            skipped.setdefault(path, f"{path} has the content of {judged[store.content]}, which is judged already.")
            continue
        judged[store.content] = path
        name = store_label(Path(path), windows)
        windows[name] = whole_windows(store, settings, path, cache)
        sources[name], contents[name] = path, store.content
        origins[name] = document_sources(store)
    if not windows and skipped:
        raise UserError(next(iter(skipped.values())))
    for name, part in windows.items():
        if _documents(part) < DOCUMENTS_FOR_INTERVAL:
            has = f"{_documents(part)} documents with windows" if len(part) else "no window"
            raise UserError(
                f"the {name} part has {has}, and a bootstrap over documents needs {DOCUMENTS_FOR_INTERVAL}; "
                "bring more documents, or leave the part out."
            )
    start = settings.judge_from
    later = _later(windows, start)
    return Ground(parts, preset, cache, windows, sources, contents, skipped, parts.notes, start, later, origins)


def source_of(node: Mapping[str, Any], part: str) -> str:
    """What a part was read from, in a user's words; node: the data node of a config."""
    source = node.get(f"{part}_path") or node.get("path") or node["name"]
    return ", ".join(paths_of(source))


def store_label(path: Path, taken: Container[str]) -> str:
    """A store's name in tables: its file's, with what lies above it where that is taken."""
    name = path.stem
    for folder in (*path.resolve().parents, None):
        if name not in (*RESERVED, "") and name not in taken:
            break
        name = f"{folder.name if folder else 'ood'}/{name}"
    return name


def _held_out(parts: Parts) -> dict[str, Windows]:
    windows: dict[Kind, Windows | None] = {"val": parts.val, "test": parts.test, "ood": parts.ood}
    return {kind: part for kind, part in windows.items() if part is not None}


def _later(windows: Mapping[Any, Windows], judge_from: int) -> dict[str, Windows]:
    return {part: later_windows(there, judge_from) for part, there in windows.items()}


def _documents(windows: Windows) -> int:
    return len(np.unique(windows.document_W))
