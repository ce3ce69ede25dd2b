"""The batch ladder and the checks around one network."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import BenrenError, InferenceFailed, ModelError, OutOfMemory
from verifier.models.network import Network, plan
from verifier.models.runtime import Runtime

ladders = st.lists(st.integers(1, 64), min_size=1, unique=True).map(lambda s: tuple(sorted(s)))


@given(rows=st.integers(1, 300), ladder=ladders, pad=st.booleans())
def test_a_plan_holds_all_rows_with_little_padding(rows, ladder, pad):
    """Only steps of the ladder are used, they hold every row, and no step is wholly padding."""
    steps = plan(rows, ladder, pad=pad)
    assert set(steps) <= set(ladder)
    assert sum(steps) >= rows > sum(steps[:-1])


@pytest.mark.parametrize(
    ("rows", "pad", "steps"),
    [
        (1, True, [1]),
        (3, True, [4]),
        (7, True, [8]),
        (11, True, [8, 4]),
        (3, False, [2, 1]),
        (7, False, [4, 2, 1]),
        (17, False, [8, 8, 1]),
    ],
)
def test_a_gpu_pads_and_a_cpu_splits(rows, pad, steps):
    """With padding the remainder takes one step more than it needs, without it takes several."""
    assert plan(rows, (1, 2, 4, 8), pad=pad) == steps


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 19])
@pytest.mark.parametrize("ladder", [(1, 2, 4, 8), (4,), (3, 5)])
def test_every_batch_gets_its_own_rows_back(doubling, rows, ladder):
    """Splitting and padding leave no trace in the outputs, whatever the ladder."""
    network = Runtime(threads=1, ladder=ladder, warm_up=False).load(doubling)
    batch = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    doubled, sums = network.run(batch)
    np.testing.assert_array_equal(doubled, batch * 2)
    np.testing.assert_array_equal(sums, batch.sum(axis=1, keepdims=True))


def test_an_empty_batch_gives_empty_outputs(doubling, runtime):
    """No rows in, no rows out, with the shape that rows would have."""
    doubled, sums = runtime.load(doubling).run(np.empty((0, 3), np.float32))
    assert doubled.shape == (0, 3)
    assert sums.shape == (0, 1)


def test_what_a_network_says_of_itself(doubling, runtime):
    """Id, shape, dtype and output names are there for whoever binds templates to a model."""
    network = runtime.load(doubling)
    assert network.id == f"doubling@{doubling.sha256}"
    assert network.input_shape == (None, 3)
    assert network.dtype == np.float32
    assert network.output_names == ("y", "s")
    assert network.provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("batch", "actual"),
    [
        (np.zeros((2, 4), np.float32), r"\(2, 4\) float32"),
        (np.zeros(3, np.float32), r"\(3,\) float32"),
        (np.zeros((2, 3), np.float64), r"\(2, 3\) float64"),
        (np.zeros((2, 3, 1), np.float32), r"\(2, 3, 1\) float32"),
    ],
)
def test_a_wrong_input_is_named_beside_the_right_one(doubling, runtime, batch, actual):
    """The message holds the expected and the actual shape and dtype."""
    with pytest.raises(
        InferenceFailed, match=rf"doubling expects \(batch, 3\) float32.*given {actual}"
    ):
        runtime.load(doubling).run(batch)


def test_nan_is_an_error_and_never_a_number(rooting, runtime):
    """A network that gives NaN has failed, and the message names it."""
    network = runtime.load(rooting)
    np.testing.assert_array_equal(network.run(np.full((1, 3), 4, np.float32))[0], [[2, 2, 2]])
    with pytest.raises(InferenceFailed, match="rooting gave NaN or infinity"):
        network.run(np.array([[1, 1, 1], [1, -1, 1]], np.float32))


def test_infinity_is_an_error_too(graph, runtime):
    """Division by zero does not leave the network as a score."""
    network = runtime.load(graph([helper.make_node("Reciprocal", ["x"], ["y"])]))
    with pytest.raises(InferenceFailed, match="NaN or infinity"):
        network.run(np.zeros((1, 3), np.float32))


def test_padding_cannot_fail_where_the_rows_do_not(rooting):
    """Padding repeats a real row, so a step with padding fails only where a row does."""
    network = Runtime(threads=1, ladder=(8,), warm_up=False).load(rooting)
    assert network.run(np.full((3, 3), 9, np.float32))[0].shape == (3, 3)


def test_a_batch_of_one_in_the_file_runs_one_by_one(graph, runtime):
    """A file that fixes the batch to 1 takes any batch, and outputs without batch axis get one."""
    shape = numpy_helper.from_array(np.array([3, 1], np.int64), "shape")
    weights = graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        shape=(1, 3),
        outputs=[("y", (3, 1))],
        constants=[shape],
    )
    network = runtime.load(weights)
    batch = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert network.ladder == (1,)
    np.testing.assert_array_equal(network.run(batch)[0], batch[:, :, np.newaxis])


def test_a_larger_fixed_batch_is_filled_up(graph, runtime):
    """A file that fixes the batch to 4 runs 6 rows as 4 and 4, two of them padding."""
    network = runtime.load(
        graph([helper.make_node("Neg", ["x"], ["y"])], shape=(4, 3), outputs=[("y", (4, 3))])
    )
    batch = np.arange(18, dtype=np.float32).reshape(6, 3)
    assert network.ladder == (4,)
    np.testing.assert_array_equal(network.run(batch)[0], -batch)


def test_an_output_without_batch_axis_is_refused(graph, runtime):
    """Where rows cannot be told apart in an output, nothing is returned."""
    network = runtime.load(
        graph([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], outputs=[("y", ())])
    )
    with pytest.raises(InferenceFailed, match="no batch axis"):
        network.run(np.zeros((2, 3), np.float32))


def test_several_inputs_are_refused_when_loading(graph, runtime):
    """A network of two inputs is named with their number."""
    weights = graph([helper.make_node("Add", ["x", "z"], ["y"])], extra_inputs=["z"])
    with pytest.raises(ModelError, match=r"tiny\.onnx has 2 inputs, expected one"):
        runtime.load(weights)


def test_an_unknown_dtype_is_refused_when_loading(graph, runtime):
    """A network that wants doubles is refused before anything is sent to it."""
    weights = graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], kind=TensorProto.DOUBLE
    )
    with pytest.raises(ModelError, match=r"takes tensor\(double\)"):
        runtime.load(weights)


def test_a_failure_inside_onnxruntime_is_told(graph, runtime):
    """An error while running becomes InferenceFailed with the network's name and the shape."""
    shape = numpy_helper.from_array(np.array([-1, 4], np.int64), "shape")
    weights = graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        outputs=[("y", ("M", 4))],
        constants=[shape],
    )
    with pytest.raises(InferenceFailed, match=r"tiny failed on \(1, 3\)\.") as caught:
        runtime.load(weights).run(np.zeros((1, 3), np.float32))
    assert caught.value.remedy
    assert "Reshape" in str(caught.value.__cause__)


class Failing:
    """A session that says what an engine says, with names that are nobody's business."""

    def __init__(self, told):
        self.told = told

    def get_inputs(self):
        """One input."""
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["N", 3])]

    def get_outputs(self):
        """One output."""
        return [SimpleNamespace(name="y")]

    def run(self, outputs, feed):
        """Fail."""
        raise self.told


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (RuntimeError("CUDA failure 700 ; hostname=swordfish ; file=swordfish.cc"), None),
        (RuntimeError("CUDA failure 2: out of memory ; hostname=swordfish"), OutOfMemory),
        (MemoryError("Unable to allocate swordfish"), OutOfMemory),
    ],
    ids=["a failure", "the GPU is full", "the machine is full"],
)
def test_what_the_engine_says_goes_to_the_log_only(doubling, caplog, told, kind):
    """The caller learns which network failed and what to do; names of hosts and files stay here."""
    network = Network(
        Failing(told),
        doubling,
        provider="fake",
        ladder=(1,),
        pads=False,
        failures=(RuntimeError,),
        memory_remedy="",
    )
    with pytest.raises(BenrenError, match="doubling") as caught:
        network.run(np.zeros((1, 3), np.float32))
    assert type(caught.value) is (kind or InferenceFailed)
    assert "swordfish" not in str(caught.value)
    assert caught.value.__cause__ is told
    assert caught.value.remedy
    assert "swordfish" in caplog.text


def test_open_sizes_are_filled_in_the_warm_up(graph, runtime):
    """Heights and widths that are open can be given; a wrong number of them is refused."""
    network = runtime.load(
        graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            shape=("N", 3, "H", "W"),
            outputs=[("y", ("N", 3, "H", "W"))],
        )
    )
    network.warm_up()
    network.warm_up(64, 96)
    with pytest.raises(ValueError, match="leaves 2 sizes open"):
        network.warm_up(64)


def test_threads_do_not_mix_their_batches(doubling):
    """Eight threads with batches of their own each get their own answers, hundreds of times."""
    network = Runtime(threads=2).load(doubling)
    start = threading.Barrier(8)
    wrong: list[int] = []
    finished: list[int] = []

    def work(number: int) -> None:
        rows = 1 + number % 5
        batch = np.full((rows, 3), number, np.float32)
        start.wait()
        for turn in range(50):
            doubled, sums = network.run(batch + turn)
            expected = number + turn
            if not (doubled == 2 * expected).all() or not (sums == 3 * expected).all():
                wrong.append(number)
        finished.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(finished) == list(range(8))
    assert wrong == []
