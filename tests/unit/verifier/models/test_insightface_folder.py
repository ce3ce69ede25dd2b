"""Which file of an InsightFace folder detects, and which embeds."""

import hashlib
import json
import sys

import numpy as np
import pytest
from onnx import helper, numpy_helper

from verifier.errors import InstallationError, ModelAltered, ModelError, ModelMissing
from verifier.models import insightface_folder as module
from verifier.models.embedder import ARCFACE
from verifier.models.insightface_folder import read_folder
from verifier.models.manifest import bundled_manifest


@pytest.fixture
def folder(tmp_path, graph):
    """An empty folder, and a way to put networks there."""

    def put(name, kind, *, side=112, first="Conv_0"):
        nodes = {
            "scrfd": [helper.make_node("Identity", ["x"], [f"o{i}"]) for i in range(9)],
            "arcface": [helper.make_node("GlobalAveragePool", ["x"], ["o0"], name=first)],
            "mxnet": [
                helper.make_node("Sub", ["x", "c"], ["d"], name="_minusscalar0"),
                helper.make_node("Mul", ["d", "c"], ["e"], name="_mulscalar0"),
                helper.make_node("GlobalAveragePool", ["e"], ["o0"]),
            ],
        }[kind]
        sizes = (side, side) if side else ("H", "W")
        shape = (1 if kind == "scrfd" else "N", 3, *sizes)
        outputs = [(f"o{i}", shape) for i in range(9 if kind == "scrfd" else 1)]
        constant = numpy_helper.from_array(np.array(1, np.float32), "c")
        weights = graph(nodes, shape=shape, outputs=outputs, constants=[constant], name=name)
        (tmp_path / f"{name}.onnx").write_bytes(weights.content)
        return hashlib.sha256(weights.content).hexdigest()

    put.path = tmp_path
    return put


def _read(folder):
    return read_folder(folder.path, bundled_manifest())


def test_detector_and_embedder_are_told_by_their_shapes(folder):
    """Names do not matter; ages, dense landmarks and a second embedder are left alone."""
    detector = folder("z_last", "scrfd", side=64)
    embedder = folder("m_recogniser", "arcface")
    folder("n_another", "arcface")
    folder("a_age", "arcface", side=96)
    folder("b_landmarks", "arcface", side=192)
    content = _read(folder)
    assert content.detector.sha256 == detector
    assert content.sides == (64,)
    assert content.embedder.sha256 == embedder
    assert content.contract == ARCFACE
    assert content.digests == {"z_last.onnx": detector, "m_recogniser.onnx": embedder}


def test_open_sizes_stay_open(folder):
    """A detector whose graph leaves height and width open takes any."""
    folder("det", "scrfd", side=0)
    folder("rec", "arcface")
    assert _read(folder).sides is None


def test_networks_out_of_mxnet_scale_by_themselves(folder):
    """Where the graph begins with a subtraction and a multiplication, 0..255 goes in."""
    folder("det", "scrfd")
    folder("rec", "mxnet")
    contract = _read(folder).contract
    assert (contract.mean, contract.scale) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("present", "missing"),
    [([], "SCRFD detector"), (["arcface"], "SCRFD detector"), (["scrfd"], "ArcFace embedder")],
)
def test_what_is_missing_is_named_with_what_is_there(folder, present, missing):
    """The message says which of the two is not there, and lists the files that are."""
    for kind in present:
        folder(f"the_{kind}", kind)
    with pytest.raises(ModelMissing, match=missing) as caught:
        _read(folder)
    expected = [f"the_{kind}.onnx" for kind in present] or ["no .onnx file at all"]
    assert all(name in caught.value.detail for name in expected)


def test_a_detector_that_is_not_square_is_refused(folder, graph):
    """A fixed picture of 64×32 cannot be fed by the pipeline, and that is said."""
    folder("rec", "arcface")
    nodes = [helper.make_node("Identity", ["x"], [f"o{i}"]) for i in range(9)]
    shape = (1, 3, 32, 64)
    weights = graph(nodes, shape=shape, outputs=[(f"o{i}", shape) for i in range(9)])
    (folder.path / "det.onnx").write_bytes(weights.content)
    with pytest.raises(ModelError, match="64×32"):
        _read(folder)


@pytest.mark.parametrize("content", [b"not an onnx file", b"\xff" * 100])
def test_a_file_that_is_no_network_is_named(folder, content):
    """Bytes that cannot be parsed are told with the path."""
    (folder.path / "broken.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx is not an ONNX file"):
        _read(folder)


def test_a_folder_in_place_of_a_file_is_named(folder):
    """Something that cannot be read is told with the path."""
    (folder.path / "odd.onnx").mkdir()
    with pytest.raises(ModelError, match=r"odd\.onnx cannot be read"):
        _read(folder)


def test_a_giant_is_refused_before_it_is_read(folder, monkeypatch):
    """A file above the limit is not read into memory."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10)
    (folder.path / "big.onnx").write_bytes(bytes(11))
    with pytest.raises(ModelError, match=r"big\.onnx is larger than 10 bytes"):
        _read(folder)


def test_a_known_name_must_have_its_known_digest(folder):
    """A file that calls itself scrfd_500m_kps is held to the manifest's digest."""
    folder("scrfd_500m_kps", "scrfd")
    folder("rec", "arcface")
    with pytest.raises(ModelAltered, match=r"scrfd_500m_kps\.onnx is altered"):
        _read(folder)


@pytest.fixture
def package(folder):
    """A folder with a manifest of version 2, and a way to write that manifest."""

    def write(**tasks):
        document = {
            "manifest_version": 2,
            "model_id": "tiny",
            "license": "MODEL.LICENSE",
            "tasks": tasks,
        }
        (folder.path / "manifest.json").write_text(json.dumps(document), encoding="utf-8")

    return write


def test_a_manifest_of_version_2_decides(folder, package):
    """The files that the manifest names are taken, with its preprocessing."""
    folder("a_rec", "arcface")
    folder("det", "scrfd", side=64)
    digest = folder("b_rec", "arcface")
    package(
        detection={"file": "det.onnx"},
        recognition={
            "file": "b_rec.onnx",
            "sha256": digest,
            "preprocessing": {"mean": 100.0, "std": 50.0},
        },
    )
    content = _read(folder)
    assert content.embedder.name == "b_rec"
    assert (content.contract.mean, content.contract.scale) == (100.0, 1 / 50)


def test_embedded_preprocessing_means_none_outside(folder, package):
    """Networks that scale inside the graph get 0..255."""
    folder("det", "scrfd")
    folder("rec", "arcface")
    package(
        detection={"file": "det.onnx", "preprocessing": "embedded"},
        recognition={"file": "rec.onnx", "preprocessing": "embedded"},
    )
    content = _read(folder)
    assert (content.contract.mean, content.contract.scale) == (0.0, 1.0)
    assert content.scaling == (0.0, 1.0)


def test_without_a_word_the_scaling_is_insightface_s(folder, package):
    """Folders without a manifest, and manifests that say nothing, get the usual values."""
    folder("det", "scrfd")
    folder("rec", "arcface")
    assert _read(folder).scaling == (127.5, 128.0)
    package(detection={"file": "det.onnx"}, recognition={"file": "rec.onnx"})
    assert _read(folder).scaling == (127.5, 128.0)
    assert _read(folder).contract == ARCFACE


def test_a_digest_of_the_package_is_held(folder, package):
    """A file that is not what its package says is refused."""
    folder("det", "scrfd")
    folder("rec", "arcface")
    package(detection={"file": "det.onnx", "sha256": "0" * 64}, recognition={"file": "rec.onnx"})
    with pytest.raises(ModelAltered, match="mismatch"):
        _read(folder)


def test_without_the_package_its_manifests_cannot_be_read(folder, package, monkeypatch):
    """A folder that needs the insightface package says so; others do without."""
    folder("det", "scrfd")
    folder("rec", "arcface")
    monkeypatch.setitem(sys.modules, "insightface.model_zoo.package_manifest", None)
    assert _read(folder).detector.name == "det"
    package(detection={"file": "det.onnx"}, recognition={"file": "rec.onnx"})
    with pytest.raises(InstallationError, match="insightface package") as caught:
        _read(folder)
    assert "benren[insightface]" in caught.value.remedy
