"""SIGKILL in mid-lesson, twenty times: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import base64
import mmap
import os
import random
import signal
import struct
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from verifier.clock import SystemClock
from verifier.keys import create_key_directory

KILLS = int(os.environ.get("BENREN_KILLS", "20"))
"""`make soak` asks for more."""
TARGET = Path(__file__).with_name("kill_target.py")


class Tracker:
    """A tracker in a process of its own, that can be killed and started again."""

    def __init__(self, folder: Path, url: str) -> None:
        create_key_directory(folder / "keys", SystemClock())
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("<q", 0))
        with self._clock.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self._arguments = [url, str(self._clock), str(folder / "keys")]
        self.now_ms = 0
        self.pid = 0

    async def __aenter__(self) -> Tracker:
        """Start the process that forks."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(TARGET),
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=TARGET.parent.parent.parent,
            env={**os.environ, "PYTHONPATH": str(TARGET.parent.parent.parent)},
        )
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End both."""
        await self.kill()
        self._process.terminate()
        await self._process.wait()
        self._page.close()

    async def start(self) -> None:
        """Fork a server and connect to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        port, pid = line.split()
        self.pid = int(pid)
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{int(port)}", timeout=30)

    async def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0
            await self.http.aclose()

    def advance(self, ms: int) -> None:
        """Let time go by, in whichever process is alive."""
        self.now_ms += ms
        self._page[:8] = struct.pack("<q", self.now_ms)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Call; anything but success fails the test."""
        response = await self.http.request(method, path, **options)
        assert response.is_success, response.text
        return response.json()


class Client:
    """A learner's device that remembers what was acknowledged."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.acknowledged: set[str] = set()
        self.seq = 0
        self.media_ms = 0
        self.playing = False
        self.waiting: dict[str, Any] | None = None
        """A report that was sent and not acknowledged: it is sent again, word for word."""

    async def open(self) -> None:
        """Register, consent and open a session."""
        ask = self.tracker.ask
        body = {"category": "principal", "track": "initial", "industry": "furniture"}
        made = await ask("POST", "/v1/learners", json={**body, "business_ref": "b"})
        self.learner = made["learner_id"]
        template = {"template": base64.b64encode(b"x").decode(), "provenance": "id_photo"}
        await ask("PUT", f"/v1/learners/{self.learner}/template", json=template)
        path = f"/v1/staff/learners/{self.learner}/approval"
        await ask("POST", path, json={"reason": "seen"})
        path = f"/v1/learners/{self.learner}/consents"
        consent = await ask("POST", path, json={"text_version": "1"})
        opened = await ask(
            "POST",
            "/v1/sessions",
            json={
                "learner_id": self.learner,
                "consent_id": consent["consent_id"],
                "programme": "demo",
                "media": ["lesson"],
            },
        )
        self.session = opened["session_id"]
        self.bearer = {"Authorization": f"Bearer {opened['session_token']}"}

    async def frame(self, *, identity: bool) -> None:
        """Bring a frame; an answer means that its event is durable."""
        answer = await self.tracker.ask(
            "POST", f"/test/frame/{self.session}", params={"identity": identity}
        )
        if answer["kind"] == "identity":
            self.acknowledged.add(answer["key"])

    async def report(self) -> None:
        """Report the player; a report without an answer is sent again."""
        if self.waiting is None:
            self.seq += 1
            self.waiting = {
                "seq": self.seq,
                "media_id": "lesson",
                "media_ms": self.media_ms,
                "playing": self.playing,
            }
        path = f"/v1/sessions/{self.session}/playback"
        await self.tracker.ask("POST", path, json=self.waiting, headers=self.bearer)
        self.acknowledged.add(f"playback:{self.waiting['seq']:010d}")
        self.waiting = None

    async def step(self, *, identity: bool, report: bool) -> None:
        """Five seconds of a lesson."""
        self.tracker.advance(5_000)
        await self.tracker.ask("POST", "/test/settled")
        self.media_ms += 5_000 if self.playing else 0
        await self.frame(identity=identity)
        await self.tracker.ask("POST", "/test/settled")
        path = f"/v1/sessions/{self.session}"
        view = await self.tracker.ask("GET", path, headers=self.bearer)
        if report or view["play"] != self.playing:
            self.playing = view["play"]
            await self.report()

    async def story(self) -> dict[str, Any]:
        """Everything the tracker knows of the session."""
        found: dict[str, Any] = await self.tracker.ask(
            "GET", f"/v1/sessions/{self.session}/explain"
        )
        return found


@pytest_asyncio.fixture
async def tracker(tmp_path: Path, database_url: str) -> AsyncIterator[Tracker]:
    """A running tracker."""
    async with Tracker(tmp_path, database_url) as made:
        yield made


async def killed_while_busy(tracker: Tracker, client: Client, delay_s: float) -> None:
    """Send frames and reports at once, and kill the tracker somewhere in between."""

    async def busy() -> None:
        while True:
            tracker.advance(1_000)
            both = (client.frame(identity=True), client.report())
            results = await asyncio.gather(*both, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    work = asyncio.create_task(busy())
    await asyncio.sleep(delay_s)
    http = tracker.http
    os.kill(tracker.pid, signal.SIGKILL)
    tracker.pid = 0
    with pytest.raises(httpx.TransportError):
        await work
    await http.aclose()


def disjoint(intervals: list[tuple[int, int]]) -> bool:
    """Whether no two of them overlap."""
    return all(end <= start for (_, end), (start, _) in pairwise(sorted(intervals)))


@pytest.mark.slow
@pytest.mark.both_databases
async def test_killed_in_the_middle_of_a_lesson_twenty_times(
    tracker: Tracker, database_url: str
) -> None:
    """After every kill all acknowledged facts are there; at the end no second counts twice."""
    chance = random.Random(20)
    client = Client(tracker)
    await client.open()
    kills = KILLS if database_url.startswith("sqlite") else KILLS // 3
    for _ in range(kills):
        for step in range(8):
            await client.step(identity=step % 3 == 0, report=step % 3 == 0)
        await killed_while_busy(tracker, client, chance.uniform(0.0, 0.06))
        tracker.advance(chance.choice([0, 500, 4_000]))
        await tracker.start()
        keys = {fact["key"] for fact in (await client.story())["facts"]}
        assert client.acknowledged <= keys
        audit = await tracker.ask("GET", "/test/audit")
        assert audit["intact"], audit
        await tracker.ask("POST", f"/v1/sessions/{client.session}/stream", headers=client.bearer)
        if client.waiting is not None:
            await client.report()

    path = f"/v1/sessions/{client.session}/close"
    view = await tracker.ask("POST", path, headers=client.bearer)
    assert view["state"] == "settled"
    story = await client.story()
    credited = [(i["start_ms"], i["end_ms"]) for i in story["credited"]]
    media = [
        (i["media_ms"], i["media_ms"] + i["end_ms"] - i["start_ms"]) for i in story["credited"]
    ]
    assert disjoint(credited)
    assert disjoint(media)
    assert len(credited) > 5
    keys = [fact["key"] for fact in story["facts"]]
    assert len(keys) == len(set(keys))
    passes = sorted(
        fact["at_ms"] for fact in story["facts"] if fact["data"].get("outcome") == "pass"
    )
    assert all(passes[0] <= start and end <= passes[-1] for start, end in credited)
    assert 0 < story["credited_ms"] <= story["verified_ms"] <= tracker.now_ms
    assert (await tracker.ask("GET", "/test/audit"))["intact"]
