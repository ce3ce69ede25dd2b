"""Client tokens: whose, how long, and what does not pass."""

from __future__ import annotations

import jwt
import pytest

from verifier.clock import ManualClock
from verifier.errors import Unauthorised
from verifier.streaming.tokens import ClientTokens

LIFE_MS = 600_000


@pytest.fixture
def tokens(clock: ManualClock) -> ClientTokens:
    """An issuer of ten-minute tokens."""
    return ClientTokens(clock, LIFE_MS)


def test_a_token_is_good_until_its_time_is_over(tokens: ClientTokens, clock: ManualClock) -> None:
    """It passes one millisecond before the end of its life and not at the end."""
    token, ends_utc_ms = tokens.issue("stream", "session")
    assert ends_utc_ms == clock.stamp().utc_ms + LIFE_MS
    clock.advance(LIFE_MS - 1)
    tokens.check(token, "stream", "session")
    clock.advance(1)
    with pytest.raises(Unauthorised, match="expired"):
        tokens.check(token, "stream", "session")


@pytest.mark.parametrize("target", [("other", "session"), ("stream", "other")])
def test_a_token_is_bound_to_stream_and_session(
    tokens: ClientTokens, target: tuple[str, str]
) -> None:
    """A token of one stream or session opens no other."""
    token, _ = tokens.issue("stream", "session")
    with pytest.raises(Unauthorised, match="another stream"):
        tokens.check(token, *target)


def test_a_token_of_another_hub_is_refused(tokens: ClientTokens, clock: ManualClock) -> None:
    """Each process has its own secret."""
    token, _ = ClientTokens(clock, LIFE_MS).issue("stream", "session")
    with pytest.raises(Unauthorised, match="not one of ours"):
        tokens.check(token, "stream", "session")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "A" * 5_000], ids=["none", "x", "abc", "long"])
def test_what_is_no_token_is_refused(tokens: ClientTokens, token: str) -> None:
    """Anything else is refused with a remedy."""
    with pytest.raises(Unauthorised) as refused:
        tokens.check(token, "stream", "session")
    assert "session tracker" in refused.value.remedy


def test_an_unsigned_token_is_refused(tokens: ClientTokens) -> None:
    """The algorithm `none` does not pass, whatever the token claims."""
    token, _ = tokens.issue("stream", "session")
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = jwt.encode(claims, key=None, algorithm="none")
    with pytest.raises(Unauthorised):
        tokens.check(forged, "stream", "session")


def test_two_tokens_of_one_stream_differ(tokens: ClientTokens) -> None:
    """A renewed token is another one."""
    assert tokens.issue("stream", "session")[0] != tokens.issue("stream", "session")[0]
