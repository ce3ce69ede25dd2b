"""The load generator, against a small server of its own."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.load import Orders, generate
from verifier.errors import InferenceFailed


async def _serve(answer: bytes, seen: list[bytes]) -> asyncio.Server:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                seen.append(await reader.readexactly(length))
                await asyncio.sleep(0.001)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


def _orders(server: asyncio.Server, *, clients: int = 3) -> Orders:
    port = server.sockets[0].getsockname()[1]
    return Orders(
        host="127.0.0.1",
        port=port,
        path="/v1/verify",
        bodies=[],
        clients=clients,
        seconds=0.3,
        warm_up_s=0.5,
    )


async def test_clients_ask_in_turns_and_answers_are_counted() -> None:
    """Every body is sent, every answer counted, none of the warm-up."""
    seen: list[bytes] = []
    server = await _serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", seen)
    async with server:
        report = await generate(_orders(server), [b'{"a":1}', b'{"b":22}'])
    assert set(seen) == {b'{"a":1}', b'{"b":22}'}
    assert report.statuses == {"200": len(report.latencies_ms)}
    assert 0 < len(report.latencies_ms) < len(seen)
    assert min(report.latencies_ms) >= 1.0
    assert report.elapsed_s >= 0.15


async def test_answers_that_are_not_200_have_no_latency() -> None:
    """A refusal is counted apart: quick refusals must not look like quick answers."""
    server = await _serve(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", [])
    async with server:
        report = await generate(_orders(server), [b"{}"])
    assert report.latencies_ms == []
    assert set(report.statuses) == {"503"}


async def test_an_answer_without_a_length_ends_the_run() -> None:
    """What cannot be measured is an error, not a number."""
    server = await _serve(b"HTTP/1.1 200 OK\r\n\r\n", [])
    async with server:
        with pytest.raises(ExceptionGroup) as caught:
            await generate(_orders(server), [b"{}"])
    assert caught.group_contains(InferenceFailed, match="no length")
