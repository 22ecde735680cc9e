"""What every test shares: small random stores, a cache folder, a browser, and a hypothesis that repeats itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from helpers.browser import Page, chromium
from helpers.composing import compose_faster
from helpers.documents import make_documents
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Store, write_store

# Whole files go to two processes: those that take minutes first, so that neither waits for the other at the end.
LONGEST = (
    "test_documents.py",
    "test_sweep_runs.py",
    "test_ddp.py",
    "test_ingestion_shards.py",
    "test_resume.py",
    "test_honest_gates.py",
    "test_memory.py",
    "test_mistakes.py",
    "test_strategies.py",
    "test_training.py",
    "test_wandb.py",
)

settings.register_profile(
    "lab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("lab")
compose_faster()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of pages, since it takes longer to start than most of them."""
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """(lengths, ...) -> a new store of random vectors, each call in a folder of its own."""

    def make(
        lengths: Sequence[int],
        *,
        dim: int = 8,
        seed: int = 0,
        dtype: type = np.float32,
        ids: Sequence[str] | None = None,
        vectors_ND: np.ndarray | None = None,
        contract: EncoderContract | None = None,
        texts: list[str] | None = None,
        isolated: bool = False,
        path: Path | None = None,
    ) -> Store:
        if vectors_ND is None:
            vectors_ND = np.random.default_rng(seed).standard_normal((sum(lengths), dim)).astype(dtype)
        return write_store(
            path or tmp_path_factory.mktemp("stores") / "store",
            vectors_ND,
            make_documents(lengths, ids),
            contract or EncoderContract(encoder="random"),
            texts=texts,
            isolated=isolated,
        )

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty folder for what is imported, computed or fitted once."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder
