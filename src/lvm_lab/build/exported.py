"""A model as safetensors and JSON, in place of a checkpoint: written whole, and read back as what a checkpoint holds.

No pickle: tensors of the weights and of what the model says of itself lie in one safetensors file, all else in JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lvm_lab.errors import UserError
from lvm_lab.files import sha256, write_atomically
from lvm_lab.model import KEY, LatentVectorModel
from lvm_lab.runs.exports import DESCRIPTION, FORMAT, VERSION, WEIGHTS, description, recorded
from lvm_lab.text.installed import needed

# Names of tensors of the identity, which no weight has; in JSON the place of one says its name.
PREFIX = f"{KEY}."
TENSOR = "_tensor_"


def write(model: LatentVectorModel, folder: Path) -> None:
    """WEIGHTS and DESCRIPTION of a loaded model, in an existing folder.

    Raises UserError where safetensors is not installed.
    """
    safetensors = needed("safetensors.torch", "export")
    # Its loss's parameters stay behind, so that their number has to be said.
    identity = model.identity | {"loss_parameters": model.loss_parameters}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    assert not any(name.startswith(PREFIX) for name in tensors), "a weight has the name of an identity's tensor"
    node = _taken_out(identity, "", tensors)
    content = json.dumps({FORMAT: VERSION, "identity": node}, indent=2, allow_nan=False)
    write_atomically(folder / WEIGHTS, safetensors.save(tensors, metadata={"format": "pt"}))
    write_atomically(folder / DESCRIPTION, content + "\n")


def read(file: Path) -> dict[str, Any]:
    """What a checkpoint of the same model holds: `state_dict` and, under KEY, what it says of itself.

    Raises UserError for files that are damaged, of another format, or not as export.json beside them has them.
    """
    safetensors = needed("safetensors.torch", "export")
    identity = description(file.parent)["identity"]
    try:
        tensors: dict[str, Tensor] = safetensors.load_file(file)
        state = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
        checkpoint = {"state_dict": state, KEY: _put_back(identity, tensors)}
    except Exception as error:  # safetensors raises what its reader happens to raise on a damaged file
        raise UserError(f"{file} is no whole export ({type(error).__name__}); export the model anew.") from error
    for name, content in recorded(file.parent).items():
        if sha256(file.parent / name) != content:
            raise UserError(f"{file.parent / name} was changed since it was exported; export the model anew.")
    return checkpoint


def _taken_out(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The node for JSON, its tensors moved to `tensors` by their paths."""
    if isinstance(node, dict):
        assert all(isinstance(key, str) for key in node), "JSON has texts for keys"
        return {key: _taken_out(value, f"{path}.{key}".lstrip("."), tensors) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_taken_out(value, f"{path}.{place}".lstrip("."), tensors) for place, value in enumerate(node)]
    if isinstance(node, torch.Tensor):
        tensors[PREFIX + path] = node.detach().cpu().contiguous().clone()
        return {TENSOR: PREFIX + path}
    return node


def _put_back(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, dict):
        if set(node) == {TENSOR}:
            return tensors[node[TENSOR]]
        return {key: _put_back(value, tensors) for key, value in node.items()}
    return [_put_back(value, tensors) for value in node] if isinstance(node, list) else node
