"""What was asked for is what runs."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from verifier.errors import (
    ConfigurationError,
    InferenceFailed,
    InstallationError,
    ModelError,
    ModelTooLarge,
    ProviderUnavailable,
)
from verifier.models import ort
from verifier.models import runtime as module
from verifier.models.backend import EXACT
from verifier.models.pixels import Pixels
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import GPU_LADDER, LADDER, Runtime

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this machine has the CUDA build of onnxruntime",
)


@without_cuda
def test_cuda_is_refused_where_it_is_not_installed():
    """Asking for cuda on a CPU build is an error with a remedy, never the CPU in silence."""
    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider was asked for") as caught:
        Runtime("cuda")
    assert "nvidia-smi" in caught.value.remedy
    assert "benren[gpu]" in caught.value.remedy


def _part(provider, *kinds):
    """What runs on a provider, as onnxruntime tells it."""
    nodes = [SimpleNamespace(op_type=kind, name=f"{kind}_1") for kind in kinds]
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)


class OnGpu:
    """A session that runs on CUDA, but for its sizes; subclasses put more elsewhere."""

    parts = (_part("CUDAExecutionProvider", "Conv"), _part("CPUExecutionProvider", "Shape", "Mul"))

    def __init__(self, content, options, **_kwargs):
        self.real = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"

    def get_providers(self):
        """Report what was asked for."""
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self):
        """Report what runs where."""
        return list(self.parts)

    def get_inputs(self):
        """Those of the real graph."""
        return self.real.get_inputs()

    def get_outputs(self):
        """Those of the real graph."""
        return self.real.get_outputs()

    def run(self, outputs, feed):
        """Compute on the CPU."""
        return self.real.run(outputs, feed)

    def io_binding(self):
        """Bind memory of the CPU."""
        return self.real.io_binding()

    def run_with_iobinding(self, binding):
        """Compute on the CPU."""
        self.real.run_with_iobinding(binding)


class PartlyOnCpu(OnGpu):
    """A session with convolutions that CUDA has no kernel for."""

    parts = (*OnGpu.parts, _part("CPUExecutionProvider", "Conv", "Resize"))


class TooLarge(OnGpu):
    """A session that loads and then finds no memory."""

    def run(self, outputs, feed):
        """Fail as onnxruntime's arena does at its limit."""
        raise RuntimeError(
            "[ONNXRuntimeError] : 6 : BFCArena::AllocateRawInternal Available memory of 0 is"
            " smaller than requested bytes of 4194304"
        )


class Silent:
    """A session that took the CPU although CUDA was asked for, as onnxruntime's does."""

    def __init__(self, _content, options, *, providers, enable_fallback):
        self.asked = providers[0][0]
        self.options = providers[0][1]
        assert enable_fallback == 0

    def get_providers(self):
        """Report what runs."""
        return ["CPUExecutionProvider"]


def _on_cpu(shape, kind, device, number):
    """Memory of the CPU in the place of the GPU's."""
    assert (device, number) == ("cuda", 0)
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)


def _pretend_cuda(monkeypatch, session):
    """An onnxruntime that offers CUDA and makes sessions by `session`."""
    order: list[str] = []

    def made(*args, **kwargs):
        order.append("session")
        return session(*args, **kwargs)

    fake = SimpleNamespace(
        __version__="0",
        InferenceSession=made,
        SessionOptions=onnxruntime.SessionOptions,
        ExecutionMode=onnxruntime.ExecutionMode,
        capi=onnxruntime.capi,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: order.append("preload"),
        OrtValue=SimpleNamespace(ortvalue_from_shape_and_type=_on_cpu),
    )
    monkeypatch.setattr(ort, "import_onnxruntime", lambda: fake)
    return order


def test_a_silent_fall_back_is_noticed(monkeypatch, doubling):
    """A session that reports another provider than the one asked for is refused."""
    order = _pretend_cuda(monkeypatch, Silent)
    with pytest.raises(
        ProviderUnavailable, match=r"CUDAExecutionProvider.*doubling would run on CPUExec"
    ):
        Runtime("cuda").load(doubling)
    assert order == ["preload", "session"]


def test_a_provider_that_does_not_start_is_told(monkeypatch, doubling):
    """An error of the provider while loading is ProviderUnavailable, with its words."""

    def broken(*_args, **_kwargs):
        raise RuntimeError("Failed to load shared library libonnxruntime_providers_cuda.so")

    _pretend_cuda(monkeypatch, broken)
    with pytest.raises(ProviderUnavailable, match=r"providers_cuda\.so"):
        Runtime("cuda").load(doubling)


def test_nodes_that_fall_back_to_the_cpu_are_refused(monkeypatch, doubling):
    """One operator without a kernel on the GPU is enough, and it is named."""
    _pretend_cuda(monkeypatch, PartlyOnCpu)
    with pytest.raises(ProviderUnavailable, match=r"elsewhere: Conv 'Conv_1' on CPU.*\(2 in all\)"):
        Runtime("cuda").load(doubling)


def test_sizes_may_be_computed_on_the_cpu(monkeypatch, doubling):
    """Where onnxruntime keeps the arithmetic of shapes on the CPU on purpose, it may."""
    _pretend_cuda(monkeypatch, OnGpu)
    network = Runtime("cuda").load(doubling)
    assert network.provider == "CUDAExecutionProvider"
    assert network.ladder == GPU_LADDER
    batch = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal(network.run(batch)[0], 2 * batch)


def test_onnxruntime_tells_what_runs_where(doubling):
    """The report that strictness rests on names every node of a real session."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    real = onnxruntime.InferenceSession(
        doubling.content, options, providers=["CPUExecutionProvider"]
    )
    assert ort.nodes_elsewhere(real, "CPUExecutionProvider") == []
    (found,) = ort.nodes_elsewhere(real, "CUDAExecutionProvider")  # its Add may compute sizes
    assert found.startswith("ReduceSum")
    assert found.endswith("on CPUExecutionProvider")


def test_a_model_that_does_not_fit_at_loading_is_told(monkeypatch, doubling):
    """Memory that runs out while a session is made has an error of its own, with a remedy."""

    def full(*_args, **_kwargs):
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=x")

    _pretend_cuda(monkeypatch, full)
    with pytest.raises(
        ModelTooLarge, match="doubling does not fit into the memory of CUDA"
    ) as told:
        Runtime("cuda", memory_limit_mb=16).load(doubling)
    assert "memory_limit_mb" in told.value.remedy


def test_a_batch_that_does_not_fit_is_told_at_the_warm_up(monkeypatch, doubling):
    """What loads, but has no room for its batches, is refused before the first request."""
    _pretend_cuda(monkeypatch, TooLarge)
    with pytest.raises(
        ModelTooLarge, match=r"does not fit .* in batches of \(1, 2, 4, 8, 16, 32\)"
    ):
        Runtime("cuda", memory_limit_mb=16).load(doubling)


class Bound(OnGpu):
    """A session whose device has room for so many bound runs."""

    room = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bindings = 0

    def io_binding(self):
        """Bind, while there is room."""
        self.bindings += 1
        if self.bindings > self.room:
            raise RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=x")
        return super().io_binding()


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_the_memory_of_every_lane_is_proven_at_the_start(monkeypatch, doubling, lanes):
    """Room for all lanes but one is not enough, and no request takes more than the start did."""
    made = []

    def session(*args, **kwargs):
        made.append(Bound(*args, **kwargs))
        return made[-1]

    _pretend_cuda(monkeypatch, session)
    monkeypatch.setattr(Bound, "room", lanes * len(GPU_LADDER) - 1)
    with pytest.raises(ModelTooLarge, match="does not fit"):
        Runtime("cuda", lanes=lanes).load(doubling)
    monkeypatch.setattr(Bound, "room", lanes * len(GPU_LADDER))
    network = Runtime("cuda", lanes=lanes).load(doubling)
    with ThreadPoolExecutor(8) as pool:
        batches = [np.full((1 + n % 9, 3), n, np.float32) for n in range(200)]
        for batch, found in zip(batches, pool.map(network.run, batches), strict=True):
            np.testing.assert_array_equal(found[0], 2 * batch)
    assert made[-1].bindings == lanes * len(GPU_LADDER)


def test_the_memory_limit_reaches_the_gpu(monkeypatch, doubling):
    """The limit is given in MiB and becomes bytes; float32 stays float32."""
    seen = []

    def session(*args, **kwargs):
        seen.append(kwargs["providers"][0])
        return Silent(*args, **kwargs)

    _pretend_cuda(monkeypatch, session)
    with pytest.raises(ProviderUnavailable):
        Runtime("cuda", memory_limit_mb=512).load(doubling)
    provider, options = seen[0]
    assert provider == "CUDAExecutionProvider"
    assert options["gpu_mem_limit"] == str(512 * 1024 * 1024)
    assert options["use_tf32"] == "0"


def test_a_gpu_gets_a_longer_ladder(monkeypatch):
    """The default goes on beyond 8 where batching is everything; what is given counts as it is."""
    _pretend_cuda(monkeypatch, Silent)
    assert Runtime("cuda").ladder == GPU_LADDER
    assert Runtime("cuda", ladder=(1, 64)).ladder == (1, 64)
    assert Runtime("cpu", threads=1).ladder == LADDER


def test_threads_and_spinning_are_set():
    """The session gets the thread count asked for, runs in order and does not spin."""
    options = ort.OnnxRuntime("cpu", threads=3).options()
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_threads_default_to_the_processors_granted(monkeypatch):
    """Without a number the quota of the container counts, not the machine."""
    monkeypatch.setattr(module, "available_processors", lambda: 5)
    assert Runtime(warm_up=False).threads == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"provider": "tpu"}, "no provider 'tpu'"),
        ({"threads": 0}, "threads is 0"),
        ({"ladder": ()}, "ladder"),
        ({"ladder": (2, 1)}, "ladder"),
        ({"ladder": (1, 1)}, "ladder"),
        ({"ladder": (0, 1)}, "ladder"),
        ({"ladder": (1, 100_000)}, "ladder"),
        ({"memory_limit_mb": 100}, "has no effect"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """Every argument out of range is named."""
    with pytest.raises(ConfigurationError, match=message):
        Runtime(**arguments)


def test_a_missing_onnxruntime_has_a_remedy(monkeypatch):
    """Without an extra installed the message names both."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InstallationError, match="not installed") as caught:
        Runtime()
    assert "benren[cpu]" in caught.value.remedy


def test_bytes_that_are_no_model_are_refused(doubling, runtime):
    """Truncated bytes give an error with the path."""
    half = type(doubling).of(doubling.path, doubling.content[: len(doubling.content) // 2])
    with pytest.raises(ModelError, match=r"cannot load /nowhere/doubling\.onnx"):
        runtime.load(half)


def test_an_operator_that_onnxruntime_lacks_is_refused(graph, runtime):
    """A graph that is valid but cannot run gives an error with the path."""
    weights = graph([helper.make_node("Celu", ["x"], ["y"], domain="made.up")])
    with pytest.raises(ModelError, match=r"cannot load /nowhere/tiny\.onnx"):
        runtime.load(weights)


def test_the_warm_up_runs_every_step(rooting, graph):
    """A network that fails at any step is refused at loading, not at the first request."""
    assert Runtime(threads=1).load(rooting).ladder == (1, 2, 4, 8)
    always_nan = graph(
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Sqrt", ["n"], ["y"])]
    )
    with pytest.raises(InferenceFailed, match="tiny gave NaN"):
        Runtime(threads=1).load(always_nan)


def test_the_version_is_that_of_the_installed_package(runtime):
    """What /version shows is what runs."""
    assert runtime.version == onnxruntime.__version__


def test_rewriting_for_the_cpu_keeps_numbers_and_id(graph, runtime):
    """PReLU is rewritten before it runs; the id stays the digest of the file."""
    slopes = np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(4, 1, 1)
    weights = graph(
        [helper.make_node("PRelu", ["x", "a"], ["y"])],
        shape=("N", 4, 5, 5),
        outputs=[("y", ("N", 4, 5, 5))],
        constants=[numpy_helper.from_array(slopes, "a")],
    )
    network = runtime.load(weights)
    batch = np.random.default_rng(1).normal(size=(2, 4, 5, 5)).astype(np.float32)
    expected = np.where(batch > 0, batch, batch * slopes)
    np.testing.assert_allclose(network.run(batch)[0], expected, atol=1e-6)
    assert network.sha256 == weights.sha256


PIXELS = Pixels(rgb=True, mean=127.5, scale=1 / 127.5)


@pytest.fixture
def picture(graph):
    """(N, 3, 8, 8) -> (N, 2, 6, 6), by one convolution."""
    kernel = np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32)
    return graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        shape=("N", 3, 8, 8),
        outputs=[("y", ("N", 2, 6, 6))],
        constants=[numpy_helper.from_array(kernel, "w")],
        name="picture",
    )


def _opened(monkeypatch):
    """The contents that sessions are made of, in order."""
    contents = []

    def session(content, *args, **kwargs):
        contents.append(onnx.ModelProto.FromString(content))
        return OnGpu(content, *args, **kwargs)

    _pretend_cuda(monkeypatch, session)
    return contents


@pytest.mark.parametrize(("provider", "near"), [("cuda", 1e-5), ("cuda-fp16", 2e-2)])
def test_on_a_gpu_pictures_go_in(monkeypatch, picture, provider, near):
    """A quarter of the bytes is copied; the graph normalises, and proves that it does it right."""
    pictures = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 3), np.uint8)
    plain = Runtime("cpu", threads=1, takes_pictures=False).load(picture, PIXELS)
    assert (plain.dtype, plain.pixels) == (np.float32, None)
    (expected,) = plain.run(PIXELS.batch(plain, pictures))
    _opened(monkeypatch)
    graphs = PreparedGraphs(None)
    network = Runtime(provider, graphs=graphs).load(picture, PIXELS)
    assert (network.dtype, network.pixels) == (np.uint8, PIXELS)
    assert network.input_shape == (None, 8, 8, 3)
    assert network.id == picture.id
    (found,) = network.run(PIXELS.batch(network, pictures))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=near * np.abs(expected).max())
    (proof,) = graphs.proofs
    assert proof.provider == network.provider


def test_float16_is_what_runs_where_it_is_asked_for(monkeypatch, picture):
    """By its name alone: weights in float16, told as what it is; `cuda` stays float32."""
    contents = _opened(monkeypatch)
    network = Runtime("cuda-fp16", warm_up=False, memory_limit_mb=64).load(picture)
    assert network.provider == "CUDAExecutionProvider fp16"
    assert network.dtype == np.float32  # nobody said what its pixels are
    assert network.ladder == GPU_LADDER
    half = [tensor.data_type for tensor in contents[-1].graph.initializer]
    assert half == [onnx.TensorProto.FLOAT16]
    contents.clear()
    Runtime("cuda", warm_up=False).load(picture)
    (plain,) = contents
    assert [tensor.data_type for tensor in plain.graph.initializer] == [onnx.TensorProto.FLOAT]


def test_auto_never_chooses_float16():
    """It chooses among what computes as the thresholds were measured."""
    assert "cuda-fp16" not in EXACT


@without_cuda
def test_float16_is_refused_where_there_is_no_gpu():
    """As `cuda` is: with a remedy, and never on the CPU in silence."""
    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider fp16 was asked for"):
        Runtime("cuda-fp16")


def test_files_run_as_they_are_for_comparisons(monkeypatch, picture):
    """Without rewriting the engine gets the bytes of the file."""
    contents = []
    original = ort.OnnxRuntime._session

    def session(self, weights, content):
        contents.append(content)
        return original(self, weights, content)

    monkeypatch.setattr(ort.OnnxRuntime, "_session", session)
    Runtime("cpu", threads=1, rewrites=False, takes_pictures=True).load(picture, PIXELS)
    assert contents == [picture.content]


def test_auto_compares_what_takes_pictures_with_what_takes_numbers(monkeypatch, picture):
    """Both get the same pictures, each in its own way, and the numbers agree."""

    def start(_self, engine):
        if engine == "cuda":
            raise ProviderUnavailable("It is not installed.")
        return ort.OnnxRuntime("cpu", threads=1, takes_pictures=engine == "openvino")

    monkeypatch.setattr(Runtime, "_start", start)
    runtime = Runtime("auto", threads=1)
    runtime.load(picture, PIXELS)
    (choice,) = runtime.choices
    assert len(choice.timings) == 2
    assert max(timing.deviation for timing in choice.timings) < 1e-5
