"""The lab as a guest in somebody's process: what it sets of Hydra, logging and environment is put back; no torch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer

from lvm_lab.config.conf import spell_back
from lvm_lab.errors import UserError

# What Hydra holds once a process and changes in place.
HELD = (GlobalHydra, HydraConfig, VersionBase)
# Whose levels and handlers the lab sets, the root's among them.
LOGGERS = ("", "lvm_lab", "faiss", "matplotlib", "pytorch_lightning", "lightning", "lightning.pytorch", "wandb")


@contextmanager
def guest() -> Iterator[None]:
    """Within it Hydra is as in a process of its own; behind it everything is as it was."""
    instances, resolvers = dict(Singleton._instances), dict(BaseContainer._resolvers)
    environment = dict(os.environ)
    loggers = [(logger, vars(logger).copy(), [*logger.handlers]) for logger in map(logging.getLogger, LOGGERS)]
    for kind in HELD:
        Singleton._instances.pop(kind, None)
    try:
        with warnings.catch_warnings():
            yield
    except UserError as error:
        if (sentence := spell_back(str(error))) == str(error):
            raise
        raise UserError(sentence) from error
    finally:
        for kind in HELD:
            Singleton._instances.pop(kind, None)
        Singleton._instances.update({kind: one for kind, one in instances.items() if kind in HELD})
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)
        for logger, state, handlers in loggers:
            logger.setLevel(state["level"])
            logger.propagate, logger.disabled, logger.handlers[:] = state["propagate"], state["disabled"], handlers
        _restore(environment)


def _restore(environment: dict[str, str]) -> None:
    for name in [*os.environ]:
        if name not in environment:
            del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
