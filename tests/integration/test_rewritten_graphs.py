"""Every network of both packs on real crops: each rewriting against the file as it is.

The crops are what production itself gives the networks for photographs: noted on their way in.
onnxruntime on a CPU runs a float16 graph in float32 and takes pairs of casts out: its weights are
rounded, what lies between the layers is not. So that rounding is written into the graph here, in a
way that no optimiser knows (`rounded`). What a GPU makes of it is proven there, at loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from benren.inference import read_frame
from benren.portraits import find_portraits
from verifier.models.manifest import bundled_manifest
from verifier.models.network import Network
from verifier.models.packs import Pack, load_pack
from verifier.models.pixels import Pixels
from verifier.models.prepare.crops import SCALES, crops
from verifier.models.prepare.rewriting import EXACT, HALF, Rewriting
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import Runtime
from verifier.models.selection import deviation
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import DEFAULT_LIMITS
from verifier.pipeline.profile import load_profile
from verifier.types import Face, Frame

pytestmark = [pytest.mark.models, pytest.mark.faces]

NAMES = sorted({n for pack in ("open", "edgeface") for n in bundled_manifest().pack(pack).members})
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
Given: TypeAlias = Mapping[str, list[np.ndarray]]
"""Network -> the batches that it was given."""


@pytest.fixture(scope="module")
def frames(faces_dir: Path) -> list[Frame]:
    """Six photographs of two families."""
    paths = sorted((faces_dir / "families").glob("*.jpg"))[:12:2]
    return [read_frame(path, DEFAULT_LIMITS) for path in paths]


@pytest.fixture(scope="module")
def pictures(pack_dir: Path, frames: list[Frame]) -> Given:
    """What each network is given of them, as uint8 pictures."""
    given: dict[str, list[np.ndarray]] = {}
    run = Network.run

    def run_and_note(self: Network, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        given.setdefault(self.name, []).append(batch)
        return run(self, batch)

    store = Store.default(models_dir=pack_dir)
    runtime = Runtime("cpu", threads=1, takes_pictures=True, graphs=PreparedGraphs(None))
    packs = [load_pack(name, store, runtime) for name in ("open", "edgeface")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "run", run_and_note)
        for pack in packs:
            engine = Engine(pack, load_profile())
            seen = engine.assess(frames)
            look(pack, frames, [one.faces[0] for one in seen])
    assert sorted(given) == NAMES
    return given


def look(pack: Pack, frames: list[Frame], faces: list[Face]) -> None:
    """Run mesh and iris."""
    assert pack.mesh is not None
    pixels = [frame.pixels for frame in frames]
    pack.mesh.eyes(pixels, pack.mesh.locate(pixels, faces))


def outputs(content: bytes, batches: list[np.ndarray]) -> list[np.ndarray]:
    """All outputs for all batches, one after the other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [output for batch in batches for output in session.run(None, {name: batch})]


def few(batches: list[np.ndarray]) -> list[np.ndarray]:
    """At most three batches of at most four rows."""
    return [batch[:4] for batch in batches[:3]]


def original(pack_dir: Path, name: str) -> tuple[bytes, Pixels]:
    """A file, and how it wants its pixels."""
    file = bundled_manifest().file(name)
    return (pack_dir / file.path).read_bytes(), Pixels.of(file.input)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blocks", [True, False])
def test_float32_graphs_keep_their_numbers(
    pack_dir: Path, pictures: Given, name: str, blocks: bool
) -> None:
    """With the normalisation inside, on a CPU and on a GPU: a tenth of what is tolerated."""
    content, pixels = original(pack_dir, name)
    batches = few(pictures[name])
    assert {batch.dtype for batch in batches} == {np.dtype(np.uint8)}
    expected = outputs(content, [pixels.blob(batch) for batch in batches])
    found = outputs(Rewriting(blocks=blocks, pixels=pixels).apply(content), batches)
    assert deviation(found, expected) <= EXACT / 10
    plain = outputs(Rewriting(blocks=blocks).apply(content), [pixels.blob(b) for b in batches])
    assert deviation(plain, expected) <= EXACT / 10


def rounded(content: bytes) -> tuple[onnx.ModelProto, list[str]]:
    """Turn a float16 graph into float32 with every float16 value rounded, and name those values.

    To 11 bits by Dekker's splitting: c = (2^13 + 1) x, then c - (c - x).
    """
    model = onnx.ModelProto.FromString(content)
    graph = onnx.shape_inference.infer_shapes(model).graph
    half = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == FLOAT16}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        kept = onnx.NodeProto.FromString(node.SerializeToString())
        for attribute in kept.attribute:
            if attribute.name == "to" and attribute.i == FLOAT16:
                attribute.i = FLOAT
        nodes.append(kept)
        for index, name in enumerate(node.output):
            if name in half:
                kept.output[index] = raw = f"{name}/raw"
                nodes += [
                    helper.make_node("Mul", [raw, "splitter"], [f"{name}/c"]),
                    helper.make_node("Sub", [f"{name}/c", raw], [f"{name}/rest"]),
                    helper.make_node("Sub", [f"{name}/c", f"{name}/rest"], [name]),
                ]
    constants = [
        numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float32), one.name)
        if one.data_type == FLOAT16
        else onnx.TensorProto.FromString(one.SerializeToString())
        for one in model.graph.initializer
    ]
    constants.append(numpy_helper.from_array(np.array(2**13 + 1, np.float32), "splitter"))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    return model, sorted(half)


def test_rounding_rounds() -> None:
    """The splitting gives what numpy's float16 gives."""
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    c = x * np.float32(2**13 + 1)
    np.testing.assert_array_equal(c - (c - x), x.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_float16_graphs_are_near(pack_dir: Path, pictures: Given, name: str) -> None:
    """Types at both ends stay; the numbers are within half of what is tolerated on a GPU."""
    content, pixels = original(pack_dir, name)
    batches = few(pictures[name])
    expected = outputs(content, [pixels.blob(batch) for batch in batches])
    half = Rewriting(pixels=pixels, half=True).apply(content)
    found = outputs(half, batches)
    assert {output.dtype for output in found} == {np.dtype(np.float32)}
    assert deviation(found, expected) <= HALF / 2
    emulated, _ = rounded(half)
    assert 1e-5 < deviation(outputs(emulated.SerializeToString(), batches), expected) <= HALF / 2


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows_float16(pack_dir: Path, pictures: Given, name: str) -> None:
    """The largest number between the layers is far below 65 504 on real crops."""
    content, pixels = original(pack_dir, name)
    model, half = rounded(Rewriting(pixels=pixels, half=True).apply(content))
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(one) for one in half)
    found = outputs(model.SerializeToString(), few(pictures[name])[:1])
    assert len(found) == len(half) > 50
    assert max(float(np.abs(value).max()) for value in found) < 65_504 / 8


@pytest.mark.parametrize("name", ["face_reidentification_retail_0095", "edgeface_xs"])
def test_float16_vectors_are_the_same_faces(pack_dir: Path, pictures: Given, name: str) -> None:
    """The cosine of a vector and its float16 twin is 1 within the third digit of a threshold."""
    content, pixels = original(pack_dir, name)
    batches = few(pictures[name])
    expected = outputs(content, [pixels.blob(batch) for batch in batches])
    emulated, _ = rounded(Rewriting(pixels=pixels, half=True).apply(content))
    found = outputs(emulated.SerializeToString(), batches)
    for ours, theirs in zip(found, expected, strict=True):
        a, b = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() >= 0.9995


@pytest.mark.parametrize("pack", ["open", "edgeface"])
def test_a_whole_check_on_pictures_is_a_whole_check(
    pack_dir: Path, frames: list[Frame], pack: str
) -> None:
    """Boxes, vectors and scores are the same whether graphs or Python normalise."""
    store = Store.default(models_dir=pack_dir)
    found, expected = (
        Engine(load_pack(pack, store, runtime), load_profile()).assess(frames)
        for runtime in (
            Runtime("cpu", threads=1, takes_pictures=True),
            Runtime("cpu", threads=1, rewrites=False),
        )
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours.faces) == len(theirs.faces) >= 1
        np.testing.assert_allclose(ours.faces[0].box, theirs.faces[0].box, atol=0.01)
        assert ours.embedding is not None
        assert float(ours.embedding @ theirs.embedding) >= 1 - 1e-5
        assert ours.liveness_score == pytest.approx(theirs.liveness_score, abs=1e-3)


def test_portraits_are_found_and_cut(pack_dir: Path, faces_dir: Path) -> None:
    """`--faces` finds plain faces, and their crops hold them."""
    store = Store.default(models_dir=pack_dir)
    portraits = find_portraits(faces_dir / "families", store)
    assert 4 <= len(portraits) <= 6
    assert {one.about for one in portraits} == {"photographs of families"}
    cut = crops(portraits, 112, 112)
    assert cut.shape == (len(portraits) * len(SCALES), 112, 112, 3)
    assert crops(portraits, 256, 320).shape == (len(portraits), 256, 320, 3)
