"""Lanes gather what many ask, keep callers apart, and are all proven at the warm-up."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from verifier.errors import ConfigurationError, InferenceFailed
from verifier.models import lanes as module
from verifier.models.backend import GPU_LADDER
from verifier.models.lanes import Lanes
from verifier.models.network import Network


class Gpu:
    """Doubles rows; holds its first runs back until it is told to go on."""

    def __init__(self, *, poison=None):
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.runs, self.lock, self.poison = [], threading.Lock(), poison

    def __call__(self, rows):
        """Double."""
        with self.lock:
            self.runs.append(len(rows))
        self.begun.release()
        assert self.gate.wait(10), "the test forgot to open the gate"
        if self.poison is not None and (rows == self.poison).any():
            raise InferenceFailed("poisoned")
        return rows * 2, rows.sum(axis=1, keepdims=True)


def rows_of(value, count=1):
    """Rows that all hold one number."""
    return np.full((count, 3), value, np.float32)


def until_wait(lanes, count):
    """Return once so many asks wait for a lane."""
    end = time.monotonic() + 10
    while len(lanes._waiting) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


def held(lanes, gpu, pool, asks, *, most=8):
    """Let the first ask run, and the others gather behind it; gives what each will be answered."""
    answers: list[Future] = []
    for number, (key, rows) in enumerate(asks):
        answers.append(pool.submit(lanes.run, key, rows, most=most, infer=gpu))
        if number == 0:
            assert gpu.begun.acquire(timeout=10)
        else:
            until_wait(lanes, number)
    gpu.gate.set()
    return answers


def test_what_waits_goes_into_one_run():
    """Five callers who came while the lane was busy share a run; each gets his own rows."""
    lanes, gpu = Lanes(1), Gpu()
    with ThreadPoolExecutor(6) as pool:
        answers = held(lanes, gpu, pool, [("net", rows_of(n)) for n in range(6)])
        for value, answer in enumerate(answers):
            doubled, summed = answer.result(10)
            np.testing.assert_array_equal(doubled, rows_of(2 * value))
            np.testing.assert_array_equal(summed, [[3 * value]])
            assert doubled.base is None
    assert gpu.runs == [1, 5]


def test_only_the_same_network_and_size_share_a_run():
    """In the order in which they came, and no more rows than the last step of the ladder."""
    lanes, gpu = Lanes(1), Gpu()
    asked = [("a", 1), ("b", 3), ("a", 2), ("b", 3), ("b", 4), ("a", 1), ("b", 2)]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = held(lanes, gpu, pool, [(key, rows_of(count, count)) for key, count in asked])
        for (_, count), answer in zip(asked, answers, strict=True):
            np.testing.assert_array_equal(answer.result(10)[0], rows_of(2 * count, count))
    assert gpu.runs == [1, 8, 3, 4]


def test_a_failing_run_takes_nobody_with_it():
    """Where a shared run fails each caller's rows run alone, and one is told."""
    lanes, gpu = Lanes(1), Gpu(poison=2)
    with ThreadPoolExecutor(4) as pool:
        answers = held(lanes, gpu, pool, [("net", rows_of(n)) for n in range(4)])
        for value in (0, 1, 3):
            np.testing.assert_array_equal(answers[value].result(10)[0], rows_of(2 * value))
        with pytest.raises(InferenceFailed, match="poisoned"):
            answers[2].result(10)
        gpu.poison = None
        np.testing.assert_array_equal(
            lanes.run("net", rows_of(7), most=8, infer=gpu)[0], rows_of(14)
        )
    assert gpu.runs == [1, 3, 1, 1, 1, 1]


def test_so_many_lanes_run_at_a_time():
    """Two lanes run two networks at once, and a third ask waits."""
    lanes, gpu = Lanes(2), Gpu()
    with ThreadPoolExecutor(3) as pool:
        answers = [
            pool.submit(lanes.run, key, rows_of(1), most=8, infer=gpu) for key in ("a", "b", "c")
        ]
        assert gpu.begun.acquire(timeout=10)
        assert gpu.begun.acquire(timeout=10)
        until_wait(lanes, 1)
        assert gpu.runs == [1, 1]
        gpu.gate.set()
        for answer in answers:
            answer.result(10)
    assert gpu.runs == [1, 1, 1]


def test_rows_of_a_failed_run_are_let_go():
    """Neither the lane nor the error's own cycle keeps a caller's pictures alive."""

    def fail(rows):
        raise InferenceFailed(f"{len(rows)} rows")

    lanes, rows = Lanes(1), rows_of(1)
    left = weakref.ref(rows)
    gc.collect()
    gc.disable()
    try:
        try:
            lanes.run("net", rows, most=8, infer=fail)
        except InferenceFailed:
            del rows
        lanes.on_each(lambda: None)  # the lane has let go of the ask before
        assert left() is None
    finally:
        gc.enable()


def test_each_lane_does_it_at_the_same_time():
    """Work on each lane meets there: none has ended before all have begun."""
    lanes, meeting, threads = Lanes(3), threading.Barrier(3), set()

    def work():
        threads.add(threading.get_ident())
        meeting.wait(10)

    lanes.on_each(work)
    assert len(threads) == 3


def test_what_one_lane_meets_is_told():
    """A lane that fails is not covered by those that do not."""
    lanes, turns = Lanes(2), iter([None, InferenceFailed("no room for two")])

    def work():
        failure = next(turns)
        if failure is not None:
            raise failure

    with pytest.raises(InferenceFailed, match="no room for two"):
        lanes.on_each(work)


def test_lanes_that_do_not_meet_are_told(monkeypatch):
    """A lane that hangs ends the warm-up, not the patience of whoever started the service."""
    monkeypatch.setattr(module, "MEETING_S", 0.01)
    lanes, gpu = Lanes(2), Gpu()
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(lanes.run, "net", rows_of(1), most=8, infer=gpu)
        assert gpu.begun.acquire(timeout=10)
        with pytest.raises(InferenceFailed, match="did not meet") as caught:
            lanes.on_each(lambda: None)
        assert caught.value.remedy
        gpu.gate.set()
        hung.result(10)


@pytest.mark.parametrize("count", [0, 17])
def test_an_absurd_number_of_lanes_is_refused(count):
    """The number is named, and what to do."""
    with pytest.raises(ConfigurationError, match=str(count)) as caught:
        Lanes(count)
    assert caught.value.remedy


class Shapes:
    """A real session that notes what it is given, and holds its first run back."""

    def __init__(self, content):
        self.real = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs
        self.given, self.threads = [], set()
        self.gate, self.begun = threading.Event(), threading.Event()

    def run(self, outputs, feed):
        """Run, once the gate is open."""
        self.given.append(len(feed["x"]))
        self.threads.add(threading.current_thread().name.rpartition("_")[0])
        self.begun.set()
        assert self.gate.wait(10)
        return self.real.run(outputs, feed)


def network_on(session, weights, lanes):
    """A network as CUDA's is made."""
    return Network(
        session,
        weights,
        provider="CUDAExecutionProvider",
        ladder=GPU_LADDER,
        pads=True,
        failures=(RuntimeError,),
        memory_remedy="",
        lanes=lanes,
    )


def test_batches_of_workers_grow_to_the_last_step(doubling):
    """Four workers with eight frames each make the 32 that the GPU takes; the rest is padded."""
    session, lanes = Shapes(doubling.content), Lanes(1)
    network = network_on(session, doubling, lanes)
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(network.run, rows_of(0, 8))]
        assert session.begun.wait(10)
        answers += [pool.submit(network.run, rows_of(n, 8)) for n in range(1, 8)]
        until_wait(lanes, 7)
        session.gate.set()
        for value, answer in enumerate(answers):
            np.testing.assert_array_equal(answer.result(10)[0], rows_of(2 * value, 8))
    assert session.given == [8, 32, 32]
    assert session.threads == {"lane"}


def test_more_rows_than_a_batch_holds_are_asked_for_in_parts(doubling):
    """What is longer than the last step, or empty, comes back whole."""
    session, lanes = Shapes(doubling.content), Lanes(2)
    session.gate.set()
    network = network_on(session, doubling, lanes)
    for count in (0, 1, 3, 33, 70):
        batch = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
        doubled, summed = network.run(batch)
        np.testing.assert_array_equal(doubled, 2 * batch)
        np.testing.assert_array_equal(summed, batch.sum(axis=1, keepdims=True))


def test_not_a_number_is_told_to_whom_it_concerns(rooting):
    """In a shared run one caller's NaN is another's sound result."""
    session, lanes = Shapes(rooting.content), Lanes(1)
    network = network_on(session, rooting, lanes)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(network.run, rows_of(4))]
        assert session.begun.wait(10)
        answers += [pool.submit(network.run, rows_of(value)) for value in (-1, 9)]
        until_wait(lanes, 2)
        session.gate.set()
        np.testing.assert_array_equal(answers[2].result(10)[0], rows_of(3))
        with pytest.raises(InferenceFailed, match="NaN"):
            answers[1].result(10)
    assert session.given == [1, 2]


def test_many_callers_are_never_mixed_up(doubling):
    """Eight threads with batches of their own each get their own answers, hundreds of times."""
    session, lanes = Shapes(doubling.content), Lanes(2)
    session.gate.set()
    network = network_on(session, doubling, lanes)

    def work(number):
        for turn in range(60):
            batch = rows_of(number * 100 + turn, 1 + (number + turn) % 9)
            doubled, summed = network.run(batch)
            assert (doubled == 2 * batch).all()
            assert (summed == 3 * batch[:, :1]).all()
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))
