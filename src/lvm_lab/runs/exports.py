"""The files of an exported model and how they are known on disk: weights, what they say of themselves, what is made of
them; no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.files import sha256

WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"
ONNX, EXAMPLE, TORCH_EXPORT, REPORT = "model.onnx", "run_onnx.py", "model.pt2", "export.json"
# Of config.json: what a later version has to be able to tell from its own.
FORMAT = "lvm_lab_export"
VERSION = 1
# What reading a report, and looking into it, raises where it is damaged.
UNREADABLE = (OSError, ValueError, TypeError, LookupError, RecursionError)


def weights_in(folder: Path) -> Path | None:
    """The weights of the exported model that a folder holds; None where it holds none."""
    file = folder / WEIGHTS
    return file if file.is_file() and (folder / DESCRIPTION).is_file() else None


def lengths_of_onnx(folder: Path) -> list[int]:
    """Of contexts, those that the graph in a folder is for, as the report beside it says.

    Raises UserError where it is not the file that the report is of.
    """
    file = folder / REPORT
    try:
        node = _report(folder)
        lengths, content = [int(one) for one in node["graphs"]["onnx"]["lengths"]], node["files"][ONNX]
    except UNREADABLE as error:
        raise UserError(f"{file} does not vouch for {ONNX} beside it; export the model anew.") from error
    if sha256(folder / ONNX) != content:
        raise UserError(f"{folder / ONNX} is not the file that {REPORT} beside it is of; export the model anew.")
    return lengths


def description(folder: Path) -> dict[str, Any]:
    """What config.json says of the model beside it.

    Raises UserError for a file that cannot be read, and for one of another format.
    """
    file = folder / DESCRIPTION
    try:
        node = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing, which says what {WEIGHTS} beside it is; export the model anew.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}); export the model anew.") from error
    if not isinstance(node, dict) or FORMAT not in node or not isinstance(node.get("identity"), dict):
        raise UserError(f"{file} is no description of an exported model; name a folder that lvm-lab export wrote.")
    if node[FORMAT] != VERSION:
        raise UserError(f"{file} is of format {node[FORMAT]}, which this version does not know; export the model anew.")
    return node


def recorded(folder: Path) -> dict[str, str]:
    """The sha256 of weights and description as they were written, by export.json; empty where it is not there.

    Raises UserError where it says something else.
    """
    file = folder / REPORT
    try:
        files = _report(folder)["files"]
        return {name: files[name] for name in (WEIGHTS, DESCRIPTION)}
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}); export the model anew.") from error


def _report(folder: Path) -> Any:
    """What export.json holds; raises one of UNREADABLE where it cannot be had."""
    return json.loads((folder / REPORT).read_text(encoding="utf-8"))
