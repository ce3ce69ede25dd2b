"""The demo's proofs: exactly one byte is changed, and an accident proves nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benren.demo import proofs
from benren.demo.proofs import NothingToForge, changed_certificate_fails, forge, prove


def _ledger(path: Path, *bodies: bytes) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE ledger_entries (idx INTEGER, kind TEXT, body BLOB)")
        rows = [(n, "settled", body) for n, body in enumerate(bodies)]
        connection.executemany("INSERT INTO ledger_entries VALUES (?, ?, ?)", rows)
        connection.commit()
    return path


def test_forge_changes_one_byte_of_a_credit(tmp_path: Path) -> None:
    """The first settlement with credit gets another first digit; all other bytes stay."""
    empty, full = b'{"credited_ms":0,"t":1}', b'{"credited_ms":210999,"t":2}'
    path = _ledger(tmp_path / "ledger.sqlite3", empty, full)
    before = path.read_bytes()
    forgery = forge(path)
    after = path.read_bytes()
    changed = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == [forgery.offset]
    assert forgery.was == b'"credited_ms":210999'
    assert forgery.became == b'"credited_ms":910999'
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT body FROM ledger_entries ORDER BY idx").fetchall()
    assert [body for (body,) in rows] == [empty, b'{"credited_ms":910999,"t":2}']


def test_nothing_to_forge_is_told(tmp_path: Path) -> None:
    """Where nobody earned anything there is nothing to forge."""
    with pytest.raises(NothingToForge):
        forge(_ledger(tmp_path / "ledger.sqlite3", b'{"credited_ms":0}'))


@pytest.mark.parametrize(
    ("code", "output", "holds"),
    [(1, "altered: entry 7", True), (0, "intact", False), (1, "Traceback (most ...)", False)],
)
def test_proof_needs_the_exit_code_and_no_accident(
    code: int, output: str, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that crashes ends with 1 as well: that is no proof."""
    monkeypatch.setattr(proofs, "run_command", lambda *_: (code, output))
    proof = prove("t", ["ledger", "verify"], expected="found", code=1)
    assert proof.holds is holds
    assert proof.command == "benren ledger verify"


def test_commands_run_without_an_operators_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operator's settings and keys never reach the commands that the demo runs."""
    monkeypatch.setenv("BENREN_PORT", "not a number")
    monkeypatch.setenv("BENREN_KEYS", "not a key")
    code, output = proofs.run_command("keys", "show", "--directory", str(tmp_path))
    assert code == 1
    assert "no key to seal" in output
    assert "not a" not in output


def test_forged_certificate_differs_in_its_class_hours_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The forged copy claims ten times as many class hours and more; the original stays."""
    monkeypatch.setattr(proofs, "run_command", lambda *_: (1, "does not hold"))
    certificate = tmp_path / "certificate.json"
    certificate.write_text('{"certificate":{"class_hours":9,"course":1}}')
    assert changed_certificate_fails(certificate, tmp_path / "keys.json").holds
    forged = (tmp_path / "certificate-forged.json").read_text()
    assert forged == '{"certificate":{"class_hours":19,"course":1}}'
    assert certificate.read_text() == '{"certificate":{"class_hours":9,"course":1}}'
