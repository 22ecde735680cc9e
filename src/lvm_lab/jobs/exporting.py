"""The body of `export`: a trained model in one folder, whole or not at all, and on a hub where that is asked for."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lvm_lab import __version__
from lvm_lab.build import exported
from lvm_lab.build.load import checkpoint_file, load
from lvm_lab.config.export import ExportSettings
from lvm_lab.errors import UserError
from lvm_lab.files import sha256, to_disk, write_atomically
from lvm_lab.jobs.export_graphs import INPUT, Made, NoGraph, contexts, to_onnx, to_torch_export
from lvm_lab.model import LatentVectorModel
from lvm_lab.reporting import export as report
from lvm_lab.reporting.plots import record
from lvm_lab.runs import exports, reading
from lvm_lab.text.installed import needed

log = logging.getLogger(__name__)


def export(settings: ExportSettings) -> dict[str, Any]:
    """Write the folder, and give what its export.json says.

    Raises UserError for a run without a model, for a place that is taken, and where no format that was asked for can be
    had.
    """
    folder = settings.folder
    check_free(folder)
    # A folder's model is that of its numbers: a run that is not finished has none.
    file = checkpoint_file(reading.checkpoint_of(Path(settings.run[0])))
    model = load(file, allow=settings.allow)
    with building(folder) as place:
        return write(model, file, place, list(settings.formats), latency=settings.latency, name=folder.name)


def write(
    model: LatentVectorModel, file: Path, place: Path, formats: list[str], *, latency: bool, name: str
) -> dict[str, Any]:
    """Everything of an export, in an empty folder. file: the checkpoint that the model is of; name: the folder's in its
    card."""
    made: dict[str, Made] = {}
    left_out: dict[str, str] = {}
    if "safetensors" in formats:
        exported.write(model, place)
    about = {"contract": json.dumps(model.contract), "lvm_lab": __version__, INPUT: report.input_words(model.contract)}
    graphs: dict[str, Callable[[], Made]] = {
        "onnx": lambda: to_onnx(model, place / exports.ONNX, latency=latency, metadata=about),
        "torch_export": lambda: to_torch_export(model, place / exports.TORCH_EXPORT, latency=latency),
    }
    for kind in [kind for kind in graphs if kind in formats]:
        log.info("making %s", kind)
        try:
            made[kind] = graphs[kind]()
        except NoGraph as error:
            left_out[kind] = str(error)
    if left_out and not made and "safetensors" not in formats:
        kind, reason = next(iter(left_out.items()))
        raise UserError(f"{file} cannot be exported as {kind} ({reason}); add safetensors to the formats.")
    if "onnx" in made:
        write_atomically(place / exports.EXAMPLE, report.example(contexts(model, 1, 1).shape[-1], model.context_length))
    node = {
        "version": __version__,
        "checkpoint": str(file),
        "sha256": sha256(file),
        "arch": model.config["arch"]["name"],
        "safetensors": "safetensors" in formats,
        "graphs": {kind: asdict(one) for kind, one in made.items()},
        "left_out": left_out,
    }
    write_atomically(place / exports.CARD, report.card(_record(file), model.contract, node, name))
    node["files"] = {item.name: sha256(item) for item in sorted(place.iterdir())}
    write_atomically(place / exports.REPORT, json.dumps(node, indent=2, allow_nan=False) + "\n")
    return node


def check_free(folder: Path) -> None:
    """UserError where an export would stand in the place of something."""
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already; name another out=FOLDER, or move it away.")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A folder to write in that becomes `folder`, durably, once it is whole; an exception within leaves nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    # Made by itself, so that it has the rights that a user's new folders have.
    place = hidden / folder.name
    try:
        place.mkdir()
        yield place
        for item in place.iterdir():
            to_disk(item)
        to_disk(place)
        os.replace(place, folder)
        to_disk(folder.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload an export to a Hugging Face hub, made there if need be, and give its address.

    The account is huggingface_hub's own matter (`hf auth login`, HF_TOKEN), and so is the hub (HF_ENDPOINT). Raises
    UserError for what the hub refuses.
    """
    hub = needed("huggingface_hub", "export")
    errors = (hub.errors.HfHubHTTPError, hub.errors.LocalTokenNotFoundError, hub.errors.HFValidationError, OSError)
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"lvm_lab {__version__}: {folder.name}"
        )
    except errors as error:
        words = " ".join(str(error).split())[:300]
        raise UserError(
            f"{folder} is whole, but {repository} did not take it ({words}); log in with hf auth login, or look at "
            "the repository's name and rights."
        ) from error
    return str(done.commit_url)


def _record(file: Path) -> record.Record | None:
    """What the run recorded whose folder the checkpoint lies in; None where it lies in none, or is not ended."""
    try:
        return record.read(file.parent.parent)
    except UserError:
        return None
