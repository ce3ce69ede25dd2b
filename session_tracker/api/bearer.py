"""Tokens of devices as they travel: ``Authorization: Bearer TOKEN``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from session_tracker.signin import SignIn
from verifier.errors import Unauthorised

Authorization = Annotated[
    str | None, Header(description="`Bearer` and the token.", max_length=1_024)
]


def bearer(authorization: str | None, what: str) -> str:
    """Give the token. Raises Unauthorised, which says `what` token is needed."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorised(
            f"The {what} token is needed.", remedy="Send it as `Authorization: Bearer TOKEN`."
        )
    return token.strip()


async def learner_of(sign_in: SignIn, authorization: str | None) -> str:
    """Tell which learner's device this is. Raises Unauthorised (`signed_out` for a dead token)."""
    return await sign_in.learner_of(bearer(authorization, "learner's"))
