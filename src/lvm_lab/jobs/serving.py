"""The body of `serve`: models made ready with what their texts go through, behind a port until somebody ends it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvm_lab.config.ingest import IngestSettings
from lvm_lab.config.serving import ServeSettings
from lvm_lab.config.settings import DeviceSettings, cache_folder
from lvm_lab.data.contract import read_contract
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.coding import coder_of
from lvm_lab.jobs.generation import chunker_of
from lvm_lab.jobs.ingestion import ingest as ingested
from lvm_lab.runs.selecting import Checkpoint
from lvm_lab.serving.refusal import Refusal
from lvm_lab.text.decoder import Resources, open_decoder
from lvm_lab.text.encoder_choice import Option, encoder_for
from lvm_lab.text.generation import Lengths
from lvm_lab.text.ingestion.staging import AtWork
from lvm_lab.text.installed import needed
from lvm_lab.text.tmd_names import read_table

if TYPE_CHECKING:
    from lvm_lab.model import LatentVectorModel
    from lvm_lab.serving.guard import Guard
    from lvm_lab.serving.metrics import Metrics
    from lvm_lab.serving.served import Served, Texts
    from lvm_lab.serving.state import Ingest

log = logging.getLogger(__name__)

LIBRARIES = ("fastapi", "uvicorn", "httptools", "prometheus_client")


def serve(
    settings: ServeSettings, option: Option, ingestion: dict[str, Any] | None, show: Callable[[str], None]
) -> None:
    """Until SIGINT or SIGTERM. option: an encoder option's settings by its name. ingestion: a config of
    conf/ingest.yaml that reads JSON lines, where /ingest is wanted. show: is told where it listens.

    Raises UserError for a model that cannot be loaded, and for a port that is taken.
    """
    for library in LIBRARIES:
        needed(library, "serve")
    if settings.engine == "onnxruntime":
        needed("onnxruntime", "export")
    from lvm_lab.serving.server import bound, run

    # What is refused is refused before models are loaded, which takes its time.
    settings.check_key(key_of(settings))
    listener = bound(settings.host, settings.port)
    with listener:
        guard = application(settings, option, ingestion)
        host, port = listener.getsockname()[:2]
        show(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        run(guard, listener, settings)


def key_of(settings: ServeSettings) -> str | None:
    """What requests have to bring; None: nothing. Blanks around it are none of it: a header has them neither.

    Raises UserError where the setting names a variable that holds none, since a key is wanted then.
    """
    key = os.environ.get(settings.api_key, "").strip()
    if not key and settings.api_key != ServeSettings.api_key:
        # Its value is not told: it may be the key itself, by mistake.
        raise UserError(
            "api_key names an environment variable that is not set; set that one to the key, or leave api_key out."
        )
    return key or None


def application(settings: ServeSettings, option: Option, ingestion: dict[str, Any] | None = None) -> Guard:
    """What an ASGI server runs, its models loaded and warm. Raises UserError where one cannot be."""
    from lvm_lab.serving import app
    from lvm_lab.serving.metrics import Metrics
    from lvm_lab.serving.models import Models
    from lvm_lab.serving.watching import promoted

    metrics = Metrics()
    opened = partial(open_model, settings, option, metrics)
    if settings.registry:
        places = promoted(Path(settings.registry))
        if not places:
            raise UserError(
                f"registry={settings.registry} has no model in production; promote one with lvm-lab promote, or serve "
                "a run with checkpoint=RUN."
            )
    else:
        places = {name: Path(path) for name, path in settings.checkpoint.items()}
    models = Models([opened(name, path) for name, path in places.items()])
    return app.application(models, settings, metrics, opened, key_of(settings), _ingest(settings, ingestion))


def _ingest(settings: ServeSettings, ingestion: dict[str, Any] | None) -> Ingest | None:
    """What makes stores of documents, one after the other; None where it is off."""
    if settings.ingest is None or ingestion is None:
        return None
    if settings.encoder is None:
        raise UserError("ingest=FOLDER makes stores, which takes an encoder; name it with encoder=OPTION.")
    folder, lock = Path(settings.ingest), threading.Lock()
    parts = {"encoder": settings.encoder, "chunker": settings.chunker or ingestion["chunker"]}

    def ingest(store: str, documents: list[dict[str, str]]) -> dict[str, Any]:
        out = folder / store
        with lock, tempfile.TemporaryDirectory(prefix="lvm_lab-") as place:
            texts = Path(place, f"{store}.jsonl")
            texts.write_text("".join(json.dumps(one) + "\n" for one in documents), encoding="utf-8")
            reader = ingestion["reader"] | {"path": str(texts), "source": store}
            # What was cut off of other documents would be in the way of all to come, and nobody has them any more.
            own = {"reader": reader, "out": str(out), "append": (out / MANIFEST).exists(), "restart": True}
            try:
                ingested(IngestSettings.from_dict(ingestion | parts | own), lambda *progress: None)
            except AtWork as error:
                raise Refusal(503, f"another process makes the store {store}; ask again in a second.") from error
            except UserError as error:
                # The file is this server's own matter.
                raise UserError(str(error).replace(str(texts), "what was sent")) from error
        kept = open_store(out)
        return {"store": store, "documents": len(kept.documents.names()), "chunks": len(kept.vectors_ND)}

    def told(store: str, documents: list[dict[str, str]]) -> dict[str, Any]:
        try:
            return ingest(store, documents)
        except OSError as error:
            log.error("%s cannot be written: %s", folder / store, error)
            reason = error.strerror or error
            raise Refusal(507, f"the store {store} cannot be written ({reason}); it has what it had.") from error

    return told


def open_model(settings: ServeSettings, option: Option, metrics: Metrics, name: str, path: Path) -> Served:
    """A model that has predicted once with each length it reads, since first calls are slow.

    Raises UserError where it cannot be loaded.
    """
    from lvm_lab import load
    from lvm_lab.data.tmd import COLUMNS
    from lvm_lab.jobs.candidates import judging_device
    from lvm_lab.jobs.serving_engine import engine_of
    from lvm_lab.serving.batcher import Batcher
    from lvm_lab.serving.served import Facts, Served
    from lvm_lab.types import count_parameters

    device = judging_device(settings.device)
    model = load(path, device, settings.allow)
    lengths, dim = model.windows_read.lengths, len(model.mean_D)
    contract = read_contract(model.contract, "contract")
    engine = engine_of(settings, model, path)
    facts = Facts(
        name=name,
        version=path.name if settings.registry else "",
        path=str(path),
        arch=str(model.config["arch"].get("name", "")),
        params=count_parameters(model),
        dim=dim,
        width=dim + (COLUMNS if model.tmd is not None else 0),
        context_length=model.context_length,
        trained=Lengths(lengths[0], lengths[-1]),
        contract=contract,
        engine=engine.name,
        engine_reason=engine.reason,
    )
    batcher = Batcher(
        engine.predict,
        settings.batch,
        feeds_unit=bool(contract.normalised),
        longest=facts.context_length,
        waiting=settings.limits.requests + settings.limits.predictions,
        threads=settings.device.threads or 1,
        observe=metrics.batches.labels(name).observe,
        name=name,
    )
    for length in sorted({1, facts.trained.least, facts.context_length}):
        for future in batcher.submit([np.ones((length, facts.width), np.float32) / facts.width**0.5]):
            future.result()
    texts = _texts(settings, option, model, path)
    return Served(facts, batcher, texts, settings.limits.texts_waiting)


def _texts(settings: ServeSettings, option: Option, model: LatentVectorModel, path: Path) -> Texts:
    """What is there of what texts go through; why not, of the rest."""
    from lvm_lab.serving.served import Absent, Texts

    name, contract = f"the data of {path}", read_contract(model.contract, "contract")

    def tried(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except UserError as error:
            return Absent(str(error))
        except OSError as error:
            return Absent(f"{error.filename or name}: {error.strerror or error}; mend that and start the server again.")

    encoder = tried(lambda: encoder_for(contract, settings.encoder, option, name))
    store: Any = None
    if settings.chunker is None or (settings.decoder is not None and not settings.decoder.get("store")):
        store = tried(lambda: _store(model, path, settings))
    chunker: Any = store
    if settings.chunker is not None or not isinstance(store, Absent):
        chunker = tried(lambda: chunker_of(store, settings.chunker, name))
    coder: Any = Absent("this server gives no TMD codes; start it with tmd=prototypes.")
    if (node := settings.tmd) is not None:
        coder = tried(lambda: coder_of(node))
    decoder = tried(lambda: _decoder(settings, encoder, store, contract, name))
    return Texts(encoder, chunker, decoder, coder, read_table(None))


def _store(model: LatentVectorModel, path: Path, settings: ServeSettings) -> Store:
    """The data that the model was trained on, where this machine has it."""
    from lvm_lab.jobs import candidates

    one = candidates.candidate(model, Checkpoint(path, {}))
    opened = candidates.open_data(one, DeviceSettings(accelerator="cpu"), allow=settings.allow)
    store: Store = opened.parts.stores["test"]
    return store


def _decoder(settings: ServeSettings, encoder: Any, store: Any, contract: Any, name: str) -> Any:
    from lvm_lab.serving.served import Absent

    if settings.decoder is None:
        return Absent("this server has no decoder; start it with decoder=retrieval.")
    for part in (encoder, store):
        if isinstance(part, Absent):
            return part
    return open_decoder(settings.decoder, Resources(name, contract, encoder, store, cache_folder(settings.cache)))
