"""The pages on a port, without a service behind them, and a short lesson."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from io import BytesIO
from typing import Final

import av
import numpy as np
from fastapi import FastAPI

from benren.server import listening
from session_tracker.api.pages import Asset, load_assets, pages_router

VIDEO_S: Final = 20


@asynccontextmanager
async def pages_served() -> AsyncIterator[str]:
    """Serve the pages; gives their address."""
    app = FastAPI()
    video = Asset(content=lesson_video(), media_type="video/webm", etag='"test"')
    app.include_router(pages_router({**load_assets(), "media/test.webm": video}))
    async with listening(app) as address:
        yield address


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
