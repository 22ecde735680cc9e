"""What computes a served model's predictions: torch, or the model's graph in onnxruntime where it has one.

Shape suffixes: B contexts, L context length, D vector dim.
"""

from __future__ import annotations

import logging
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from lvm_lab.build.load import checkpoint_file, load
from lvm_lab.config.serving import ServeSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs.export_graphs import NoGraph, Runner, largest_difference, onnx_runner, reason_of, to_onnx
from lvm_lab.judge.predictions import predict
from lvm_lab.model import LatentVectorModel
from lvm_lab.runs.exports import ONNX, lengths_of_onnx, weights_in

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """predict: context_BLD to raw_BD and unit_BD, as the batcher calls it. reason: why it is this one."""

    predict: Runner
    name: str
    reason: str


def engine_of(settings: ServeSettings, model: LatentVectorModel, path: Path) -> Engine:
    """As the settings ask, and torch for a model that has no graph. path: what the model was loaded from.

    A graph that lies beside the model's weights is taken, another is made. Raises UserError for one that its report
    does not vouch for, and where a package is missing.
    """
    device = model.mean_D.device

    def in_torch(context_BLD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return predict(model.forward, context_BLD, device=device)

    if settings.engine == "torch":
        return Engine(in_torch, "torch", "the server was started with engine=torch")
    try:
        if device.type != "cpu":
            raise NoGraph(f"the model is on {device.type}, and graphs are computed on the CPU")
        run, lengths, source = _graph(settings, checkpoint_file(path))
        with torch.inference_mode():
            largest_difference(model, run, lengths)
    except UserError:
        raise
    except Exception as error:  # onnxruntime raises what its many parts do, and a process may be ended
        reason = reason_of(error)
        log.warning("torch computes the predictions of %s, whose graph cannot be had: %s", path, reason)
        return Engine(in_torch, "torch", f"its graph cannot be had: {reason}")
    every = lengths == list(range(1, model.context_length + 1))
    words = "" if every else f", for contexts of {', '.join(map(str, lengths))}; torch reads others"
    return Engine(by_length(run, lengths, in_torch), "onnxruntime", f"its graph was {source}{words}")


def by_length(run: Runner, lengths: list[int], otherwise: Runner) -> Runner:
    """A graph for contexts of its lengths, and what reads all others."""
    return lambda context_BLD: (run if context_BLD.shape[1] in lengths else otherwise)(context_BLD)


def _graph(settings: ServeSettings, file: Path) -> tuple[Runner, list[int], str]:
    """The graph, the lengths of contexts that it is for, and where it is from. file: the model's weights."""
    threads = settings.device.threads or 1
    folder = file.parent
    if file == weights_in(folder) and (folder / ONNX).is_file():
        # Nothing is opened that is not vouched for.
        lengths = lengths_of_onnx(folder)
        return onnx_runner(folder / ONNX, threads), lengths, "exported with it"
    # In a process of its own: a capture would hold up, and change, what the models of this one do meanwhile.
    with (
        tempfile.TemporaryDirectory(prefix="lvm_lab-") as place,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        graph = Path(place, ONNX)
        lengths = pool.submit(_write, file, settings.allow, graph).result()
        return onnx_runner(graph, threads), lengths, "made as it was loaded"


def _write(file: Path, allow: list[str], graph: Path) -> list[int]:
    return to_onnx(load(file, allow=allow), graph, latency=False, metadata={}).lengths
