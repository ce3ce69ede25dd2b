"""`benren models`: what it prints, where, and with which exit code."""

import json
from functools import partial
from types import SimpleNamespace
from typing import get_args

import pytest
from typer.testing import CliRunner

from benren.commands.models import app
from benren.model_files import ModelFiles
from verifier.errors import BenrenError
from verifier.models.backend import Provider
from verifier.models.download import Downloader
from verifier.models.manifest import bundled_manifest
from verifier.models.pixels import Pixels
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import Runtime
from verifier.models.store import Store


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command with an empty models folder and cache; no upstream can be reached."""
    monkeypatch.setenv("BENREN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BENREN_MODEL_MIRROR", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("verifier.models.store._beside_the_checkout", lambda: None)
    monkeypatch.setattr("verifier.models.store.Downloader", partial(Downloader, attempts=1))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def _lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_describes_every_file_of_the_manifest(run):
    """Packs first, then what is in none; each with licence, size, rates and where it is."""
    result = run("list", "--json")
    rows = _lines(result)
    assert result.exit_code == 0
    assert {row["file"] for row in rows} == set(bundled_manifest().files)
    assert [row["pack"] for row in rows if row["file"] == "iris"] == ["open", "edgeface"]
    (embedder,) = (row for row in rows if row["file"] == "edgeface_xs")
    assert embedder["commercial"] == "check"
    assert embedder["path"] is None
    assert embedder["measured"]["operating_points"][0] == {
        "threshold": 0.3,
        "fmr": 1e-4,
        "fnmr": 0.009,
    }
    assert {row["pack"] for row in rows if row["file"] == "scrfd_500m_kps"} == {None}


def test_list_speaks_to_people_too(run):
    """Licences, error rates and milliseconds are readable."""
    text = run("list").stdout
    assert "open: The default: Apache-2.0 throughout." in text
    assert "10.8 ms, FNMR 1.0% at FMR 0.0001" in text
    assert "APCER 17.5% at BPCER 5%" in text
    assert "research only" in text
    assert "not here; it can be pulled" in text


def test_list_takes_a_pack_or_a_file(run):
    """One pack or one file is shown alone."""
    assert len(_lines(run("list", "open", "--json"))) == 7
    assert [row["file"] for row in _lines(run("list", "iris", "--json"))] == ["iris"]


@pytest.mark.parametrize("command", ["list", "pull", "prepare", "verify"])
def test_an_unknown_pack_is_wrong_usage(run, command):
    """A misspelt name ends with 2 and lists the right ones."""
    result = run(command, "opne")
    assert result.exit_code == 2
    assert "edgeface" in result.stderr


def test_verify_names_each_missing_file(run, tmp_path):
    """Without a single file every member is told on stderr, and the exit code is 1."""
    result = run("verify", "open", "--json")
    assert result.exit_code == 1
    assert {line["status"] for line in _lines(result)} == {"model_missing"}
    problems = [json.loads(line) for line in result.stderr.splitlines()]
    assert len(problems) == 7
    for problem, file in zip(problems, bundled_manifest().members("open"), strict=True):
        assert file.path in problem["detail"]
        assert str(tmp_path / "models") in problem["detail"]
        assert "benren models pull open" in problem["remedy"]


def test_pull_goes_on_after_a_failure(run):
    """A mirror that is down fails file by file; each failure is told, the end is 1."""
    result = run("pull", "open", "--json")
    assert result.exit_code == 1
    assert [line["file"] for line in _lines(result)] == list(
        bundled_manifest().pack("open").members
    )
    assert {line["status"] for line in _lines(result)} == {"model_download_failed"}
    assert "127.0.0.1:1/open/yunet_n_dynamic.onnx" in result.stderr


def test_a_licence_is_asked_for_before_anything_is_fetched(run):
    """An InsightFace pack without the flag is refused with the flag's name."""
    result = run("pull", "insightface:no_such_pack", "--json")
    assert result.exit_code == 1
    first = _lines(result)[0]
    assert first == {"file": "insightface:no_such_pack", "status": "licence_not_accepted"}
    assert "--accept-licence" in result.stderr


def test_cuda_is_refused_without_it(run):
    """`verify --provider cuda` fails as a whole where CUDA is not there."""
    result = run("verify", "--provider", "cuda")
    assert isinstance(result.exception, BenrenError)
    assert result.exception.code == "provider_unavailable"


def test_an_unknown_provider_is_wrong_usage(run):
    """Those of the settings exist, and no other."""
    assert run("verify", "--provider", "tpu").exit_code == 2


@pytest.mark.parametrize("provider", get_args(Provider))
def test_every_provider_of_the_settings_can_be_verified(monkeypatch, run, provider):
    """What may be configured may be tried before."""
    asked = []

    def verify(self, pack, *, provider):
        asked.append(provider)
        return True

    monkeypatch.setattr(ModelFiles, "verify", verify)
    assert run("verify", "--provider", provider).exit_code == 0
    assert asked == [provider]


def test_verifying_runs_what_the_loading_leaves(tmp_path, capsys):
    """A detector of open height and width is not run by the loading, and is run here."""
    ran = []
    files = ModelFiles(as_json=True)
    weights = SimpleNamespace(name="w", path=tmp_path, sha256="0" * 64)
    for sizes in (0, 2):
        network = SimpleNamespace(
            open_sizes=sizes, provider="p", warm_up=lambda sizes=sizes: ran.append(sizes)
        )
        files._try(
            weights, None, SimpleNamespace(load=lambda _weights, _pixels, found=network: found)
        )
    assert ran == [2]
    assert capsys.readouterr().out.count('"works"') == 2


@pytest.mark.models
def test_verify_runs_the_whole_pack(pack_dir, run, monkeypatch):
    """With the real pack every network is hashed and run; the exit code is 0."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    result = run("verify", "open", "--json")
    assert result.exit_code == 0, result.stderr
    lines = _lines(result)
    assert {line["status"] for line in lines} == {"works"}
    manifest = bundled_manifest()
    for line in lines:
        path = pack_dir / manifest.file(line["file"]).path
        assert manifest.file(line["file"]).accepts(line["sha256"], path.stat().st_size)


@pytest.mark.models
def test_pull_finds_what_is_there(pack_dir, run, monkeypatch):
    """A whole pack is not fetched again, although the mirror is down."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    result = run("pull", "edgeface", "--json")
    assert result.exit_code == 0, result.stderr
    assert {line["status"] for line in _lines(result)} == {"present"}


@pytest.mark.models
def test_pull_prepares_what_upstream_has_in_another_format(pack_dir, run, monkeypatch, tmp_path):
    """With a folder of upstream files and no mirror the networks are converted and then work."""
    monkeypatch.delenv("BENREN_MODEL_MIRROR")
    models = tmp_path / "models" / "open"
    models.mkdir(parents=True)
    for name in ("yunet_n_dynamic", "minifasnet_v2se_128x128_pad1.5"):
        (models / f"{name}.onnx").write_bytes((pack_dir / "open" / f"{name}.onnx").read_bytes())
    result = run("pull", "open", "--upstream", str(pack_dir / "upstream"), "--json")
    assert result.exit_code == 0, result.stderr
    status = {line["file"]: line["status"] for line in _lines(result)}
    assert status == {
        "yunet_n_dynamic": "present",
        "minifasnet_v2se_128x128_pad1.5": "present",
        "face_reidentification_retail_0095": "converted",
        "minifasnet_v2_80x80_scale2.7": "converted",
        "minifasnet_v1se_80x80_scale4.0": "converted",
        "facemesh": "converted",
        "iris": "converted",
    }
    assert run("verify", "open").exit_code == 0


@pytest.mark.models
def test_an_accepted_folder_is_listed_and_verified(pack_dir, run, monkeypatch):
    """The research files as an InsightFace folder: listed, accepted, verified."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    listed = _lines(run("list", "insightface:research", "--json"))
    assert [row["file"] for row in listed[:2]] == ["scrfd_500m_kps", "mobilefacenet_512"]
    assert listed[0]["commercial"] == "no"
    assert run("verify", "insightface:research").exit_code == 1
    pulled = run("pull", "insightface:research", "--accept-licence", "--json")
    assert pulled.exit_code == 0, pulled.stderr
    assert _lines(pulled)[0]["status"] == "accepted"
    verified = _lines(run("verify", "insightface:research", "--json"))
    assert [line["file"] for line in verified[:2]] == ["scrfd_500m_kps", "mobilefacenet_512"]
    assert {line["status"] for line in verified} == {"works"}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """An empty folder for rewritten graphs."""
    monkeypatch.setenv("BENREN_PREPARED", str(tmp_path / "prepared"))
    return tmp_path / "prepared"


@pytest.mark.models
@pytest.mark.faces
def test_prepare_proves_the_whole_pack_on_photographs(
    pack_dir, faces_dir, run, monkeypatch, prepared
):
    """`benren models prepare open`: files in their places, graphs rewritten, proven and kept."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    result = run("prepare", "open", "--json", "--faces", str(faces_dir / "families"))
    assert result.exit_code == 0, result.stderr
    lines = _lines(result)
    members = list(bundled_manifest().pack("open").members)
    assert [line["file"] for line in lines] == members * 2
    assert {line["status"] for line in lines[:7]} == {"present"}
    told = {line["file"]: line for line in lines[7:]}
    for line in told.values():
        assert line["status"] == "proven"
        assert line["deviation"] <= line["tolerance"] == 1e-4
        assert line["on"].endswith(" of photographs of families")
    assert len(list(prepared.iterdir())) == 7
    weights = Store.default(models_dir=pack_dir).find("iris")
    graphs = PreparedGraphs.default()
    Runtime("cpu", graphs=graphs).load(weights, Pixels.of(bundled_manifest().file("iris").input))
    assert graphs.proofs == ()  # found


@pytest.mark.models
def test_prepare_uses_a_drawing_where_there_are_no_photographs(
    pack_dir, run, monkeypatch, prepared
):
    """An installation without pictures proves its graphs all the same."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    monkeypatch.delenv("BENREN_FACES", raising=False)
    monkeypatch.setattr("benren.portraits.beside_the_checkout", lambda: None)
    result = run("prepare", "iris")
    assert result.exit_code == 0, result.stderr
    assert "iris: rewritten for CPUExecutionProvider, off by" in result.stdout
    assert "on 4 crops of a drawn face" in result.stdout


@pytest.mark.models
def test_prepare_refuses_a_folder_without_faces(pack_dir, run, monkeypatch, tmp_path, prepared):
    """Who names photographs wants them used."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "a.jpg").write_bytes(b"no picture")
    result = run("prepare", "open", "--faces", str(tmp_path / "faces"))
    assert isinstance(result.exception, BenrenError)
    assert "--faces" in result.exception.remedy


@pytest.mark.models
def test_prepare_tells_where_nothing_can_be_kept(pack_dir, run, monkeypatch, tmp_path):
    """A prepared pack that is not there at the next start is a failure."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    monkeypatch.setattr("benren.portraits.beside_the_checkout", lambda: None)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BENREN_PREPARED", str(tmp_path / "file"))
    result = run("prepare", "iris", "--json")
    assert result.exit_code == 1
    assert "is not kept" in result.stderr


def test_prepare_goes_no_further_than_its_files(run, prepared):
    """Files that cannot be had are told one by one; nothing is loaded."""
    result = run("prepare", "open", "--json")
    assert result.exit_code == 1
    assert {line["status"] for line in _lines(result)} == {"model_download_failed"}
    assert not prepared.exists()
