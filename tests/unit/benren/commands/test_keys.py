"""`benren keys`: secrets that work, files that are found again."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from benren.cli import app
from verifier.clock import ManualClock
from verifier.edge import ApiKeys, KeyScope
from verifier.keys import KeyRing, add_keys


def test_new_key_opens_with_its_own_line() -> None:
    """The printed line authenticates the printed secret, for the scopes asked for and no other."""
    result = CliRunner().invoke(
        app, ["keys", "new", "course", "--scope", "verifier", "--scope", "tracker", "--json"]
    )
    made = json.loads(result.stdout)
    key = ApiKeys.parse([made["line"]]).authenticate(made["secret"])
    assert key is not None
    assert key.scopes == {KeyScope.VERIFIER, KeyScope.TRACKER}
    assert made["secret"] not in made["line"]


def test_secret_comes_first_and_the_line_second() -> None:
    """For people: two lines on stdout, the explanation on stderr."""
    result = CliRunner().invoke(app, ["keys", "new", "course", "--scope", "admin"])
    secret, line = result.stdout.splitlines()
    assert ApiKeys.parse([line]).authenticate(secret) is not None
    assert "shown only now" in result.stderr


def test_unknown_scope_is_wrong_usage() -> None:
    """A scope that does not exist ends with 2 and names those that do."""
    result = CliRunner().invoke(app, ["keys", "new", "course", "--scope", "root"])
    assert result.exit_code == 2
    assert "verifier" in result.stderr


def test_rotate_makes_the_directory_and_show_names_its_public_key(tmp_path: Path) -> None:
    """The first rotation makes keys; `show` gives the public half of exactly those."""
    place = str(tmp_path / "keys")
    made = json.loads(
        CliRunner().invoke(app, ["keys", "rotate", "--directory", place, "--json"]).stdout
    )
    shown = json.loads(CliRunner().invoke(app, ["keys", "show", "--directory", place]).stdout)
    assert [key["kid"] for key in shown["keys"]] == [made["id"]]
    assert "d" not in shown["keys"][0]  # the private member of RFC 8037


def test_rotate_adds_a_key_and_keeps_the_old_one(tmp_path: Path, clock: ManualClock) -> None:
    """After a rotation the new key is current, and the old one still verifies."""
    place = tmp_path / "keys"
    place.mkdir(mode=0o700)
    old = add_keys(place, clock)  # 24 November 2026 by the manual clock, 01:00 UTC
    ring = KeyRing.load(place)
    signature = ring.sign("verdict", b"payload")
    clock.advance(60_000)
    new = add_keys(place, clock)
    rotated = KeyRing.load(place)
    assert rotated.current_signing_id == new != old
    assert rotated.verify("verdict", b"payload", signature) == old
