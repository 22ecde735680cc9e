"""What a sweeper that optimises needs of a command, told before anything runs; no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands.composing import composed
from lvm_lab.commands.rows import searched
from lvm_lab.config.objective import names
from lvm_lab.errors import UserError

# How the Optuna sweeper ends where all its trials failed.
NONE_COMPLETED = "No trials are completed yet"
NO_VALUE = (
    "no trial of this sweep has an objective, because every run failed, diverged or could not be measured; search "
    "elsewhere, for instance among smaller values of trainer.optim.lr."
)
INSTALL = 'pip install -c constraints.txt -e ".[optuna]" brings it'


def named(arguments: Sequence[str]) -> str | None:
    """The sweeper that a command chooses; None for Hydra's own, which multiplies values out."""
    names = [a.partition("=")[2] for a in arguments if a.lstrip("+").startswith("hydra/sweeper=")]
    return names[-1] if names and names[-1] != "basic" else None


def check(config_name: str, arguments: Sequence[str]) -> None:
    """UserError where a sweeper that optimises would have nothing to optimise, or would look for the worst.

    What else Hydra will refuse is left to it.
    """
    if named(arguments) is None or config_name != "train":
        return
    try:
        node, objective = _composed(config_name, arguments)
    except MissingConfigException as error:
        if str(error.missing_cfg_file) == "hydra/sweeper/optuna":
            raise UserError(f"hydra/sweeper=optuna is not installed; {INSTALL}.") from error
        return
    except (HydraException, OmegaConfBaseException):
        return
    if "direction" not in node:
        return
    if objective is None:
        raise UserError(
            f"hydra/sweeper={named(arguments)} has nothing to maximise; add sweep.objective, for instance "
            "sweep.objective=margin."
        )
    names(str(objective))
    if node["direction"] != "maximize":
        raise UserError(
            f"hydra.sweeper.direction={node['direction']} would look for the worst run; add "
            "hydra.sweeper.direction=maximize."
        )


def has_no_value(error: Exception) -> bool:
    """Whether a sweeper ended because it has no value to choose the best of."""
    return str(error).startswith(NONE_COMPLETED)


def _composed(config_name: str, arguments: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """(the node of Hydra's sweeper, sweep.objective), from the settings that hold for every trial."""
    settings = [a for a in arguments if re.match(r"\+*(hydra[./]|sweep[.=])", a)]
    plain = [str(one.input_line) for one in _parsed(settings) if not one.is_sweep_override()]
    config = composed(config_name, [*searched(arguments), *plain], hydras_own=True)
    node = OmegaConf.to_container(config.hydra.sweeper, enum_to_str=True)
    return node, OmegaConf.select(config, "sweep.objective")  # type: ignore[return-value]


def _parsed(settings: list[str]) -> Any:
    return OverridesParser.create().parse_overrides(settings)
