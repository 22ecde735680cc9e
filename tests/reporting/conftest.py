"""What the tests of the page share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.browser import Page, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all of them, since it takes longer to start than most of them."""
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page
