"""The body of each command, callable from a test, a notebook or a server.

`from lvm_lab.jobs import train, evaluate, predict`: the commands as functions that take settings as people type them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvm_lab.api import evaluate as evaluate
    from lvm_lab.api import predict as predict
    from lvm_lab.api import train as train

# No file of this room may be called so: it would take the function's place.
FUNCTIONS = ("train", "evaluate", "predict")


def __getattr__(name: str) -> Any:
    """Looked up when it is asked for: they compose, which stands above this room."""
    if name in FUNCTIONS:
        from lvm_lab import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
