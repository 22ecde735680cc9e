"""A small planted world, and a cache in which all its baselines have been fitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.scoring import baselines as fitted_baselines


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    cache = tmp_path_factory.mktemp("world")
    settings = DataSettings()
    world = PlantedWorld(dim=128, documents=90, ood_documents=30)
    return cut_parts(world.open(cache, settings), settings, cache, every_position=False)


@pytest.fixture(scope="session")
def fitted(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which everything has been fitted."""
    cache = tmp_path_factory.mktemp("cache")
    fitted_baselines.baselines(parts, cache, "cpu")
    return cache
