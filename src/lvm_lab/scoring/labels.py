"""Names by which tables tell checkpoints apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvm_lab.reporting.words import BASELINES


def model_labels(models: Sequence[tuple[Path, Mapping[str, Any]]], taken: Collection[str] = ()) -> list[str]:
    """A name for each checkpoint's file and config: the shortest kind that tells all apart, from each other, from the
    baselines and from names that are taken."""

    def kinds(file: Path, config: Mapping[str, Any]) -> list[str]:
        arch, loss = config["arch"]["name"], config["loss"]["name"]
        folder = file.parent.parent.name if file.parent.name == "checkpoints" else file.parent.name
        short = f"{arch}-{loss}"
        return [arch, short, f"{short}-seed{config['seed']}", folder, f"{folder}/{file.stem}"]

    for labels in zip(*(kinds(*model) for model in models), strict=True):
        if len(set(labels)) == len(labels) and not set(labels) & {*BASELINES, *taken}:
            return list(labels)
    return [str(file) for file, _ in models]
