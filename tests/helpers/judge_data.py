"""Small synthetic stores and predictors that the judge's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from lvm_lab.config.presets import Preset
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, write_store
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.types import Prediction

CONF = Path(__file__).parents[2] / "conf" / "five_cat"
LENGTH = 16
DIM = 256


def preset(name: str = "standard", **changes: object) -> Preset:
    """conf/five_cat/<name>.yaml over standard.yaml, as Hydra would merge them."""

    def merged(base: dict, over: dict) -> dict:
        both = {k: merged(base[k], v) if isinstance(v, dict) and k in base else v for k, v in over.items()}
        return {**base, **both}

    config = yaml.safe_load((CONF / "standard.yaml").read_text())
    if name != "standard":
        own = yaml.safe_load((CONF / f"{name}.yaml").read_text())
        assert own.pop("defaults") == ["standard", "_self_"]
        config = merged(config, own)
    return Preset.from_dict(merged(config, {"resamples": 200, **changes}))


def moving_average(documents: int, seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """Unit vectors, each half of its neighbour: cosine about .5 to the next and 0 to all further ones."""
    steps = np.random.default_rng(seed).standard_normal((documents, length + 1, DIM))
    vectors = steps[:, 1:] + steps[:, :-1]
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.reshape(-1, DIM).astype(np.float32)


def windows_of(
    path: Path,
    vectors_ND: np.ndarray,
    lengths: list[int] | int = LENGTH,
    *,
    context_length: int = 5,
    min_context: int | None = None,
    isolated: bool = False,
    normalised: bool = True,
) -> Windows:
    """All windows of a new store whose documents have the given lengths."""
    if isinstance(lengths, int):
        lengths = [lengths] * (len(vectors_ND) // lengths)
    names = [f"d{i}" for i in range(len(lengths))]
    ends = np.cumsum(lengths)
    documents = Documents(names, names, ["test"] * len(names), ends - lengths, np.array(lengths))
    store = write_store(path, vectors_ND, documents, EncoderContract(normalised=normalised), isolated=isolated)
    return index_windows(store, np.arange(len(names)), context_length, min_context=min_context)


class Leaky:
    """Knows every window of the given parts by heart: the vector at `offset`, and zeros for any other context."""

    def __init__(self, *parts: Windows, offset: int = 1) -> None:
        self.known: dict[bytes, np.ndarray] = {}
        for windows in parts:
            some = windows.select(windows.has(1, offset))
            for context, answer in zip(some.context(), some.vectors(some.rows(offset)), strict=True):
                self.known[context.tobytes()] = answer

    def __call__(self, context_BLD: torch.Tensor) -> Prediction:
        nothing = np.zeros(context_BLD.shape[-1], dtype=np.float32)
        found = torch.from_numpy(np.stack([self.known.get(c.tobytes(), nothing) for c in context_BLD.numpy()]))
        return Prediction(found, found)


def predictor(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], Prediction]:
    return lambda context_BLD: Prediction.from_raw(function(context_BLD))


def linear(dim: int, length: int = 5, seed: int = 0) -> Callable[[torch.Tensor], Prediction]:
    """Depends on everything in the context and on its order; raw is not of unit length."""
    weight = torch.randn(length * dim, dim, generator=torch.Generator().manual_seed(seed)) / dim**0.5
    return predictor(lambda x: 3 * x[:, -1] + x.flatten(1) @ weight)
