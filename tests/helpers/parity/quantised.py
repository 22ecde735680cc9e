"""head=quantised: codes and reconstructions against FAISS's own, predictions against their formulas.

Shape suffixes: N rows, D vector dim, H hidden dim, Q levels, K codes a level, S dims of a code.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from helpers.parity._common import Gap, Row, affine, largest, layer_norm, rows, shaken
from lvm_lab.data.codebooks import train
from lvm_lab.heads.quantised import QuantisedHead
from lvm_lab.nn.quantiser import Codebooks, Kind, Quantiser
from lvm_lab.types import Stats

DIM, WIDTH, LEVELS, CODES = 12, 8, 3, 16


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Vectors with something to quantise, and a mean that is not zero."""
    mix = np.random.default_rng(9).standard_normal((DIM, DIM)) * np.linspace(0.1, 1.0, DIM)
    vectors_ND: np.ndarray = np.random.default_rng(seed).standard_normal((count, DIM)) @ mix + 2
    return vectors_ND.astype(np.float32)


def fitted(kind: Kind, levels: int = LEVELS, codes: int = CODES) -> Quantiser:
    return Quantiser(kind, torch.from_numpy(train(clustered(2000), Codebooks(kind, levels, codes))))


def of_faiss(quantiser: Quantiser, x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FAISS's own codes and reconstructions with these codebooks, greedy: N x Q and N x D."""
    levels, codes, _ = quantiser.codes_QKS.shape
    bits, residual = codes.bit_length() - 1, quantiser.kind == "residual"
    theirs: Any = (faiss.ResidualQuantizer if residual else faiss.ProductQuantizer)(DIM, levels, bits)
    if residual:
        theirs.max_beam_size = 1
        theirs.train_type = faiss.ResidualQuantizer.Train_default
    theirs.train(clustered(2000))
    faiss.copy_array_to_vector(quantiser.codes_QKS.numpy().ravel(), theirs.codebooks if residual else theirs.centroids)
    packed = theirs.compute_codes(x_ND)
    code_NQ = np.empty((len(x_ND), levels), dtype=np.int64)
    for code_Q, row in zip(code_NQ, packed, strict=True):
        reader = faiss.BitstringReader(faiss.swig_ptr(row), len(row))
        code_Q[:] = [reader.read(bits) for _ in range(levels)]
    return code_NQ, theirs.decode(packed)


def decoding(kind: Kind) -> Gap:
    def gap(length: int, dtype: torch.dtype) -> float:
        quantiser, x_ND = fitted(kind), clustered(length, seed=5)
        ours_ND = quantiser.decode(quantiser.encode(torch.from_numpy(x_ND)))
        return largest(ours_ND, torch.from_numpy(of_faiss(quantiser, x_ND)[1]))

    return gap


def predicting(kind: Kind) -> Gap:
    def gap(length: int, dtype: torch.dtype) -> float:
        x_ND = torch.from_numpy(clustered(2000))
        stats = Stats(x_ND.mean(0), x_ND.std(0), codes_QKD=fitted(kind).codes_QKS)
        head = shaken(QuantisedHead(WIDTH, stats, kind, LEVELS, CODES, hidden=16), by=0.3).to(dtype)
        hidden_NH = torch.randn(length, WIDTH, dtype=dtype)
        ours_ND = head(hidden_NH).raw_ND
        return largest(ours_ND, definition(head.double(), hidden_NH.double()))

    return gap


def definition(head: Any, hidden_NH: Tensor) -> Tensor:
    """Level by level: logits of MLP(W h + e_j + V z), z the expected sum before it in standardised units, and then the
    sum over codes of their share times their vector."""
    centre_D, scale_D, parts = head.units.centre_D, head.units.scale_D, []
    for level, code_KS in enumerate(head.quantiser.codes_QKS):
        state_NH = affine(hidden_NH, head.seen) + head.level.weight[level]
        if level and head.quantiser.kind == "residual":
            state_NH = state_NH + affine((sum(parts) - centre_D) / scale_D, head.before)
        for norm, up, _, down in head.layers:
            inner_NH = affine(layer_norm(state_NH, norm), up)
            state_NH = state_NH + affine(inner_NH * (1 + torch.erf(inner_NH / 2**0.5)) / 2, down)
        weight_NK = affine(layer_norm(state_NH, head.norm), head.last[level]).exp()
        parts.append(weight_NK @ code_KS / weight_NK.sum(1, keepdim=True))
    whole_ND: Tensor = sum(parts) if head.quantiser.kind == "residual" else torch.cat(parts, dim=1)
    return whole_ND


def comparisons() -> list[Row]:
    kinds: tuple[Kind, ...] = ("residual", "product")
    of_faiss_alone = {f"FAISS's codes, decoded, {kind}": decoding(kind) for kind in kinds}
    return [
        *rows("head=quantised", of_faiss_alone, dtypes=[torch.float32]),
        *rows("head=quantised", {f"prediction, its formulas, {kind}": predicting(kind) for kind in kinds}),
    ]
