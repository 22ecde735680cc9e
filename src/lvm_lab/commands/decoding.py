"""How `diagnose RUN decoder=...` is read: settings as KEY=VALUE among a plain command's flags; no torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

CONFIG = "diagnose"
# What conf/diagnose.yaml has, known without reading it: a checkpoint may have a = in its name too.
SETTINGS = ("decoder", "encoder", "samples", "cache", "local")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the settings among a command's words, the others)."""
    settings = [word for word in words if "=" in word and re.split(r"[.@=]", word.lstrip("+~"))[0] in SETTINGS]
    return settings, [word for word in words if word not in settings]


def diagnose(settings: Sequence[str], args: argparse.Namespace) -> None:
    """Decode, show, write. args: the flags of `diagnose`."""
    # Hydra comes in only now: without a decoder the command does without.
    from lvm_lab import logs
    from lvm_lab.commands.arguments import sort
    from lvm_lab.commands.guest import from_python
    from lvm_lab.jobs import decoding
    from lvm_lab.reporting import decoding as decoding_report

    def composed(words: Sequence[str]) -> dict[str, Any]:
        return from_python(CONFIG, sort(words), None, args.config_dir)

    typed = decoding.DecodingSettings.from_dict(composed(settings))
    report = decoding.decode_all(
        args.models,
        args.part,
        typed,
        lambda name: composed([f"encoder={name}"])["encoder"],
        data=args.data,
        device=args.device,
        allow=args.allow,
    )
    decoding_report.show(report.decodings, report.skipped, logs.to_terminal())
    if args.json is not None:
        report.write(args.json)
