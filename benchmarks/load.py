"""A load generator of its own process: clients that ask again as soon as they are answered.

``python -m benchmarks.load`` takes one JSON object on stdin (`Orders`) and gives one on stdout
(`Report`). HTTP/1.1 with kept connections is spoken by hand: a client library would take more of
the processor than the service's own HTTP, on the very cores that are measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from verifier.clock import work_time_ms
from verifier.errors import InferenceFailed

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to ask, of whom, and for how long."""

    host: str
    port: int
    path: str
    bodies: list[str]
    """Files with a JSON body each; the clients take turns through them."""
    clients: int
    seconds: float
    warm_up_s: float
    """Asked for before anything counts."""


@dataclass(slots=True)
class Report:
    """What came of it."""

    latencies_ms: list[float] = field(default_factory=list)
    """Of answers with status 200 to what was asked after the warm-up."""
    statuses: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0
    """From the end of the warm-up to the last answer that counts."""
    cpu_s: float = 0.0
    """Of this process, in the same time."""


async def generate(orders: Orders, bodies: Sequence[bytes]) -> Report:
    """Let all clients run at once. Raises where a connection breaks or an answer is no HTTP."""
    requests = [_request(orders, body) for body in bodies]
    report = Report()
    start_ms = work_time_ms()
    counts_from_ms = start_ms + orders.warm_up_s * 1_000
    end_ms = counts_from_ms + orders.seconds * 1_000
    marks: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(
            orders.host, orders.port, limit=MAX_HEAD_BYTES
        )
        turn, counted = number, False
        try:
            # On a slow machine one answer may take longer than all: every client is heard once.
            while (asked_ms := work_time_ms()) < end_ms or not counted:
                if asked_ms >= counts_from_ms and not marks:
                    marks.append(time.process_time())
                writer.write(requests[turn % len(requests)])
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    status = await _answer(reader)
                turn += 1
                if asked_ms < counts_from_ms:
                    continue
                counted = True
                report.statuses[str(status)] = report.statuses.get(str(status), 0) + 1
                if status == 200:
                    report.latencies_ms.append(work_time_ms() - asked_ms)
        finally:
            writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(orders.clients):
            group.create_task(client(number))
    report.elapsed_s = (work_time_ms() - counts_from_ms) / 1_000
    report.cpu_s = time.process_time() - marks[0] if marks else 0.0
    return report


def _request(orders: Orders, body: bytes) -> bytes:
    head = (
        f"POST {orders.path} HTTP/1.1\r\nHost: {orders.host}:{orders.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer whole and give its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    lengths = [line for line in head[1:] if line.lower().startswith("content-length:")]
    length = int(lengths[0].partition(":")[2]) if lengths else -1
    if not 0 <= length <= MAX_BODY_BYTES:
        raise InferenceFailed(f"An answer of status {status} has no length, or one beyond reason.")
    await reader.readexactly(length)
    return status


def main() -> int:
    """Read the orders, run, print the report."""
    orders = Orders(**json.load(sys.stdin))
    bodies = [Path(body).read_bytes() for body in orders.bodies]
    report = asyncio.run(generate(orders, bodies))
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
