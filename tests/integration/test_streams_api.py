"""Streams over real HTTP on loopback: routes, tokens, server-sent events, the remote tracker."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from benren.problems import ServiceUnreachable, UnexpectedAnswer, raise_for_problem
from benren.remote import RemoteLimits, RemoteVerifier
from verifier.api import streams as streams_api
from verifier.api.streams import stream_rules, streams_router
from verifier.clock import ManualClock, Stamp, SystemClock
from verifier.edge import ApiKeys, KeyScope, install_edge, new_api_key
from verifier.errors import (
    BenrenError,
    Conflict,
    StreamGone,
    StreamTakenOver,
    TemplateTampered,
    Unauthorised,
)
from verifier.keys import KeyRing
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import MODELS, ScriptedEngine, ScriptedVault, scene
from verifier.streaming.wire import verify_event
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    Decision,
    EventKind,
    Reason,
    StreamEvent,
    StreamGrant,
    StreamSpec,
)

LIMITS = StreamLimits(frame_bytes=2_000)
QUICK = RemoteLimits(retry_ms=5, retry_longest_ms=20, tries_after_close=3)
SPEC = StreamSpec(session_id="s-1", subject="li", template=b"template of li")
OPEN = {
    "session_id": "s-1",
    "subject": "li",
    "template": base64.b64encode(b"template of li").decode(),
}


class Verifier:
    """A verifier's stream routes behind the real edge, on a real port."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.keys = KeyRing.generate(clock)
        self.secret, line = new_api_key("tracker", [KeyScope.VERIFIER])
        self.engine = ScriptedEngine()
        self.hub = self._hub()
        self.app = FastAPI()
        self.app.include_router(streams_router(self.hub))
        self.app.add_api_route("/version", self._version, response_model=None)
        install_edge(
            self.app,
            service="verifier",
            api_keys=ApiKeys.parse([line]),
            default=KeyScope.VERIFIER,
            rules=stream_rules(LIMITS),
        )
        self.url = ""
        self._seq: dict[str, int] = {}

    def _hub(self) -> StreamHub:
        return StreamHub(
            self.engine,
            ScriptedVault(),
            self.keys,
            clock=self.clock,
            draw=lambda: 0.999,
            limits=LIMITS,
        )

    async def _version(self) -> dict[str, Any]:
        return {"models": MODELS, "profile_version": "scripted-1"}

    async def push(
        self, http: httpx.AsyncClient, grant: dict[str, Any] | StreamGrant, *people: str
    ) -> httpx.Response:
        """Send the next frame of a stream as its client."""
        body = grant if isinstance(grant, dict) else vars_of(grant)
        path = body["frames_path"]
        self._seq[path] = self._seq.get(path, 0) + 1
        self.clock.advance(5_000)
        answer = await http.post(
            path,
            content=scene(*people, shot=self._seq[path]),
            headers=frame_headers(body["client_token"], self._seq[path]),
        )
        await self.hub.settled()
        return answer


def vars_of(grant: StreamGrant) -> dict[str, Any]:
    """The two fields that a client needs."""
    return {"frames_path": grant.frames_path, "client_token": grant.client_token}


def frame_headers(token: str, seq: int) -> dict[str, str]:
    """What a client sends with a frame."""
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "image/jpeg",
        "Benren-Seq": str(seq),
    }


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Serve an app on a free port of loopback; gives its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def verifier(clock: ManualClock) -> AsyncIterator[Verifier]:
    """A running verifier with one API key."""
    made = Verifier(clock)
    async with served(made.app) as url:
        made.url = url
        yield made
        await made.hub.aclose()


@pytest.fixture
async def tracker(verifier: Verifier) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the API key."""
    headers = {"Authorization": f"Bearer {verifier.secret}"}
    async with httpx.AsyncClient(base_url=verifier.url, headers=headers) as http:
        yield http


@pytest.fixture
async def phone(verifier: Verifier) -> AsyncIterator[httpx.AsyncClient]:
    """A learner's device: it has no API key."""
    async with httpx.AsyncClient(base_url=verifier.url) as http:
        yield http


async def read_events(
    tracker: httpx.AsyncClient, stream_id: str, count: int, last_id: int | None = None
) -> list[dict[str, Any]]:
    """Read so many server-sent events, then hang up."""
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    events: list[dict[str, Any]] = []
    path = f"/v1/streams/{stream_id}/events"
    async with tracker.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        number = ""
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                number = line[4:]
            if line.startswith("data: "):
                event = json.loads(line[6:])
                assert event["event_id"] == int(number)
                events.append(event)
                if len(events) == count:
                    break
    return events


async def test_a_lesson_over_http(verifier: Verifier, tracker, phone) -> None:
    """Open, push, check, read, acknowledge, close: the whole way, with real status codes."""
    opened = await tracker.post("/v1/streams", json=OPEN)
    assert opened.status_code == 201
    grant = opened.json()
    for _ in range(3):
        answer = await verifier.push(phone, grant, "li")
        assert answer.status_code == 200
        assert set(answer.json()) == {"seq", "accepted", "advice", "period_ms", "challenge"}
        assert answer.json()["accepted"] is True
    checked = await tracker.post(
        f"/v1/streams/{grant['stream_id']}/checks", json={"check_id": "c-1"}
    )
    assert checked.status_code == 200
    assert checked.json()["decision"] == "match"
    events = await read_events(tracker, grant["stream_id"], 5)
    kinds = [event["kind"] for event in events]
    assert kinds == ["presence", "identity", "presence", "presence", "check"]
    assert events[-1] == checked.json()
    acknowledged = await tracker.post(
        f"/v1/streams/{grant['stream_id']}/events/ack", json={"event_id": 5}
    )
    assert acknowledged.status_code == 204
    for _ in range(2):
        closed = await tracker.delete(f"/v1/streams/{grant['stream_id']}")
        assert closed.status_code == 204
    gone = await verifier.push(phone, grant, "li")
    assert gone.status_code == 410
    assert gone.json()["code"] == "stream_gone"
    assert "session tracker" in gone.json()["remedy"]


async def test_uploads_to_a_stream_that_was_taken_over(verifier: Verifier, tracker, phone) -> None:
    """Frame and burst hear that another one took its place: 410 with a code of its own."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    await verifier.push(phone, grant, "li")
    path = f"/v1/streams/{grant['stream_id']}"
    closed = await tracker.delete(path, params={"taken_over": True})
    assert closed.status_code == 204
    burst = await phone.post(
        f"{path}/bursts",
        content=b"",
        headers={
            "Authorization": f"Bearer {grant['client_token']}",
            "Content-Type": "application/vnd.benren.burst",
        },
    )
    for answer in (await verifier.push(phone, grant, "li"), burst):
        assert (answer.status_code, answer.json()["code"]) == (410, "stream_taken_over")
    refreshed = await tracker.post(f"{path}/token")
    assert (refreshed.status_code, refreshed.json()["code"]) == (410, "stream_gone")


async def test_a_clients_token_is_no_api_key_and_the_other_way_round(
    verifier: Verifier, tracker, phone
) -> None:
    """A learner's device can push frames into its stream and nothing else."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    base = f"/v1/streams/{grant['stream_id']}"
    as_client = {"Authorization": f"Bearer {grant['client_token']}"}
    answers = [
        await phone.post("/v1/streams", json=OPEN),
        await phone.post("/v1/streams", json=OPEN, headers=as_client),
        await phone.post(f"{base}/checks", json={"check_id": "c"}, headers=as_client),
        await phone.post(f"{base}/token", headers=as_client),
        await phone.post(f"{base}/resume", headers=as_client),
        await phone.get(f"{base}/events", headers=as_client),
        await phone.post(f"{base}/events/ack", json={"event_id": 0}, headers=as_client),
        await phone.delete(base, headers=as_client),
        await phone.post(
            f"{base}/frames", content=scene("li"), headers=frame_headers(verifier.secret, 1)
        ),
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    assert verifier.hub.open_streams == 1


@pytest.mark.parametrize(
    ("headers", "content", "expected"),
    [
        ({"Benren-Seq": ""}, b"x", (422, "invalid_request")),
        ({"Benren-Seq": "-1"}, b"x", (422, "invalid_request")),
        ({"Content-Type": "text/plain"}, b"x", (415, "unsupported_media_type")),
        ({}, b"\xff\xd8 cut off", (422, "image_unreadable")),
        ({}, b"", (422, "image_unreadable")),
        ({}, bytes(2_001), (413, "request_too_large")),
        ({"Authorization": "Basic eDp5"}, b"x", (401, "unauthorised")),
        ({"Authorization": "Bearer a.b.c"}, b"x", (401, "unauthorised")),
    ],
)
async def test_frames_that_cannot_be_taken(
    verifier: Verifier, tracker, phone, *, headers: dict[str, str], content: bytes, expected
) -> None:
    """Each mistake of a client has its own clear answer, and the stream lives on."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    answer = await phone.post(
        grant["frames_path"],
        content=content,
        headers={**frame_headers(grant["client_token"], 1), **headers},
    )
    assert (answer.status_code, answer.json()["code"]) == expected
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"]
    assert (await verifier.push(phone, grant, "li")).json()["accepted"] is True


async def test_too_many_frames_are_told_when_to_come_back(tracker, phone) -> None:
    """The sixth frame at once is answered with 429 and Retry-After."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    answers = [
        await phone.post(
            grant["frames_path"],
            content=scene("li", shot=seq),
            headers=frame_headers(grant["client_token"], seq),
        )
        for seq in range(1, 7)
    ]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1].headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"template": "!!!!"}, 422),
        ({"template": base64.b64encode(b"of wang").decode()}, 422),
        ({"subject": ""}, 422),
        ({"surprise": 1}, 422),
        ({"policy": {"identity_share": 2}}, 422),
        ({"policy": {"sample_period_ms": 60_000}}, 400),
    ],
)
async def test_streams_that_cannot_be_opened(tracker, change: dict[str, Any], status: int) -> None:
    """A wrong request is refused when the stream would open."""
    answer = await tracker.post("/v1/streams", json={**OPEN, **change})
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_events_are_resumable(verifier: Verifier, tracker, phone) -> None:
    """Reading goes on after Last-Event-ID; what is not acknowledged comes again without it."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    stream_id = grant["stream_id"]
    for _ in range(4):
        await verifier.push(phone, grant, "li")
    numbers = [event["event_id"] for event in await read_events(tracker, stream_id, 2)]
    assert numbers == [1, 2]
    numbers = [event["event_id"] for event in await read_events(tracker, stream_id, 2, last_id=2)]
    assert numbers == [3, 4]
    await tracker.post(f"/v1/streams/{stream_id}/events/ack", json={"event_id": 3})
    assert [event["event_id"] for event in await read_events(tracker, stream_id, 1)] == [4]


async def test_a_silent_line_is_kept_alive(
    verifier: Verifier, tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing happens a comment is sent, so that proxies do not cut the line."""
    monkeypatch.setattr(streams_api, "KEEP_ALIVE_S", 0.01)
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    path = f"/v1/streams/{grant['stream_id']}/events"
    async with tracker.stream("GET", path) as response:
        async for line in response.aiter_lines():
            if line == ": still here":
                break
        else:
            pytest.fail("the line ended without a keep-alive")


async def test_reading_ends_with_the_stream(verifier: Verifier, tracker, phone) -> None:
    """After the last event of a closed stream the answer ends."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    await verifier.push(phone, grant, "li")
    await tracker.delete(f"/v1/streams/{grant['stream_id']}")
    events = await read_events(tracker, grant["stream_id"], 99)
    assert [event["event_id"] for event in events] == [1, 2]


async def test_wrong_requests_for_events(tracker) -> None:
    """An id that is no number and a stream that is not there are told apart."""
    grant = (await tracker.post("/v1/streams", json=OPEN)).json()
    path = f"/v1/streams/{grant['stream_id']}/events"
    wrong = await tracker.get(path, headers={"Last-Event-ID": "latest"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_request")
    gone = await tracker.get("/v1/streams/nothing/events")
    assert (gone.status_code, gone.json()["code"]) == (410, "stream_gone")
    early = await tracker.post(f"{path}/ack", json={"event_id": 7})
    assert (early.status_code, early.json()["code"]) == (400, "bad_request")


async def test_the_document_shows_examples_and_ways_in(verifier: Verifier, tracker) -> None:
    """OpenAPI names the token of frames, the media types, and an example of each request."""
    document = verifier.app.openapi()
    frames = document["paths"]["/v1/streams/{stream_id}/frames"]["post"]
    assert frames["security"] == [{"clientToken": []}]
    assert set(frames["requestBody"]["content"]) == {"image/jpeg", "image/png", "image/webp"}
    for name in ("OpenStream", "AskCheck", "Acknowledge", "CueBody"):
        assert document["components"]["schemas"][name]["examples"]


# --- the tracker's end ---------------------------------------------------------------------------


class Sink:
    """Takes events, and can be told to fail."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.failures = 0
        self._changed = asyncio.Condition()

    async def __call__(self, event: StreamEvent) -> None:
        """Take one event."""
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.events.append(event)
        async with self._changed:
            self._changed.notify_all()

    @property
    def ids(self) -> list[int]:
        """Ids in the order of arrival."""
        return [event.event_id for event in self.events]

    async def wait_for(self, count: int) -> None:
        """Return once so many events are there."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)


class Line:
    """A TCP relay that can be cut like a bad line."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Relay on a free port; gives the address."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            self.cut()
            server.close()
            await server.wait_closed()

    def cut(self) -> None:
        """Drop every connection."""
        self.cuts += len(self._writers)
        for writer in list(self._writers):
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, forth}
        await asyncio.gather(self._pipe(reader, forth), self._pipe(back, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@contextlib.asynccontextmanager
async def connected(
    verifier: Verifier, sink: Sink, url: str | None = None
) -> AsyncIterator[RemoteVerifier]:
    """A tracker's end of the line."""
    remote = await RemoteVerifier.connect(
        url or verifier.url, api_key=verifier.secret, clock=SystemClock(), limits=QUICK
    )
    remote.subscribe(sink)
    try:
        yield remote
    finally:
        await remote.aclose()


async def until(condition: Any) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it watches announces nothing
            await asyncio.sleep(0.005)


async def test_the_remote_verifier_keeps_the_contract(verifier: Verifier, phone) -> None:
    """Open, check, renew, resume, close and describe over HTTP; events reach the sink."""
    sink = Sink()
    async with connected(verifier, sink) as remote:
        assert remote.describe() == verifier.hub.describe()
        grant = await remote.open_stream(SPEC)
        await verifier.push(phone, grant, "li")
        await verifier.push(phone, grant, "li")
        await remote.resume(grant.stream_id)
        await verifier.push(phone, await remote.refresh(grant.stream_id), "li")
        instant = Stamp(boot_id="", monotonic_ms=0, utc_ms=verifier.clock.stamp().utc_ms)
        request = CheckRequest(check_id="c-1", not_before=instant)
        event = await remote.check(grant.stream_id, request)
        assert (event.decision, len(event.frame_digests)) == (Decision.MATCH, 1)
        assert verify_event(event, verifier.keys)
        await remote.close_stream(grant.stream_id)
        await sink.wait_for(6)
        assert sink.events[-1] == event
        kinds = [event.kind for event in sink.events]
        assert kinds == [
            EventKind.PRESENCE,
            EventKind.IDENTITY,
            EventKind.PRESENCE,
            EventKind.PRESENCE,
            EventKind.IDENTITY,
            EventKind.CHECK,
        ]
        with pytest.raises(StreamGone):
            await remote.check(grant.stream_id, CheckRequest(check_id="c-2"))
        await remote.close_stream(grant.stream_id)
        await until(lambda: not remote._readers)


async def test_what_a_remote_tracker_says_of_checks_and_ends(
    verifier: Verifier, phone, monkeypatch
) -> None:
    """That a check is awaited, and that another stream took over: as to a hub in one process."""
    heard: list[CheckRequest] = []
    check = verifier.hub.check

    async def noted(stream_id: str, request: CheckRequest) -> StreamEvent:
        heard.append(request)
        return await check(stream_id, request)

    monkeypatch.setattr(verifier.hub, "check", noted)
    async with connected(verifier, Sink()) as remote:
        grant = await remote.open_stream(SPEC)
        for name, awaited in (("c-1", False), ("c-2", True)):
            await remote.check(grant.stream_id, CheckRequest(check_id=name, awaited=awaited))
        assert [request.awaited for request in heard] == [False, True]
        await remote.close_stream(grant.stream_id, taken_over=True)
        with pytest.raises(StreamTakenOver):
            verifier.hub.admit(grant.stream_id, grant.client_token)


async def test_a_challenge_over_http(verifier: Verifier, phone) -> None:
    """Begun at once, shown in the answers to frames, ended by one signed event on the line."""
    sink = Sink()
    async with connected(verifier, sink) as remote:
        grant = await remote.open_stream(SPEC)
        await verifier.push(phone, grant, "li")
        instant = Stamp(boot_id="", monotonic_ms=0, utc_ms=verifier.clock.stamp().utc_ms)
        request = ChallengeRequest(
            check_id="c-1", turns=3, window_ms=20_000, attempts=1, not_before=instant
        )
        await remote.challenge(grant.stream_id, request)
        await remote.challenge(grant.stream_id, request)
        answer = await verifier.push(phone, grant, "li")
        shown = answer.json()["challenge"]
        assert (shown["turn"], shown["step"], shown["steps"], shown["attempt"]) == (
            "centre",
            1,
            3,
            1,
        )
        assert answer.json()["period_ms"] == 250
        verifier.clock.advance(21_000)
        await until(lambda: any(e.kind is EventKind.CHALLENGE for e in sink.events))
        (event,) = (e for e in sink.events if e.kind is EventKind.CHALLENGE)
        assert (event.decision, event.check_id, len(event.turns)) == (None, "c-1", 3)
        assert event.reasons == (Reason.TOO_SLOW,)
        assert verify_event(event, verifier.keys)
        with pytest.raises(BenrenError):
            await remote.challenge(grant.stream_id, ChallengeRequest(check_id="c-2", turns=1))
        await remote.close_stream(grant.stream_id)
        await until(lambda: not remote._readers)


async def test_taken_events_are_acknowledged(verifier: Verifier, phone) -> None:
    """The verifier's list is empty once the sink has everything."""
    sink = Sink()
    async with connected(verifier, sink) as remote:
        grant = await remote.open_stream(SPEC)
        stream = verifier.hub._find(grant.stream_id)
        for _ in range(3):
            await verifier.push(phone, grant, "li")
        await until(lambda: len(stream.log) == 0)
        assert sink.ids == [1, 2, 3, 4]


async def test_a_dropped_line_loses_and_doubles_nothing(verifier: Verifier, phone) -> None:
    """The line is cut again and again in mid-lesson: every event arrives once, in order."""
    sink, line = Sink(), Line(verifier.url)
    async with line.open() as url, connected(verifier, sink, url) as remote:
        grant = await remote.open_stream(SPEC)
        for number in range(1, 31):
            await verifier.push(phone, grant, "li")
            if number % 5 == 0:
                line.cut()
            if number % 10 == 0:
                await sink.wait_for(number)
        await sink.wait_for(30)
    assert sink.ids == list(range(1, 31))
    assert line.cuts > 0


async def test_an_event_that_the_sink_refused_comes_again(verifier: Verifier, phone) -> None:
    """While the tracker cannot store, nothing is acknowledged; afterwards nothing is missing."""
    sink = Sink()
    sink.failures = 3
    async with connected(verifier, sink) as remote:
        grant = await remote.open_stream(SPEC)
        for _ in range(4):
            await verifier.push(phone, grant, "li")
        await sink.wait_for(5)
    assert sink.ids == [1, 2, 3, 4, 5]


async def test_a_tracker_that_starts_again_goes_on_where_it_was(verifier: Verifier, phone) -> None:
    """A new process attaches after the last event that its predecessor made durable."""
    first, second = Sink(), Sink()
    async with connected(verifier, first) as remote:
        grant = await remote.open_stream(SPEC)
        for _ in range(3):
            await verifier.push(phone, grant, "li")
        await first.wait_for(4)
    for _ in range(3):
        await verifier.push(phone, grant, "li")
    async with connected(verifier, second) as remote:
        remote.attach(grant.stream_id, after=4)
        await second.wait_for(3)
    assert first.ids + second.ids == [1, 2, 3, 4, 5, 6, 7]


async def test_a_stream_that_is_lost_ends_its_reader(verifier: Verifier) -> None:
    """After a restart of the verifier its streams are gone, and nobody waits for them."""
    sink = Sink()
    async with connected(verifier, sink) as remote:
        remote.attach("lost-with-the-last-process")
        await until(lambda: not remote._readers)
    assert sink.ids == []


async def test_a_reader_of_a_closed_stream_gives_up_in_the_end(verifier: Verifier, phone) -> None:
    """A sink that never works does not hold a closed stream's reader for ever."""
    sink = Sink()
    sink.failures = 10**9
    async with connected(verifier, sink) as remote:
        grant = await remote.open_stream(SPEC)
        await verifier.push(phone, grant, "li")
        await remote.close_stream(grant.stream_id)
        await until(lambda: not remote._readers)
    assert sink.ids == []


async def test_errors_arrive_as_what_they_are(verifier: Verifier) -> None:
    """Problem details become the same exceptions that the hub itself would raise."""
    async with connected(verifier, Sink()) as remote:
        with pytest.raises(TemplateTampered) as refused:
            await remote.open_stream(
                StreamSpec(session_id="s", subject="li", template=b"template of wang")
            )
        assert refused.value.status == 422
        grant = await verifier.hub.open_stream(SPEC)
        answer = await remote._ask("GET", f"/v1/streams/{grant.stream_id}/events")
        with pytest.raises(Conflict):
            raise_for_problem(answer)


async def test_connecting_to_the_wrong_place(verifier: Verifier, unused_tcp_port: int) -> None:
    """A wrong key, a closed port and another service are told apart."""
    clock = SystemClock()
    with pytest.raises(Unauthorised):
        await RemoteVerifier.connect(verifier.url, api_key="wrong", clock=clock)
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        await RemoteVerifier.connect(f"http://127.0.0.1:{unused_tcp_port}", clock=clock)
    other = FastAPI()
    other.add_api_route("/version", lambda: {"name": "something else"})
    async with served(other) as url:
        with pytest.raises(UnexpectedAnswer, match="not a Benren verifier"):
            await RemoteVerifier.connect(url, clock=clock)
