"""The process that a run is at work in: whether it is the first of several, and of which commit its code is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def is_leader() -> bool:
    """Whether this process is the first of a run's: Lightning starts the others with a local rank."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def commit() -> str | None:
    """The git commit of the package's checkout, where it has one."""
    here = Path(__file__).parent
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() if git.returncode == 0 else None
