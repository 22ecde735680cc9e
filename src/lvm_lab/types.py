"""The words every part shares: batches, predictions, statistics and the protocols between them.

Shape suffixes: B batch (windows, or segments of documents), L context length, D vector dim, H hidden dim, M negatives
a window or segment, N predictions (B; B x L when every position is supervised; the supervised places of B segments),
S draws or noise levels, Q levels of codes, K codes a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """The two outputs of every predictor.

    raw_ND: lives in the encoder's own distribution; what a decoder gets.
    unit_ND: its L2-normalised twin, for cosine, retrieval and contrastive losses.

    Generative heads add what their own loss reads, in the same units as raw, of which raw is the mean:
    draws_SND: several draws. denoised_SND: what is left of the target at several noise levels, noise_weight_SN
        the weight of each (1 on average). logits_QNK: of each level's codes, given the true codes before it; code_QN:
        the true ones.
    origin: the `output` of the prediction that these rows were selected from; None: of none.
    hidden_NH: the backbone's state behind each, where a training's loss reads it too.
    """

    raw_ND: Tensor
    unit_ND: Tensor
    draws_SND: Tensor | None = None
    denoised_SND: Tensor | None = None
    noise_weight_SN: Tensor | None = None
    origin: Tensor | None = None
    hidden_NH: Tensor | None = None
    logits_QNK: Tensor | None = None
    code_QN: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """The head's own output, which every other tensor is computed from; gradients are compared here."""
        if self.origin is not None:
            return self.origin
        several = (x for x in (self.logits_QNK, self.denoised_SND, self.draws_SND) if x is not None)
        return next(several, self.raw_ND)

    def float(self) -> Prediction:
        """The same in float32 at least: what mixed precision computed in fewer bits, for a loss."""
        narrow = (torch.float16, torch.bfloat16)
        wide = {name: x.float() if x is not None and x.dtype in narrow else x for name, x in vars(self).items()}
        return Prediction(**wide | {"origin": self.origin})

    def select(self, index_N: Tensor) -> Prediction:
        """The predictions at these rows, in that order: of every field along the N of its suffix."""
        rows: dict[str, Any] = {
            name: x.index_select(name.rpartition("_")[2].index("N"), index_N)
            for name, x in vars(self).items()
            if x is not None and name != "origin"
        }
        return Prediction(**rows, origin=self.output)

    @classmethod
    def from_raw(cls, raw_ND: Tensor) -> Prediction:
        return cls(raw_ND, F.normalize(raw_ND, dim=-1))


# Not frozen, and treated as if it were: the precision of a trainer converts a copy of it field by field.
@dataclass
class Batch:
    """What a loss sees beside the prediction. Vectors are float32, with trainer.precision=64-true float64.

    context_BLD: the vectors that were read, oldest first. Those of segments have their own lengths and are padded on
        the right: what stands there is read by no supervised place.
    target_ND: the vectors that come next; N = B, or B x L with row b * L + t the target of position t, or one row for
        each place of `index_N`.
    document_N: the document's number, to mask same-document rows among in-batch negatives.
    negatives_BMD, negatives_mask_BM: other chunks of the same document and which of them are real; None when the loss
        asks for none. A window's are none of its context and target; a segment's may be its own: see `place_BM`.

    code_BLC: the columns of the TMD code of each vector of the context, for a model that reads them.

    Of segments alone, None for windows:
    index_N: the supervised places, ascending, as b * L + t.
    pool_B: for each segment the row of N that stands for it among the in-batch candidates.
    place_BM: how far each negative lies behind the first vector of its segment, so that place t has read those of
        0 .. t and t + 1 is its target; negative before the segment.
    """

    context_BLD: Tensor
    target_ND: Tensor
    document_N: Tensor
    negatives_BMD: Tensor | None = None
    negatives_mask_BM: Tensor | None = None
    index_N: Tensor | None = None
    pool_B: Tensor | None = None
    place_BM: Tensor | None = None
    code_BLC: Tensor | None = None

    @property
    def read_BLD(self) -> Tensor:
        """What a model reads: the context, with the columns of codes behind its vectors where there are any."""
        if self.code_BLC is None:
            return self.context_BLD
        return torch.cat([self.context_BLD, self.code_BLC.to(self.context_BLD)], dim=-1)

    @property
    def ragged(self) -> bool:
        """Whether several devices have different numbers of rows of one global batch."""
        return self.index_N is not None

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return Batch(*(None if x is None else x.to(device) for x in vars(self).values()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reading:
    """What a head may look back on: the vectors that were read and the backbone's state after each.

    every: a prediction for each position (N = B x L), not for the last alone (N = B).
    mean_BD: the mean of all that was read, where context_BLD and hidden_BLH hold only the end of it.
    """

    context_BLD: Tensor
    hidden_BLH: Tensor
    every: bool = False
    mean_BD: Tensor | None = None

    @property
    def hidden_NH(self) -> Tensor:
        return self.rows(self.hidden_BLH)

    @property
    def last_ND(self) -> Tensor:
        """The last vector that each prediction was read from."""
        return self.rows(self.context_BLD)

    @property
    def mean_ND(self) -> Tensor:
        """The mean of all vectors that each prediction was read from."""
        if not self.every:
            return self.context_BLD.mean(1) if self.mean_BD is None else self.mean_BD
        count_L1 = torch.arange(1, self.context_BLD.shape[1] + 1, device=self.context_BLD.device)[:, None]
        return (self.context_BLD.cumsum(1) / count_L1).flatten(0, 1)

    def rows(self, x_BLX: Tensor) -> Tensor:
        """What there is after each position, for the predictions alone: N x ..."""
        return x_BLX.flatten(0, 1) if self.every else x_BLX[:, -1]


@dataclass(frozen=True)
class Stats:
    """Statistics of the training part's vectors, per dimension, in the encoder's own units.

    centre_D, scale_D, basis_DD: the input normaliser's, where one is asked for; basis holds directions as columns.
    codes_QKD: the codebooks of each level, where a head asks for them; those of a product quantiser have D / Q dims.
    """

    mean_D: Tensor
    std_D: Tensor
    centre_D: Tensor | None = None
    scale_D: Tensor | None = None
    basis_DD: Tensor | None = None
    codes_QKD: Tensor | None = None

    def standardise(self, x_ND: Tensor) -> Tensor:
        return (x_ND - self.mean_D) / self.std_D


@runtime_checkable
class Predictor(Protocol):
    """Anything that turns a context into a prediction: a model, a baseline, an oracle, a server."""

    def __call__(self, context_BLD: Tensor) -> Prediction: ...


class Backbone(Protocol):
    """A plain nn.Module. `causal`: hidden[:, t] depends on x[:, : t + 1] alone; `width` is H."""

    causal: bool
    width: int

    def __call__(self, x_BLD: Tensor) -> Tensor: ...


class StreamingBackbone(Backbone, Protocol):
    """A causal backbone that can also read one vector at a time: every causal architecture here is one.

    `step(x_BD, state) -> (hidden_BH, next state)`: hidden_BH is what the parallel form gives at the last place of
    everything read so far, in eval mode and up to rounding. None begins a sequence. A state is a tensor or a nested
    tuple, list or dict of tensors, with B as their first dim or without any where the rows share a number; it is never
    changed in place, so an older one can be stepped from again.
    """

    def step(self, x_BD: Tensor, state: Any | None = None) -> tuple[Tensor, Any]: ...


def state_bytes(state: Any) -> int:
    """Bytes of all tensors in the state of a StreamingBackbone; None, the beginning, has none."""
    if state is None:
        return 0
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(state_bytes(part) for part in state.values())
    if isinstance(state, tuple | list):
        return sum(state_bytes(part) for part in state)
    raise TypeError(f"a state holds tensors in tuples, lists and dicts, not {type(state).__name__}")


class Term(Protocol):
    """One loss term: a scalar that is 1, before its weight, for the trivial predictor that the term's docstring names.

    needs: what it reads of a prediction; the head has to feed it ("prediction", "draws", "denoised" or "codes").
    """

    needs: str

    def __call__(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor: ...


def count_parameters(module: torch.nn.Module) -> int:
    """The number of parameters of a module, frozen ones (an ensemble's members) included, and those that the loss of
    a trained model learned beside it (`loss_parameters`)."""
    losses = sum(getattr(part, "loss_parameters", 0) for part in module.modules())
    return sum(p.numel() for p in module.parameters()) + losses
