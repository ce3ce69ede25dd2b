"""From the name of a pack to networks that run."""

import hashlib

import numpy as np
import pytest
from onnx import helper

from verifier.errors import LicenceNotAccepted, ModelAltered, ModelError, ModelMissing
from verifier.models.detector import Scrfd, YuNet
from verifier.models.embedder import REIDENTIFICATION
from verifier.models.insightface import pull_folder
from verifier.models.licences import Licences
from verifier.models.manifest import Manifest
from verifier.models.packs import load_pack
from verifier.models.store import Place, Store

ROLES = {
    "det": ("detector", "yunet"),
    "emb": ("embedder", "reidentification"),
    "liv1": ("liveness", "minifasnet-2.7"),
    "liv2": ("liveness", "minifasnet-pad1.5"),
    "mesh": ("mesh", "facemesh"),
    "iris": ("iris", "iris"),
    "scrfd": ("detector", "scrfd"),
    "odd": ("embedder", "nobody-knows"),
}


@pytest.fixture
def contents(graph):
    """A tiny network per name, each a little different."""
    made = {
        name: graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            shape=("N", 3, 8, 8),
            outputs=[("y", ("N", 3, 8, 8))],
            name=name,
        ).content
        for name in ROLES
    }
    shape = (1, 3, 64, 64)
    made["scrfd"] = graph(
        [helper.make_node("Identity", ["x"], ["y"])], shape=shape, outputs=[("y", shape)]
    ).content
    return made


@pytest.fixture
def store(contents, tmp_path):
    """A store with all of them in place, and packs made of them."""
    files = {
        name: {
            "path": f"open/{name}.onnx",
            "sha256": hashlib.sha256(contents[name]).hexdigest(),
            "size": len(contents[name]),
            "role": role,
            "contract": contract,
            "licence": "Apache-2.0",
            "commercial": "yes",
            "terms": f"Terms of {name}.",
            "prepared": "by hand",
            "origin": {"repository": "some/one", "commit": "0" * 40, "path": "x"},
            "input": {
                "layout": "NCHW",
                "colour": "RGB",
                "mean": 0.0,
                "divisor": 1.0,
                "crop": "all",
            },
            "outputs": [{"name": "y", "shape": "N", "meaning": "nothing"}],
        }
        for name, (role, contract) in ROLES.items()
    }
    base = {"summary": "s", "detector": "det", "embedder": "emb", "liveness": ["liv2", "liv1"]}
    packs = {
        "open": {**base, "mesh": "mesh", "iris": "iris"},
        "bare": base,
        "eyeless": {**base, "mesh": "mesh"},
        "other": {**base, "detector": "scrfd"},
        "odd": {**base, "embedder": "odd"},
    }
    manifest = Manifest.model_validate({"version": 1, "packs": packs, "files": files})
    (tmp_path / "open").mkdir()
    for name, content in contents.items():
        (tmp_path / "open" / f"{name}.onnx").write_bytes(content)
    return Store([Place(folder=tmp_path, what="test")], manifest=manifest)


@pytest.fixture
def licences(tmp_path, clock):
    """Nothing accepted yet."""
    return Licences(tmp_path / "licences", clock=clock)


def test_every_role_gets_its_file(store, runtime, contents):
    """Ids carry the digests, liveness keeps the order of the manifest, terms are told."""
    pack = load_pack("open", store, runtime)
    expected = {
        "detector": "det",
        "embedder": "emb",
        "liveness_1": "liv2",
        "liveness_2": "liv1",
        "mesh": "mesh",
        "iris": "iris",
    }
    assert dict(pack.models) == {
        role: f"{name}@{hashlib.sha256(contents[name]).hexdigest()}"
        for role, name in expected.items()
    }
    assert pack.licences["embedder"] == "Apache-2.0. Terms of emb."
    assert pack.name == "open"
    assert isinstance(pack.detector, YuNet)
    assert pack.embedder.contract == REIDENTIFICATION
    assert [network.name for network in pack.liveness] == ["liv2", "liv1"]
    assert [network.contract.side for network in pack.liveness] == [128, 80]
    assert pack.mesh is not None
    assert pack.mesh.has_iris


def test_mesh_and_iris_may_be_absent(store, runtime):
    """A pack without a mesh has none, a mesh without an iris network says so."""
    assert load_pack("bare", store, runtime).mesh is None
    assert set(load_pack("bare", store, runtime).models) == {
        "detector",
        "embedder",
        "liveness_1",
        "liveness_2",
    }
    eyeless = load_pack("eyeless", store, runtime).mesh
    assert eyeless is not None
    assert not eyeless.has_iris


def test_a_detector_of_fixed_size_says_so(store, runtime):
    """SCRFD at 64 px tells the pipeline that it takes nothing else."""
    pack = load_pack("other", store, runtime)
    assert isinstance(pack.detector, Scrfd)
    assert pack.detector.sides == (64,)


def test_what_a_pack_says_of_itself_cannot_be_changed(store, runtime):
    """The ids in verdicts come from here; nobody writes to them."""
    pack = load_pack("open", store, runtime)
    with pytest.raises(TypeError):
        pack.models["detector"] = "another"


def test_unknown_packs_and_contracts_are_refused(store, runtime):
    """A misspelt pack lists the right names; a contract without code is told with the file."""
    with pytest.raises(ModelError, match="no model pack 'opne'") as caught:
        load_pack("opne", store, runtime)
    assert "open" in caught.value.remedy
    with pytest.raises(ModelError, match=r"odd has the contract 'nobody-knows'"):
        load_pack("odd", store, runtime)


@pytest.mark.parametrize("name", ["det", "emb", "liv1", "liv2", "mesh", "iris"])
def test_all_digests_are_compared_before_anything_runs(store, runtime, tmp_path, name, monkeypatch):
    """A missing or altered file is told before the first network is loaded."""
    monkeypatch.setattr(runtime, "load", lambda _weights: pytest.fail("loaded too early"))
    path = tmp_path / "open" / f"{name}.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelAltered, match=f"{name}.onnx is altered"):
        load_pack("open", store, runtime)
    path.unlink()
    with pytest.raises(ModelMissing, match=f"{name}.onnx"):
        load_pack("open", store, runtime)


def test_an_insightface_folder_brings_detector_and_embedder(
    store, runtime, licences, graph, tmp_path
):
    """Liveness and mesh are those of the default pack; before the licence nothing loads."""
    folder = tmp_path / "mine"
    folder.mkdir()
    nodes = [helper.make_node("Identity", ["x"], [f"o{i}"]) for i in range(9)]
    shape = (1, 3, 64, 64)
    det = graph(nodes, shape=shape, outputs=[(f"o{i}", shape) for i in range(9)])
    crop = ("N", 3, 112, 112)
    pool = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    rec = graph(pool, shape=crop, outputs=[("y", ("N", 3, 1, 1))])
    (folder / "a.onnx").write_bytes(det.content)
    (folder / "b.onnx").write_bytes(rec.content)
    with pytest.raises(LicenceNotAccepted):
        load_pack("insightface:mine", store, runtime, licences=licences)
    pull_folder("mine", store, licences, accept_licence=True)
    pack = load_pack("insightface:mine", store, runtime, licences=licences)
    assert pack.name == "insightface:mine"
    assert pack.models["detector"] == f"a@{det.sha256}"
    assert pack.models["embedder"] == f"b@{rec.sha256}"
    assert pack.detector.sides == (64,)
    assert [network.name for network in pack.liveness] == ["liv2", "liv1"]
    assert pack.mesh is not None
    assert "non-commercial" in pack.licences["embedder"]
    assert "Apache" in pack.licences["liveness_1"]
    crops = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), np.uint8)
    vectors = pack.embedder.embed(crops)
    means = (crops[..., ::-1].astype(np.float64).mean(axis=(1, 2)) - 127.5) / 127.5
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
