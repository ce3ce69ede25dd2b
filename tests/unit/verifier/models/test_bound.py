"""Bound runs give what plain runs give; here on the CPU's memory, for want of a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from verifier.errors import InferenceFailed
from verifier.models import bound as module
from verifier.models.bound import BoundSession
from verifier.models.detector import YuNet
from verifier.models.network import Network


class Counting:
    """A real session that counts plain runs and bindings; `spoils` a bound run's input."""

    def __init__(self, content, *, spoils=False):
        self.real = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.plain, self.bindings, self.spoils = 0, 0, spoils
        self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs

    def run(self, outputs, feed):
        """Run plainly."""
        self.plain += 1
        return self.real.run(outputs, feed)

    def io_binding(self):
        """Bind."""
        self.bindings += 1
        return self.real.io_binding()

    def run_with_iobinding(self, binding):
        """Run bound, on what was bound or on something else."""
        if self.spoils:
            binding.bind_cpu_input("x", np.full((1, 3), 7, np.float32))
        self.real.run_with_iobinding(binding)


@pytest.fixture
def session(doubling):
    """A real session that counts."""
    return Counting(doubling.content)


def _run(bound, value, rows=1):
    return bound.run(None, {"x": np.full((rows, 3), value, np.float32)})


def test_memory_of_a_shape_is_taken_once(session):
    """The second run of a shape binds nothing, runs once and leaves earlier results alone."""
    bound = BoundSession(session, onnxruntime, device="cpu")
    first = _run(bound, 1)
    second = _run(bound, 5)
    np.testing.assert_array_equal(first[0], np.full((1, 3), 2))
    np.testing.assert_array_equal(first[1], [[3]])
    np.testing.assert_array_equal(second[0], np.full((1, 3), 10))
    assert (session.plain, session.bindings) == (1, 1)
    assert _run(bound, 2, rows=4)[0].shape == (4, 3)
    assert (session.plain, session.bindings) == (2, 2)


def test_after_the_warm_up_the_first_request_runs_bound(graph):
    """A detector that was warmed up on its sizes runs nothing plainly, in any batch size."""
    weights = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        shape=("N", 3, "H", "W"),
        outputs=[("y", ("N", 3, "H", "W"))],
    )
    session = Counting(weights.content)
    network = Network(
        BoundSession(session, onnxruntime, device="cpu"),
        weights,
        provider="bound",
        ladder=(1, 2, 4),
        pads=True,
        failures=(RuntimeError,),
        memory_remedy="",
    )
    YuNet(network).warm_up([(160, 160), (256, 320)])
    assert (session.plain, session.bindings) == (6, 6)
    for size in ((160, 160), (256, 320)):
        for rows in (1, 2, 3, 4):
            network.run(np.ones((rows, 3, *size), np.float32))
    assert (session.plain, session.bindings) == (6, 6)


def test_the_oldest_shape_goes(session, monkeypatch):
    """However many sizes come, no more than the bound are held."""
    monkeypatch.setattr(module, "MAX_SHAPES", 2)
    bound = BoundSession(session, onnxruntime, device="cpu")
    for rows in (1, 2, 1, 3):
        _run(bound, 1, rows)
    assert session.bindings == 3
    _run(bound, 1, 1)
    assert session.bindings == 3
    _run(bound, 1, 2)
    assert session.bindings == 4


def test_threads_do_not_share_memory(session):
    """Many threads at once each get what they asked for, with memory for each, no more."""
    bound = BoundSession(session, onnxruntime, device="cpu")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda value: _run(bound, value)[0], range(400)))
    for value, doubled in enumerate(found):
        np.testing.assert_array_equal(doubled, np.full((1, 3), 2 * value))
    assert 1 <= session.bindings <= 4


def test_a_thread_finds_the_memory_that_it_took(session):
    """However threads take turns: what each has bound at the warm-up is there for it alone."""
    bound = BoundSession(session, onnxruntime, device="cpu")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool in (one, other, one, other, other):
            np.testing.assert_array_equal(pool.submit(_run, bound, 3).result()[1], [[9]])
    assert (session.plain, session.bindings) == (2, 2)


def test_memory_is_not_used_again_after_a_failure(session, monkeypatch):
    """A run that failed takes its binding with it; the next one binds anew."""
    bound = BoundSession(session, onnxruntime, device="cpu")
    _run(bound, 1)
    with monkeypatch.context() as failing:

        def fail(_binding):
            raise RuntimeError("CUDA error 700: an illegal memory access was encountered")

        failing.setattr(session, "run_with_iobinding", fail)
        with pytest.raises(RuntimeError, match="error 700"):
            _run(bound, 1)
    np.testing.assert_array_equal(_run(bound, 4)[1], [[12]])
    assert session.bindings == 2


def test_other_numbers_than_those_of_a_plain_run_are_refused(doubling):
    """A binding that does not give what the session gives is noticed on its first run."""
    bound = BoundSession(Counting(doubling.content, spoils=True), onnxruntime, device="cpu")
    with pytest.raises(InferenceFailed, match=r"other numbers than a plain one on \(1, 3\)"):
        _run(bound, 1)


def test_memory_is_taken_on_the_device(session):
    """Input and outputs are all asked for on the device that was named."""
    asked = []

    def make(shape, kind, device, number):
        asked.append((tuple(shape), device, number))
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)

    ort = SimpleNamespace(OrtValue=SimpleNamespace(ortvalue_from_shape_and_type=make))
    _run(BoundSession(session, ort, device="cuda"), 1, rows=2)
    assert asked == [((2, 3), "cuda", 0), ((2, 3), "cuda", 0), ((2, 1), "cuda", 0)]
