"""openvino runs the same files to the same numbers, without its telemetry."""

from __future__ import annotations

import importlib.util
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from verifier.errors import InferenceFailed, ModelError, ModelTooLarge, ProviderUnavailable
from verifier.models import openvino as module
from verifier.models.detector import YuNet
from verifier.models.manifest import bundled_manifest
from verifier.models.openvino import NAME, SHAPES, STEPS, OpenVino
from verifier.models.runtime import Runtime

installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)


class Size:
    """One axis: a number, or open."""

    def __init__(self, size):
        self.is_static = size is not None
        self._size = size

    def get_length(self):
        """How long it is."""
        return self._size


class Port:
    """An input or output with all its names."""

    def __init__(self, *names, shape=(None, 3), kind="f32"):
        self.names = set(names)
        self.element_type = SimpleNamespace(get_type_name=lambda: kind)
        self.partial_shape = [Size(size) for size in shape]


class FakeModel:
    """Doubles (N, 3); its outputs come in another order than the file's."""

    def __init__(self, shape=(None, 3)):
        self.inputs = [Port("x", shape=shape)]
        self.sums, self.doubles = Port("s", "merged", shape=(None, 1)), Port("y", "other")
        self.outputs = [self.sums, self.doubles]

    def clone(self):
        """A model that may be reshaped."""
        return FakeModel(tuple(axis.get_length() for axis in self.inputs[0].partial_shape))

    def reshape(self, shape):
        """Fix all sizes."""
        self.inputs = [Port("x", shape=shape)]


class FakeRequest:
    """Refuses to work for two threads at a time."""

    def __init__(self, model):
        self.model = model
        self.busy = threading.Lock()

    def infer(self, inputs, *, share_inputs, share_outputs):
        """Compute."""
        assert share_inputs
        assert not share_outputs
        assert self.busy.acquire(blocking=False)
        try:
            (batch,) = inputs
            fixed = self.model.inputs[0].partial_shape[0].get_length()
            assert fixed in {None, len(batch)}
            return {
                self.model.doubles: 2 * batch,
                self.model.sums: 2 * batch.sum(axis=1, keepdims=True),
            }
        finally:
            self.busy.release()


class FakeCore:
    """Keeps what it was asked to compile."""

    available_devices = ("CPU",)

    def __init__(self):
        self.compiled = []
        self.capabilities = ["FP32", "BF16"]
        self.model = FakeModel()

    def read_model(self, content):
        """Take bytes only."""
        assert isinstance(content, bytes)
        return self.model

    def get_property(self, device, name):
        """Tell what the processor computes in."""
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.capabilities

    def compile_model(self, model, device, settings):
        """Note batch and settings."""
        self.compiled.append((model.inputs[0].partial_shape[0].get_length(), device, settings))
        return SimpleNamespace(
            outputs=model.outputs, create_infer_request=lambda: FakeRequest(model)
        )


@pytest.fixture
def core(monkeypatch):
    """The core of an openvino that is not there."""
    made = FakeCore()
    fake = SimpleNamespace(Core=lambda: made, __version__="0")
    monkeypatch.setattr(module, "import_openvino", lambda: fake)
    return made


def test_a_missing_openvino_has_a_remedy(monkeypatch):
    """Asking for openvino where it is not installed is an error, never onnxruntime in silence."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderUnavailable, match="openvino was asked for") as caught:
        Runtime("openvino")
    assert "benren[openvino]" in caught.value.remedy


def test_the_telemetry_is_made_impossible_first(monkeypatch, tmp_path):
    """When openvino is imported, its telemetry package cannot be any more."""
    (tmp_path / "openvino.py").write_text(
        "try:\n    import openvino_telemetry\n    reports = True\n"
        "except ImportError:\n    reports = False\n",
        encoding="utf-8",
    )
    (tmp_path / "openvino_telemetry.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    try:
        found = module.import_openvino()
    finally:
        sys.modules.pop("openvino", None)
    assert isinstance(found, ModuleType)
    assert found.reports is False


def test_a_machine_without_its_cpu_device_is_refused(core):
    """An openvino that cannot run on this processor is told at the start."""
    core.available_devices = ("GPU",)
    with pytest.raises(ProviderUnavailable, match="no CPU device"):
        Runtime("openvino")


def test_every_step_is_compiled_for_itself_in_float32(core, doubling):
    """Each batch size of the ladder has a graph of fixed size, made at the warm-up."""
    network = Runtime("openvino", threads=1, ladder=(1, 4)).load(doubling)
    assert [batch for batch, _, _ in core.compiled] == [1, 4]
    assert {device for _, device, _ in core.compiled} == {"CPU"}
    settings = core.compiled[0][2]
    assert settings["INFERENCE_PRECISION_HINT"] == "f32"
    assert settings["INFERENCE_NUM_THREADS"] == settings["NUM_STREAMS"] >= 1
    assert network.provider == NAME
    network.run(np.ones((4, 3), np.float32))
    assert len(core.compiled) == 2


def test_outputs_keep_names_and_order_of_the_file(core, doubling):
    """What the file says counts, though openvino merges names and may sort outputs."""
    network = Runtime("openvino", threads=1).load(doubling)
    assert network.output_names == ("y", "s")
    doubled, sums = network.run(np.ones((3, 3), np.float32))
    np.testing.assert_array_equal(doubled, np.full((3, 3), 2))
    np.testing.assert_array_equal(sums, np.full((3, 1), 6))


def test_threads_have_requests_of_their_own(core, doubling):
    """Two threads on one network never share a request."""
    network = Runtime("openvino", threads=1).load(doubling)
    batches = [np.full((1, 3), value, np.float32) for value in range(64)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: network.run(batch)[0], batches))
    for batch, doubled in zip(batches, found, strict=True):
        np.testing.assert_array_equal(doubled, 2 * batch)


def test_open_pictures_have_a_graph_for_each_of_the_first_shapes(core, graph):
    """Where height and width are open the usual shapes are fast, and their number has a bound."""
    core.model = FakeModel(shape=(None, 3, None, None))
    weights = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        shape=("N", 3, "H", "W"),
        outputs=[("y", ("N", 3, "H", "W"))],
    )
    network = Runtime("openvino", threads=1, warm_up=False).load(weights)
    assert network.input_shape == (None, 3, None, None)
    assert [batch for batch, _, _ in core.compiled] == [None], "one that takes any shape"
    for _ in range(2):
        for side in range(SHAPES + 3):
            picture = np.full((1, 3, 32, 32 + side), side, np.float32)
            np.testing.assert_array_equal(network.run(picture)[0], 2 * picture)
    assert [batch for batch, _, _ in core.compiled] == [None] + [1] * SHAPES


def test_no_graph_is_spent_on_a_size_that_never_comes(core, graph):
    """A detector is not run at loading; warmed up, it has graphs of its real sizes alone."""
    core.model = FakeModel(shape=(None, 3, None, None))
    weights = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        shape=("N", 3, "H", "W"),
        outputs=[("y", ("N", 3, "H", "W"))],
    )
    network = Runtime("openvino", threads=1).load(weights)
    assert [batch for batch, _, _ in core.compiled] == [None]
    YuNet(network).warm_up([(160, 160), (256, 320)])
    assert [batch for batch, _, _ in core.compiled] == [None, 1, 4, 1, 4]
    network.run(np.ones((4, 3, 256, 320), np.float32))
    assert len(core.compiled) == 5


def test_bfloat16_is_asked_for_by_name(core, doubling):
    """No other provider computes in it, and what runs says so."""
    network = Runtime("openvino-bf16", threads=1).load(doubling)
    assert network.provider == "OpenVINO CPU bf16"
    assert {told["INFERENCE_PRECISION_HINT"] for _, _, told in core.compiled} == {"bf16"}
    core.compiled.clear()
    Runtime("openvino", threads=1).load(doubling)
    assert {told["INFERENCE_PRECISION_HINT"] for _, _, told in core.compiled} == {"f32"}


def test_bfloat16_needs_a_processor_that_has_it(core):
    """Emulated it would be slower than float32: refused, with what to set instead."""
    core.capabilities = ["FP32", "INT8"]
    with pytest.raises(ProviderUnavailable, match="does not compute in bfloat16") as caught:
        Runtime("openvino-bf16", threads=1)
    assert "cpu" in caught.value.remedy


def test_an_output_that_openvino_lost_is_told(core, doubling):
    """A name of the file that openvino does not know is an error with the path."""
    core.model.outputs = core.model.outputs[:1]
    with pytest.raises(ModelError, match=r"cannot load /nowhere/doubling\.onnx.*'y'"):
        Runtime("openvino", threads=1).load(doubling)


def test_a_model_that_does_not_fit_is_told(core, graph, monkeypatch):
    """Memory that runs out has an error of its own."""

    def full(*_args):
        raise RuntimeError("Exception from src/core: std::bad_alloc")

    monkeypatch.setattr(core, "read_model", full)
    weights = graph([helper.make_node("Neg", ["x"], ["y"])])
    with pytest.raises(ModelTooLarge, match="tiny does not fit"):
        OpenVino(threads=1, workers=1).open(weights)


@installed
def test_a_graph_runs_on_openvino(doubling):
    """The real one gives the numbers, on any length of batch, in the order of the file."""
    network = Runtime("openvino", threads=1).load(doubling)
    assert (network.output_names, network.provider) == (("y", "s"), NAME)
    assert network.ladder == STEPS
    batch = np.arange(21, dtype=np.float32).reshape(7, 3)
    doubled, sums = network.run(batch)
    np.testing.assert_array_equal(doubled, 2 * batch)
    np.testing.assert_allclose(sums, batch.sum(axis=1, keepdims=True))
    assert network.run(batch[:0])[0].shape == (0, 3)


@installed
def test_nan_out_of_openvino_is_noticed(rooting):
    """The checks of what comes out are those of every provider."""
    network = Runtime("openvino", threads=1).load(rooting)
    with pytest.raises(InferenceFailed, match="NaN"):
        network.run(np.full((2, 3), -1, np.float32))


@installed
def test_bytes_that_are_no_model_are_refused_by_openvino(doubling, graph):
    """Neither broken bytes nor an operator that does not exist come further than loading."""
    half = type(doubling).of(doubling.path, doubling.content[: len(doubling.content) // 2])
    unknown = graph([helper.make_node("Celu", ["x"], ["y"], domain="made.up")])
    for weights in (half, unknown):
        with pytest.raises(ModelError, match=r"openvino .* cannot load /nowhere/"):
            Runtime("openvino", threads=1).load(weights)


@installed
def test_uint8_goes_in_as_it_is(graph):
    """Bytes of pictures are a type of input like any other."""
    weights = graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], kind=TensorProto.UINT8
    )
    network = Runtime("openvino", threads=1).load(weights)
    assert network.dtype == np.uint8
    np.testing.assert_array_equal(
        network.run(np.full((2, 3), 200, np.uint8))[0], np.full((2, 3), 200.0)
    )


@installed
@pytest.mark.models
def test_every_network_gives_what_onnxruntime_gives(model_store):
    """Each file of the packs, in a batch of three, within 1e-4 of its largest number, or of 1."""
    openvino, cpu = Runtime("openvino", threads=1), Runtime("cpu", threads=1)
    random = np.random.default_rng(3)
    for name in sorted(bundled_manifest().files):
        weights = model_store.find(name)
        ours, theirs = openvino.load(weights), cpu.load(weights)
        assert ours.output_names == theirs.output_names
        shape = [96 if size is None else size for size in theirs.input_shape[1:]]
        batch = random.random((3, *shape), np.float32)
        for found, expected in zip(ours.run(batch), theirs.run(batch), strict=True):
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-4)
