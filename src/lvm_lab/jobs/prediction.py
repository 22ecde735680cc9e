"""The body of `predict`: a trained model's predictions for vectors of any size, written as they are made.

Shape suffixes: N predictions, B a batch of them, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from lvm_lab.config.settings import DeviceSettings, cache_folder
from lvm_lab.data.contexts import Contexts, DocumentContexts, open_contexts
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.remote import is_url
from lvm_lab.data.tmd import Names
from lvm_lab.errors import UserError
from lvm_lab.files import Layout, StreamedArrays, address, check_free
from lvm_lab.runs import reading

Output = Literal["raw", "unit", "both"]
OUTPUTS: tuple[str, ...] = get_args(Output)


@dataclass(frozen=True)
class Predictions:
    """What was written. documents: how many the vectors are of, None where nothing says; not_finite: how many
    predictions are not."""

    out: Path
    checkpoint: Path
    arrays: tuple[str, ...]
    count: int
    documents: int | None
    not_finite: int


def predict(
    run: str | Path,
    vectors: str | Path,
    out: str | Path,
    *,
    output: Output = "both",
    batch_size: int = 1024,
    device: str = "auto",
    allow: Sequence[str] = (),
    force: bool = False,
    cache: str | Path | None = None,
) -> Predictions:
    """The model of a run's folder or a checkpoint on vectors, written to `out`: an uncompressed .npz, or a folder of
    .npy files where it has no ending.

    vectors: a store's folder or address, an article bank, one document's vectors (N x D), or contexts (N x L x D);
    .npz or .npy. A model that was trained on contexts shorter than its context_length predicts from data.min_context
    vectors of a document on, and from contexts of any length up to context_length.
    Arrays: `raw` and `unit` (N x D, float32), for documents `row` (that is predicted; -1 after a document's end),
    `after_row` (the last that is read), and for several documents `document` (a number: place in `documents`, their
    ids, and `sources`). Memory does not grow with a store. allow: packages, beside the lab's own, whose classes a
    checkpoint may be built of; cache: where an article bank is imported; force: write over a file.

    Raises UserError, before anything is written, for a run without a checkpoint to judge, vectors that do not fit it,
    and a name that is taken.
    """
    run, out = Path(run), Path(out)
    _check(vectors, out, output, batch_size, force)
    # Torch comes in only now: a mistake in the arguments is told without it.
    from lvm_lab.jobs import candidates
    from lvm_lab.judge import predictions
    from lvm_lab.training import devices

    where = candidates.judging_device(DeviceSettings(accelerator=device))
    checkpoint = reading.checkpoint_of(run)
    model = candidates.load(checkpoint, where, allow)
    contexts = open_contexts(
        vectors, cache_folder(cache or model.config.get("run", {}).get("cache")), model.windows_read
    )
    contexts = _as_read(contexts, model.tmd, vectors)
    _check_encoder(checkpoint, model.contract, len(model.mean_D), vectors, contexts.contract)
    shown = ("raw", "unit") if output == "both" else (output,)
    not_finite = 0
    try:
        with StreamedArrays(out, _arrays(contexts, shown, len(model.mean_D)), force=force) as arrays:
            for by_length, places in contexts.batches(batch_size):
                raw_BD, unit_BD = np.empty((2, sum(len(some) for some, _ in by_length), len(model.mean_D)), np.float32)
                for some, context_BLD in by_length:
                    raw_BD[some], unit_BD[some] = predictions.predict(model.forward, context_BLD, batch_size, where)
                not_finite += int((~np.isfinite(raw_BD).all(axis=1)).sum())
                values = {"raw": raw_BD, "unit": unit_BD}
                arrays.append(**{name: values[name] for name in shown}, **places)
            arrays.append(**contexts.documents)
    except (RuntimeError, MemoryError) as error:
        if not devices.out_of_memory(error):
            raise
        raise UserError(f"{where} ran out of memory; give --batch a number below {batch_size}.") from error
    documents = len(contexts.documents["documents"]) if contexts.documents else None
    return Predictions(out, checkpoint, tuple(arrays.arrays), len(contexts), documents, not_finite)


def _check(vectors: str | Path, out: Path, output: str, batch_size: int, force: bool) -> None:
    if output not in OUTPUTS:
        raise UserError(f"output {output!r} does not fit; give one of {', '.join(OUTPUTS)}.")
    if batch_size < 1:
        raise UserError(f"--batch {batch_size} leaves nothing to predict; give 1 or more.")
    check_free(out, force=force)
    if not is_url(vectors) and out.exists() and Path(vectors).exists() and out.samefile(vectors):
        raise UserError(f"{out} is the vectors themselves; name another file for the predictions.")


def _as_read(contexts: Contexts, table: Names | None, vectors: str | Path) -> Contexts:
    """Contexts with the columns of codes where the model reads TMD codes (table: what they mean), else without."""
    from lvm_lab.judge.predictions import check_codes

    own = contexts if isinstance(contexts, DocumentContexts) else None
    if table is not None:
        check_codes(table, None if own is None else own.table, address(str(vectors)))
    elif own is not None:
        return replace(own, codes_N=None)
    return contexts


def _check_encoder(
    checkpoint: Path, recorded: dict[str, object], dim: int, vectors: str | Path, contract: EncoderContract
) -> None:
    own = EncoderContract(**recorded) if recorded else EncoderContract(dim=dim)  # type: ignore[arg-type]
    conflict = own.conflict(contract)
    if conflict:
        scale = "normalise them to unit length, or " if conflict.startswith("normalised True against False") else ""
        name = address(str(vectors)) if is_url(vectors) else vectors
        raise UserError(
            f"{name} is not of the encoder that {checkpoint} was trained on ({conflict}); "
            f"{scale}give it vectors of its own encoder, or take another run."
        )


def _arrays(contexts: Contexts, shown: Sequence[str], dim: int) -> dict[str, Layout]:
    """What will be written, by name."""
    count = len(contexts)
    arrays: dict[str, Layout] = {name: (np.dtype(np.float32), (count, dim)) for name in shown}
    arrays |= {name: (np.dtype(np.int64), (count,)) for name in contexts.places}
    return arrays | {name: (names.dtype, names.shape) for name, names in contexts.documents.items()}
