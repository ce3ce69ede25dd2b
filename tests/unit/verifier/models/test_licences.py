"""Accepted once, recorded, never assumed."""

import getpass
import json
import stat

import pytest

from verifier.errors import LicenceNotAccepted, ModelError
from verifier.models import licences as module
from verifier.models.licences import Licences

DIGEST = "a" * 64


@pytest.fixture
def licences(tmp_path, clock):
    """Acceptances in an empty folder."""
    return Licences(tmp_path / "cache" / "licences", clock=clock)


def test_nothing_is_accepted_at_first(licences):
    """The refusal holds the terms and the command that accepts them."""
    with pytest.raises(LicenceNotAccepted, match=r"insightface:x.*no selling") as caught:
        licences.require("insightface:x", terms="no selling")
    assert "benren models pull insightface:x --accept-licence" in caught.value.remedy


def test_an_acceptance_is_kept_with_who_when_and_what(licences, clock):
    """What was accepted is read back as it was written."""
    written = licences.accept("insightface:x", terms="no selling", files={"a.onnx": DIGEST})
    read = licences.require("insightface:x", terms="no selling")
    assert read == written
    assert read.accepted_by == getpass.getuser()
    assert read.accepted_at == clock.stamp().utc
    assert read.files == {"a.onnx": DIGEST}


def test_one_pack_says_nothing_about_another(licences):
    """Names that look alike as file names stay apart."""
    licences.accept("insightface:a/b", terms="t", files={"a.onnx": DIGEST})
    with pytest.raises(LicenceNotAccepted):
        licences.require("insightface:a_b", terms="t")


def test_the_service_can_read_what_an_operator_accepted(licences, tmp_path):
    """The record is readable for other users, and no temporary file stays behind."""
    licences.accept("insightface:x", terms="t", files={"a.onnx": DIGEST})
    (record,) = (tmp_path / "cache" / "licences").iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o644


@pytest.mark.parametrize("content", ["", "{}", '{"pack": 1}', "not json"])
def test_a_broken_record_is_no_acceptance(licences, tmp_path, content):
    """A record that cannot be understood is refused with its path."""
    licences.accept("insightface:x", terms="t", files={"a.onnx": DIGEST})
    (record,) = (tmp_path / "cache" / "licences").iterdir()
    record.write_text(content, encoding="utf-8")
    with pytest.raises(LicenceNotAccepted, match="is not valid") as caught:
        licences.require("insightface:x", terms="t")
    assert record.name in str(caught.value)


def test_unknown_fields_in_a_record_are_refused(licences, tmp_path):
    """A record with more in it than this version knows is not taken for granted."""
    licences.accept("insightface:x", terms="t", files={"a.onnx": DIGEST})
    (record,) = (tmp_path / "cache" / "licences").iterdir()
    data = json.loads(record.read_text(encoding="utf-8")) | {"withdrawn": True}
    record.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(LicenceNotAccepted, match="withdrawn"):
        licences.require("insightface:x", terms="t")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A file where the folder should be gives an error that names the remedy."""
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        Licences(tmp_path / "cache" / "licences").accept("p", terms="t", files={})
    assert "XDG_CACHE_HOME" in caught.value.remedy


def test_a_record_that_cannot_be_read_is_told(licences, tmp_path):
    """A folder where the record should be is an error, not an acceptance."""
    licences.accept("insightface:x", terms="t", files={"a.onnx": DIGEST})
    (record,) = (tmp_path / "cache" / "licences").iterdir()
    record.unlink()
    record.mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        licences.require("insightface:x", terms="t")


def test_an_account_without_a_name_is_its_number(licences, monkeypatch):
    """In a container the user id may have no name."""

    def nameless():
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(module.getpass, "getuser", nameless)
    monkeypatch.setattr(module.os, "getuid", lambda: 10001)
    assert licences.accept("p", terms="t", files={}).accepted_by == "uid 10001"
