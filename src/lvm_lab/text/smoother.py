"""What a smoother is: decoded texts in, the same texts in better words out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from lvm_lab.config.settings import nameless
from lvm_lab.config.targets import make, named
from lvm_lab.errors import UserError
from lvm_lab.text.endpoint import EndpointError

log = logging.getLogger(__name__)

ROOM = "text.smoothers"
# The option that smooths nothing.
NO_SMOOTHER = {"name": "none"}


class Smoother(ABC):
    """`smoother=...`: its constructor takes the settings of conf/smoother/<name>.yaml and asks nobody; a call does.

    places, secrets: as of an encoder.
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def source(self) -> str:
        """What it smooths with, as messages call it."""

    @abstractmethod
    def __call__(self, texts: list[str]) -> list[str]:
        """A text for each, in their order; a text that cannot be smoothed stays as it is. Raises EndpointError where
        nothing can be smoothed."""


def open_smoother(node: dict[str, Any] | None) -> Smoother | None:
    """The smoother that the node of an option names; None for none of them."""
    if node is None or node == NO_SMOOTHER:
        return None
    if not isinstance(node, dict):
        raise UserError(f"smoother={node!r} names no option; choose one with smoother=OPTION.")
    node = nameless(node)
    smoother: Smoother = make(node, ROOM, "smoother", allow=named(node))
    return smoother


def smoothed(smoother: Smoother, texts: list[str]) -> list[str] | None:
    """What a smoother makes of texts; None, with a warning, where its endpoint does not answer."""
    try:
        return smoother(texts)
    except EndpointError as error:
        log.warning("the texts are left unsmoothed: %s", error)
        return None
