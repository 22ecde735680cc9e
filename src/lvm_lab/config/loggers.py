"""The loggers of a config, by name; also where it speaks as version 0.1.0 did, whose one logger was W&B."""

from __future__ import annotations

import re
from typing import Any

from lvm_lab.config.targets import TARGET
from lvm_lab.errors import UserError

WANDB = "lvm_lab.loggers.wandb.WandB"
# The W&B project where none is named.
PROJECT = "lvm_lab"
# W&B's settings that stood at `logger` itself, where `logger.wandb` was its mode.
OF_WANDB = ("project", "entity", "group", "artifacts")
SETTING = re.compile(rf"^(\+{{0,2}})logger\.({'|'.join(OF_WANDB)})(?==)")
MODE = re.compile(r"^(\+{0,2})logger\.wandb(?==)")

Nodes = dict[str, dict[str, Any]]


def spell_out(argument: str) -> str:
    """`logger.project=P` and `logger.wandb=offline` as settings of W&B by name; every other argument as it is."""
    return MODE.sub(r"\1logger.wandb.mode", SETTING.sub(r"\1logger.wandb.\2", argument))


def by_name(node: dict[str, Any]) -> Nodes:
    """Each logger's class and settings under its name.

    Raises UserError for an entry that is no logger.
    """
    nodes = _upgraded(node)
    for name, entry in nodes.items():
        if not isinstance(entry, dict) or not isinstance(entry.get(TARGET), str):
            raise UserError(
                f"logger.{name} is no logger; give each its name and class, for instance in a file logger/mine.yaml "
                f"the line `mine: {{{TARGET}: my_package.MyLogger}}`."
            )
    return nodes


def _upgraded(node: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in node.items() if key in OF_WANDB and not isinstance(value, dict)}
    nodes = {key: value for key, value in node.items() if key not in flat}
    wandb = nodes.get("wandb")
    if wandb is not None and not isinstance(wandb, dict):
        nodes["wandb"] = wandb = {TARGET: WANDB, "mode": wandb}
    if wandb is not None:
        nodes["wandb"] = wandb | flat
        if TARGET not in wandb:
            # One's own settings in conf/local/, and another logger for this run.
            del nodes["wandb"]
    return nodes
