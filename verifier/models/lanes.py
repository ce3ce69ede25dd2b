"""Lanes: the few threads that alone talk to a GPU, and gather what many ask into its batches.

Whoever decodes, cuts crops and reads results has a thread of his own, as many as there are
processors; what he asks of a network waits here. A lane takes what has waited longest, and with it
whatever else waits for the same network in the same size. So batches grow with the load, nobody
waits for company, and while one lane copies, another computes. What a run holds on the device is
held once per lane, and so proven for all of them by the warm-up (`on_each`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from verifier.errors import ConfigurationError, InferenceFailed

if TYPE_CHECKING:
    from verifier.models.network import Tensor

    Outputs: TypeAlias = tuple[Tensor, ...]
    Infer: TypeAlias = Callable[[Tensor], Outputs]

LANES: Final = 2
"""One copies while the other computes."""
MAX_LANES: Final = 16
MEETING_S: Final = 120.0
"""How long lanes wait for each other before they run at the same time."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Ask:
    """What one caller wants of one network."""

    key: Hashable
    rows: Tensor
    most: int
    infer: Infer
    answer: Future[Outputs] = field(default_factory=Future, repr=False)


class Lanes:
    """So many threads, started when they are needed; gone with the last who holds this."""

    def __init__(self, count: int = LANES) -> None:
        """Raise ConfigurationError where `count` is not in 1..16."""
        if not 1 <= count <= MAX_LANES:
            raise ConfigurationError(
                f"{count} lanes to a GPU: 1 to {MAX_LANES} are possible.",
                remedy="Leave batching.lanes out: two let copies and computation overlap.",
            )
        self.count: Final = count
        self._waiting: list[_Ask] = []
        self._lock = threading.Lock()
        self._meeting = threading.Lock()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lane")

    def run(self, key: Hashable, rows: Tensor, *, most: int, infer: Infer) -> Outputs:
        """Run `infer` on `rows` (b, ...), b <= `most`, on a lane; gives its outputs, each (b, ...).

        Rows of several callers with the same `key` go into one run of at most `most` rows; `infer`
        has to treat each row by itself. Where such a run fails each caller's rows run alone, so
        that nobody gets another one's error. Raises what `infer` raises.
        """
        ask = _Ask(key=key, rows=rows, most=most, infer=infer)
        with self._lock:
            self._waiting.append(ask)
        self._pool.submit(self._serve)
        try:
            return ask.answer.result()
        finally:
            # An error that is raised here holds this frame, the answer holds the error.
            del ask

    def on_each(self, work: Callable[[], object]) -> None:
        """Do `work` on every lane at the same time. Raises what one of them raises."""
        barrier = threading.Barrier(self.count)

        def together() -> None:
            try:
                barrier.wait(MEETING_S)
            except threading.BrokenBarrierError as broken:
                raise InferenceFailed(
                    f"The lanes to the GPU did not meet within {MEETING_S:g} s.",
                    remedy="Restart the service; see nvidia-smi for what else the GPU does.",
                ) from broken
            work()

        with self._meeting:  # two that each hold a part of the lanes would wait for ever
            done = [self._pool.submit(together) for _ in range(self.count)]
            failures = [one.exception() for one in done]
        for failure in failures:
            if failure is not None:
                raise failure

    def _serve(self) -> None:
        """Answer whoever has waited longest, and all who can share the run."""
        asks = self._next()
        if len(asks) > 1 and _answered_together(asks):
            return
        while asks:
            _answer(asks.pop(0))

    def _next(self) -> list[_Ask]:
        """Take what goes into one run; nothing where another lane has taken all."""
        with self._lock:
            if not self._waiting:
                return []
            first = self._waiting[0]
            taken: list[_Ask] = []
            room = first.most
            for ask in self._waiting:
                if ask.key == first.key and len(ask.rows) <= room:
                    taken.append(ask)
                    room -= len(ask.rows)
            self._waiting = [ask for ask in self._waiting if ask not in taken]
            return taken


def _answered_together(asks: list[_Ask]) -> bool:
    """Run all rows at once; False where that fails, and nobody is answered."""
    try:
        outputs = asks[0].infer(np.concatenate([ask.rows for ask in asks]))
        ends = np.cumsum([len(ask.rows) for ask in asks])
        # Copies: a view would keep every other caller's numbers alive.
        parts = [
            tuple(output[end - len(ask.rows) : end].copy() for output in outputs)
            for ask, end in zip(asks, ends, strict=True)
        ]
    except BaseException:  # noqa: BLE001 - each meets it again alone, if it is his
        return False
    for ask, part in zip(asks, parts, strict=True):
        ask.answer.set_result(part)
    return True


def _answer(ask: _Ask) -> None:
    try:
        ask.answer.set_result(ask.infer(ask.rows))
    except BaseException as failure:  # noqa: BLE001 - raised again where it was asked for
        ask.answer.set_exception(failure)
    finally:
        del ask  # the error holds this frame
