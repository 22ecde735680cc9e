"""How well repeated chunks are found, and how fast: planted near-duplicates against an exact search, for docs/leaks.md.

`python benchmarks/repeated.py STORE.npz ...`

Shape suffixes: N rows, M rows of another part, D vector dim.
"""

from __future__ import annotations

import itertools
import sys
import time

import faiss
import numpy as np

from lvm_lab.data.repeated import SAME, Chunks, repeated_of
from lvm_lab.data.sketch import RADIUS, near_codes, sign_codes

ROWS = 20_000


def unit(x_ND: np.ndarray) -> np.ndarray:
    x_ND = x_ND.astype(np.float32)
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def encoded_anew(x_ND: np.ndarray) -> dict[str, np.ndarray]:
    """The same vectors as another program or precision would give them."""
    rng = np.random.default_rng(0)
    step_N1 = np.abs(x_ND).max(axis=1, keepdims=True) / 127
    return {
        "noise 1e-4": x_ND + 1e-4 * rng.standard_normal(x_ND.shape).astype(np.float32),
        "noise 1e-3": x_ND + 1e-3 * rng.standard_normal(x_ND.shape).astype(np.float32),
        "float16": x_ND.astype(np.float16).astype(np.float32),
        "int8, a scale a row": np.round(x_ND / step_N1) * step_N1,
        "int8, one scale": np.round(x_ND / step_N1.max()) * step_N1.max(),
    }


def main(paths: list[str]) -> None:
    for path in paths:
        with np.load(path, allow_pickle=False) as npz:
            x_ND, first_N = np.unique(unit(npz["vectors"]), axis=0, return_index=True)
            article_N = npz["article_indices"][first_N]
        code_NC = sign_codes(x_ND)
        print(
            f"\n{path}: {len(x_ND)} distinct chunks\n| copy | lowest cos | bits that differ | most | missed by codes |"
        )
        for name, copy_ND in encoded_anew(x_ND).items():
            bits_N = np.bitwise_count(sign_codes(copy_ND) ^ code_NC).sum(axis=1)
            cos_N = np.einsum("nd,nd->n", unit(copy_ND), x_ND)
            missed = int((bits_N > RADIUS).sum())
            print(f"| {name} | {cos_N.min():.5f} | {bits_N.mean():.2f} | {bits_N.max()} | {missed} of {len(bits_N)} |")
        false_alarms(x_ND, code_NC, article_N)
        planted(x_ND)


def false_alarms(x_ND: np.ndarray, code_NC: np.ndarray, article_N: np.ndarray) -> None:
    """Chunks of 30% of the documents beside those of the others."""
    held_out = np.isin(
        article_N, np.unique(article_N)[np.random.default_rng(1).random(len(np.unique(article_N))) < 0.3]
    )
    index = faiss.IndexFlatIP(x_ND.shape[1])
    index.add(x_ND[~held_out])
    nearest_M = index.search(x_ND[held_out], 1)[0][:, 0]
    taken_M = np.zeros(len(nearest_M), dtype=bool)
    for near, _ in near_codes(code_NC[held_out], code_NC[~held_out], RADIUS):
        taken_M[near] = True
    edges = [-1, 0.95, 0.98, 0.99, SAME, 2]
    for low, high in itertools.pairwise(edges):
        here = (nearest_M > low) & (nearest_M <= high)
        print(f"nearest chunk of other documents at cos {low} to {high}: {taken_M[here].sum()} of {here.sum()} taken")


def planted(x_ND: np.ndarray) -> None:
    """Half of the rows are noisy copies of the other half, in documents of their own."""
    half = unit(np.random.default_rng(2).permutation(x_ND)[: ROWS // 2])
    both_ND = np.concatenate([half, unit(encoded_anew(half)["noise 1e-3"])])
    started = time.perf_counter()
    mask_N = repeated_of(Chunks(both_ND, None, np.arange(len(both_ND))))
    codes = time.perf_counter() - started
    index = faiss.IndexFlatIP(both_ND.shape[1])
    index.add(both_ND)
    started = time.perf_counter()
    limits = index.range_search(both_ND, SAME)[0]
    exact = time.perf_counter() - started
    exact_N = np.diff(limits.astype(np.int64)) > 1
    print(
        f"{len(both_ND)} rows, half of them copies with noise 1e-3: recall {mask_N[exact_N].mean():.4f}, "
        f"{(mask_N & ~exact_N).sum()} too many; codes {codes:.2f} s, exact search {exact:.2f} s"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
