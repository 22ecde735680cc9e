"""A command whose shards are the jobs of a multirun: `shards=8 -m` is eight jobs, over any launcher; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from lvm_lab.commands.arguments import MULTIRUN
from lvm_lab.commands.composing import compose
from lvm_lab.commands.rows import own_settings, searched
from lvm_lab.commands.schedules import SHOWS
from lvm_lab.config.ingest import IngestSettings
from lvm_lab.errors import UserError


def spread(config_name: str, arguments: Sequence[str]) -> list[str]:
    """The arguments with a job for each shard, where an ingestion has several.

    Raises UserError for a multirun of an ingestion that is anything else.
    """
    arguments = [*arguments]
    if not {*MULTIRUN} & {*arguments} or any(argument.startswith((*SHOWS, "--cfg=")) for argument in arguments):
        return arguments
    settings = own_settings(arguments)
    for one in OverridesParser.create().parse_overrides(settings):
        if one.is_sweep_override() and one.key_or_group != "shard":
            raise UserError(
                f"{one.input_line} would be several stores; make one ingestion of each, with an out of its own."
            )
    fixed = [setting for setting in settings if not setting.startswith("shard=")]
    config: dict[str, Any] = compose(config_name, [*searched(arguments), *fixed])
    if config.get("dry_run") is True:
        # It looks at all shards at once.
        return [argument for argument in arguments if argument not in (*MULTIRUN, *_of_shard(settings))]
    # What is wrong in every job is told before any starts.
    shards = IngestSettings.from_dict(config | {"shard": 0}).shards
    if shards == 1:
        raise UserError("one ingestion is one job; add shards=8 for so many, or leave -m out.")
    if len(fixed) < len(settings):
        return arguments
    return [*arguments, f"shard=range(0,{shards})"]


def _of_shard(settings: Sequence[str]) -> list[str]:
    return [setting for setting in settings if setting.startswith("shard=")]
