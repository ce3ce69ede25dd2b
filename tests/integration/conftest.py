"""Real servers on loopback, in threads of their own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn

Closer = Callable[[], Awaitable[None]]


@contextmanager
def _running(app: Any, closers: tuple[Closer, ...]) -> Iterator[str]:
    bound = socket.create_server(("127.0.0.1", 0))
    # asyncio sets TCP_NODELAY only where the socket names its protocol: without, 40 ms a call.
    listener = socket.socket(bound.family, bound.type, socket.IPPROTO_TCP, fileno=bound.detach())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))

    async def main() -> None:
        await server.serve(sockets=[listener])
        for close in closers:  # in the loop that the app's tasks belong to
            await close()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="test server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """Serve an ASGI app on loopback until the module ends: ``serve(app, *closers) -> address``."""
    with ExitStack() as stack:

        def start(app: Any, *closers: Closer) -> str:
            return stack.enter_context(_running(app, closers))

        yield start
