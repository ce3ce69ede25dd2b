"""STUN and TURN servers as devices hear of them; TURN passwords that are over soon.

A TURN server that is configured without a user name gets, with a shared secret, a name and a
password made for each grant (the scheme of coturn's ``use-auth-secret``: the name is the end of
its life in seconds of UTC, the password its HMAC-SHA-1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace

from verifier.clock import Clock
from verifier.types import IceServer


def ice_servers(
    configured: Sequence[IceServer], *, secret: str, life_s: int, clock: Clock
) -> Callable[[], tuple[IceServer, ...]]:
    """Give what a grant names, made anew for each."""

    def granted() -> tuple[IceServer, ...]:
        ends_s = clock.stamp().utc_ms // 1_000 + life_s
        return tuple(_with_password(one, secret, f"{ends_s}:benren") for one in configured)

    return granted


def _with_password(server: IceServer, secret: str, username: str) -> IceServer:
    relays = any(url.startswith(("turn:", "turns:")) for url in server.urls)
    if not (relays and secret and server.username is None):
        return server
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return replace(server, username=username, credential=base64.b64encode(digest).decode("ascii"))
