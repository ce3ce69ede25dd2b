"""A tracker to be killed: real uvicorn; forks on demand, so that a start takes no time.

Run as ``python kill_target.py DATABASE CLOCK KEYS``. For every line on stdin a child is forked that
serves the tracker on a free port and prints ``PORT PID``. The time is what stands in the file
CLOCK, eight bytes of milliseconds, so that it goes on over the death of a child. The routes under
``/test`` stand for the verifier: they bring a frame, and wait until nothing is in flight.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import secrets
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from session_tracker.api.app import create_app
from session_tracker.policy import load_policy
from session_tracker.service import SessionService
from session_tracker.store.database import Database
from session_tracker.testing import ScriptedVerifier
from verifier.clock import Stamp
from verifier.keys import KeyRing

EPOCH_MS = 1_795_482_000_000


class FileClock:
    """A clock that stands in a file; whoever holds the file moves it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
        self._boot_id = secrets.token_hex(8)

    def _now_ms(self) -> int:
        return int(struct.unpack("<q", self._page[:8])[0])

    def stamp(self) -> Stamp:
        """Now."""
        now = self._now_ms()
        return Stamp(boot_id=self._boot_id, monotonic_ms=now, utc_ms=EPOCH_MS + now)

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Look again every few milliseconds."""
        while self._now_ms() < monotonic_ms:  # noqa: ASYNC110 - the file tells nobody
            await asyncio.sleep(0.003)


def serve(database: str, clock_file: Path, keys: Path) -> None:
    """Serve until killed."""
    clock = FileClock(clock_file)
    verifier = ScriptedVerifier(clock)
    service = SessionService(
        clock=clock,
        verifier=verifier,
        database=Database(database),
        policies=[load_policy("demo")],
        keyring=KeyRing.load(keys),
    )
    app = create_app(service)
    with_frames(app, service, verifier)
    # asyncio sets TCP_NODELAY only where the protocol is named; without it an answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        print(listener.getsockname()[1], os.getpid(), flush=True)  # noqa: T201
        yield
        await service.stop()

    app.router.lifespan_context = lifespan
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    asyncio.run(server.serve(sockets=[listener]))


def with_frames(app: FastAPI, service: SessionService, verifier: ScriptedVerifier) -> None:
    """Add the routes by which the test plays the verifier."""

    @app.post("/test/frame/{session_id}")
    async def frame(session_id: str, identity: bool = False) -> dict[str, object]:
        event = await verifier.frame(session_id, identity=identity)
        number = service._stage.turns.sessions[session_id].streams[event.stream_id].number
        return {"kind": event.kind.value, "key": f"{event.kind.value}:{number}:{event.event_id}"}

    @app.post("/test/settled")
    async def settled() -> dict[str, bool]:
        await service.settled()
        return {"settled": True}

    @app.get("/test/audit")
    async def audit() -> dict[str, object]:
        found = await service.audit()
        return {"intact": found.intact, "entries": found.entries, "findings": str(found.findings)}


def main() -> None:
    """Fork a server for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the killed need no burial
    database, clock_file, keys = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for _ in sys.stdin:
        if os.fork() == 0:
            serve(database, clock_file, keys)
            os._exit(0)


if __name__ == "__main__":
    main()
