"""One position through a stack of layers that each keep a state.

Shape suffixes: B batch, H hidden dim.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def step_layers(layers: Iterable[Any], hidden_BH: Tensor, states: list[Any] | None) -> tuple[Tensor, list[Any]]:
    """Each layer's `step(hidden_BH, its state)` in turn, and the list of the states that they have after it."""
    after = []
    for i, layer in enumerate(layers):
        hidden_BH, state = layer.step(hidden_BH, None if states is None else states[i])
        after.append(state)
    return hidden_BH, after
