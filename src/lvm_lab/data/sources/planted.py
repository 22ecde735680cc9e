"""The planted world: documents whose next vector follows a known rule that needs order and several vectors.

A document turns through J fixed planes. Plane j has a fixed angle a_j of one sign (so that time has
a direction); a document has its own start phase in every plane, its own speed (so that two vectors or
more are needed to tell where it goes), a topic that stays, and its own level of noise:

    x_t = unit( sum_j amplitude_j * rotation(phase_j + speed * a_j * t) + topic + noise_t )

embedded by one random orthonormal basis. Phases are uniform, so one vector says nothing about the
direction of time, and the mean over documents is nothing to predict.

Shape suffixes: B batch, L context length, D vector dim, J planes, S speeds on the oracle's grid, N rows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import Opened
from lvm_lab.data.split import part_of
from lvm_lab.data.store import Documents, EncoderContract, Store, open_store, write_store
from lvm_lab.errors import UserError
from lvm_lab.types import Prediction

GENERATOR_VERSION = 3
VARIANTS = ("forward", "reversed", "shuffled", "no_signal")


@dataclass(frozen=True)
class PlantedWorld:
    """The world's parameters; equal parameters give equal worlds.

    variant changes the training part alone: `reversed` turns its documents round, `shuffled` mixes
    the chunks of each, `no_signal` draws every chunk by itself. The out-of-domain store has topics
    that no training document has and a speed between the trained ones.
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

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise UserError(f"data.variant={self.variant} does not exist; choose one of {', '.join(VARIANTS)}.")
        for name in ("documents", "ood_documents", "length", "planes", "topics", "topic_dims"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)} makes no world; set 1 or more.")
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
        described = json.dumps({"generator": GENERATOR_VERSION, **asdict(self)}, sort_keys=True)
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
        return Opened(store, content, ood_store=ood, oracle=lambda device: Oracle(self, device))

    def _documents(self, count: int, source: str) -> Documents:
        names = [f"{i:05d}" for i in range(count)]
        starts = np.arange(count, dtype=np.int64) * self.length
        return Documents(names, names, [source] * count, starts, np.full(count, self.length, dtype=np.int64))

    def _store(self, path: Path, source: str, count: int, train: list[bool] | None, stream: int) -> Store:
        if (path / "manifest.json").exists():
            return open_store(path)
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
        )


class Oracle:
    """The best guess from the context alone: knows the rule and the basis, infers phases, speed and topic.

    For every speed on a grid the context's planes are turned back to one moment and averaged; how
    well they agree weighs the speeds (a Bayesian average under the world's mean noise), and the
    average turned one step on is the prediction. The posterior mean of a phase shrinks its plane
    by I1(k) / I0(k), k being the strength of the evidence.
    """

    def __init__(self, world: PlantedWorld, device: str | torch.device = "cpu") -> None:
        basis = torch.as_tensor(world.basis(), dtype=torch.float32, device=device)
        self.cos_JD, self.sin_JD = basis[: world.planes], basis[world.planes : 2 * world.planes]
        self.topic_TD = basis[2 * world.planes :]
        self.angles_J = torch.as_tensor(world.angles_J(), dtype=torch.float32, device=device)
        grid = np.union1d(np.linspace(min(world.speeds), max(world.speeds), 15), [*world.speeds, world.ood_speed])
        self.speeds_S = torch.as_tensor(grid, dtype=torch.float32, device=device)
        noise = (world.noise_low + world.noise_high) / 2
        self.noise_variance = noise**2 / world.dim
        # A chunk is divided by its length; undoing that on average puts the evidence in the rule's own units.
        self.length = float(np.sqrt(1 + world.topic_norm**2 + noise**2))
        self.amplitude = 1 / np.sqrt(world.planes)

    @torch.inference_mode()
    def __call__(self, context_BLD: Tensor) -> Prediction:
        x_BLD = context_BLD.to(self.cos_JD) * self.length
        steps = x_BLD.shape[1]
        planes_BLJ = torch.complex(x_BLD @ self.cos_JD.T, x_BLD @ self.sin_JD.T)
        past_L = torch.arange(steps, device=x_BLD.device) - steps
        turn_SLJ = self.speeds_S[:, None, None] * past_L[None, :, None] * self.angles_J
        next_BSJ = torch.einsum("blj,slj->bsj", planes_BLJ, torch.polar(torch.ones_like(turn_SLJ), -turn_SLJ))
        evidence_BSJ = next_BSJ.abs() * self.amplitude / self.noise_variance
        log_i0 = torch.log(torch.special.i0e(evidence_BSJ)) + evidence_BSJ
        weight_BS = torch.softmax(log_i0.sum(-1), dim=1)
        shrunk_BSJ = torch.special.i1e(evidence_BSJ) / torch.special.i0e(evidence_BSJ)
        phase_BSJ = next_BSJ / next_BSJ.abs().clamp_min(1e-12)
        expected_BJ = (weight_BS[..., None] * shrunk_BSJ * phase_BSJ).sum(1) * self.amplitude
        topic_BD = (x_BLD.mean(1) @ self.topic_TD.T) @ self.topic_TD
        raw_BD = expected_BJ.real @ self.cos_JD + expected_BJ.imag @ self.sin_JD + topic_BD
        return Prediction.from_raw(raw_BD / self.length)
