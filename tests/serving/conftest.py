"""What the tests of the server share."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.serving import train


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on texts, `run`, and its store."""
    folder = tmp_path_factory.mktemp("home")
    train(folder, "run")
    return folder
