"""STUN and TURN servers in a grant."""

from __future__ import annotations

import base64
import hashlib
import hmac

from verifier.clock import ManualClock
from verifier.streaming.ice import ice_servers
from verifier.types import IceServer

STUN = IceServer(urls=("stun:a",))
TURN = IceServer(urls=("turn:a", "turns:b"))
OURS = IceServer(urls=("turn:c",), username="u", credential="p")


def test_passwords_are_made_for_relays_without_one(clock: ManualClock) -> None:
    """The name is the end of its life, the password its HMAC; what is configured stays."""
    granted = ice_servers([STUN, TURN, OURS], secret="s3cret", life_s=60, clock=clock)
    first = granted()
    assert (first[0], first[2]) == (STUN, OURS)
    username = f"{clock.stamp().utc_ms // 1_000 + 60}:benren"
    digest = hmac.new(b"s3cret", username.encode(), hashlib.sha1).digest()
    assert first[1].username == username
    assert first[1].credential == base64.b64encode(digest).decode()
    clock.advance(1_000)
    assert granted()[1].username != username


def test_without_a_secret_servers_stay_as_they_are(clock: ManualClock) -> None:
    """Nothing is made up."""
    assert ice_servers([TURN], secret="", life_s=60, clock=clock)() == (TURN,)


def test_a_server_as_browsers_take_it() -> None:
    """User and password only where there are some."""
    assert STUN.as_json() == {"urls": ["stun:a"]}
    assert OURS.as_json() == {"urls": ["turn:c"], "username": "u", "credential": "p"}
