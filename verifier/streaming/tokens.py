"""Client tokens: what a learner's device shows with each frame (RFC 7519, HS256).

A token is good for one stream of one session, until its time is over or the stream is closed.
The secret lives and dies with the process, as the streams do. Its life is measured on the
monotonic clock (`until`), so that setting the machine's time neither prolongs nor ends it; `exp`
is there for the client, which should ask for another in time.
"""

from __future__ import annotations

import secrets

import jwt

from verifier.clock import Clock
from verifier.errors import Unauthorised

_ALGORITHM = "HS256"
_CLAIMS = ["sub", "ses", "exp", "until", "jti"]
_MAX_LENGTH = 2_048
_REMEDY = "Ask the session tracker for a new token."


class ClientTokens:
    """Issues and checks the client tokens of one hub."""

    def __init__(self, clock: Clock, life_ms: int) -> None:
        self._clock = clock
        self._life_ms = life_ms
        self._secret = secrets.token_bytes(32)  # RFC 7518, 3.2: at least the size of the hash

    def issue(self, stream_id: str, session_id: str) -> tuple[str, int]:
        """Make a token; returns it with the end of its life in milliseconds of UTC."""
        now = self._clock.stamp()
        ends_utc_ms = now.utc_ms + self._life_ms
        claims = {
            "sub": stream_id,
            "ses": session_id,
            "exp": ends_utc_ms // 1000,
            "until": now.monotonic_ms + self._life_ms,
            "jti": secrets.token_urlsafe(8),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM), ends_utc_ms

    def check(self, token: str, stream_id: str, session_id: str) -> None:
        """Raise Unauthorised unless `token` is good for this stream now."""
        if not token or len(token) > _MAX_LENGTH:
            raise Unauthorised("A client token is needed.", remedy=_REMEDY)
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                options={"require": _CLAIMS, "verify_exp": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthorised("The client token is not one of ours.", remedy=_REMEDY) from error
        if claims["sub"] != stream_id or claims["ses"] != session_id:
            raise Unauthorised("The client token belongs to another stream.", remedy=_REMEDY)
        if self._clock.stamp().monotonic_ms >= int(claims["until"]):
            raise Unauthorised("The client token has expired.", remedy=_REMEDY)
