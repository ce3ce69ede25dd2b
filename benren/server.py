"""Listening: an ASGI app on a socket, opened when everything works, closed when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

import uvicorn

from benren.compose import build
from verifier.clock import Clock
from verifier.errors import ConfigurationError
from verifier.streaming.limits import StreamLimits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from benren.config import Config

_log = logging.getLogger("benren.serve")
_SWITCH_S = 0.001
"""How long a thread may keep the interpreter while another one wants it (5 ms by default):
inference comes back to it some twenty times for a picture, beside an event loop that is busy."""
_COLLECT = (5_000, 10, 200)
"""Thresholds of the garbage collector. By default it looks through everything every few seconds,
half a second at a time with 600 learners, to find next to nothing: what learners leave behind goes
by itself. So it looks through the young as often as there is much of it, and through all some times
an hour."""
_GRACE_S = 15
"""How long requests in hand may take once the end was asked for."""
_QUICK_S = 2
"""After this, what is still open is a reader of events, and is told that the end has come."""
_BACKLOG = 1_024
_UNREAD_MS = 30_000
"""A peer that takes nothing of what was sent for so long is cut off by the kernel (Linux): asyncio
would wait for it for ever, since it closes only after all has been sent."""
_LONGEST_MESSAGE = StreamLimits().frame_bytes + 16
"""Of a WebSocket: a picture behind its header. JPEG does not compress any further."""


async def run(config: Config, clock: Clock | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises BenrenError where the services cannot start."""
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("aioice").setLevel(logging.WARNING)  # it would write learners' addresses
    services = await build(config, clock)
    _settle_down()
    try:
        with _listen(config.host, config.port) as listener:
            stopping = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            server = _Server(_uvicorn(services.app, config.trusted_proxies))
            serving = asyncio.create_task(server.serve([listener]), name="http server")
            _log.warning("serving on %s", _address(listener))
            stopped = asyncio.create_task(stopping.wait(), name="signals")
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            server.should_exit = True
            _, running = await asyncio.wait({serving}, timeout=_QUICK_S)
            if running and services.hub is not None:
                await services.hub.aclose()  # readers of events would wait for ever
            await serving
    finally:
        await services.stop()
    _log.warning("stopped")


def _settle_down() -> None:
    """Set the interpreter up for a long run: models and code are there, and stay."""
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve `app` on a free port of loopback within this event loop; gives its address."""
    with _listen("127.0.0.1", 0) as listener:
        server = _Server(_uvicorn(app))
        task = asyncio.create_task(server.serve([listener]), name="http server")
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                if task.done():
                    await task
            yield _address(listener)
        finally:
            server.should_exit = True
            await task


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _uvicorn(app: FastAPI, proxies: Sequence[str] = ()) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        ws="websockets-sansio",
        ws_max_size=_LONGEST_MESSAGE,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Bind; raises ConfigurationError where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # asyncio sets TCP_NODELAY only where the socket names its protocol: without, 40 ms a call.
        listener = socket.socket(family, bound.type, socket.IPPROTO_TCP, fileno=bound.detach())
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
        return listener
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"Port {port} of {host} cannot be opened: {reason}.",
            remedy="Choose another with --port, or end the program that holds it.",
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
