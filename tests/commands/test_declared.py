"""What pyproject declares of versions holds here."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_python_ends_where_hydras_help_fails_argparse() -> None:
    """Python 3.14 expands a help text when its argument is added, and one of Hydra's is no text."""
    parser = get_args_parser()
    (action,) = (action for action in parser._actions if action.dest == "shell_completion")
    with pytest.raises((TypeError, ValueError)):
        parser._get_formatter()._expand_help(action)
    # Hydra has mended it when the lines above fail: then this bound can go.
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
