"""Where model files are looked for, and that only the right bytes come back."""

import hashlib
import pwd
from pathlib import Path

import pytest

from verifier.errors import (
    ConfigurationError,
    ModelAltered,
    ModelDownloadFailed,
    ModelError,
    ModelMissing,
)
from verifier.models import store as module
from verifier.models.download import Downloader
from verifier.models.manifest import Manifest
from verifier.models.store import Place, Store, cache_folder

RIGHT = {"a": b"weights of a", "b": b"weights of b, longer", "c": b"weights of c"}


def _file(name: str, content: bytes, **more: object) -> dict[str, object]:
    return {
        "path": f"open/{name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "role": {"a": "detector", "b": "embedder", "c": "liveness"}[name],
        "contract": "x",
        "licence": "Apache-2.0",
        "commercial": "yes",
        "terms": "none",
        "prepared": "by hand",
        "origin": {"repository": "some/one", "commit": "0" * 40, "path": f"{name}.pt"},
        "input": {
            "layout": "NCHW",
            "colour": "RGB",
            "mean": 0.0,
            "divisor": 1.0,
            "crop": "all of it",
        },
        "outputs": [{"name": "y", "shape": "N", "meaning": "nothing"}],
        **more,
    }


MANIFEST = Manifest.model_validate(
    {
        "version": 1,
        "packs": {"tiny": {"summary": "s", "detector": "a", "embedder": "b", "liveness": ["c"]}},
        "files": {
            "a": _file(
                "a",
                RIGHT["a"],
                upstream=f"https://example.invalid/some/one/{'0' * 40}/a.pt",
                prepared="byte for byte",
            ),
            "b": _file("b", RIGHT["b"], preparable=True),
            "c": _file("c", RIGHT["c"]),
        },
    }
)


class Offline(Downloader):
    """Fails the test when anything is fetched."""

    def fetch(self, url, target, **_more):
        """Refuse."""
        raise AssertionError(f"{url} must not be fetched")


@pytest.fixture
def places(tmp_path):
    """A named folder, a cache and a folder beside the checkout, all empty."""
    named = Place(folder=tmp_path / "named", what="BENREN_MODELS", named=True)
    cache = Place(folder=tmp_path / "cache", what="the user's cache")
    beside = Place(folder=tmp_path / "beside", what="beside the checkout")
    for place in (named, cache, beside):
        place.folder.mkdir()
    return named, cache, beside


@pytest.fixture
def store(places):
    """All three places, offline."""
    return Store(places, manifest=MANIFEST, downloader=Offline())


def _put(place: Place, name: str, content: bytes | None = None, *, flat: bool = False) -> Path:
    path = place.folder / (f"{name}.onnx" if flat else f"open/{name}.onnx")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(RIGHT[name] if content is None else content)
    return path


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_file_is_found_in_every_place(store, places, index, flat):
    """With its folder or without, the right bytes come back with their digest and path."""
    path = _put(places[index], "a", flat=flat)
    found = store.find("a")
    assert found.content == RIGHT["a"]
    assert found.sha256 == hashlib.sha256(RIGHT["a"]).hexdigest()
    assert found.path == path
    assert found.id == f"a@{found.sha256}"


def test_the_order_of_the_places_counts(store, places):
    """The named folder goes before the cache, the cache before the folder beside the checkout."""
    paths = [_put(place, "a") for place in reversed(places)]
    for path in reversed(paths):
        assert store.find("a").path == path
        path.unlink()
    assert store.locate("a") is None


def test_a_missing_file_says_where_it_was_looked_for(store, places):
    """The message names the file, every place and the command."""
    with pytest.raises(ModelMissing, match=r"open/a\.onnx \(detector\) is missing") as caught:
        store.find("a")
    for place in places:
        assert str(place.folder) in caught.value.detail
    assert "benren models pull tiny" in caught.value.remedy
    assert "BENREN_MODELS" in caught.value.remedy


def test_a_file_that_needs_a_recipe_can_be_pulled_too(store):
    """Where there is a recipe, the command is the same."""
    with pytest.raises(ModelMissing) as caught:
        store.find("b")
    assert "benren models pull tiny" in caught.value.remedy


def test_a_file_prepared_by_hand_says_where_to_put_it(store, places):
    """Where nothing can be pulled, the remedy says so and names the place."""
    with pytest.raises(ModelMissing) as caught:
        store.find("c")
    assert "cannot be pulled" in caught.value.remedy
    assert "some/one" in caught.value.remedy
    assert str(places[0].folder / "open" / "c.onnx") in caught.value.remedy
    assert "models pull" not in caught.value.remedy


def test_where_nothing_can_be_written_the_advice_is_another(tmp_path, monkeypatch):
    """Pulling into a read-only mount, as an image has one, cannot be what is to be done."""
    store = Store([Place(folder=tmp_path / "models", what="named", named=True)], manifest=MANIFEST)
    with pytest.raises(ModelMissing) as caught:
        store.find("a")
    assert caught.value.remedy.startswith("Run 'benren models pull tiny'")
    asked = []

    def refuse(path, _mode):
        asked.append(path)
        return False

    monkeypatch.setattr(module.os, "access", refuse)
    with pytest.raises(ModelMissing) as caught:
        store.find("a")
    assert asked == [tmp_path]
    assert "cannot be written here: run 'benren models pull tiny' where it can" in (
        caught.value.remedy
    )


def test_a_named_folder_is_whole_or_an_error(store, places):
    """A file that is missing in the folder that was named is not taken from elsewhere."""
    _put(places[0], "b")
    _put(places[1], "a")
    _put(places[2], "a")
    with pytest.raises(ModelMissing, match=r"open/a\.onnx") as caught:
        store.find("a")
    assert str(places[1].folder) not in caught.value.detail


@pytest.mark.parametrize("position", [0, 5, len(RIGHT["a"]) - 1])
@pytest.mark.parametrize("index", [0, 1])
def test_one_flipped_bit_is_an_error_and_no_reason_to_look_further(store, places, index, position):
    """An altered file is told with both digests even though a right one lies elsewhere."""
    altered = bytearray(RIGHT["a"])
    altered[position] ^= 1
    path = _put(places[index], "a", bytes(altered))
    _put(places[2], "a")
    with pytest.raises(ModelAltered, match="is altered") as caught:
        store.find("a")
    assert str(path) in caught.value.detail
    assert hashlib.sha256(altered).hexdigest() in caught.value.detail
    assert hashlib.sha256(RIGHT["a"]).hexdigest() in caught.value.detail
    assert "benren models pull tiny" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"weights", RIGHT["a"] + b"x", b"x" * 10_000])
def test_a_wrong_size_is_told_in_bytes(store, places, content):
    """Truncated, empty and overlong files are told with the sizes."""
    _put(places[1], "a", content)
    with pytest.raises(ModelAltered, match=rf"{len(content)} bytes.*\({len(RIGHT['a'])} bytes\)"):
        store.find("a")


def test_a_file_that_changes_later_is_noticed(store, places):
    """The digest is compared at every load, not once."""
    path = _put(places[1], "a")
    first = store.find("a")
    path.write_bytes(b"weights of A")
    with pytest.raises(ModelAltered):
        store.find("a")
    assert first.content == RIGHT["a"]


def test_the_bytes_that_were_hashed_are_the_bytes_that_are_returned(store, places, monkeypatch):
    """A file swapped right after it was read does not reach whoever asked."""
    path = _put(places[1], "a")
    genuine = hashlib.sha256

    def swapping(content=b"", **more):
        path.write_bytes(b"weights of X")
        return genuine(content, **more)

    monkeypatch.setattr(module.hashlib, "sha256", swapping)
    assert store.find("a").content == RIGHT["a"]


def test_a_broken_link_is_an_error_and_not_absence(store, places):
    """Something of the right name that leads nowhere is told; the next place is not asked."""
    _put(places[2], "a")
    (places[1].folder / "a.onnx").symlink_to("gone.onnx")
    with pytest.raises(ModelError, match=r"a\.onnx cannot be read"):
        store.find("a")


def test_a_folder_in_place_of_a_file_is_told(store, places):
    """A directory of the file's name is an error with its path."""
    (places[1].folder / "a.onnx").mkdir()
    with pytest.raises(ModelError, match=r"a\.onnx cannot be read: Is a directory"):
        store.find("a")


def test_a_device_is_not_read(store, places):
    """A link to an endless device is refused before a byte is read."""
    (places[1].folder / "a.onnx").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="not a regular file"):
        store.find("a")


def test_a_file_without_permission_is_told(store, places, monkeypatch):
    """A file that this user may not read is told as that, with the remedy."""
    path = _put(places[1], "a")

    def refused(self, *_arguments):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ModelError, match=r"a\.onnx cannot be read: Permission denied") as caught:
        store.find("a")
    assert str(path) in caught.value.detail
    assert "Allow reading it" in caught.value.remedy


def test_an_unknown_name_is_an_error(store):
    """The store knows only what the manifest knows."""
    with pytest.raises(ModelError, match="no file 'z'"):
        store.find("z")


def test_variants_are_found_under_their_own_digest(tmp_path):
    """A file that the manifest lists as a variant loads, and its id says which it is."""
    other = b"weights of b, rounded"
    data = MANIFEST.model_dump()
    for name, file in data["files"].items():
        del file["name"], name
    data["files"]["b"]["variants"] = [
        {"sha256": hashlib.sha256(other).hexdigest(), "size": len(other), "made": "here"}
    ]
    place = Place(folder=tmp_path, what="here")
    store = Store([place], manifest=Manifest.model_validate(data), downloader=Offline())
    _put(place, "b", other)
    assert store.find("b").sha256 == hashlib.sha256(other).hexdigest()
    _put(place, "b", other[:-1] + b"?")
    with pytest.raises(ModelAltered):
        store.find("b")


class Recorded(Downloader):
    """Writes what it is told to instead of fetching, and remembers what was asked."""

    contents: dict[str, bytes]
    asked: list[str]

    def __init__(self, contents):
        super().__init__()
        object.__setattr__(self, "contents", contents)
        object.__setattr__(self, "asked", [])

    def fetch(self, url, target, *, size, sha256, progress=None):
        """Put the content of that address at `target`."""
        self.asked.append(url)
        content = self.contents[url]
        assert len(content) == size
        assert hashlib.sha256(content).hexdigest() == sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if progress is not None:
            progress(size)


UPSTREAM_A = f"https://example.invalid/some/one/{'0' * 40}/a.pt"


def test_what_is_there_is_not_pulled_again(store, places):
    """A proven copy in any place is enough."""
    path = _put(places[2], "a")
    pulled = store.pull("a")
    assert not pulled.downloaded
    assert pulled.path == path


def test_a_missing_file_is_pulled_into_the_first_place(places):
    """The address of the manifest is asked, and the copy is the one that loads."""
    downloader = Recorded({UPSTREAM_A: RIGHT["a"]})
    store = Store(places, manifest=MANIFEST, downloader=downloader)
    seen: list[int] = []
    pulled = store.pull("a", progress=seen.append)
    assert pulled.downloaded
    assert pulled.path == places[0].folder / "open" / "a.onnx"
    assert store.find("a").path == pulled.path
    assert downloader.asked == [UPSTREAM_A]
    assert seen == [len(RIGHT["a"])]


def test_an_altered_file_is_replaced_where_it_lies(places):
    """Pulling repairs the copy that would be loaded, also one without the folder `open`."""
    path = _put(places[0], "a", b"weights of X", flat=True)
    store = Store(places, manifest=MANIFEST, downloader=Recorded({UPSTREAM_A: RIGHT["a"]}))
    assert store.pull("a").path == path
    assert path.read_bytes() == RIGHT["a"]


def test_an_altered_file_in_a_later_place_is_overruled(places):
    """A good copy in the first place goes before the bad one, which is left as it is."""
    bad = _put(places[2], "a", b"weights of X")
    store = Store(places[1:], manifest=MANIFEST, downloader=Recorded({UPSTREAM_A: RIGHT["a"]}))
    assert store.pull("a").path == places[1].folder / "open" / "a.onnx"
    assert bad.read_bytes() == b"weights of X"


def test_a_mirror_goes_before_upstream_and_has_everything(places):
    """Below a mirror every file lies by its path in the manifest, prepared ones too."""
    mirror = "https://mirror.invalid/models"
    urls = {f"{mirror}/open/{name}.onnx": content for name, content in RIGHT.items()}
    downloader = Recorded(urls)
    store = Store(places, manifest=MANIFEST, mirror=f"{mirror}/", downloader=downloader)
    for name in RIGHT:
        assert store.can_fetch(name)
        assert store.pull(name).downloaded
    assert downloader.asked == list(urls)


def test_without_an_address_pulling_is_refused(store):
    """A file that has to be prepared is not invented."""
    with pytest.raises(ModelMissing, match=r"open/c\.onnx"):
        store.pull("c")


def test_an_error_of_the_download_is_passed_on(places):
    """The store adds nothing to what the downloader says."""

    class Failing(Downloader):
        def fetch(self, url, target, **_more):
            raise ModelDownloadFailed(f"{url} not today")

    store = Store(places, manifest=MANIFEST, downloader=Failing())
    with pytest.raises(ModelDownloadFailed, match="not today"):
        store.pull("a")


@pytest.mark.parametrize("mirror", ["ftp://x", "/srv/models", "mirror.example"])
def test_a_mirror_must_be_an_address(places, mirror):
    """Anything but http and https is refused with an example."""
    with pytest.raises(ConfigurationError, match="BENREN_MODEL_MIRROR"):
        Store(places, manifest=MANIFEST, mirror=mirror)


def test_a_store_needs_a_place():
    """An empty list of places is refused."""
    with pytest.raises(ConfigurationError, match="at least one folder"):
        Store([], manifest=MANIFEST)


def test_the_default_store_reads_the_environment(tmp_path):
    """BENREN_MODELS, the cache of XDG and the mirror come from the environment."""
    environ = {
        "BENREN_MODELS": str(tmp_path / "mine"),
        "XDG_CACHE_HOME": str(tmp_path / "xdg"),
        "BENREN_MODEL_MIRROR": "https://mirror.invalid",
    }
    store = Store.default(environ)
    assert store.places[0] == Place(folder=tmp_path / "mine", what="BENREN_MODELS", named=True)
    assert store.places[1].folder == tmp_path / "xdg" / "benren" / "models"
    assert store.source_of("iris") == "https://mirror.invalid/open/iris.onnx"


def test_a_given_folder_goes_before_the_environment(tmp_path):
    """A setting or a flag beats BENREN_MODELS."""
    store = Store.default({"BENREN_MODELS": "/elsewhere"}, models_dir=tmp_path)
    assert store.places[0].folder == tmp_path
    assert all(place.folder != Path("/elsewhere") for place in store.places)


def test_without_variables_the_cache_is_first(tmp_path):
    """Pulling goes to the user's cache unless something else was named."""
    store = Store.default({"HOME": str(tmp_path), "BENREN_MODELS": ""})
    assert store.places[0].folder == tmp_path / ".cache" / "benren" / "models"
    assert not store.places[0].named


def test_who_has_no_home_reads_the_named_folder(tmp_path, monkeypatch):
    """Without a cache the other places are searched; where there is none, that is said."""

    def no_account(_):
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_account)
    monkeypatch.setattr(module, "_beside_the_checkout", lambda: None)
    store = Store.default({"BENREN_MODELS": str(tmp_path)})
    assert [place.folder for place in store.places] == [tmp_path]
    for environ in ({}, {"BENREN_MODELS": "~/models"}):
        with pytest.raises(ConfigurationError, match="home") as refused:
            Store.default(environ)
        assert "HOME" in refused.value.remedy


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/benren"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/benren"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/benren"),
        ({"HOME": "/h"}, "/h/.cache/benren"),
    ],
)
def test_the_cache_folder_follows_xdg(environ, expected):
    """An absolute XDG_CACHE_HOME counts, a relative or empty one does not."""
    assert cache_folder(environ) == Path(expected)
