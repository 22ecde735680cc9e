"""Hydra in tests' processes, which compose thousands of configs: half of a short command's time is left out."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource

from lvm_lab.config.conf import conf_dir


def compose_faster() -> None:
    """Have each of the lab's and Hydra's own files parsed once, and no command composed for its mode alone.

    What is composed is the same, and so is what is refused; processes that tests start by themselves have none of it.
    """
    if getattr(Hydra.get_mode, "is_of_tests", False):
        return
    # Hydra loads its plugins' modules anew: the classes that it uses are those in its registry.
    Plugins.instance()
    conf = conf_dir().resolve()
    for scheme, changes in (("file", lambda path: not Path(path).is_relative_to(conf)), ("pkg", lambda path: False)):
        source = SourcesRegistry.instance().resolve(scheme)
        source.load_config = _parsed_once(source.load_config, changes)  # type: ignore[method-assign]
    Hydra.get_mode = _mode_if_asked(Hydra.get_mode)  # type: ignore[method-assign]


def _parsed_once(
    load: Callable[[ConfigSource, str], ConfigResult], changes: Callable[[str], bool]
) -> Callable[[ConfigSource, str], ConfigResult]:
    parsed: dict[tuple[str, str, str], bytes] = {}

    def load_config(self: ConfigSource, config_path: str) -> ConfigResult:
        if changes(self.path):
            return load(self, config_path)
        key = (self.provider, self.path, config_path)
        if key not in parsed:
            parsed[key] = pickle.dumps(load(self, config_path))
        # Hydra changes what it gets.
        return pickle.loads(parsed[key])  # type: ignore[no-any-return]

    return load_config


def _mode_if_asked(look_up: Callable[..., Any]) -> Callable[..., Any]:
    def get_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        # No config of the lab has this setting, and without it there is no mode.
        asked = any("hydra.mode" in word for word in overrides)
        return look_up(self, config_name, overrides) if asked else None

    get_mode.is_of_tests = True  # type: ignore[attr-defined]
    return get_mode
