"""The planted world: documents whose next vector follows a known rule that needs order and several vectors.

A document turns through J fixed planes. Plane j has a fixed angle a_j of one sign (so that time has
a direction); a document has its own start phase in every plane, its own speed (so that two vectors or
more are needed to tell where it goes), a topic that stays, and its own level of noise:

    x_t = unit( sum_j amplitude_j * rotation(phase_j + speed * a_j * t) + topic + noise_t )

embedded by one random orthonormal basis. Phases are uniform, so one vector says nothing about the
direction of time, and the mean over documents is nothing to predict.

Shape suffixes: D vector dim, J planes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.source import Opened, Source
from lvm_lab.data.split import part_of
from lvm_lab.data.store import Documents, Store, open_made, write_store
from lvm_lab.errors import UserError

if TYPE_CHECKING:
    from lvm_lab.types import Predictor

GENERATOR_VERSION = 3
# A world is made in memory, and its basis takes the square of a part of its dimensions.
MOST_GIGABYTES, MOST_DIM = 32, 65_536
VARIANTS = ("forward", "reversed", "shuffled", "no_signal")


@dataclass(frozen=True)
class PlantedWorld(Source):
    """The world's parameters; equal parameters give equal worlds.

    variant changes the training part alone: `reversed` turns its documents round, `shuffled` mixes
    the chunks of each, `no_signal` draws every chunk by itself. The out-of-domain store has topics
    that no training document has and a speed between the trained ones. texts: each chunk has a text, which says which
    one it is, so that what is decoded can be read.
    """

    dim: int = 768
    documents: int = 440
    ood_documents: int = 70
    length: int = 20
    planes: int = 16
    angle: float = 1.1
    speeds: tuple[float, ...] = (0.5, 0.7, 0.8, 1.0, 1.1, 1.2)
    ood_speed: float = 0.9
    topics: int = 64
    topic_dims: int = 32
    topic_norm: float = 0.4
    noise_low: float = 0.2
    noise_high: float = 0.8
    variant: str = "forward"
    seed: int = 0
    texts: bool = False

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise UserError(f"data.variant={self.variant} does not exist; choose one of {', '.join(VARIANTS)}.")
        for name in ("documents", "ood_documents", "length", "planes", "topics", "topic_dims"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)} makes no world; set 1 or more.")
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed} does not fit; give it a whole number from 0.")
        if not 0 <= self.noise_low <= self.noise_high:
            raise UserError(
                f"data.noise_low={self.noise_low} and data.noise_high={self.noise_high} are no range; set them so that "
                "0 <= noise_low <= noise_high."
            )
        gigabytes = max(self.documents, self.ood_documents) * self.length * self.dim * 4 / 1e9
        if gigabytes > MOST_GIGABYTES or self.dim > MOST_DIM:
            raise UserError(
                f"data.documents={self.documents} of {self.length} chunks in {self.dim} dims are {gigabytes:.3g} GB "
                f"of vectors; set data so that they are {MOST_GIGABYTES} GB or less and data.dim {MOST_DIM} or less."
            )
        if not self.speeds:
            raise UserError("data.speeds is empty; give it one speed or more, such as [1.0, 0.65].")
        if self.dim < 2 * self.planes + self.topic_dims:
            raise UserError(
                f"data.dim={self.dim} is too small for {self.planes} planes and {self.topic_dims} topic dims; "
                f"set data.dim to {2 * self.planes + self.topic_dims} or more."
            )
        if not min(self.speeds) <= self.ood_speed <= max(self.speeds):
            raise UserError(
                f"data.ood_speed={self.ood_speed} is not between the trained speeds {self.speeds}; move it."
            )

    @property
    def content(self) -> str:
        """Names the data by the generator's version and parameters."""
        parameters = asdict(self)
        # It came later: worlds without texts are named as they were before.
        if not self.texts:
            del parameters["texts"]
        described = json.dumps({"generator": GENERATOR_VERSION, **parameters}, sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()

    def angles_J(self) -> np.ndarray:
        """Each plane's angle a step: the quantiles of an exponential, so that likeness falls steadily with distance."""
        return -self.angle * np.log1p(-(np.arange(self.planes) + 0.5) / self.planes)

    def basis(self) -> np.ndarray:
        """(2 J + topic dims) x D with orthonormal rows: the planes' axes, then the topics'."""
        rng = np.random.default_rng([self.seed, 0])
        square, triangle = np.linalg.qr(rng.standard_normal((self.dim, 2 * self.planes + self.topic_dims)))
        return (square * np.sign(np.diag(triangle))).T

    def stores(self, cache: Path, fold: int | None = None) -> tuple[Store, Store]:
        """The world's store (train, val and test by hash) and its out-of-domain store, made once in `cache`."""
        train = [part_of(key, fold) == "train" for key in self._documents(self.documents, "planted").names()]
        home = cache / f"planted-{self.content[:16]}{'' if fold is None else f'-fold{fold}'}"
        return (
            self._store(home, "planted", self.documents, train, 1),
            self._store(cache / f"planted-{self.content[:16]}-ood", "planted_ood", self.ood_documents, None, 2),
        )

    def open(self, cache: Path, settings: DataSettings) -> Opened:
        store, ood = self.stores(cache, settings.fold)
        content = {"planted": self.content}
        return Opened(store, content, ood_store=ood, oracle=self.oracle)

    def oracle(self, device: str = "cpu") -> Predictor:
        """The best predictor that sees the context alone and knows the rule."""
        # With torch: the world's parameters and its content can be had without.
        from lvm_lab.data.planted_oracle import Oracle

        return Oracle(self, device)

    def _documents(self, count: int, source: str) -> Documents:
        names = [f"{i:05d}" for i in range(count)]
        starts = np.arange(count, dtype=np.int64) * self.length
        return Documents(names, names, [source] * count, starts, np.full(count, self.length, dtype=np.int64))

    def _store(self, path: Path, source: str, count: int, train: list[bool] | None, stream: int) -> Store:
        if (path / MANIFEST).exists():
            return open_made(path, "what an earlier run made of the planted world")
        rng = np.random.default_rng([self.seed, stream])
        # A variant's own draws have a generator of their own, so that the other parts stay as they are.
        own_rng = np.random.default_rng([self.seed, stream, 1])
        basis = self.basis()
        directions = np.random.default_rng([self.seed, 3]).standard_normal((2, self.topics, self.topic_dims))
        directions *= self.topic_norm / np.linalg.norm(directions, axis=2, keepdims=True)
        vectors = np.empty((count, self.length, self.dim), dtype=np.float32)
        for i in range(count):
            speed = self.ood_speed if train is None else self.speeds[rng.integers(len(self.speeds))]
            topic = directions[int(train is None), rng.integers(self.topics)]
            variant = self.variant if train is not None and train[i] else "forward"
            phases = rng.uniform(0, 2 * np.pi, self.planes) + speed * np.arange(self.length)[:, None] * self.angles_J()
            topics = np.tile(topic, (self.length, 1))
            if variant == "no_signal":
                phases = own_rng.uniform(0, 2 * np.pi, phases.shape)
                topics = directions[0, own_rng.integers(self.topics, size=self.length)]
            signal = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / np.sqrt(self.planes)
            level = rng.uniform(self.noise_low, self.noise_high) / np.sqrt(self.dim)
            document = np.concatenate([signal, topics], axis=1) @ basis
            document += level * rng.standard_normal(document.shape)
            if variant == "reversed":
                document = document[::-1]
            elif variant == "shuffled":
                document = own_rng.permutation(document)
            vectors[i] = document / np.linalg.norm(document, axis=1, keepdims=True)
        return write_store(
            path,
            vectors.reshape(-1, self.dim),
            self._documents(count, source),
            EncoderContract(encoder="planted", pooling="none", dense=False, normalised=True),
            texts=[
                f"Chunk {chunk} of document {document} in the world {source}."
                for document in range(count)
                for chunk in range(self.length)
            ]
            if self.texts
            else None,
        )
