"""InsightFace packs: found, downloaded by their own package, and never used unasked."""

import hashlib
import http.server
import io
import json
import threading
import zipfile

import pytest
from onnx import helper

from verifier.errors import (
    LicenceNotAccepted,
    ModelAltered,
    ModelDownloadFailed,
    ModelError,
    ModelMissing,
)
from verifier.models import insightface
from verifier.models.insightface import find_folder, load_folder, pack_name, pull_folder, terms_of
from verifier.models.licences import Licences
from verifier.models.store import Place, Store


@pytest.fixture
def networks(graph):
    """File name -> bytes of a detector and an embedder."""
    nodes = [helper.make_node("Identity", ["x"], [f"o{i}"]) for i in range(9)]
    shape = (1, 3, 64, 64)
    scrfd = graph(nodes, shape=shape, outputs=[(f"o{i}", shape) for i in range(9)])
    crop = ("N", 3, 112, 112)
    pool = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    arcface = graph(pool, shape=crop, outputs=[("y", ("N", 3, 1, 1))])
    return {"det.onnx": scrfd.content, "rec.onnx": arcface.content}


@pytest.fixture
def put(networks):
    """Write the two networks into a folder."""

    def write(folder):
        folder.mkdir(parents=True)
        for name, content in networks.items():
            (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture
def store(tmp_path):
    """One place for models."""
    return Store([Place(folder=tmp_path / "models", what="test")])


@pytest.fixture
def licences(tmp_path, clock):
    """Nothing accepted yet."""
    return Licences(tmp_path / "licences", clock=clock)


@pytest.fixture
def root(tmp_path):
    """What the package would take ~/.insightface for."""
    return tmp_path / "insightface"


@pytest.fixture
def pull(store, licences, root):
    """Pull the pack `tiny` into `root`."""

    def run(*, accept):
        return pull_folder("tiny", store, licences, accept_licence=accept, root=root)

    return run


def test_a_pack_is_found_below_a_place_or_in_the_package_s_folder(store, root, put, tmp_path):
    """A folder of the store goes before what the package downloaded."""
    assert find_folder("tiny", store, root=root) is None
    downloaded = put(root / "models" / "tiny")
    assert find_folder("tiny", store, root=root) == downloaded
    mine = put(tmp_path / "models" / "tiny")
    assert find_folder("tiny", store, root=root) == mine


def test_a_path_is_taken_as_it_is(store, put, tmp_path, monkeypatch):
    """Absolute, relative and home paths are folders; their pack has one name."""
    folder = put(tmp_path / "home" / "pack")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    for name in (str(folder), "./pack", "~/pack", f"{folder}/"):
        assert find_folder(name, store) is not None
        assert pack_name(name) == f"insightface:{folder}"


def test_a_folder_within_a_folder_is_entered(store, put, root):
    """An archive that holds its folder twice still works."""
    inner = put(root / "models" / "tiny" / "tiny")
    assert find_folder("tiny", store, root=root) == inner


@pytest.mark.parametrize("name", ["", "a b", "x" * 200, "ü"])
def test_names_that_are_none_are_refused(store, name):
    """What is neither a name nor a path is told so."""
    with pytest.raises(ModelError, match="neither the name"):
        find_folder(name, store)


def test_a_missing_pack_names_places_and_command(store, licences, tmp_path):
    """The error says where it was looked for and how to get it; nothing is downloaded."""
    with pytest.raises(ModelMissing, match="no_such_pack") as caught:
        load_folder("no_such_pack", store, licences)
    assert str(tmp_path / "models") in caught.value.detail
    assert "pull insightface:no_such_pack --accept-licence" in caught.value.remedy
    with pytest.raises(ModelMissing, match="does not exist"):
        load_folder(str(tmp_path / "nowhere"), store, licences)


def test_nothing_is_used_before_its_licence_is_accepted(store, licences, put, tmp_path):
    """Loading is refused until the flag was given once, and works from then on."""
    folder = put(tmp_path / "models" / "tiny")
    with pytest.raises(LicenceNotAccepted, match="non-commercial"):
        load_folder("tiny", store, licences)
    with pytest.raises(LicenceNotAccepted):
        pull_folder("tiny", store, licences, accept_licence=False)
    content, accepted = pull_folder("tiny", store, licences, accept_licence=True)
    assert accepted.files == content.digests
    assert load_folder("tiny", store, licences) == content
    assert content.folder == folder
    again, same = pull_folder("tiny", store, licences, accept_licence=False)
    assert (again, same) == (content, accepted)


@pytest.mark.parametrize("name", ["det.onnx", "rec.onnx"])
def test_a_file_that_changed_since_is_refused(store, licences, put, tmp_path, name):
    """The digests of the acceptance are compared at every load."""
    folder = put(tmp_path / "models" / "tiny")
    pull_folder("tiny", store, licences, accept_licence=True)
    original = (folder / name).read_bytes()
    # The name of the graph: still a network that runs, but another file.
    altered = original.replace(b"tiny", b"tinz", 1)
    assert altered != original
    (folder / name).write_bytes(altered)
    with pytest.raises(ModelAltered, match=name) as caught:
        load_folder("tiny", store, licences)
    assert hashlib.sha256(altered).hexdigest() in caught.value.detail
    assert hashlib.sha256(original).hexdigest() in caught.value.detail
    assert "--accept-licence" in caught.value.remedy


def test_a_removed_file_is_missed(store, licences, put, tmp_path):
    """Without its embedder the folder is no pack any more."""
    folder = put(tmp_path / "models" / "tiny")
    pull_folder("tiny", store, licences, accept_licence=True)
    (folder / "rec.onnx").unlink()
    with pytest.raises(ModelMissing, match="no ArcFace embedder"):
        load_folder("tiny", store, licences)


def test_an_invalid_licence_file_never_counts_as_none(store, licences, put, tmp_path):
    """A forged or broken MODEL.LICENSE is refused, with what is wrong about it."""
    folder = put(tmp_path / "models" / "tiny")
    (folder / "MODEL.LICENSE").write_text(json.dumps({"grant": "commercial"}), encoding="utf-8")
    with pytest.raises(LicenceNotAccepted, match=r"The licence in .* is not valid"):
        pull_folder("tiny", store, licences, accept_licence=True)


def test_without_a_licence_file_the_public_terms_hold(put, tmp_path):
    """The default is the strictest."""
    assert terms_of(put(tmp_path / "x")) == insightface.TERMS


class _Handler(http.server.BaseHTTPRequestHandler):
    archive = b""
    status = 200

    def do_GET(self) -> None:
        """Send the archive."""
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.archive)))
        self.end_headers()
        self.wfile.write(self.archive)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def release(monkeypatch):
    """A local server in place of InsightFace's; set `archive` and `status`."""
    from insightface.utils import storage

    handler = type("Handler", (_Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(
        storage,
        "MODEL_ZOO_RELEASE_DOWNLOAD_URL",
        f"http://127.0.0.1:{server.server_address[1]}/",
    )
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def _zipped(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return archive.getvalue()


def test_the_package_downloads_after_the_licence_was_accepted(
    release, pull, root, networks, capsys
):
    """The pack lands in the package's folder, is recorded, and leaves no scratch behind."""
    release.archive = _zipped(networks)
    with pytest.raises(LicenceNotAccepted):
        pull(accept=False)
    assert not root.exists()
    content, accepted = pull(accept=True)
    assert content.folder == root / "models" / "tiny"
    assert accepted.pack == "insightface:tiny"
    assert [path.name for path in root.iterdir()] == ["models"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("status", "archive"),
    [
        (404, b""),
        (200, b"no archive"),
        (200, _zipped({"readme.txt": b"nothing here"})),
    ],
)
def test_a_failed_download_leaves_nothing_behind(release, pull, root, status, archive):
    """A refusal, a broken archive and one without networks are told; no half pack stays."""
    release.status, release.archive = status, archive
    with pytest.raises(ModelDownloadFailed, match="tiny"):
        pull(accept=True)
    assert list((root / "models").iterdir()) == []
    assert [path.name for path in root.iterdir()] == ["models"]
    with pytest.raises(LicenceNotAccepted):
        pull(accept=False)


def test_a_path_is_never_downloaded(store, licences, root, tmp_path):
    """A folder that does not exist is an error, not the name of a pack."""
    with pytest.raises(ModelMissing, match="does not exist"):
        pull_folder(str(tmp_path / "none"), store, licences, accept_licence=True, root=root)
    assert not root.exists()
