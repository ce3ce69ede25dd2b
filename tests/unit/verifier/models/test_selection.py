"""`auto` takes what is measured to be fastest, of what gives the same numbers, and says so."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

from verifier.errors import ModelError, ProviderUnavailable
from verifier.models import runtime as module
from verifier.models.ort import OnnxRuntime
from verifier.models.runtime import Runtime
from verifier.models.selection import ROUNDS, ROWS, choose


class Clock:
    """Time that passes only while a network runs."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """Seconds."""
        return self.now


class Timed:
    """A network that takes a given time for each run, and one factor times its input."""

    name = "timed"
    dtype = np.dtype(np.float32)
    input_shape = (None, 3, None)

    def __init__(self, clock, provider, seconds, factor=2.0):
        self.clock, self.provider, self.factor = clock, provider, factor
        self.seconds = iter([0.0, *seconds])  # the first run warms up and is not counted

    def run(self, batch):
        """Let its time pass."""
        self.clock.now += next(self.seconds)
        return (batch * np.float32(self.factor),)


def test_the_smallest_median_wins():
    """One slow round, as others on the machine cause it, decides nothing."""
    clock = Clock()
    slow = Timed(clock, "slow", [0.4] * ROUNDS)
    fast = Timed(clock, "fast", [0.1, 0.1, 9.0, 9.0, 0.1])
    chosen, choice = choose([slow, fast], clock=clock)
    assert chosen is fast
    assert choice.provider == "fast"
    times = {one.provider: one.ms_per_row for one in choice.timings}
    assert times == pytest.approx({"slow": 400 / ROWS, "fast": 100 / ROWS})


def test_an_engine_with_other_numbers_is_never_taken():
    """Speed counts only at equal results; what deviates is told with the size of it."""
    clock = Clock()
    right = Timed(clock, "right", [0.4] * ROUNDS)
    wrong = Timed(clock, "wrong", [0.1] * ROUNDS, factor=2.1)
    chosen, choice = choose([right, wrong], clock=clock)
    assert chosen is right
    assert choice.timings[1].ms_per_row == float("inf")
    assert choice.timings[1].deviation == pytest.approx(0.05, rel=0.05)


def test_one_candidate_is_taken_and_told():
    """Where nothing else is installed the line says so with its time and what was refused."""
    clock = Clock()
    chosen, choice = choose(
        [Timed(clock, "only", [0.2] * ROUNDS)], refused=["cuda: no driver"], clock=clock
    )
    assert chosen.provider == "only"
    assert choice.told() == (
        "timed runs on only: per row only 50.00 ms (off by 0e+00); refused: cuda: no driver"
    )


class Named:
    """The CPU under another name: an engine beside it that gives the same numbers."""

    ladder, pads, failures, version, memory_remedy = (
        (1, 16),
        True,
        (RuntimeError,),
        "0",
        "Buy more.",
    )

    def __init__(self, name, *, refuses=None):
        self.name, self.refuses = name, refuses

    def open(self, weights, pixels=None):
        """Refuse, or open a session on the CPU."""
        if self.refuses is not None:
            raise self.refuses
        return OnnxRuntime("cpu", threads=1).open(weights)


@pytest.fixture
def beside(monkeypatch):
    """Puts what is given in the place of openvino and of CUDA."""

    def put(openvino, cuda):
        def start(self, engine):
            if engine == "cpu":
                return OnnxRuntime("cpu", threads=1)
            made = {"openvino": openvino, "cuda": cuda}[engine]
            if isinstance(made, Exception):
                raise made
            return made

        monkeypatch.setattr(Runtime, "_start", start)

    return put


ABSENT = ProviderUnavailable("It is not installed.", remedy="Install it.")


def _fastest_is(monkeypatch, provider):
    """Let a provider win, whatever this machine does."""

    def chosen(candidates, *, pixels=None, refused=()):
        times = {network.provider: 2.0 for network in candidates} | {provider: 1.0}
        clock = Clock()
        timed = [
            Timed(clock, network.provider, [times[network.provider]] * ROUNDS)
            for network in candidates
        ]
        _, choice = choose(timed, refused=refused, clock=clock)
        (winner,) = [one for one in candidates if one.provider == choice.provider]
        return winner, choice

    monkeypatch.setattr(module, "choose", chosen)


def test_auto_loads_each_network_on_the_fastest(monkeypatch, beside, doubling, caplog):
    """The network, the list of choices and the log agree on what runs it, with the numbers."""
    caplog.set_level(logging.INFO, "benren.models")
    beside(Named("Other"), ABSENT)
    _fastest_is(monkeypatch, "Other")
    runtime = Runtime("auto", threads=1)
    assert runtime.provider == "auto"
    network = runtime.load(doubling)
    assert (network.provider, network.ladder) == ("Other", (1, 16))
    assert runtime.provider == "auto, Other"
    assert [one.provider for one in runtime.choices[0].timings] == ["CPUExecutionProvider", "Other"]
    assert "auto: without cuda: It is not installed." in caplog.text
    assert "runs on Other: per row CPUExecutionProvider 500.00 ms" in caplog.text


def test_auto_measures_real_runs(beside, doubling):
    """With the real clock one of the two is taken, and both have a time."""
    beside(Named("Other"), ABSENT)
    runtime = Runtime("auto", threads=1)
    network = runtime.load(doubling)
    (choice,) = runtime.choices
    assert network.provider == choice.provider
    assert all(0 < one.ms_per_row < float("inf") for one in choice.timings)
    np.testing.assert_array_equal(network.run(np.ones((5, 3), np.float32))[0], np.full((5, 3), 2))


def test_auto_takes_cuda_only_where_it_runs(beside, doubling, caplog):
    """A GPU build whose session does not come up on CUDA is out, with a warning that says why."""
    refusal = ProviderUnavailable("doubling would run on CPUExecutionProvider.", remedy="Look.")
    beside(ABSENT, Named("CUDAExecutionProvider", refuses=refusal))
    runtime = Runtime("auto", threads=1)
    assert runtime.load(doubling).provider == "CPUExecutionProvider"
    assert runtime.choices[0].refused == (f"CUDAExecutionProvider: {refusal}",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_auto_refuses_what_no_engine_can_run(beside, doubling):
    """Where every engine fails, the error is that of the first."""
    beside(Named("Other", refuses=ABSENT), ABSENT)
    half = type(doubling).of(doubling.path, doubling.content[: len(doubling.content) // 2])
    with pytest.raises(ModelError, match=r"onnxruntime .* cannot load /nowhere/doubling"):
        Runtime("auto", threads=1).load(half)


@pytest.mark.models
@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)
def test_auto_times_openvino_beside_onnxruntime(model_store):
    """On the real files both engines agree, so both are timed."""
    runtime = Runtime("auto", threads=1)
    for name in ("minifasnet_v2_80x80_scale2.7", "yunet_n_dynamic"):
        network = runtime.load(model_store.find(name))
        choice = runtime.choices[-1]
        assert network.provider == choice.provider
        assert {one.provider for one in choice.timings} >= {"CPUExecutionProvider", "OpenVINO CPU"}
        assert all(one.deviation < 1e-4 for one in choice.timings)
