"""A browser for all tests of one file, and what it was heard to say."""

from collections.abc import Iterator
from typing import Any

import pytest

from reference.browsing import launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture
def heard() -> dict[str, list[str]]:
    return {"console": [], "errors": [], "requests": [], "dialogs": []}
