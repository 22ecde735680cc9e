"""The baselines of one data set: fitted once for the same content, split and arguments, and kept in the cache."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config.presets import Entry
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.judge import baselines as shipped
from lvm_lab.judge import options
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines._fitting import TRAINING_WINDOWS

log = logging.getLogger(__name__)

Which = Literal["all", "cheap"] | list[Entry]
# A baseline with the arguments of its fit.
Kind = tuple[type[Baseline], dict[str, Any]]


def kinds(which: Which) -> list[Kind]:
    """The baselines that five_cat.baselines names. cheap: all but the costly ones.

    Raises UserError for one that does not exist, or two of one name.
    """
    if isinstance(which, str):
        every = [options.by_stem(shipped.__name__, stem, Baseline) for stem in shipped.TITLES]
        return [(kind, {}) for kind in every if which == "all" or not kind.costly]
    listed = [_kind(entry, f"five_cat.baselines.{place}") for place, entry in enumerate(which)]
    names = [kind.name for kind, _ in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"five_cat.baselines has {', '.join(twice)} twice; give each class a name of its own.")
    return listed


def trivial_names(which: Which) -> list[str]:
    """The names of those that are fitted to next to nothing, or not at all: what skill is measured from."""
    return [kind.name for kind, _ in kinds(which) if kind.trivial]


def baselines(
    parts: Parts, cache: Path, device: str, which: Which = "all", not_fitted: dict[str, str] | None = None
) -> dict[str, Baseline]:
    """What a model is compared with, by name; what is fitted is so once for the same content, split and arguments.

    not_fitted: gets the reason, by name, for each that this data cannot fit.
    """
    data = FitData(parts.train, parts.val, parts.stats, parts.oracle, device, parts.content)
    fitted: dict[str, Baseline] = {}
    for kind, arguments in kinds(which):
        if not kind.available(data):
            continue
        try:
            fitted[kind.name] = _fit(kind, arguments, data, parts, cache)
        except UserError as error:
            log.warning("%s is not fitted: %s", kind.name, error)
            if not_fitted is not None:
                not_fitted[kind.name] = str(error)
    return fitted


def _kind(entry: Entry, path: str) -> Kind:
    if isinstance(entry, str):
        return options.by_stem(shipped.__name__, entry, Baseline, "five_cat.baselines"), {}
    return options.by_target(entry, "judge.baselines", path, "fit", ("data",))


def _fit(kind: type[Baseline], arguments: dict[str, Any], data: FitData, parts: Parts, cache: Path) -> Baseline:
    if kind.fit_version is None:
        return kind.fit(data, **arguments)
    defaults = {name: p.default for name, p in inspect.signature(kind.fit).parameters.items() if name != "data"}
    settings = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in (defaults | arguments).items()
    }
    file = cache / f"{kind.name}-{digest(parts, kind.__qualname__, kind.fit_version, settings)[:32]}.npz"
    if file.exists():
        return kind.load(file)
    baseline = kind.fit(data, **arguments)
    baseline.save(file)
    return baseline


def digest(parts: Parts, *settings: Any) -> str:
    """What is fitted or judged is the same for the same content, windows and settings."""
    fields = [parts.content, parts.train.context_length, TRAINING_WINDOWS, *settings]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(parts.train.target_row_W.tobytes())
    digest.update(parts.val.target_row_W.tobytes())
    for windows in (parts.train, parts.val):
        digest.update(b"" if windows.excluded_N is None else windows.excluded_N.tobytes())
    return digest.hexdigest()
