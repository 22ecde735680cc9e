"""A model as a graph for other programs, ONNX or torch.export, held against the model it was made of.

Shape suffixes: B windows, L context length, D vector dim, N predictions.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.data.tmd import COLUMNS
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.judge.latency import side_by_side
from lvm_lab.model import LatentVectorModel
from lvm_lab.text.installed import needed

# Of the largest entry: how far a graph's outputs may be from the model's.
TOLERANCE = 1e-5
INPUT, OUTPUTS = "context", ("raw", "unit")
BATCHES = (1, 2, 7)
# The example that a capture goes through: neither a batch nor a length of 1, which it would take for fixed.
EXAMPLE_BATCH = 3
# What torch.export says at length of a model whose Python counts vectors.
FIXED = ("your code specialized it to be a constant", "conflicts between user-specified ranges and inferred ranges")
# context_BLD to raw_ND and unit_ND.
Runner = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Graph(nn.Module):
    """Vectors of the encoder in, `raw_ND` and `unit_ND` out: normaliser and the head's inverse are within."""

    def __init__(self, model: LatentVectorModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.model(context)
        return prediction.raw_ND, prediction.unit_ND


@dataclass(frozen=True)
class Made:
    """A graph that was written. lengths: of contexts, those it was held against. difference: the largest, of the
    largest entry. note: why it is not of every length. latency: milliseconds a call at batch 1, torch's beside it."""

    file: str
    lengths: list[int]
    difference: float
    note: str = ""
    latency: dict[str, dict[str, float]] = field(default_factory=dict)


class NoGraph(Exception):
    """Why a model has no graph of a kind, to stand after its name."""


def to_onnx(model: LatentVectorModel, file: Path, *, latency: bool, metadata: dict[str, str]) -> Made:
    """Write an ONNX file and hold it against the model in onnxruntime. metadata: goes into the file.

    Raises NoGraph with the reason where there is none, UserError where a package is missing, OSError of a full disk.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed(package, "export")

    def write(context_BLD: Tensor, dynamic: dict[int, Any]) -> Runner:
        shapes = {INPUT: dynamic}
        named: dict[str, Any] = {"input_names": [INPUT], "output_names": list(OUTPUTS), "external_data": False}
        program = torch.onnx.export(
            Graph(model).eval(), (context_BLD,), dynamo=True, dynamic_shapes=shapes, verbose=False, **named
        )
        assert program is not None, "torch.onnx.export with dynamo gives a program"
        program.model.metadata_props.update(metadata)
        program.save(str(file), external_data=False)
        return onnx_runner(file)

    return _made(model, file, write, "onnxruntime" if latency else None)


def onnx_runner(file: Path, threads: int = 1) -> Runner:
    """An ONNX file as onnxruntime computes it on the CPU; the file is needed no more. Raises what onnxruntime does for
    one that it cannot read, UserError where it is not installed."""
    runtime = needed("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda context_BLD: tuple(session.run(list(OUTPUTS), {INPUT: context_BLD}))


def to_torch_export(model: LatentVectorModel, file: Path, *, latency: bool) -> Made:
    """Write what `torch.export.load` reads, and hold it against the model. Raises NoGraph as `to_onnx`."""

    def write(context_BLD: Tensor, dynamic: dict[int, Any]) -> Runner:
        program = torch.export.export(Graph(model).eval(), (context_BLD,), dynamic_shapes=(dynamic,))
        # Its writer says of a full disk nothing that could be told from what else it refuses.
        content = io.BytesIO()
        torch.export.save(program, content)
        write_atomically(file, content.getbuffer())
        again = torch.export.load(file).module()

        def run(context_BLD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raw_ND, unit_ND = again(torch.from_numpy(context_BLD))
            return raw_ND.numpy(), unit_ND.numpy()

        return run

    return _made(model, file, write, "torch_export" if latency else None)


def contexts(model: LatentVectorModel, batch: int, length: int) -> Tensor:
    """context_BLD: random vectors of unit length, with the columns of codes where the model reads them."""
    dim, draws = len(model.mean_D), torch.Generator().manual_seed(length)
    context_BLD = F.normalize(torch.randn(batch, length, dim, generator=draws), dim=-1)
    if model.condition is None:
        return context_BLD
    codes_BLC = torch.randint(2, (batch, length, COLUMNS), generator=draws) * 2.0 - 1
    return torch.cat([context_BLD, codes_BLC], dim=-1)


def _made(
    model: LatentVectorModel, file: Path, write: Callable[[Tensor, dict[int, Any]], Runner], timed: str | None
) -> Made:
    """A graph of every length, else of the context's length alone, and the reason. timed: its name beside torch's."""
    length = model.context_length
    dim = torch.export.Dim
    every = {0: dim.DYNAMIC, 1: dim.DYNAMIC}
    attempts = [(list(range(1, length + 1)), every)] if length > 1 else []
    note = ""
    for lengths, dynamic in [*attempts, ([length], {0: dim.DYNAMIC})]:
        try:
            with torch.no_grad(), _quiet(), _as_first_export():
                run = write(contexts(model, EXAMPLE_BATCH, length), dynamic)
                difference = largest_difference(model, run, lengths)
                times = _times(model, run, timed) if timed else {}
            return Made(file.name, lengths, difference, note, times)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # captures raise whatever their many parts do
            if isinstance(error, OSError) and error.errno is not None:
                # The machine's own matter: there may be a graph where it has room.
                raise
            note = reason_of(error)
        file.unlink(missing_ok=True)
    raise NoGraph(note)


def largest_difference(model: LatentVectorModel, run: Runner, lengths: list[int]) -> float:
    """The largest difference between a graph and its model, of the largest entry of each output.

    Raises NoGraph above TOLERANCE.
    """
    worst = 0.0
    for length in lengths if len(lengths) <= 8 else [*lengths[:4], *lengths[-2:]]:
        for batch in BATCHES:
            context_BLD = contexts(model, batch, length)
            wanted = Graph(model)(context_BLD)
            for have, want in zip(run(context_BLD.numpy()), wanted, strict=True):
                apart = float(np.abs(have - want.numpy()).max() / np.abs(want.numpy()).max())
                if not apart <= TOLERANCE:
                    raise NoGraph(f"at {length} vectors it is {apart:.0e} off, and {TOLERANCE:.0e} is allowed")
                worst = max(worst, apart)
    return worst


def _times(model: LatentVectorModel, run: Runner, name: str) -> dict[str, dict[str, float]]:
    context_BLD = contexts(model, 1, model.context_length)
    array_BLD, threads = context_BLD.numpy(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return side_by_side({"torch": lambda: model(context_BLD), name: lambda: run(array_BLD)})
    finally:
        torch.set_num_threads(threads)


def reason_of(error: Exception) -> str:
    """The first line of what a capture raised that says something, without colours."""
    cause = error.__cause__ if error.__cause__ is not None and not isinstance(error, NoGraph) else error
    lines = [line.strip(" -") for line in str(cause).splitlines() if line.strip(" -")]
    if any(words in str(cause) for words in FIXED):
        return "its trace takes the length of a context for fixed"
    line = (lines or [""])[0]
    return line if isinstance(error, NoGraph) else f"{type(cause).__name__}: {line}"[:160]


@contextlib.contextmanager
def _as_first_export() -> Iterator[None]:
    """Without what torch's operators hold of captures before: those of recurrent networks are lent a loop of any length
    by torch.onnx, which one that has resolved its kernel already never asks for, and would hand on to the next."""
    recurrent = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)
    try:
        for operator in recurrent:
            operator._dispatch_cache.clear()
        yield
    finally:
        for operator in recurrent:
            operator._dispatch_cache.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the many words of exporters on what they try."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
