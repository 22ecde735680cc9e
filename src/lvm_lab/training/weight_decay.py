"""Which parameters weight decay draws towards zero: by what they are, not by how many dimensions they have.

Weights of linear maps, convolutions, recurrent cells and attention decay. Nothing else does: no bias, gain, embedding
or table of positions, no parameter of a state space or of a decay, no mixing weight, no temperature.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from lvm_lab.errors import UserError

# Of torch's modules these multiply their input; their maps, and nothing else of theirs, are called some weight.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MAPS = (nn.Linear, nn.Bilinear, *CONVOLUTIONS, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
# The attribute of a class in which a module lists those of its own parameters that are maps too.
DECLARED = "decayed_parameters"


def groups(module: nn.Module, decayed: Collection[str], weight_decay: float) -> list[dict[str, Any]]:
    """An optimiser's two groups, of what decays and of the rest: trained parameters in the order of the model.

    Each has its `names` too, which an optimiser's state keeps.
    """
    trained = _trained(module)
    split = [name for name in trained if name in decayed], [name for name in trained if name not in decayed]
    return [
        {"names": names, "params": [trained[name] for name in names], "weight_decay": rate}
        for names, rate in zip(split, (weight_decay, 0.0), strict=True)
    ]


def maps(module: nn.Module) -> set[str]:
    """Names of the trained parameters that decay. A parameter that several modules share decays if it is a map in one.

    Raises UserError where a class declares a parameter that it has not.
    """
    ids = {id(parameter) for owner in module.modules() for parameter in _maps_of(owner)}
    return {name for name, parameter in _trained(module).items() if id(parameter) in ids}


def by_dimension(module: nn.Module) -> set[str]:
    """Names of what decayed in version 0.1.0: every parameter of two dimensions or more."""
    return {name for name, parameter in _trained(module).items() if parameter.ndim >= 2}


def of_state(state: Mapping[str, Any], module: nn.Module) -> set[str]:
    """Names of what decays under an optimiser's state: those that it holds; one of version 0.1.0 holds none."""
    decayed = state["param_groups"][0]
    return set(decayed["names"]) if "names" in decayed else by_dimension(module)


def renumbered(state: Mapping[str, Any], module: nn.Module, decayed: Collection[str]) -> dict[int, Any]:
    """What an optimiser's state holds of each parameter, by the numbers that they have where these decay."""
    number = {name: i for i, name in enumerate(_order(module, decayed))}
    before = enumerate(_order(module, of_state(state, module)))
    return {number[name]: state["state"][i] for i, name in before if i in state["state"]}


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _order(module: nn.Module, decayed: Collection[str]) -> list[str]:
    return [name for group in groups(module, decayed, 0.0) for name in group["names"]]


def _maps_of(owner: nn.Module) -> list[nn.Parameter]:
    own = dict(owner.named_parameters(recurse=False))
    declared = getattr(type(owner), DECLARED, ())
    if strangers := [name for name in declared if name not in own]:
        raise UserError(
            f"{type(owner).__qualname__}.{DECLARED} names {strangers[0]}, which is no parameter of it; take one of "
            f"{', '.join(own) or 'none'}."
        )
    weights = [name for name in own if isinstance(owner, MAPS) and "weight" in name]
    return [own[name] for name in {*weights, *declared}]
