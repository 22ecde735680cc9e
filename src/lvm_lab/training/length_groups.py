"""Reads a batch of segments in groups of like length, so that less of the work is on padding.

Shape suffixes: B segments, L places of the longest, D vector dim, H state dim, N supervised places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lvm_lab.model import LatentVectorModel
from lvm_lab.types import Batch, Reading

# Smaller ones are slower than the padding that they save (benchmarks/documents.py on 2 cores). A GPU waits for kernels
# to be started, which every group does anew, and reads a batch at once.
MOST = 4
PLACES = 1_024


def read_segments(model: LatentVectorModel, batch: Batch) -> Reading:
    """`model.read` at every place of a batch of segments; states behind the end of a segment's group are zero.

    No supervised place reads what stands behind it, so that the numbers are those of one reading, up to rounding.
    """
    read_BLD, index_N = batch.read_BLD, batch.index_N
    assert index_N is not None
    groups = min(MOST, read_BLD.shape[0] * read_BLD.shape[1] // PLACES)
    if groups < 2 or read_BLD.device.type != "cpu":
        return model.read(read_BLD, every=True)
    length_B = _lengths(index_N, *read_BLD.shape[:2])
    order_B = length_B.argsort(stable=True)
    hidden = []
    for of_B in order_B.tensor_split(groups):
        longest = int(length_B[of_B].max())
        hidden_BLH = model.read(read_BLD[of_B, :longest], every=True).hidden_BLH
        hidden.append(F.pad(hidden_BLH, (0, 0, 0, read_BLD.shape[1] - longest)))
    return Reading(batch.context_BLD.to(model.mean_D.dtype), torch.cat(hidden)[order_B.argsort()], every=True)


def _lengths(index_N: Tensor, segments: int, length: int) -> Tensor:
    """How many places each segment has up to its last supervised one."""
    length_B = index_N.new_zeros(segments)
    return length_B.scatter_reduce(0, index_N // length, index_N % length + 1, "amax")
