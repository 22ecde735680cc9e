"""A registry on disk, looked at again and again: which version of each model is promoted, and what takes its place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.serving.models import Models
from lvm_lab.serving.served import Served

log = logging.getLogger(__name__)

STAGE = "production"
# A promotion is seen within a second.
SECONDS = 0.5


def promoted(registry: Path) -> dict[str, Path]:
    """By model, the folder of the version that its link points at; a link to nothing is none."""
    folders: dict[str, Path] = {}
    for link in sorted(registry.glob(f"*/{STAGE}")):
        # Another may take its place at any moment.
        with contextlib.suppress(OSError):
            folder = Path(os.path.abspath(link.parent / os.readlink(link)))
            if folder.is_dir():
                folders[link.parent.name] = folder
    return folders


async def watch(models: Models, registry: Path, opened: Callable[[str, Path], Served]) -> None:
    """Replaces models by what is promoted, until it is cancelled. opened: makes a model ready; it may take its time,
    while the one before goes on."""
    while True:
        await asyncio.sleep(SECONDS)
        try:
            folders = await asyncio.to_thread(promoted, registry)
        except OSError as error:  # of a disk, or of a process that has all its files open: it may pass
            log.error("%s cannot be looked at (%s); it is tried again", registry, error)
            continue
        for name, folder in folders.items():
            if models.path(name) == str(folder):
                models.failures.pop(name, None)
                continue
            try:
                models.replace(await asyncio.to_thread(opened, name, folder))
            except Exception as error:  # whatever a broken version raises, the others are still looked after
                # Said once: it is tried again, for a folder may be mended.
                if models.failures.get(name) != str(error):
                    log.error("%s stays as it is: %s", name, error, exc_info=not isinstance(error, UserError))
                models.failures[name] = str(error)
            else:
                log.info("%s is now %s", name, folder)
