"""The lab as a guest in somebody's process: what it sets of Hydra, logging and environment is put back; no torch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands.arguments import CommandLine, Files
from lvm_lab.commands.composing import check_local, compose, explain, unreadable
from lvm_lab.commands.flags import CONFIG_DIR, check_config_dir
from lvm_lab.commands.rows import searched
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


def from_python(config_name: str, line: CommandLine, files: Files | None, config_dir: str | None) -> dict[str, Any]:
    """The config of settings that were given in Python.

    Raises UserError for what a command would refuse.
    """
    if line.flags or line.help is not None or line.version:
        raise UserError("a call takes settings and no flags; leave them out (--config-dir is config_dir=FOLDER).")
    settings = line.words(files)
    own = [] if config_dir is None else [f"{CONFIG_DIR}={config_dir}"]
    check_config_dir([] if config_dir is None else [config_dir], "config_dir")
    try:
        check_local([*settings, *own])
        return compose(config_name, [*searched(own), *settings])
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(unreadable([*settings, *own], error)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(explain(error, config_name, [*settings, *own], f"call {config_name} once for each")) from error


def _restore(environment: dict[str, str]) -> None:
    for name in [*os.environ]:
        if name not in environment:
            del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
