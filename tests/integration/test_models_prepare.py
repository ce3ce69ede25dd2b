"""The public way to the weights, against a local server that behaves, cuts, lies and dawdles."""

import hashlib
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from verifier.errors import ConfigurationError, ModelAltered, ModelDownloadFailed, ModelMissing
from verifier.models.download import Downloader
from verifier.models.prepare.build import Upstream, bundled_recipes, prepare_pack
from verifier.models.store import Place, Store

pytestmark = pytest.mark.models


class _Mirror(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    spoil: ClassVar[dict[str, str]] = {}
    """Path -> how to misbehave: `cut` (always), `cut_once`, `lie`, `slow`, `gone`."""
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        content = self.files.get(self.path.lstrip("/"))
        how = self.spoil.get(self.path.rsplit("/", 1)[-1], "")
        if content is None or how == "gone":
            self.send_error(404)
            return
        begin = 0
        if asked := self.headers.get("Range"):
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[begin:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if how == "lie":
            rest = bytes(len(rest))
        if how == "cut" or (how == "cut_once" and begin == 0):
            rest = rest[: len(rest) // 2]
        if how == "slow":
            self.wfile.write(rest[:100])
            self.wfile.flush()
            time.sleep(1.5)
            return
        self.wfile.write(rest)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def mirror(pack_dir: Path) -> Iterator[str]:
    """A server with upstream's paths; its behaviour is set through `_Mirror.spoil`."""
    _Mirror.files, _Mirror.spoil, _Mirror.requests = {}, {}, []
    for recipe in bundled_recipes().recipes.values():
        for source in recipe.sources:
            path = f"{source.repository}/{source.commit}/{source.path}"
            _Mirror.files[path] = (pack_dir / "upstream" / source.filename).read_bytes()
    manifest = Store([Place(folder=pack_dir, what="pack")]).manifest
    for file in manifest.members("open"):
        if file.upstream is not None:
            path = f"{file.origin.repository}/{file.origin.commit}/{file.origin.path}"
            _Mirror.files[path] = (pack_dir / file.path).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _upstream(location: str) -> Upstream:
    quick = Downloader(attempts=3, connect_s=2, silence_s=0.5, pause=lambda _seconds: None)
    return Upstream(location=location, downloader=quick)


def _empty(folder: Path) -> Store:
    return Store([Place(folder=folder, what="test", named=True)])


def test_the_whole_pack_comes_from_upstream(mirror: str, tmp_path: Path) -> None:
    """Every file is downloaded or converted, has a digest of the manifest, and is found again."""
    store = _empty(tmp_path)
    made = {
        result.file.name: result.made for result in prepare_pack(store, "open", _upstream(mirror))
    }
    assert made == {
        "yunet_n_dynamic": "downloaded",
        "face_reidentification_retail_0095": "converted",
        "minifasnet_v2_80x80_scale2.7": "converted",
        "minifasnet_v1se_80x80_scale4.0": "converted",
        "minifasnet_v2se_128x128_pad1.5": "downloaded",
        "facemesh": "converted",
        "iris": "converted",
    }
    for file in store.manifest.members("open"):
        content = (tmp_path / file.path).read_bytes()
        assert file.accepts(hashlib.sha256(content).hexdigest(), len(content))
    asked = len(_Mirror.requests)
    again = prepare_pack(store, "open", _upstream(mirror))
    assert {result.made for result in again} == {"found"}
    assert len(_Mirror.requests) == asked


def test_a_folder_serves_as_upstream(mirror: str, tmp_path: Path) -> None:
    """A folder with upstream's paths gives the same files as the server."""
    folder = tmp_path / "upstream"
    for path, content in _Mirror.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    store = _empty(tmp_path / "models")
    assert len(prepare_pack(store, "open", _upstream(str(folder)))) == 7
    (folder / next(iter(_Mirror.files))).write_bytes(b"altered")
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(ModelAltered, match="SHA-256"):
        prepare_pack(store, "open", _upstream(str(folder)))


def test_a_cut_connection_is_taken_up_again(mirror: str, tmp_path: Path) -> None:
    """A download that breaks half-way goes on where it stopped."""
    _Mirror.spoil = {"iris.bin": "cut_once"}
    made = prepare_pack(_empty(tmp_path), "open", _upstream(mirror))
    assert len(made) == 7
    assert sum(path.endswith("iris.bin") for path in _Mirror.requests) == 2


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("lie", ModelAltered),
        ("cut", ModelDownloadFailed),
        ("slow", ModelDownloadFailed),
        ("gone", ModelDownloadFailed),
    ],
)
def test_a_bad_server_leaves_no_file_and_a_clear_error(
    mirror: str, tmp_path: Path, how: str, error: type[Exception]
) -> None:
    """Wrong bytes, cuts, silence and 404 name the file; nothing half-made stays behind."""
    _Mirror.spoil = {"facemesh.bin": how}
    with pytest.raises(error, match=r"facemesh\.bin"):
        prepare_pack(_empty(tmp_path), "open", _upstream(mirror))
    assert not (tmp_path / "open" / "facemesh.onnx").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert (tmp_path / "open" / "yunet_n_dynamic.onnx").exists()


def test_an_upstream_that_is_nothing_is_refused(tmp_path: Path) -> None:
    """Neither a folder nor an address: the message names the variable."""
    with pytest.raises(ConfigurationError, match="BENREN_UPSTREAM"):
        Upstream.chosen(None, {"BENREN_UPSTREAM": str(tmp_path / "nowhere")})
    assert Upstream.chosen(None, {}).location.startswith("https://")


def test_a_folder_without_the_file_says_so(tmp_path: Path) -> None:
    """An empty folder as upstream names the missing file."""
    with pytest.raises(ModelMissing, match="yunet"):
        prepare_pack(_empty(tmp_path / "models"), "open", _upstream(str(tmp_path)))
