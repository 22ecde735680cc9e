"""Models of a user's choice, from a folder or by their name at Hugging Face, and one sentence where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.text.installed import needed


def name_of(model: str) -> str:
    """What a contract calls a model: by its name, or by that of its folder, which lies elsewhere on other machines."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def loaded(model: str, load: Callable[..., Any], *, setting: str = "encoder.model", **settings: Any) -> Any:
    """What `load(model)` reads. setting: what names the model. Raises UserError where it is not there or is of another
    kind."""
    try:
        with quietly():
            return load(model, **settings)
    # The libraries raise what they like for a name without a repository, a host out of reach, a file that is cut off.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{setting}={model} cannot be loaded ({type(error).__name__}: {reason}); name a folder of a saved "
            "model, or one at Hugging Face where there is a network."
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bar that transformers shows for the weights of every model."""
    logging = needed("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
