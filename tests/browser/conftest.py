"""What the tests in a browser share: the browser, the pages on a port, a short video."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.browsing import browser_running
from tests.browser.pages_served import lesson_video, pages_served
from tests.browser.whole import Album


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with browser_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages() -> AsyncIterator[str]:
    """The address of the pages, without a service behind them."""
    async with pages_served() as address:
        yield address


@pytest.fixture(scope="session")
def album(faces_dir: Path, pack_dir: Path) -> Album:
    """The virtual learners."""
    return Album(faces_dir, pack_dir)


@pytest.fixture(scope="session")
def video() -> bytes:
    """The lesson of these tests."""
    return lesson_video()
