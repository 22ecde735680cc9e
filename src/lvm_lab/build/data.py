"""The parts of data that settings describe, for a training or for a trained model on other data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lvm_lab.config import sources, targets
from lvm_lab.config.settings import DATA_KEYS, DeviceSettings, Settings, nameless, settings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.errors import UserError


def parts(settings: Settings) -> Parts:
    """Open the data and cut it into parts."""
    if "context_length" not in settings.config["data"]:
        raise UserError("data.context_length is taken away, and a run needs it; leave ~data.context_length out.")
    node = {key: value for key, value in nameless(settings.config["data"]).items() if key not in DATA_KEYS}
    source = targets.make(node, "data.sources", "data", allow=settings.allow)
    sources.check_secrets(settings.config["data"])
    opened = source.open(settings.cache, settings.data)
    return cut_parts(
        opened,
        settings.data,
        settings.cache,
        every_position=settings.trainer.supervision == "all",
        normaliser=settings.normaliser,
    )


def on_other_data(own: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Another data node for a model: how data is cut, and how much of it is read at once, goes with the model."""
    return {key: value for key, value in own.items() if key in DATA_KEYS} | data


def as_judged(
    config: dict[str, Any], node: dict[str, Any], device: DeviceSettings, allow: Iterable[str] = ()
) -> Settings:
    """A model's own settings on the data of `node`: how training went through the data changes nothing there.

    allow: as in `settings`; the config comes from a checkpoint, which allows nothing.
    """
    around = {"device": asdict(device), "logger": {}}
    trainer = config["trainer"] | {"supervision": "last"}
    return settings(config | around | {"data": node, "trainer": trainer, "normaliser": "none"}, allow)


def check_unseen(
    file: Path, own: dict[str, Any], node: dict[str, Any], trained_on: dict[str, str], data: Parts
) -> None:
    """UserError for a model with a validation set of its own on the vectors that it was trained on, cut without it.

    own, node: the data nodes of its training and of now; trained_on: the content that its run recorded.
    """
    alone = own.get("val_path") and not node.get("val_path")
    if alone and trained_on.get("store") == data.content.get("store"):
        raise UserError(
            f"{file} had a validation set of its own and was trained on what is val here; add data.val_path."
        )
