"""Learners who study over WebSockets, in a process of its own: the load of `benchmarks.streams`.

``python -m benchmarks.stream_load`` takes one JSON object on stdin (`Orders`) and gives one on
stdout (`Report`). Each learner enrols, opens a session, sends a frame every period, jittered by a
tenth, and reports playback; beside them a probe asks ``/healthz`` twice a second.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.load import _answer
from benchmarks.service import Server
from verifier.clock import work_time_ms
from verifier.errors import InferenceFailed
from verifier.streaming.framing import FramedPicture, pack

PERIOD_S: Final = 5.0
JITTER: Final = 0.1
REPORT_S: Final = 15.0
LINES: Final = 8
"""HTTP connections for reports."""
ENTRIES_PER_S: Final = 4.0
"""Learners who come in, at most: a whole county does not begin its lesson in one second."""
_COMMENT: Final = b"\xff\xfe"  # JPEG, T.81, B.2.4.5: a comment; makes equal pictures differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Who studies, where, and for how long."""

    host: str
    port: int
    people: list[list[str]]
    """Files with JPEG pictures, for each person; learners take persons in turns."""
    learners: int
    warm_up_s: float
    """From the last learner's entry; nothing of it counts."""
    seconds: float
    programme: str
    pid: int
    """Of the service: its processor time is read while it counts."""
    seed: int = 1


@dataclass(slots=True)
class Report:
    """What came of it."""

    waits_ms: list[float] = field(default_factory=list)
    """From sending a frame to its cue."""
    frames: list[tuple[str, int]] = field(default_factory=list)
    """Stream and number of each of these frames."""
    probes_ms: list[float] = field(default_factory=list)
    """Answers of ``/healthz``: what everybody waits at least."""
    advice: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    """Of the sessions at the end."""
    sent_bytes: int = 0
    unanswered: int = 0
    lost: int = 0
    """Connections that ended."""
    began_utc_ms: int = 0
    """From when on it counts."""
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    """Of this process, while it counts."""
    service_cpu_s: float = 0.0
    """Of the service, meanwhile."""
    memory_mb: list[float] = field(default_factory=list)
    """Resident memory of the service, when it begins to count and at the end."""
    put_off: int = 0
    """Requests that were answered 503, and sent again."""
    looks: dict[str, int] = field(default_factory=dict)
    """Identity samples while it counts: `taken`, `within_2_s` of their frame's arrival, and
    `passed_over`."""


class _Http:
    """A few kept connections that take turns."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self.put_off = 0
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def open(self, count: int) -> None:
        for _ in range(count):
            self._free.put_nowait(await self._line())

    async def _line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._orders.host, self._orders.port, limit=256 * 1024)

    async def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Send JSON and give the answer's JSON; a service that is full is asked again."""
        while True:
            status, answer = await self._ask(method, path, body, token)
            if status != 503:
                break
            self.put_off += 1
            await asyncio.sleep(1.0)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    async def _ask(self, method: str, path: str, body: Any, token: str) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n"
        head += "Content-Type: application/json\r\n" if content else ""
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        reader, writer = line = await self._free.get()
        try:
            if reader.at_eof():  # the service closes what was idle for a while
                writer.close()
                reader, writer = line = await self._line()
            writer.write(head.encode() + b"\r\n" + content)
            status, answer = await _json_answer(reader)
        finally:
            self._free.put_nowait(line)
        return status, answer


async def _json_answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
    return status, json.loads(await reader.readexactly(length) or b"null")


class _Learner:
    """One of them."""

    def __init__(self, run: _Run, number: int) -> None:
        self._run = run
        self._random = random.Random(run.orders.seed * 100_003 + number)  # noqa: S311 - jitter
        self._pictures = run.people[number % len(run.people)]
        self._number = number
        self._waiting: dict[int, float] = {}
        self._play = False
        self._media_ms = 0

    async def enter(self) -> None:
        """Enrol, consent, open the session."""
        ask = self._run.http.ask
        body = {
            "category": "principal",
            "track": "refresher",
            "industry": "furniture",
            "business_ref": f"load-{self._number}",
        }
        learner = (await ask("POST", "/v1/learners", body))["learner_id"]
        photo = base64.b64encode(self._pictures[0]).decode()
        face = await ask("POST", "/v1/templates", {"subject": learner, "photo": photo})
        template = {"template": face["template"], "provenance": "id_photo"}
        await ask("PUT", f"/v1/learners/{learner}/template", template)
        consent = await ask("POST", f"/v1/learners/{learner}/consents", {"text_version": "load"})
        opened = await ask(
            "POST",
            "/v1/sessions",
            {
                "learner_id": learner,
                "consent_id": consent["consent_id"],
                "programme": self._run.orders.programme,
                "media": ["lesson-1"],
            },
        )
        self._session = opened["session_id"]
        self._token = opened["session_token"]
        self._stream = opened["stream"]

    async def study(self) -> None:
        """Send frames and reports until the time is over."""
        orders = self._run.orders
        address = f"ws://{orders.host}:{orders.port}{self._stream['socket_path']}"
        protocols: Any = ["benren.v1", f"token.{self._stream['client_token']}"]
        async with connect(
            address, subprotocols=protocols, compression=None, proxy=None, ping_interval=None
        ) as socket:
            tasks = [
                asyncio.create_task(self._film(socket)),
                asyncio.create_task(self._hear(socket)),
                asyncio.create_task(self._report()),
            ]
            await self._run.over.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._run.report.unanswered += len(self._waiting)
        view = await self._run.http.ask("GET", f"/v1/sessions/{self._session}", token=self._token)
        states = self._run.report.states
        states[view["state"]] = states.get(view["state"], 0) + 1

    async def _film(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._random.random() * PERIOD_S
        for seq in range(1, 1_000_000):
            await asyncio.sleep(max(due - loop.time(), 0))
            if self._run.ending:
                return
            due += PERIOD_S * self._random.uniform(1 - JITTER, 1 + JITTER)
            picture = self._pictures[seq % len(self._pictures)]
            number = self._random.randbytes(8).hex().encode()
            comment = _COMMENT + (2 + len(number)).to_bytes(2, "big") + number
            data = picture[:2] + comment + picture[2:]
            self._waiting[seq] = work_time_ms()
            await socket.send(pack(FramedPicture(seq=seq, data=data)))
            if self._run.counts:
                self._run.report.sent_bytes += len(data)

    async def _hear(self, socket: ClientConnection) -> None:
        report = self._run.report
        try:
            async for message in socket:
                cue = json.loads(message)
                sent_ms = self._waiting.pop(cue["seq"], None)
                if sent_ms is not None and self._run.counts:
                    report.waits_ms.append(work_time_ms() - sent_ms)
                    report.frames.append((self._stream["stream_id"], cue["seq"]))
                    report.advice[cue["advice"]] = report.advice.get(cue["advice"], 0) + 1
        finally:
            report.lost += not self._run.over.is_set()

    async def _report(self) -> None:
        path = f"/v1/sessions/{self._session}/playback"
        await asyncio.sleep(self._random.random() * REPORT_S)
        for seq in range(1, 1_000_000):
            body = {
                "seq": seq,
                "media_id": "lesson-1",
                "media_ms": self._media_ms,
                "playing": self._play,
                "interaction": seq % 8 == 0,
            }
            view = await self._run.http.ask("POST", path, body, self._token)
            self._play = view["play"]
            await asyncio.sleep(REPORT_S)
            self._media_ms += int(REPORT_S * 1_000) if self._play else 0


class _Run:
    """The whole of it."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.people = [[Path(one).read_bytes() for one in person] for person in orders.people]
        self.http = _Http(orders)
        self.report = Report()
        self.over = asyncio.Event()
        self.counts = False
        self.ending = False
        """Whether no further frame is sent: what is on its way is still answered."""

    async def go(self) -> Report:
        """Let everybody enter, warm up, count, and end."""
        await self.http.open(LINES)
        self.people = [person for person in self.people if await self._passes(person)]
        if not self.people:
            raise InferenceFailed("The service takes none of the people for themselves.")
        learners = [_Learner(self, number) for number in range(self.orders.learners)]
        studying: list[asyncio.Task[None]] = []
        for start in range(0, len(learners), LINES):
            some = learners[start : start + LINES]
            pause = asyncio.create_task(asyncio.sleep(LINES / ENTRIES_PER_S))
            await asyncio.gather(pause, *(learner.enter() for learner in some))
            studying += [asyncio.create_task(learner.study()) for learner in some]
        probe = asyncio.create_task(self._probe())
        await asyncio.sleep(self.orders.warm_up_s)
        self.counts = True
        service = Server(pid=self.orders.pid, host="", port=0)
        began_ms, cpu_s, service_s = work_time_ms(), time.process_time(), service.cpu_s() or 0.0
        self.report.memory_mb.append(resident_mb(self.orders.pid))
        before = await self._looks()
        self.report.began_utc_ms = time.time_ns() // 1_000_000
        await asyncio.sleep(self.orders.seconds)
        self.counts = False
        self.report.elapsed_s = (work_time_ms() - began_ms) / 1_000
        self.report.cpu_s = time.process_time() - cpu_s
        self.report.service_cpu_s = (service.cpu_s() or 0.0) - service_s
        self.report.memory_mb.append(resident_mb(self.orders.pid))
        self.ending = True
        await asyncio.sleep(2.0)  # for cues that are on their way
        after = await self._looks()
        self.report.looks = {name: after[name] - before[name] for name in after}
        self.over.set()
        failures = Counter(
            repr(one) for one in await asyncio.gather(*studying, return_exceptions=True) if one
        )
        if failures:
            sys.stderr.write(f"learners failed: {failures.most_common(3)}\n")
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        self.report.put_off = self.http.put_off
        return self.report

    async def _passes(self, pictures: Sequence[bytes]) -> bool:
        """Tell whether a person is taken for himself; whoever is not would be checked for ever."""
        coded = [base64.b64encode(one).decode() for one in pictures[:16]]
        try:
            face = await self.http.ask(
                "POST", "/v1/templates", {"subject": "anybody", "photo": coded[0]}
            )
        except RuntimeError:
            return False
        body = {"subject": "anybody", "template": face["template"]}
        verdicts = [
            await self.http.ask("POST", "/v1/verify", {**body, "frames": coded[start : start + 5]})
            for start in (1, 6, 11)
        ]
        return all(verdict["decision"] == "match" for verdict in verdicts)

    async def _looks(self) -> dict[str, int]:
        address = f"http://{self.orders.host}:{self.orders.port}/metrics"
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(address)
        return looks_of(answer.raise_for_status().text)

    async def _probe(self) -> None:
        reader, writer = await asyncio.open_connection(self.orders.host, self.orders.port)
        while True:
            began_ms = work_time_ms()
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await _answer(reader)
            if self.counts:
                self.report.probes_ms.append(work_time_ms() - began_ms)
            await asyncio.sleep(0.5)


def looks_of(metrics: str) -> dict[str, int]:
    """Read from the service's metrics what became of identity samples so far."""
    names = {
        "benren_look_seconds_count": "taken",
        'benren_look_seconds_bucket{le="2.0"}': "within_2_s",
        "benren_looks_passed_over_total": "passed_over",
    }
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    missing = [name for name in names if name not in values]
    if missing:
        raise InferenceFailed(f"The service does not tell {', '.join(missing)}.")
    return {word: round(float(values[name])) for name, word in names.items()}


def resident_mb(pid: int) -> float:
    """Read the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(argv: Sequence[str] = ()) -> int:
    """Read the orders, run, print the report."""
    orders = Orders(**json.load(sys.stdin))
    report = asyncio.run(_Run(orders).go())
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
