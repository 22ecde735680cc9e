"""Codebooks for a quantised head: fitted by FAISS on the vectors that training windows hold, and cached.

Shape suffixes: N vectors, D vector dim, Q levels, K codes a level, S dims of a code.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from lvm_lab.data.parts import Parts
from lvm_lab.data.seen import rows_of
from lvm_lab.errors import UserError
from lvm_lab.files import write_arrays
from lvm_lab.nn.quantiser import Codebooks

log = logging.getLogger(__name__)

SAMPLE = 50_000
# What is fitted otherwise is another file of the cache.
VERSION = 1


def fit(parts: Parts, wanted: Codebooks, cache: Path) -> Tensor:
    """codes_QKS in float32, on a seeded sample of at most 50,000 of the chunks that training windows read or predict.

    These are the rows that the sketches of a training record (`Parts.sketches`), so that what a codebook has seen is
    taken out of what its model is judged on. Equal data, settings and FAISS give equal codebooks, whatever the threads.
    Raises UserError for fewer chunks than codes, and for dims that levels do not divide.
    """
    wanted.shape(len(parts.stats.mean_D))
    rows_N = rows_of(parts.train)
    if len(rows_N) < wanted.codes:
        raise UserError(
            f"head.codes={wanted.codes} needs as many training chunks and there are {len(rows_N)}; set it smaller, or "
            "bring more documents."
        )
    file = cache / f"codebooks-{_key(parts, wanted, rows_N)}.npz"
    if not file.exists():
        if len(rows_N) > SAMPLE:
            rows_N = np.sort(np.random.default_rng(0).choice(rows_N, SAMPLE, replace=False))
        codes_QKS = train(parts.train.vectors(rows_N), wanted)
        log.info("%s codebooks fitted on %d chunks", wanted.quantiser, len(rows_N))
        write_arrays(file, codes_QKS=codes_QKS)
    with np.load(file, allow_pickle=False) as saved:
        return torch.from_numpy(saved["codes_QKS"])


def train(x_ND: np.ndarray, wanted: Codebooks) -> np.ndarray:
    """codes_QKS of float32 vectors by k-means, always from the same seed."""
    quantiser: Any
    if wanted.quantiser == "residual":
        residual = faiss.ResidualQuantizer(x_ND.shape[1], wanted.levels, wanted.bits)
        # Codes are the nearest ones, level by level, as the head has them.
        residual.max_beam_size = 1
        # FAISS's own default, k-means in ever more dims, explains 24% of held-out Wikipedia with 4 levels of 256, this
        # 22% in an eighth of the time.
        residual.train_type = faiss.ResidualQuantizer.Train_default
        quantiser, codebooks = residual, "codebooks"
    else:
        quantiser, codebooks = faiss.ProductQuantizer(x_ND.shape[1], wanted.levels, wanted.bits), "centroids"
    quantiser.cp.seed = 0
    # Small data are the user's affair, and FAISS would say so on its own output.
    quantiser.cp.min_points_per_centroid = 1
    quantiser.train(x_ND)
    codes_QKS: np.ndarray = faiss.vector_to_array(getattr(quantiser, codebooks)).reshape(wanted.shape(x_ND.shape[1]))
    return codes_QKS


def _key(parts: Parts, wanted: Codebooks, rows_N: np.ndarray) -> str:
    settings = [VERSION, faiss.__version__, asdict(wanted), parts.content]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + rows_N.tobytes()).hexdigest()[:32]
