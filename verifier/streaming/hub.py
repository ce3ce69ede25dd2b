"""All open streams of this process: the `StreamVerifier` that the tracker calls directly.

Streams live in memory only. When the process ends they are lost, and whoever asks for one of
them hears StreamGone: the tracker opens another, whose first face is an identity sample.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping

from verifier.clock import Clock
from verifier.errors import (
    BenrenError,
    Conflict,
    ImageError,
    ImageTooLarge,
    Overloaded,
    StreamGone,
    StreamTakenOver,
)
from verifier.streaming.cues import Cue
from verifier.streaming.limits import StreamLimits
from verifier.streaming.line import Line
from verifier.streaming.memory import Memory
from verifier.streaming.ports import Inference, LookObserver, Vault
from verifier.streaming.requests import check_challenge, check_policy
from verifier.streaming.stream import Stream
from verifier.streaming.tokens import ClientTokens
from verifier.streaming.ways import End, Way
from verifier.streaming.wire import Signer
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    EventSink,
    Frame,
    IceServer,
    StreamEvent,
    StreamGrant,
    StreamSpec,
)

_log = logging.getLogger(__name__)

FRAMES_PATH = "/v1/streams/{stream_id}/frames"
SOCKET_PATH = "/v1/streams/{stream_id}/socket"
OFFER_PATH = "/v1/streams/{stream_id}/offer"
MAX_CLIENT_SKEW_MS = 5_000  # CREDIT_MODEL, row "clock": more is flagged
_SYSTEM_RANDOM = secrets.SystemRandom()
_REMEDY_GONE = "Ask the session tracker for a new stream."


class StreamHub:
    """Opens, feeds, checks and closes streams; one per process."""

    def __init__(
        self,
        batcher: Inference,
        vault: Vault,
        keyring: Signer,
        *,
        clock: Clock,
        draw: Callable[[], float] = _SYSTEM_RANDOM.random,
        limits: StreamLimits | None = None,
        ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
        observer: LookObserver | None = None,
    ) -> None:
        """`draw` gives numbers in [0, 1) and decides which samples are looked at.

        `ice_servers` gives the STUN and TURN servers that a device is told of with its token;
        `observer` hears of every look.
        """
        self._batcher = batcher
        self._vault = vault
        self._keyring = keyring
        self._clock = clock
        self._draw = draw
        self._ice_servers = ice_servers
        self._observer = observer
        self.limits = limits if limits is not None else StreamLimits()
        self._tokens = ClientTokens(clock, self.limits.token_life_ms)
        self._sinks: list[EventSink] = []
        self._open: OrderedDict[str, Stream] = OrderedDict()
        """By last frame, the one that was idle longest first."""
        self._listed: set[str] = set()
        """Streams whose events are read from their list, not given to the sinks."""
        self._closed: OrderedDict[str, tuple[int, Stream]] = OrderedDict()
        """Closed streams with events that nobody has taken, and when they closed."""
        self._taken_over: OrderedDict[str, None] = OrderedDict()
        """Closed streams whose place another one took: uploads have no line to be told on."""
        self._memories: OrderedDict[tuple[str, str], tuple[int, Memory]] = OrderedDict()
        """Of such streams, for the one that takes their place: by session and subject, and since
        when. It comes at once; after `idle_ms` the session has ended."""
        self.counts: Counter[str] = Counter()
        """Frames by outcome (`accepted`, `duplicate`, error codes...), streams, checks, looks, and
        looks that were due but not taken (`looks_passed_over`)."""
        self._sweeper: asyncio.Task[None] | None = None

    # --- the tracker's side ----------------------------------------------------------------

    async def open_stream(self, spec: StreamSpec, *, listed: bool = False) -> StreamGrant:
        """Open a stream. Raises TemplateError, Overloaded.

        With `listed` its events wait on its list for readers (`events`, `acknowledge`) instead of
        going to the sinks of this process.
        """
        check_policy(spec.policy)
        self._expire()
        if len(self._open) >= self.limits.max_streams:
            raise Overloaded(
                f"{self.limits.max_streams} streams are open, more than that are not allowed.",
                remedy="Close streams that have ended, or add another verifier.",
                retry_after_s=10,
            )
        template = self._vault.open(spec.template, subject=spec.subject)
        stream = Stream(
            secrets.token_urlsafe(24),
            spec,
            template.embedding,
            inference=self._batcher,
            signer=self._keyring,
            clock=self._clock,
            draw=self._draw,
            limits=self.limits,
            sinks=() if listed else self._sinks,
            observer=self,
            memory=self._memory_for(spec),
        )
        self._open[stream.id] = stream
        if listed:
            self._listed.add(stream.id)
        self.counts["streams_opened"] += 1
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="stream sweep")
        return self._grant(stream)

    def _memory_for(self, spec: StreamSpec) -> Memory:
        """Give what the session has shown on the stream before, or on another one of it."""
        whose = spec.session_id, spec.subject
        if whose in self._memories:
            return self._memories.pop(whose)[1]
        there = (stream.memory for stream in self._open.values() if stream.whose == whose)
        return next(there, None) or Memory(spec.fingerprints)

    async def refresh(self, stream_id: str) -> StreamGrant:
        """Make another client token; the older ones live on until their time is over."""
        return self._grant(self._find(stream_id))

    async def resume(self, stream_id: str) -> None:
        """Make the next face an identity sample: a pause of the session is over."""
        self._find(stream_id).expect_identity()

    async def check(self, stream_id: str, request: CheckRequest) -> StreamEvent:
        """Judge the frames of the current track that are there already."""
        event = await self._find(stream_id).check(request)
        self.counts["checks"] += 1
        return event

    async def challenge(self, stream_id: str, request: ChallengeRequest) -> None:
        """Begin an active challenge; its event follows. Raises StreamGone, BadRequest."""
        check_challenge(request)
        await self._find(stream_id).challenge(request)
        self.counts["challenges"] += 1

    async def close_stream(self, stream_id: str, *, taken_over: bool = False) -> None:
        """Forget the pictures and revoke the tokens; closing twice is fine.

        Events that nobody has taken yet are still handed over. Where it was `taken_over`, who sends
        hears that, not that the stream was lost; of the newest `max_streams` it is remembered.
        """
        if taken_over:
            self._taken_over[stream_id] = None
            while len(self._taken_over) > self.limits.max_streams:
                self._taken_over.popitem(last=False)
        stream = self._open.pop(stream_id, None)
        if stream is not None:
            if taken_over:
                since_ms = self._clock.stamp().monotonic_ms
                self._memories[stream.whose] = (since_ms, stream.memory)
                self._memories.move_to_end(stream.whose)
            self._retire(stream, End.TAKEN_OVER if taken_over else End.GONE)
        self._expire()

    def subscribe(self, sink: EventSink) -> None:
        """Give every event of the streams that are not listed to `sink` too, in order."""
        self._sinks.append(sink)

    def describe(self) -> Mapping[str, str]:
        """Models (``role -> id@sha256``) and ``profile``."""
        return {**self._batcher.models, "profile": self._batcher.profile_version}

    def events(self, stream_id: str, after: int = 0) -> AsyncIterator[StreamEvent]:
        """Read a listed stream's unacknowledged events with ids above `after`, and what follows."""
        return self._listed_stream(stream_id).log.read(after)

    async def acknowledge(self, stream_id: str, event_id: int) -> None:
        """Forget a listed stream's events up to this id."""
        stream = self._listed_stream(stream_id)
        stream.log.acknowledge(event_id)
        if stream_id in self._closed and not stream.log:
            self._forget(stream_id)

    # --- the client's side -----------------------------------------------------------------

    async def push_frame(
        self,
        stream_id: str,
        token: str,
        *,
        seq: int,
        data: bytes,
        captured_utc_ms: int | None = None,
    ) -> Cue:
        """Take one picture (JPEG, PNG or WebP bytes) from the client that holds `token`.

        Time is taken here; `captured_utc_ms`, the client's own, is advisory. Returns once the
        frame's event is durable. Raises StreamGone, Unauthorised, TooManyRequests, Conflict,
        ImageError, StorageError, Overloaded.
        """
        stream = self.admit(stream_id, token)
        return await self.take(stream, seq=seq, data=data, captured_utc_ms=captured_utc_ms)

    def enter(self, stream_id: str, token: str, end: Callable[[End], None]) -> Line:
        """Open a live way in, which takes over from the one before; `end` is how it is ended.

        It lives until it leaves, another takes over or the stream ends, however long the token
        does. Raises StreamGone, Unauthorised.
        """
        stream = self.admit(stream_id, token)
        way = Way(end)
        stream.enter(way)
        self._open.move_to_end(stream_id)
        self.counts["ways_opened"] += 1
        return Line(self, stream, way)

    async def take(
        self,
        stream: Stream,
        *,
        seq: int,
        data: bytes,
        way: Way | None = None,
        frame: Frame | None = None,
        captured_utc_ms: int | None = None,
    ) -> Cue:
        """Take one picture of an admitted client; for `push_frame` and `Line`."""
        try:
            if len(data) > self.limits.frame_bytes:
                raise ImageTooLarge(
                    f"The picture has {len(data)} bytes, more than {self.limits.frame_bytes}.",
                    remedy="Send JPEG pictures of about 640 x 480.",
                )
            if stream.id in self._open:
                self._open.move_to_end(stream.id)
            self._note_skew(captured_utc_ms)
            receipt = await stream.push(seq, data, way=way, frame=frame)
        except BenrenError as error:
            self.counts["undecodable" if isinstance(error, ImageError) else error.code] += 1
            raise
        self.counts["accepted" if receipt.accepted else receipt.advice.value] += 1
        return stream.cues.answer(receipt)

    def admit(self, stream_id: str, token: str) -> Stream:
        """Find the stream that a client token is good for. Raises StreamGone, Unauthorised.

        Raises StreamTakenOver, however old the token is, where another stream took its place.
        """
        if stream_id in self._taken_over:
            raise StreamTakenOver(remedy="Send here again only where the learner wants it.")
        stream = self._find(stream_id)
        self._tokens.check(token, stream_id, stream.session_id)
        return stream

    # --- housekeeping ----------------------------------------------------------------------

    def look_taken(self, waited_ms: int) -> None:
        """Count an identity sample; for the streams."""
        self.counts["looks"] += 1
        if self._observer is not None:
            self._observer.look_taken(waited_ms)

    def look_passed_over(self) -> None:
        """Count an identity sample that was due and not taken; for the streams."""
        self.counts["looks_passed_over"] += 1
        if self._observer is not None:
            self._observer.look_passed_over()

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures of all streams."""
        return sum(stream.held_bytes for stream in self._open.values())

    async def settled(self) -> None:
        """Return once no frame is being looked at any more; for a clock moved by hand."""
        await asyncio.gather(*(stream.settled() for stream in self._open.values()))

    async def aclose(self) -> None:
        """Close every stream and end the work in the background. For the end of the process."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        streams = [*self._open.values(), *(stream for _, stream in self._closed.values())]
        self._open.clear()
        self._closed.clear()
        self._listed.clear()
        await asyncio.gather(*(stream.stop() for stream in streams))

    def _grant(self, stream: Stream) -> StreamGrant:
        token, expires_utc_ms = self._tokens.issue(stream.id, stream.session_id)
        return StreamGrant(
            stream_id=stream.id,
            client_token=token,
            expires_utc_ms=expires_utc_ms,
            frames_path=FRAMES_PATH.format(stream_id=stream.id),
            socket_path=SOCKET_PATH.format(stream_id=stream.id),
            offer_path=OFFER_PATH.format(stream_id=stream.id),
            sample_period_ms=stream.sample_period_ms,
            ice_servers=self._ice_servers(),
        )

    def _find(self, stream_id: str) -> Stream:
        self._expire()
        stream = self._open.get(stream_id)
        if stream is None:
            raise StreamGone(remedy=_REMEDY_GONE)
        return stream

    def _listed_stream(self, stream_id: str) -> Stream:
        self._expire()
        stream = self._open.get(stream_id)
        if stream is None and stream_id in self._closed:
            _, stream = self._closed[stream_id]
        if stream is None:
            raise StreamGone(remedy=_REMEDY_GONE)
        if stream_id not in self._listed:
            raise Conflict(
                "The events of this stream go to the session tracker of this process.",
                remedy="Open the stream over HTTP to read its events over HTTP.",
            )
        return stream

    async def _sweep(self) -> None:
        """Expire streams and let pictures age while nobody calls; ends with the last stream."""
        while self._open or self._closed or self._memories:
            await self._clock.sleep_until(self._clock.stamp().monotonic_ms + self.limits.sweep_ms)
            self._expire()
            for stream in self._open.values():
                stream.age()

    def _expire(self) -> None:
        """Close idle streams, and give up events that were not taken for too long."""
        now = self._clock.stamp()
        while self._memories:
            since_ms, _ = next(iter(self._memories.values()))
            if now.monotonic_ms - since_ms < self.limits.idle_ms:
                break
            self._memories.popitem(last=False)
        while self._open:
            stream = next(iter(self._open.values()))
            if now.ms_since(stream.last_frame_at) < self.limits.idle_ms:
                break
            self._open.popitem(last=False)
            self._retire(stream)
            self.counts["streams_expired"] += 1
        while self._closed:
            closed_ms, stream = next(iter(self._closed.values()))
            if now.monotonic_ms - closed_ms < self.limits.closed_retention_ms and (
                len(self._closed) <= self.limits.max_streams
            ):
                break
            if stream.log:
                _log.error(
                    "%d events of session %s were never taken and are given up",
                    len(stream.log),
                    stream.session_id,
                )
            self._forget(stream.id)

    def _retire(self, stream: Stream, why: End = End.GONE) -> None:
        stream.close(why)
        self._closed[stream.id] = (self._clock.stamp().monotonic_ms, stream)
        if not stream.log:
            self._forget(stream.id)

    def _forget(self, stream_id: str) -> None:
        _, stream = self._closed.pop(stream_id)
        stream.log.give_up()
        self._listed.discard(stream_id)

    def _note_skew(self, captured_utc_ms: int | None) -> None:
        if captured_utc_ms is not None:
            skew_ms = abs(self._clock.stamp().utc_ms - captured_utc_ms)
            self.counts["skewed"] += skew_ms > MAX_CLIENT_SKEW_MS
