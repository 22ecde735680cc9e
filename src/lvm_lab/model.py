"""A latent vector model as plain PyTorch: normaliser, backbone and head, and its checkpoint at rest.

Shape suffixes: B windows, L context length, K last vectors of a context, D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab import __version__
from lvm_lab.config.data import DataSettings
from lvm_lab.config.sources import without_secrets
from lvm_lab.data.tmd import COLUMNS, Names
from lvm_lab.errors import UserError
from lvm_lab.nn.head import Head
from lvm_lab.nn.noise import Draws
from lvm_lab.nn.normaliser import Normaliser
from lvm_lab.types import Backbone, Prediction, Reading, Stats

# Where a checkpoint says what it is; every other key of it is Lightning's.
KEY = "lvm_lab"
# What a loss learned (a temperature), of the model or of an ensemble's member: no prediction needs it.
LOSS = re.compile(r"(^|\.members\.\d+\.)loss\.")
GOLDEN_TOLERANCE = 1e-2


class LatentVectorModel(nn.Module):
    """`predict` is the whole interface to decoders and servers; it knows no trainer and no config library.

    normaliser: what the context goes through on its way in, where one is asked for.
    identity: what its checkpoint says of it: config, contract (of the encoder), version, golden_input and, once it was
        saved, golden_output.
    condition: what conditions it on TMD codes, whose columns then stand behind every vector that it reads.
    loss_parameters: how many numbers the loss of its training learned; they are not loaded.
    """

    mean_D: Tensor
    std_D: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        stats: Stats,
        identity: dict[str, Any],
        condition: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Backbone | nn.Module = backbone
        self.head = head
        self.register_buffer("mean_D", stats.mean_D.clone())
        self.register_buffer("std_D", stats.std_D.clone())
        self.normaliser = nn.Identity() if stats.centre_D is None else Normaliser(stats)
        self.condition = condition
        self.identity = identity
        self.loss_parameters = 0

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config of its training."""
        config: dict[str, Any] = self.identity["config"]
        return config

    @property
    def contract(self) -> dict[str, Any]:
        """What made the vectors that it was trained on."""
        contract: dict[str, Any] = self.identity["contract"]
        return contract

    @property
    def tmd(self) -> Names | None:
        """What the TMD codes mean that it reads; None: it reads vectors alone."""
        return None if self.condition is None else Names.read(self.identity.get("tmd", {}).get("names", {}))

    @property
    def context_length(self) -> int:
        """How many vectors it was trained to read."""
        return int(self.config["data"]["context_length"])

    @property
    def windows_read(self) -> DataSettings:
        """How its training read windows: `lengths` are those of contexts that it may be asked of."""
        return DataSettings.of_windows(self.config["data"])

    @property
    def stats(self) -> Stats:
        return Stats(self.mean_D, self.std_D)

    def read(self, context_BLD: Tensor, every: bool = False) -> Reading:
        """The backbone's states over the context, for a prediction after its end or after every position."""
        # A model in training may be of float64, and vectors are float32.
        context_BLD = context_BLD.to(self.mean_D.dtype)
        vectors_BLD = context_BLD[..., : len(self.mean_D)]
        return Reading(vectors_BLD, self.backbone(self._conditioned(context_BLD)), every)

    def _conditioned(self, context_BLD: Tensor) -> Tensor:
        """What the backbone gets: normalised vectors, conditioned on the columns of codes behind them."""
        if self.condition is None:
            return self.normaliser(context_BLD)
        dim = len(self.mean_D)
        x: Tensor = self.condition(self.normaliser(context_BLD[..., :dim]), context_BLD[..., dim:])
        return x

    def predict(self, context_BLD: Tensor) -> Prediction:
        """The next vector after each context.

        context_BLD: a float tensor on the model's device, windows x length x dim, oldest vector first, all finite; for
        data.tmd with the 15 columns of each chunk's code behind its vector.
        Raises TypeError and ValueError, with the shape that is wanted, for any other.
        """
        self._check(context_BLD)
        return self(context_BLD)

    def forward(self, context_BLD: Tensor) -> Prediction:
        """`predict` for judges and trainers, whose contexts have the right shape and may hold a bad model's NaN."""
        reading = self.read(context_BLD)
        prediction: Prediction = self.head(reading.hidden_NH, reading)
        return prediction

    @property
    def generative(self) -> bool:
        """Whether its head draws, so that `draw` is open to it."""
        return self.head.generative

    def draw(self, context_BLD: Tensor, draws: Draws) -> Prediction:
        """`forward` of a generative head, by draws that are asked for and not by the head's own."""
        reading = self.read(context_BLD)
        return self.head.draw(reading.hidden_NH, reading, draws)

    def _check(self, context_BLD: Tensor) -> None:
        dim = len(self.mean_D)
        if self.condition is not None:
            dim += COLUMNS
        shape = f"(windows, {self.windows_read.length_words}, {dim})"
        wanted = f"a context is a float tensor of shape {shape}, oldest vector first"
        if self.condition is not None:
            wanted += f", the {COLUMNS} columns of each chunk's TMD code (lvm_lab.data.tmd.columns) behind its vector"
        if not isinstance(context_BLD, Tensor):
            way_out = " (torch.from_numpy makes one of an array)" if hasattr(context_BLD, "__array__") else ""
            raise TypeError(f"this is {type(context_BLD).__name__}; {wanted}{way_out}.")
        if not context_BLD.is_floating_point():
            raise TypeError(f"this tensor is of {context_BLD.dtype}; {wanted}.")
        given = tuple(context_BLD.shape)
        if len(given) != 3 or given[1] == 0 or given[2] != dim:
            raise ValueError(f"this tensor has shape {given}; {wanted}.")
        if context_BLD.device != self.mean_D.device:
            raise ValueError(
                f"this tensor is on {context_BLD.device} and the model on {self.mean_D.device}; move one of them with "
                ".to(DEVICE)."
            )
        if not bool(context_BLD.isfinite().all()):
            raise ValueError(f"this tensor holds NaN or infinite numbers; {wanted}, all of them finite.")

    def step(self, x_BD: Tensor, state: dict[str, Any] | None = None) -> tuple[Prediction, dict[str, Any]]:
        """One more vector of each sequence: (`predict` on all that was read so far, the next state); None begins.

        The state holds the backbone's and what the head looks back on: the last vectors, their mean, and for
        head=two_tower, which reads every state of the backbone, all of these, so that it grows with each step.
        Raises UserError for a backbone that cannot read one vector at a time.
        """
        backbone: Any = self.backbone
        if not (backbone.causal and hasattr(backbone, "step")):
            raise UserError(
                f"arch={self.config['arch']['name']} reads a context as a whole and cannot go step by step; "
                "call predict on the context."
            )
        before: dict[str, Any] = {} if state is None else state
        hidden_BH, inner = backbone.step(self._conditioned(x_BD), before.get("backbone"))
        x_BD = x_BD[:, : len(self.mean_D)]
        context_BKD = _longer(before.get("context_BKD"), x_BD)[:, -self.head.looks_back :]
        hidden_BLH = _longer(before.get("hidden_BLH") if self.head.reads_every_state else None, hidden_BH)
        sum_BD, count = before.get("sum_BD", 0) + x_BD, before.get("count", 0) + x_BD.new_ones(())
        reading = Reading(context_BKD, hidden_BLH, mean_BD=sum_BD / count)
        after = {"backbone": inner, "context_BKD": context_BKD, "sum_BD": sum_BD, "count": count}
        if self.head.reads_every_state:
            after["hidden_BLH"] = hidden_BLH
        return self.head(reading.hidden_NH, reading), after

    def golden_output(self, golden_BLD: Tensor) -> Tensor:
        """The raw prediction for a fixed input, in evaluation mode, on the CPU: checked when a checkpoint is loaded."""
        training = self.training
        self.eval()
        with torch.no_grad():
            output_BD = self.forward(golden_BLD.to(self.mean_D.device, self.mean_D.dtype)).raw_ND.float().cpu()
        self.train(training)
        return output_BD


def _longer(past_BLX: Tensor | None, x_BX: Tensor) -> Tensor:
    return x_BX[:, None] if past_BLX is None else torch.cat([past_BLX, x_BX[:, None]], dim=1)


def identity(config: dict[str, Any], contract: dict[str, Any], dim: int) -> dict[str, Any]:
    """What every checkpoint of a run says of itself, with the input of the golden pair."""
    generator = torch.Generator().manual_seed(0)
    length = config["data"]["context_length"]
    golden_BLD = F.normalize(torch.randn(2, length, dim, generator=generator), dim=-1)
    if config["data"].get("tmd"):
        codes_BLC = torch.randint(2, (2, length, COLUMNS), generator=generator) * 2.0 - 1
        golden_BLD = torch.cat([golden_BLD, codes_BLC], dim=-1)
    return {"config": without_secrets(config), "contract": contract, "version": __version__, "golden_input": golden_BLD}


def read_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """The checkpoint's contents, by the weights-only unpickler.

    Raises UserError where there is no such file, or none that can be read.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file; name a .ckpt file or a run's folder.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a .ckpt file or a run's folder.")
    try:
        contents: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises what its readers happen to raise on a damaged file
        raise UserError(f"{path} is no readable checkpoint ({type(error).__name__}); take another one.") from error
    return contents


def restore(model: LatentVectorModel, checkpoint: dict[str, Any], name: str) -> None:
    """Load the weights, all but the loss's, and compare the golden pair.

    Raises UserError where names, shapes or the golden output do not match: two classes with equal
    parameter names would load each other's weights without a word.
    """
    try:
        state = checkpoint["state_dict"]
        model.load_state_dict({key: value for key, value in state.items() if not LOSS.search(key)}, strict=True)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{name} does not fit the architecture that its config names; take another one.") from error
    _count_loss_parameters(model, state)
    recorded = checkpoint[KEY]
    output_BD = model.golden_output(recorded["golden_input"])
    golden_BD = recorded["golden_output"]
    difference = float((output_BD - golden_BD).abs().max() / golden_BD.abs().max())
    if not difference < GOLDEN_TOLERANCE:
        raise UserError(
            f"{name} gives another output than when it was saved (golden pair differs by {difference:.1%}); "
            f"it was written by version {recorded['version']}: load it with that one."
        )


def _count_loss_parameters(model: LatentVectorModel, state: dict[str, Tensor]) -> None:
    for place, part in model.named_modules():
        if isinstance(part, LatentVectorModel):
            # A strategy's own among them are of its training alone, and are not counted.
            prefix = f"{place}.loss.terms." if place else "loss.terms."
            count = sum(value.numel() for key, value in state.items() if key.startswith(prefix))
            # The members of a joined checkpoint come without their losses and say the number themselves.
            part.loss_parameters = count or part.loss_parameters
