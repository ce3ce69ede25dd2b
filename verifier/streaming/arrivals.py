"""Which of the frames that arrive become samples: repeats, order, pace, newest wins.

One frame of a stream is worked on at a time and at most one waits; a newer one takes the place of
the waiting one. Frames that were begun are finished even where the client has hung up, so that
an event, once on the list, always has its receipt.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from verifier.clock import Stamp
from verifier.errors import BadRequest, Conflict, StreamGone, TooManyRequests
from verifier.streaming.advice import Advice, FrameReceipt
from verifier.streaming.limits import StreamLimits
from verifier.streaming.memory import Memory
from verifier.types import Frame

_MAX_SEQ = 2**53 - 1  # what JSON numbers hold exactly (RFC 8259, 6)
DIGEST_BYTES: Final = 16
"""Of a SHA-256 that are remembered: nobody finds two pictures that agree in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One picture as it came in."""

    seq: int
    data: bytes
    digest: bytes
    """The first `DIGEST_BYTES` of the SHA-256 of `data`; of a video frame that of its pixels."""
    stamp: Stamp
    """When it arrived."""
    frame: Frame | None = None
    """The picture decoded, where it came so; `data` is then its copy to be kept."""


@dataclass(slots=True)
class _Entry:
    """An arrival and the promise of its receipt."""

    arrival: Arrival
    receipt: asyncio.Future[FrameReceipt]


class _Answer(NamedTuple):
    """What is remembered of a frame that was answered; some hundred bytes."""

    digest: bytes
    accepted: bool
    advice: Advice


class Arrivals:
    """The gate of one stream.

    `process` turns an arrival into its receipt; `confirm` returns once what was recorded so far is
    durable: the receipt of a sample is not repeated before.
    """

    def __init__(
        self,
        process: Callable[[Arrival], Awaitable[FrameReceipt]],
        confirm: Callable[[], Awaitable[None]],
        limits: StreamLimits,
        memory: Memory | None = None,
    ) -> None:
        """`memory`: what the session has shown before, on other streams too."""
        self._memory = memory if memory is not None else Memory()
        self._process = process
        self._confirm = confirm
        self._remembered = limits.remembered_frames
        self._pace = Pace(limits.frames_per_s)
        self._answers: dict[int, _Answer] = {}
        """By number, the oldest first. One that was overtaken is not among them: its number says
        again what became of it."""
        self._highest = -1
        self._working: _Entry | None = None
        self._waiting: _Entry | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def next_seq(self) -> int:
        """A number above all that were seen."""
        return 1 + max([self._highest, *self._answers, *(e.arrival.seq for e in self._pending())])

    async def push(
        self, seq: int, data: bytes, stamp: Stamp, *, frame: Frame | None = None
    ) -> FrameReceipt:
        """Give the receipt of a frame. Raises Conflict, TooManyRequests and what `process` does.

        The same number gets its first answer again; the same number with other bytes is a
        Conflict; a number below one already seen, or bytes already seen with a face, are no sample.
        (A covered lens may send the same bytes for ever: each time it says that nobody is seen.)
        Bytes that are being worked on wait until it is known whether they show a face.
        """
        if not 0 <= seq <= _MAX_SEQ:
            raise BadRequest(
                f"A frame's number lies between 0 and {_MAX_SEQ}, not {seq}.",
                remedy="Count frames up from 1 within the stream.",
            )
        whole = hashlib.sha256(data).digest() if frame is None else bytes.fromhex(frame.digest)
        arrival = Arrival(seq=seq, data=data, digest=whole[:DIGEST_BYTES], stamp=stamp, frame=frame)
        paced = False
        while (known := await self._known(arrival)) is None:
            if not paced:
                self._pace.take(stamp)
                paced = True
            if seq <= max([self._highest, *(entry.arrival.seq for entry in self._pending())]):
                return _overtaken(seq)
            twin = self._twin(arrival.digest)
            if twin is None:
                return await self._begin(arrival)
            await asyncio.wait({twin.receipt})
            if isinstance(gone := twin.receipt.exception(), StreamGone):
                raise gone
        return known

    async def stop(self) -> None:
        """End the work in hand; whoever waits gets StreamGone. For the end of the process."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        for entry in self._pending():
            if not entry.receipt.done():
                entry.receipt.set_exception(StreamGone("The verifier is shutting down."))

    def _pending(self) -> list[_Entry]:
        return [entry for entry in (self._working, self._waiting) if entry is not None]

    async def _known(self, arrival: Arrival) -> FrameReceipt | None:
        """Give the first answer to this number, where it had one or is about to."""
        seq = arrival.seq
        for entry in self._pending():
            if entry.arrival.seq == seq:
                _require_same(entry.arrival.digest, arrival.digest, seq)
                return await asyncio.shield(entry.receipt)
        if seq not in self._answers:
            return None
        first = self._answers[seq]
        _require_same(first.digest, arrival.digest, seq)
        if first.accepted:
            await self._confirm()
        return FrameReceipt(seq=seq, accepted=first.accepted, advice=first.advice)

    def _twin(self, digest: bytes) -> _Entry | None:
        """Find the frame in hand that has the same bytes."""
        return next((one for one in self._pending() if one.arrival.digest == digest), None)

    async def _begin(self, arrival: Arrival) -> FrameReceipt:
        """Have a frame worked on, unless its bytes were seen with a face."""
        digest = arrival.digest
        if self._memory.has_shown(digest):
            self._memory.shows(digest, self._remembered)
            return self._remember(arrival.seq, _Answer(digest, False, Advice.DUPLICATE))
        return await asyncio.shield(self._enqueue(arrival))

    def _enqueue(self, arrival: Arrival) -> asyncio.Future[FrameReceipt]:
        replaced = self._waiting
        if replaced is not None:
            replaced.receipt.set_result(_overtaken(replaced.arrival.seq))
        receipt: asyncio.Future[FrameReceipt] = asyncio.get_running_loop().create_future()
        # A client that hung up leaves nobody to take the exception: take it here, unheard.
        receipt.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting = _Entry(arrival, receipt)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="stream frames")
        return receipt

    async def _work(self) -> None:
        while self._waiting is not None:
            self._working, self._waiting = self._waiting, None
            entry = self._working
            try:
                receipt = await self._process(entry.arrival)
            except Exception as error:  # noqa: BLE001 - handed on to whoever pushed the frame
                entry.receipt.set_exception(error)
            else:
                entry.receipt.set_result(receipt)
            self._working = None

    def became_sample(self, arrival: Arrival, advice: Advice, *, faces: int = 1) -> FrameReceipt:
        """Record that `arrival` is a sample: its number is known, and with a face its bytes."""
        self._highest = max(self._highest, arrival.seq)
        if faces:
            self._memory.shows(arrival.digest, self._remembered)
        return self._remember(arrival.seq, _Answer(arrival.digest, True, advice))

    def _remember(self, seq: int, answer: _Answer) -> FrameReceipt:
        self._answers[seq] = answer
        while len(self._answers) > self._remembered:
            del self._answers[next(iter(self._answers))]
        return FrameReceipt(seq=seq, accepted=answer.accepted, advice=answer.advice)


class Pace:
    """A token bucket: `per_s` frames each second, as many at once after a rest."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._level_ms = 1_000
        self._at: Stamp | None = None

    def take(self, stamp: Stamp) -> None:
        """Let one frame through, or raise TooManyRequests."""
        if self._at is not None:
            self._level_ms = min(1_000, self._level_ms + max(stamp.ms_since(self._at), 0))
        self._at = stamp
        price_ms = 1_000 // self._per_s
        if self._level_ms < price_ms:
            raise TooManyRequests(
                f"A stream takes at most {self._per_s} frames per second.",
                remedy="Send frames at the period that was given with the token.",
            )
        self._level_ms -= price_ms


def _overtaken(seq: int) -> FrameReceipt:
    return FrameReceipt(seq=seq, accepted=False, advice=Advice.NEWER_FRAME)


def _require_same(first: bytes, second: bytes, seq: int) -> None:
    if first != second:
        raise Conflict(
            f"Frame {seq} was already sent with other bytes.",
            remedy="Give every frame a number of its own.",
        )
