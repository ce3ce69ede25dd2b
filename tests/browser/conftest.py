"""What the tests in a browser share: the browser, the pages on a port, a short video."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI
from playwright.async_api import Browser

from benren.server import listening
from session_tracker.api.pages import Asset, load_assets, pages_router
from tests.browser.browsing import browser_running
from tests.browser.whole import Album

VIDEO_S = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with browser_running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages() -> AsyncIterator[str]:
    """The address of the pages, without a service behind them."""
    app = FastAPI()
    video = Asset(content=lesson_video(), media_type="video/webm", etag='"test"')
    app.include_router(pages_router({**load_assets(), "media/test.webm": video}))
    async with listening(app) as address:
        yield address


@pytest.fixture(scope="session")
def album(faces_dir: Path, pack_dir: Path) -> Album:
    """The virtual learners."""
    return Album(faces_dir, pack_dir)


@pytest.fixture(scope="session")
def video() -> bytes:
    """The lesson of these tests."""
    return lesson_video()


def lesson_video(seconds: int = VIDEO_S) -> bytes:
    """Make a WebM of plain pictures that change: small, and seekable by its key frames."""
    target = BytesIO()
    with av.open(target, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.gop_size = 5
        for n in range(seconds * 5):
            picture = np.full((180, 320, 3), (30 + n % 60, 92, 85), np.uint8)
            picture[80:100, : 3 * n % 320] = (240, 240, 230)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()
