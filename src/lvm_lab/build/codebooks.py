"""The codebooks that a head asks for, fitted on the data of its training."""

from __future__ import annotations

from dataclasses import fields, replace

from lvm_lab.config import binding, targets
from lvm_lab.config.settings import Settings
from lvm_lab.data import codebooks
from lvm_lab.data.parts import Parts
from lvm_lab.nn.quantiser import Codebooks


def given(settings: Settings, parts: Parts) -> Parts:
    """The parts, their statistics with codebooks where the head wants them.

    Raises UserError for sizes that fit neither each other nor the data.
    """
    node = settings.config["head"]
    kind = targets.resolve(node.get(targets.TARGET), "heads", "head", settings.allow)
    if not kind.needs_codebooks:
        return parts
    values = {field.name: node[field.name] for field in fields(Codebooks) if field.name in node}
    wanted = binding.dataclass_from(Codebooks, values, "head")
    fitted = codebooks.fit(parts, wanted, settings.cache)
    return replace(parts, stats=replace(parts.stats, codes_QKD=fitted))
