"""Document-diverse batches: a seeded order of the windows in which no batch leans on one document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from lvm_lab.errors import UserError


def count_batches(document_W: np.ndarray, batch_size: int, max_per_doc: int, unit: str = "windows") -> int:
    """The most full batches that an epoch can have with at most `max_per_doc` windows of a document in each.

    unit: what is batched, for the refusal of what fills no batch.
    """
    _, counts = np.unique(document_W, return_counts=True)
    batches = len(document_W) // batch_size
    while batches and np.minimum(counts, max_per_doc * batches).sum() < batches * batch_size:
        batches -= 1
    if batches == 0:
        raise UserError(
            f"{len(document_W)} training {unit} of {len(counts)} documents cannot fill one batch of {batch_size} with "
            f"at most {max_per_doc} {unit} a document; lower trainer.batch_size or raise data.max_per_doc."
        )
    return batches


def diverse_batches(document_W: np.ndarray, batch_size: int, max_per_doc: int, seed: int, epoch: int) -> np.ndarray:
    """An epoch's batches as positions of windows, batches x batch_size, a function of (seed, epoch) alone.

    Every window stands at most once; what does not fit (a long document's surplus, the last
    incomplete batch) is drawn anew each epoch. Windows are dealt out document by document like
    cards, so that a document's share of the batches is as even as it can be.
    """
    rng = np.random.default_rng([seed, epoch])
    batches = count_batches(document_W, batch_size, max_per_doc)
    documents, inverse = np.unique(document_W, return_inverse=True)
    order = rng.permutation(len(document_W))

    place_of_document = rng.permutation(len(documents))
    queue = order[np.argsort(place_of_document[inverse[order]], kind="stable")]
    place = place_of_document[inverse[queue]]
    counts = np.bincount(place)
    turn = np.arange(len(queue)) - np.repeat(np.cumsum(counts) - counts, counts)
    queue = queue[turn < max_per_doc * batches]
    surplus = len(queue) - batches * batch_size
    queue = np.delete(queue, rng.choice(len(queue), surplus, replace=False))
    return rng.permuted(rng.permutation(queue.reshape(batch_size, batches).T), axis=1)


class Mix:
    """Weights of what is drawn: 2 has it come twice an epoch, 0.5 every second one, drawn anew each epoch.

    How often a document's windows come is one number for all epochs, within one of weight times windows, and over all
    documents exact to one: every epoch has as many batches. weight_W: equal for what is of one document.
    """

    def __init__(self, document_W: np.ndarray, weight_W: np.ndarray) -> None:
        _, self.inverse_W = np.unique(document_W, return_inverse=True)
        self.size_D = np.bincount(self.inverse_W)
        # Rounded over documents and not for each: a weight of a tenth takes of every tenth of the small ones.
        until_D = np.cumsum(np.bincount(self.inverse_W, weights=weight_W))
        self.count_D = np.diff(np.floor(until_D + 0.5).astype(np.int64), prepend=0)

    @property
    def document_W(self) -> np.ndarray:
        """The document of everything that an epoch draws."""
        return np.repeat(np.arange(len(self.count_D)), self.count_D)

    def positions(self, seed: int, epoch: int) -> np.ndarray:
        """What an epoch draws, a function of (seed, epoch) alone; nothing comes k + 1 times before all others of its
        document came k times."""
        # Apart from the streams that segments and batches are drawn from.
        rng = np.random.default_rng(np.random.SeedSequence([seed, epoch], spawn_key=(2,)))
        order = rng.permutation(len(self.inverse_W))
        order = order[np.argsort(self.inverse_W[order], kind="stable")]
        document = self.inverse_W[order]
        turn = np.arange(len(order)) - (np.cumsum(self.size_D) - self.size_D)[document]
        whole, rest = np.divmod(self.count_D, self.size_D)
        return np.repeat(order, whole[document] + (turn < rest[document]))


def weighed(weight_W: np.ndarray | None, document_W: np.ndarray) -> Mix | None:
    """The mix of weights; None where every one is 1 and an epoch goes through all."""
    return None if weight_W is None or (weight_W == 1).all() else Mix(document_W, weight_W)


@dataclass(frozen=True)
class Draw:
    """One global batch: positions of windows, and the seed of whatever else is drawn for it."""

    positions: np.ndarray
    seed: tuple[int, ...]


class DiverseBatches(Sampler[Draw]):
    """Yields each epoch's global batches; Lightning calls `set_epoch`. weight_W: see `Mix`."""

    def __init__(
        self,
        document_W: np.ndarray,
        batch_size: int,
        max_per_doc: int,
        seed: int,
        weight_W: np.ndarray | None = None,
    ) -> None:
        self.document_W, self.batch_size, self.max_per_doc, self.seed = document_W, batch_size, max_per_doc, seed
        self.mix = weighed(weight_W, document_W)
        drawn_W = document_W if self.mix is None else self.mix.document_W
        self.length = count_batches(drawn_W, batch_size, max_per_doc)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Draw]:
        drawn = np.arange(len(self.document_W)) if self.mix is None else self.mix.positions(self.seed, self.epoch)
        document_W = self.document_W[drawn]
        batches = drawn[diverse_batches(document_W, self.batch_size, self.max_per_doc, self.seed, self.epoch)]
        for number, batch in enumerate(batches):
            yield Draw(batch, (self.seed, self.epoch, number))


class Resumable(Sampler[Draw]):
    """A sampler's batches; `skip` leaves out the first of the next epoch, which a run that was cut off has trained on.

    A sampler that can be wrapped yields the draws of an epoch as a function of its seed and epoch alone, begins to draw
    no earlier than its first one is asked for (`set_epoch` comes after `iter`), and reads no vectors for a draw.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def skip(self, batches: int) -> None:
        self.skipped = batches

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Draw]:
        skipped, self.skipped = self.skipped, 0
        yield from islice(self.sampler, skipped, None)


class FixedBatches(Sampler[Draw]):
    """The same batches every time, in a seeded order that mixes documents; the last may be short."""

    def __init__(self, windows: int, batch_size: int, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(windows)
        starts = range(0, windows, batch_size)
        self.draws = [Draw(order[i : i + batch_size], (seed, i)) for i in starts]

    def __len__(self) -> int:
        return len(self.draws)

    def __iter__(self) -> Iterator[Draw]:
        return iter(self.draws)
