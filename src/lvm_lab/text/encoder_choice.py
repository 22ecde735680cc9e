"""The encoder of vectors that are there: the one that a user names, or the lab's that can make what a contract says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from lvm_lab.config import targets
from lvm_lab.config.conf import conf_dir, options_of
from lvm_lab.config.settings import nameless
from lvm_lab.data.contract import PROBES, EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import Encoder

ROOM = "text.encoders"
# The settings of an encoder's option by its name.
Option = Callable[[str], dict[str, Any]]


def shipped(name: str) -> dict[str, Any]:
    """The settings of a shipped option as they stand in its file."""
    settings: dict[str, Any] = yaml.safe_load((conf_dir() / "encoder" / f"{name}.yaml").read_text(encoding="utf-8"))
    return settings


def encoder_of(contract: EncoderContract, node: dict[str, Any] | None, option: Option) -> Encoder | None:
    """The encoder that the user names with the node of an option, or that of the lab's which can make what the contract
    describes.

    A manifest may come from anywhere: on its word no model is loaded but the one that an option names, and no endpoint
    is asked.
    """
    if node is not None:
        node = nameless(node)
        return targets.make(node, ROOM, "encoder", allow=targets.named(node))
    for name in sorted(options_of("encoder")):
        node = nameless(option(name))
        kind = targets.resolve(node[targets.TARGET], ROOM, "encoder")
        own = kind.settings(contract)
        if own is None or kind.secrets:
            continue
        model = own.pop("model", None)
        if model is None or model == node["model"]:
            return targets.make(node | own, ROOM, "encoder")
    return None


def encoder_for(
    contract: EncoderContract, node: dict[str, Any] | None, option: Option, name: str, setting: str = "encoder"
) -> Encoder:
    """The encoder of vectors with a contract, named by a node or by the contract. name: what messages call the vectors;
    setting: where a user names the encoder.

    Raises UserError where neither names one, and for another encoder than theirs.
    """
    encoder = encoder_of(contract, node, option)
    if encoder is None and contract.encoder == "planted":
        raise UserError(
            f"{name} has planted vectors, which no encoder makes; take a run on texts, or lvm-lab pipeline-test, which "
            "has a text's vector from its store."
        )
    if encoder is None:
        raise UserError(
            f"{name} does not say which encoder of the lab made its vectors, which decoded texts are encoded with; "
            f"name it with {setting}=OPTION."
        )
    conflict = contract.conflict(encoder.contract().with_probes(encoder.encode(PROBES)))
    if conflict:
        raise UserError(f"{name} is not of this encoder ({conflict}); name the one that made it with {setting}=...")
    return encoder
