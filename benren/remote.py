"""The `StreamVerifier` of a tracker whose verifier runs elsewhere: the same contract over HTTP.

Each stream has a reader of its events. An event is acknowledged once the sinks have returned, and
the reader goes on from there after every failure of the line or of a sink. So an event may come
twice over the line, but the sinks get each once, in order. A tracker that starts again knows of no
stream: the time without it was a fault of ours, and devices have their streams opened anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from benren.problems import UnexpectedAnswer, error_of, json_object, raise_for_problem, unreachable
from verifier.clock import Clock
from verifier.errors import StreamGone
from verifier.streaming.wire import event_from_json, spec_to_json, stamp_to_json
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    Comparison,
    EventSink,
    IceServer,
    Likeness,
    StreamEvent,
    StreamGrant,
    StreamSpec,
    SubjectTemplate,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLimits:
    """Times of the connection to the verifier."""

    answer_s: float = 30.0
    """A request is answered within this time, or has failed."""
    silence_s: float = 45.0
    """Three missed keep-alives (15 s each): the line of events is taken for dead."""
    retry_ms: int = 500
    """First pause before a reader tries again; doubles up to..."""
    retry_longest_ms: int = 15_000
    """...this."""
    tries_after_close: int = 40
    """A reader of a closed stream gives up after so many failures in a row: about ten minutes."""


class RemoteVerifier:
    """Speaks to a verifier over HTTP; make it with `connect`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        clock: Clock,
        describes: Mapping[str, str],
        limits: RemoteLimits,
    ) -> None:
        self._url = base_url
        self._clock = clock
        self._describes = dict(describes)
        self._limits = limits
        self._http = _client(base_url, api_key, limits)
        self._sinks: list[EventSink] = []
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._closed: set[str] = set()

    @classmethod
    async def connect(
        cls,
        base_url: str,
        *,
        clock: Clock,
        api_key: str = "",
        limits: RemoteLimits | None = None,
    ) -> Self:
        """Ask the verifier what it runs. Raises ServiceUnreachable, Unauthorised, Refused."""
        chosen = limits if limits is not None else RemoteLimits()
        async with _client(base_url, api_key, chosen) as http:
            version = json_object(await _ask(http, "GET", "/version"))
        try:
            describes = {**version["models"], "profile": str(version["profile_version"])}
        except (KeyError, TypeError) as error:
            raise UnexpectedAnswer(
                f"The service at {base_url} is not a Benren verifier.",
                remedy="Give the address of the verifier.",
            ) from error
        return cls(base_url, api_key=api_key, clock=clock, describes=describes, limits=chosen)

    async def open_stream(self, spec: StreamSpec) -> StreamGrant:
        """Open a stream, or raise TemplateError; its events begin to flow to the sinks."""
        grant = _grant(json_object(await self._ask("POST", "/v1/streams", spec_to_json(spec))))
        self.attach(grant.stream_id)
        return grant

    def attach(self, stream_id: str, *, after: int = 0) -> None:
        """Read the events of a stream above the id `after`, until it is gone."""
        if stream_id not in self._readers:
            reader = asyncio.create_task(self._read(stream_id, after), name="stream events")
            self._readers[stream_id] = reader
            reader.add_done_callback(lambda _: self._forget(stream_id))

    async def refresh(self, stream_id: str) -> StreamGrant:
        """Have another client token made."""
        return _grant(json_object(await self._ask("POST", f"/v1/streams/{stream_id}/token")))

    async def resume(self, stream_id: str) -> None:
        """Make the next face an identity sample: a pause of the session is over."""
        raise_for_problem(await self._ask("POST", f"/v1/streams/{stream_id}/resume"))

    async def check(self, stream_id: str, request: CheckRequest) -> StreamEvent:
        """Judge the current track's frames now."""
        body: dict[str, Any] = {"check_id": request.check_id}
        if request.not_before is not None:
            body["not_before"] = stamp_to_json(request.not_before)
        if request.awaited:
            body["awaited"] = True
        answer = await self._ask("POST", f"/v1/streams/{stream_id}/checks", body)
        return event_from_json(json_object(answer))

    async def challenge(self, stream_id: str, request: ChallengeRequest) -> None:
        """Begin a challenge; its event comes over the line of events."""
        body: dict[str, Any] = {
            "check_id": request.check_id,
            "turns": request.turns,
            "window_ms": request.window_ms,
            "attempts": request.attempts,
        }
        if request.not_before is not None:
            body["not_before"] = stamp_to_json(request.not_before)
        raise_for_problem(await self._ask("POST", f"/v1/streams/{stream_id}/challenges", body))

    async def compare_templates(
        self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]
    ) -> Comparison:
        """Name who of `others` looks like `probe`, or raise TemplateError for the probe."""
        body = {"probe": _template(probe), "others": [_template(other) for other in others]}
        answer = json_object(await self._ask("POST", "/v1/templates:compare", body))
        try:
            return Comparison(
                alike=tuple(
                    Likeness(
                        subject=str(one["subject"]),
                        similarity=float(one["similarity"]),
                        threshold=float(one["threshold"]),
                    )
                    for one in answer["alike"]
                ),
                compared=int(answer["compared"]),
                skipped=tuple(str(subject) for subject in answer["skipped"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswer(
                f"The verifier's comparison cannot be read: {error!r}.",
                remedy="Run the same release of the verifier and of the session tracker.",
            ) from error

    async def close_stream(self, stream_id: str, *, taken_over: bool = False) -> None:
        """Close a stream; events that are still on its list are read to the end."""
        self._closed.add(stream_id)
        how = "?taken_over=true" if taken_over else ""
        raise_for_problem(await self._ask("DELETE", f"/v1/streams/{stream_id}{how}"))
        if stream_id not in self._readers:
            self._closed.discard(stream_id)

    def subscribe(self, sink: EventSink) -> None:
        """Give every event to `sink` too, per stream in order."""
        self._sinks.append(sink)

    def describe(self) -> Mapping[str, str]:
        """Models and profile as the verifier named them when we connected."""
        return self._describes

    async def aclose(self) -> None:
        """Stop reading. What was not acknowledged stays on the list of its stream for a while."""
        readers = list(self._readers.values())
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return await _ask(self._http, method, path, body)

    def _forget(self, stream_id: str) -> None:
        self._readers.pop(stream_id, None)
        self._closed.discard(stream_id)

    async def _read(self, stream_id: str, after: int) -> None:
        """Read until the stream is gone; every failure is followed by another try."""
        position = _Position(after)
        failures = 0
        while True:
            before = position.last_id
            try:
                await self._read_once(stream_id, position)
            except StreamGone:
                return
            except Exception as error:  # noqa: BLE001 - whatever failed, the events are still there
                failures = 1 if position.last_id > before else failures + 1
                _log.warning("events of a stream, after %d: %r", position.last_id, error)
            else:
                failures = 1 if position.last_id > before else failures + 1
            if stream_id in self._closed and failures >= self._limits.tries_after_close:
                _log.error("the last events of a closed stream could not be read: given up")
                return
            pause_ms = self._limits.retry_ms * 2 ** min(failures - 1, 16)
            pause_ms = min(pause_ms, self._limits.retry_longest_ms)
            await self._clock.sleep_until(self._clock.stamp().monotonic_ms + pause_ms)

    async def _read_once(self, stream_id: str, position: _Position) -> None:
        """Read over one connection, to its end."""
        headers = {"Last-Event-ID": str(position.last_id), "Accept": "text/event-stream"}
        async with self._http.stream(
            "GET",
            f"/v1/streams/{stream_id}/events",
            headers=headers,
            timeout=httpx.Timeout(self._limits.answer_s, read=self._limits.silence_s),
        ) as response:
            if not response.is_success:
                await response.aread()
                raise error_of(response)
            async for data in server_sent_data(response.aiter_lines()):
                event = event_from_json(json.loads(data))
                if event.event_id > position.last_id:
                    await self._take(event, position)
                await self._acknowledge(stream_id, event.event_id)

    async def _take(self, event: StreamEvent, position: _Position) -> None:
        if event.event_id != position.last_id + 1:
            raise UnexpectedAnswer(
                f"Event {event.event_id} of a stream came after event {position.last_id}.",
                remedy="Let only one session tracker read a stream.",
            )
        while position.taken_by < len(self._sinks):
            await self._sinks[position.taken_by](event)
            position.taken_by += 1
        position.last_id, position.taken_by = event.event_id, 0

    async def _acknowledge(self, stream_id: str, event_id: int) -> None:
        path = f"/v1/streams/{stream_id}/events/ack"
        raise_for_problem(await self._ask("POST", path, {"event_id": event_id}))


@dataclass(slots=True)
class _Position:
    """How far a reader has come."""

    last_id: int
    taken_by: int = 0
    """How many sinks have the event after it already."""


async def server_sent_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Give the data of each server-sent event (HTML, 9.2.6); comments and other fields pass by."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _client(base_url: str, api_key: str, limits: RemoteLimits) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=limits.answer_s,
        # Every open stream holds a connection; the verifier bounds their number.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        trust_env=False,
    )


async def _ask(
    http: httpx.AsyncClient, method: str, path: str, body: Mapping[str, Any] | None = None
) -> httpx.Response:
    try:
        return await http.request(method, path, json=body)
    except httpx.TransportError as error:
        raise unreachable(str(http.base_url), error) from error


def _ice_server(body: Mapping[str, Any]) -> IceServer:
    return IceServer(
        urls=tuple(str(url) for url in body["urls"]),
        username=body.get("username"),
        credential=body.get("credential"),
    )


def _template(given: SubjectTemplate) -> dict[str, str]:
    return {
        "subject": given.subject,
        "template": base64.b64encode(given.template).decode("ascii"),
    }


def _grant(body: Mapping[str, Any]) -> StreamGrant:
    try:
        return StreamGrant(
            stream_id=str(body["stream_id"]),
            client_token=str(body["client_token"]),
            expires_utc_ms=int(body["expires_utc_ms"]),
            frames_path=str(body["frames_path"]),
            socket_path=str(body["socket_path"]),
            offer_path=str(body["offer_path"]),
            sample_period_ms=int(body["sample_period_ms"]),
            ice_servers=tuple(_ice_server(server) for server in body["ice_servers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"This is not a stream grant: {error!r}.") from error
