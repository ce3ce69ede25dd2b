"""Listening: an address that works while it is asked for, and a clear word where it cannot."""

from __future__ import annotations

import gc
import socket
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from benren import server
from benren.config import Config
from benren.server import _listen, listening
from verifier.errors import ConfigurationError


async def test_app_answers_until_the_end() -> None:
    """The address serves the app within the block, and nobody listens there after it."""
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    async with listening(app) as address, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{address}/hello")).json() == {"hello": "world"}
        assert address.startswith("http://127.0.0.1:")
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{address}/hello")


def test_taken_port_is_told() -> None:
    """A port that somebody else holds is an error with a remedy, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)) as caught:
            _listen("127.0.0.1", port)
    assert "--port" in caught.value.remedy


def test_address_of_another_machine_is_told() -> None:
    """An address that is not ours cannot be opened, and the message names it."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        _listen("192.0.2.1", 0)


async def test_a_server_is_set_up_for_a_long_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was loaded is looked through by no collection; services end where no port opens."""
    stopped = []

    class Started:
        hub = None
        app = FastAPI()

        async def stop(self) -> None:
            stopped.append(True)

    async def build(*_: object) -> Started:
        return Started()

    before = gc.get_threshold(), sys.getswitchinterval()
    monkeypatch.setattr(server, "build", build)
    config = Config(data_directory=tmp_path, host="192.0.2.1")
    try:
        with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
            await server.run(config)
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[2] > before[0][2]
        assert sys.getswitchinterval() < before[1]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])
    assert stopped == [True]
