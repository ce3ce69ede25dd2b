"""`benren ledger` and `benren certificate`: exit codes, JSON, and what they find."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from benren.cli import app
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.clock import ManualClock
from verifier.errors import BadRequest, BenrenError, ConfigurationError
from verifier.keys import create_key_directory


@dataclass(frozen=True)
class Place:
    """A stopped installation: its data directory, a certificate and a head that was kept."""

    data: Path
    certificate: Path
    head: Path
    jwks: Path
    pem: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "benren.sqlite3"


async def _live(folder: Path) -> Place:
    data = folder / "data"
    data.mkdir()
    keyring = create_key_directory(data / "keys", ManualClock())
    studio = Studio(f"sqlite:///{data}/benren.sqlite3", policy=load_policy("demo"), keyring=keyring)
    await studio.start()
    lesson = await studio.open()
    await lesson.watch(570)
    view = await lesson.close()
    assert view.certificate is not None
    issued = await studio.service.certification.issued(view.certificate)
    head = await studio.service.head()
    await studio.stop()
    place = Place(
        data, folder / "certificate.json", folder / "head.json", folder / "k.json", folder / "k.pem"
    )
    place.certificate.write_bytes(issued.document)
    place.head.write_text(json.dumps(head.as_json()))
    place.jwks.write_text(json.dumps(keyring.public_jwks()))
    place.pem.write_text(keyring.public_pem(keyring.current_signing_id))
    return place


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One installation for all tests of this module, to be copied before it is changed."""
    return asyncio.run(_live(tmp_path_factory.mktemp("installation")))


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run a command; errors of the project are what `main` makes of them."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_an_intact_ledger(original: Place) -> None:
    """0, with what was compared; the head that somebody kept fits too."""
    where = ("--data-dir", original.data, "--head", original.head)
    code, output = run("ledger", "verify", *where, "--json")
    found = json.loads(output)
    assert code == 0
    assert found["intact"]
    assert found["entries"] == found["last_head_size"] > 10
    code, output = run("ledger", "verify", *where)
    assert (code, "intact" in output, "NOT" in output) == (0, True, False)


def test_the_public_keys_are_enough(original: Place) -> None:
    """Whoever has a copy of the database and our public keys needs nothing else."""
    url = f"sqlite:///{original.database}"
    assert run("ledger", "verify", "--db", url, "--public-key", original.jwks)[0] == 0


def test_a_changed_byte_is_found(original: Place, tmp_path: Path) -> None:
    """1, and the entry is named."""
    copied = tmp_path / "copy.sqlite3"
    with sqlite3.connect(original.database) as source, sqlite3.connect(copied) as copy:
        source.backup(copy)
        copy.execute("DROP TRIGGER ledger_entries_no_UPDATE")
        body = copy.execute("SELECT body FROM ledger_entries WHERE idx = 7").fetchone()[0]
        copy.execute("UPDATE ledger_entries SET body = ? WHERE idx = 7", (body[:-1] + b" ",))
    source.close()
    copy.close()
    keys = ("--public-key", original.jwks)
    code, output = run("ledger", "verify", "--db", f"sqlite:///{copied}", *keys, "--json")
    assert code == 1
    findings = json.loads(output)["findings"]
    assert {"what": "altered", "index": 7} in [
        {"what": f["what"], "index": f["index"]} for f in findings
    ]
    code, output = run("ledger", "verify", "--db", f"sqlite:///{copied}", *keys)
    assert (code, "NOT intact" in output) == (1, True)


def test_export_and_verify_the_export(original: Place, tmp_path: Path) -> None:
    """An export is checked without a database; a changed one is found."""
    path = tmp_path / "ledger.jsonl"
    assert run("ledger", "export", "--data-dir", original.data, "-o", path)[0] == 0
    keys = ("--public-key", original.jwks)
    assert run("ledger", "verify", "--export", path, *keys)[0] == 0
    path.write_text(path.read_text().replace("furniture", "fireworks"))
    assert run("ledger", "verify", "--export", path, *keys)[0] == 1


def test_a_ledger_that_is_not_there(tmp_path: Path, original: Place) -> None:
    """Nothing is created: the error names the file and the way to name another."""
    url = f"sqlite:///{tmp_path}/none.sqlite3"
    with pytest.raises(ConfigurationError, match=r"none\.sqlite3"):
        run("ledger", "verify", "--db", url, "--public-key", original.jwks)
    assert not (tmp_path / "none.sqlite3").exists()


def test_database_and_export_exclude_each_other(original: Place) -> None:
    """Asking for both is wrong usage."""
    assert run("ledger", "verify", "--db", "sqlite:///x", "--export", original.head)[0] == 2


@pytest.mark.parametrize("key", ["jwks", "pem", "own"])
def test_a_certificate_holds(original: Place, key: str) -> None:
    """0 with a key set, with one PEM, and with our own keys; it says what it cannot see."""
    keys = {
        "jwks": ("--public-key", original.jwks),
        "pem": ("--public-key", original.pem),
        "own": ("--data-dir", original.data),
    }[key]
    code, output = run("certificate", "verify", original.certificate, *keys, "--json")
    found = json.loads(output)
    assert code == 0
    assert found["valid"]
    assert found["class_hours"] >= 8
    assert "revocation" in found["note"]
    code, output = run("certificate", "verify", original.certificate, *keys)
    assert (code, found["number"] in output, "revocation" in output) == (0, True, True)


def test_a_forged_certificate_does_not_hold(original: Place, tmp_path: Path) -> None:
    """1, with the reason."""
    forged = tmp_path / "forged.json"
    text = original.certificate.read_text()
    forged.write_text(text.replace('"class_hours":', '"class_hours":1'))
    keys = ("--public-key", original.jwks)
    code, output = run("certificate", "verify", forged, *keys, "--json")
    assert (code, json.loads(output)["valid"]) == (1, False)
    assert run("certificate", "verify", forged, *keys)[0] == 1


def test_a_strangers_key_proves_nothing(original: Place, tmp_path: Path) -> None:
    """A certificate checked with somebody else's key does not hold."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = tmp_path / "other.pem"
    public = Ed25519PrivateKey.generate().public_key()
    other.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert run("certificate", "verify", original.certificate, "--public-key", other)[0] == 1


@pytest.mark.parametrize("content", [b"", b"a shopping list", b"{}", b"[]", b"-----BEGIN x"])
def test_files_that_are_something_else(original: Place, tmp_path: Path, content: bytes) -> None:
    """No certificate, no key set, no head, no export: each is named, none is a traceback."""
    path = tmp_path / "file"
    path.write_bytes(content)
    keys = ("--public-key", original.jwks)
    for arguments in (
        ("certificate", "verify", path, *keys),
        ("certificate", "verify", original.certificate, "--public-key", path),
        ("ledger", "verify", "--export", path, *keys),
        ("ledger", "verify", "--data-dir", original.data, "--head", path),
        ("certificate", "verify", tmp_path / "none", *keys),
    ):
        with pytest.raises(BenrenError) as caught:
            run(*arguments)
        assert isinstance(caught.value, BadRequest)


@pytest.mark.parametrize(
    ("what", "lines"),
    [("hours-csv", 2), ("hours-jsonl", 3), ("xapi", 1), ("scores", 1), ("sample", 2)],
)
def test_hours_are_exported_without_a_service(
    original: Place, tmp_path: Path, what: str, lines: int
) -> None:
    """Hours for others come from the database alone, up to the newest signed head."""
    out = tmp_path / "hours"
    options = ("--data-dir", original.data, "--what", what, "--seed", "dice", "-o", out)
    code, _ = run("ledger", "export", *options)
    assert code == 0
    assert len(out.read_text().splitlines()) == lines


@pytest.mark.parametrize("options", [("--since", "yesterday"), ("--since", "2026-11-24T08:00:00")])
def test_a_period_names_its_zone(original: Place, options: tuple[str, str]) -> None:
    """An instant without a zone is a question, not an answer."""
    code, _ = run("ledger", "export", "--data-dir", original.data, "--what", "hours-csv", *options)
    assert code == 2
