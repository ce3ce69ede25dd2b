"""The real pack: every file, whole, missing and altered."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from verifier.errors import LicenceNotAccepted, ModelAltered, ModelMissing
from verifier.models.insightface import pull_folder
from verifier.models.licences import Licences
from verifier.models.manifest import bundled_manifest
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Place, Store

pytestmark = pytest.mark.models

FILES = sorted(bundled_manifest().files)
PACKED = bundled_manifest().pack("open").members


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """One thread, no warm-up."""
    return Runtime(threads=1, warm_up=False)


@pytest.fixture
def store(pack_dir: Path) -> Store:
    """The real pack alone."""
    return Store([Place(folder=pack_dir, what="test", named=True)])


@pytest.fixture
def copy(pack_dir: Path, tmp_path: Path) -> Store:
    """A copy of the pack that a test may spoil, before the real one in the search order."""
    shutil.copytree(pack_dir / "open", tmp_path / "open")
    (tmp_path / "open").chmod(0o755)
    for path in (tmp_path / "open").iterdir():
        path.chmod(0o644)
    named = Place(folder=tmp_path, what="BENREN_MODELS", named=True)
    return Store([named, Place(folder=pack_dir, what="beside the checkout")])


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_what_the_manifest_says(store: Store, runtime: Runtime, name: str) -> None:
    """Digest, size, input shape, batch and output names of the real file are the manifest's."""
    file = store.manifest.file(name)
    weights = store.find(name)
    network = runtime.load(weights)
    given = file.input
    size = (given.height, given.width)
    picture = (3, *size) if given.layout == "NCHW" else (*size, 3)
    assert network.input_shape == (given.batch, *picture)
    assert network.output_names == tuple(output.name for output in file.outputs)
    assert len(weights.content) == file.size


@pytest.mark.parametrize("name", FILES)
def test_every_network_answers_in_the_shape_of_the_manifest(
    store: Store, runtime: Runtime, name: str
) -> None:
    """Three rows in, three rows out, finite, with the sizes that the manifest names."""
    file = store.manifest.file(name)
    network = runtime.load(store.find(name))
    shape = [side or 64 for side in network.input_shape[1:]]
    outputs = network.run(np.random.default_rng(1).random((3, *shape), np.float32))
    for output, stated in zip(outputs, file.outputs, strict=True):
        sizes = stated.shape.split("×")[1:]
        assert output.shape[0] == 3
        for size, said in zip(output.shape[1:], sizes, strict=True):
            assert said in {"cells", str(size)}


@pytest.mark.parametrize("name", FILES)
def test_a_batch_gives_what_single_rows_give(store: Store, runtime: Runtime, name: str) -> None:
    """Whatever the ladder does, a row's numbers are its own: within rounding of one by one."""
    network = runtime.load(store.find(name))
    shape = [side or 64 for side in network.input_shape[1:]]
    batch = np.random.default_rng(2).random((7, *shape), np.float32)
    together = network.run(batch)
    one_by_one = [network.run(row[np.newaxis]) for row in batch]
    for index, output in enumerate(together):
        single = np.concatenate([outputs[index] for outputs in one_by_one])
        scale = max(1.0, float(np.abs(single).max()))
        np.testing.assert_allclose(output, single, atol=1e-4 * scale)


@pytest.mark.parametrize("name", PACKED)
def test_any_file_removed_is_named_with_the_remedy(
    copy: Store, runtime: Runtime, name: str
) -> None:
    """The pack does not start without one file, although a copy lies further down the order."""
    file = copy.manifest.file(name)
    copy.target(file).unlink()
    with pytest.raises(ModelMissing) as caught:
        load_pack("open", copy, runtime)
    assert file.path in caught.value.detail
    assert "benren models pull open" in caught.value.remedy
    assert str(copy.target(file)) in caught.value.remedy


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_any_byte_changed_is_named_with_the_remedy(
    copy: Store, runtime: Runtime, name: str, where: float
) -> None:
    """One flipped bit at the beginning, in the middle or at the end stops the pack."""
    file = copy.manifest.file(name)
    path = copy.target(file)
    content = bytearray(path.read_bytes())
    content[round(where * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ModelAltered) as caught:
        load_pack("open", copy, runtime)
    assert str(path) in caught.value.detail
    assert file.sha256 in caught.value.detail
    assert "benren models pull open" in caught.value.remedy


def test_the_embedder_of_edgeface_is_proven_as_well(copy: Store, runtime: Runtime) -> None:
    """The pack `edgeface` stops for its own embedder and not for that of `open`."""
    copy.target(copy.manifest.file("face_reidentification_retail_0095")).unlink()
    assert load_pack("edgeface", copy, runtime).embedder.name == "edgeface_xs"
    copy.target(copy.manifest.file("edgeface_xs")).unlink()
    with pytest.raises(ModelMissing, match="edgeface_xs"):
        load_pack("edgeface", copy, runtime)


@pytest.mark.parametrize("pack", ["open", "edgeface"])
def test_a_pack_loads_whole(store: Store, pack: str) -> None:
    """Seven networks with their ids, warmed up on every step of the ladder."""
    loaded = load_pack(pack, store, Runtime(threads=1))
    assert len(loaded.models) == 7
    assert loaded.detector.sides is None
    assert loaded.mesh is not None
    crops = np.zeros((2, loaded.embedder.side, loaded.embedder.side, 3), np.uint8)
    vectors = loaded.embedder.embed(crops)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_research_files_serve_as_an_insightface_pack(
    store: Store, runtime: Runtime, tmp_path: Path
) -> None:
    """SCRFD and MobileFaceNet load once their licence was accepted, at 640 px only."""
    licences = Licences(tmp_path)
    with pytest.raises(LicenceNotAccepted):
        load_pack("insightface:research", store, runtime, licences=licences)
    pull_folder("research", store, licences, accept_licence=True)
    pack = load_pack("insightface:research", store, runtime, licences=licences)
    assert pack.detector.sides == (640,)
    assert pack.embedder.name == "mobilefacenet_512"
    assert "non-commercial" in pack.licences["detector"]


def test_a_folder_with_scrfd_and_edgeface_is_a_pack_too(
    pack_dir: Path, store: Store, runtime: Runtime, tmp_path: Path
) -> None:
    """A folder by path, with files of one's own choice; one flipped bit in it is noticed."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copyfile(pack_dir / "research/scrfd_500m_kps.onnx", folder / "scrfd_500m_kps.onnx")
    shutil.copyfile(pack_dir / "open/edgeface_xs.onnx", folder / "own.onnx")
    licences = Licences(tmp_path / "licences")
    pull_folder(str(folder), store, licences, accept_licence=True)
    pack = load_pack(f"insightface:{folder}", store, runtime, licences=licences)
    assert pack.embedder.name == "own"
    assert pack.embedder.side == 112
    model = onnx.load(folder / "own.onnx")
    model.doc_string = "changed"
    onnx.save(model, folder / "own.onnx")
    with pytest.raises(ModelAltered, match=r"own\.onnx"):
        load_pack(f"insightface:{folder}", store, runtime, licences=licences)
