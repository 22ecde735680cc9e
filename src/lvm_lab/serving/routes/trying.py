"""`/try`: a text against what truly follows in it, and the page that draws it.

Shape suffixes: N chunks, W windows, D vector dim.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse

from lvm_lab.serving.bodies import TryBody
from lvm_lab.serving.page.page import page
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.routes.limiting import check_texts
from lvm_lab.serving.served import Absent, Served
from lvm_lab.serving.state import Serving, State
from lvm_lab.serving.trying import Trial, curve, decoded, encoded, rank_in_text, trial
from lvm_lab.text.document import Chunked

router = APIRouter(tags=["texts"])


@router.get("/", include_in_schema=False)
async def home() -> HTMLResponse:
    content, policy = page()
    return HTMLResponse(content, headers={"content-security-policy": policy, "referrer-policy": "no-referrer"})


@router.post("/try", summary="A text against what truly follows in it")
async def attempt(body: TryBody, state: Serving) -> JSONResponse:
    """The text's `chunks`, of which one, `target`, is predicted from those before it, `read` (all counted from 1).

    `candidates`: what the decoder makes of the prediction; `known`: whether that is the target or was read. `ranks` of
    the target: in the `text`, among its different chunks, by cosine to the prediction of unit length; of the `decoder`,
    among the different texts of its store and the target, by cosine to the raw one, to place 1000. `unread`: without
    what was read; ties rank before the target. `offsets`: the cosine of the `prediction` and the chunk at each `k`,
    where 0 is the last that was read and +1 the target, and the mean over those of the `text`'s windows that have all
    seven neighbours, with its `margin`: of +1 over the best other. What cannot be had is null; `missing` says why.
    """
    check_texts(state.limits, [body.text])
    with state.models.held(body.model) as served:
        encoder = served.texts.encoder
        reason = _unreadable(served)

        def work() -> tuple[Chunked, int, Trial | None]:
            chunked = served.texts.cut(body.text)
            target = _target(state, chunked, body.target)
            if reason is not None or isinstance(encoder, Absent):
                return chunked, target, None
            return chunked, target, trial(chunked, encoded(encoder, chunked.texts), target, served.facts.trained)

        chunked, target, one = await served.with_texts(work)
        content: dict[str, Any] = {
            "model": served.facts.name,
            "version": served.facts.version,
            "chunks": list(chunked.texts),
            "stretches": list(chunked.lengths),
            "target": target + 1,
            "read": [],
            "candidates": None,
            "ranks": {"text": None, "decoder": None},
            "offsets": None,
            "missing": {},
            "notes": [],
        }
        if one is None:
            none = f"chunk {target + 1} has none before it to be predicted from; choose a later one."
            content["missing"]["prediction"] = reason or none
        else:
            content |= await _fared(served, one, body.candidates)
        return JSONResponse(content)


async def _fared(served: Served, one: Trial, count: int) -> dict[str, Any]:
    """What there is of a prediction."""
    futures = [asyncio.wrap_future(future) for future in served.batcher.submit(one.contexts)]
    # Of each the one step that is asked for.
    predictions = [(raw_SD[0], unit_SD[0]) for raw_SD, unit_SD in await asyncio.gather(*futures)]
    raw_D, unit_WD = predictions[0][0], np.stack([unit_D for _, unit_D in predictions])
    missing, trained, length = dict[str, str](), served.facts.trained, len(one.read)
    notes = []
    if length < trained.least:
        notes.append(f"{served.facts.name} reads {length} here, and was trained to read {trained.least} or more.")
    offsets = curve(one, unit_WD)
    if offsets["text"] is None:
        missing["offsets"] = "no window of the text has all seven neighbours from -3 to +3; give a longer one."
    fared: dict[str, Any] = {"candidates": None, "rank": None}
    decoder = served.texts.decoder
    if isinstance(decoder, Absent):
        missing["candidates"] = missing["decoder"] = decoder.reason
    else:
        fared = await served.with_texts(lambda: decoded(one, raw_D, decoder, count))
        notes.extend(decoder.notes)
        if fared["rank"] is None:
            missing["decoder"] = f"{decoder.source} writes its texts and ranks none; start the server with retrieval."
    return {
        "read": [place + 1 for place in one.read],
        "candidates": fared["candidates"],
        "ranks": {"text": asdict(rank_in_text(one, unit_WD[0])), "decoder": fared["rank"]},
        "offsets": offsets,
        "missing": missing,
        "notes": notes,
    }


def _target(state: State, chunked: Chunked, number: int | None) -> int:
    """The chunk that is held out, counted from 0. Raises Refusal."""
    count, most = len(chunked.texts), min(state.limits.texts, state.limits.predictions)
    if not count:
        raise Refusal(422, "the text makes no chunk; send a longer one.")
    if count > most:
        raise Refusal(422, f"the text makes {count} chunks, which are too many at once; send one of {most} or fewer.")
    if number is not None and number > count:
        raise Refusal(422, f"target={number} is of no chunk, since the text makes {count}; choose 1 to {count}.")
    return (number or count) - 1


def _unreadable(served: Served) -> str | None:
    """Why the model predicts nothing behind a text; None where it does."""
    if served.facts.reads_codes:
        return f"{served.facts.name} reads TMD codes, which a text that is tried has none of; ask another model."
    encoder = served.texts.encoder
    return encoder.reason if isinstance(encoder, Absent) else None
