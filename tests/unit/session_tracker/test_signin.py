"""Sign-in: what is handed out is good once, for a while, and cannot be guessed."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from session_tracker.signin import SignedOut, SignIn, SignInFailed, SignInLimits
from session_tracker.store.database import Database
from session_tracker.testing import Studio
from session_tracker.throttle import Throttle, ThrottleLimits
from verifier.errors import NotFound, TooManyRequests

HERE = "127.0.0.1"
LIMITS = SignInLimits()


def _wrong(code: str) -> str:
    """Another code with the same first digits."""
    return f"{code[:-1]}{(int(code[-1]) + 1) % 10}"


async def test_a_code_signs_in_once(studio: Studio) -> None:
    """A code is changed for the learner's token, and then is worth nothing."""
    sign_in = studio.service.sign_in
    made = await sign_in.invite(studio.learner_id)
    device = await sign_in.by_code(made.code, address=HERE)
    assert await sign_in.learner_of(device.token) == device.learner_id == studio.learner_id
    for again in (made.code, made.code.replace("-", "")):
        with pytest.raises(SignInFailed):
            await sign_in.by_code(again, address=HERE)
    with pytest.raises(SignInFailed):
        await sign_in.by_link(made.link_token, address=HERE)


async def test_a_link_signs_in_once_even_in_a_race(studio: Studio) -> None:
    """Of ten devices that open the same link at once, one is signed in."""
    sign_in = studio.service.sign_in
    made = await sign_in.invite(studio.learner_id)
    tries = [sign_in.by_link(made.link_token, address=HERE) for _ in range(10)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, SignInFailed) for one in found) == 9


async def test_codes_and_links_expire(studio: Studio) -> None:
    """The code goes first, the link later, the token last."""
    sign_in = studio.service.sign_in
    made = await sign_in.invite(studio.learner_id)
    studio.clock.advance(LIMITS.code_ms)
    with pytest.raises(SignInFailed):
        await sign_in.by_code(made.code, address=HERE)
    device = await sign_in.by_link(made.link_token, address=HERE)
    late = await sign_in.invite(studio.learner_id)
    studio.clock.advance(LIMITS.link_ms)
    with pytest.raises(SignInFailed):
        await sign_in.by_link(late.link_token, address=HERE)
    studio.clock.advance(LIMITS.token_ms - LIMITS.link_ms)
    with pytest.raises(SignedOut):
        await sign_in.learner_of(device.token)


async def test_a_new_invitation_replaces_the_old_one(studio: Studio) -> None:
    """What was handed out before is void: it may lie in the wrong hands."""
    sign_in = studio.service.sign_in
    old = await sign_in.invite(studio.learner_id)
    new = await sign_in.invite(studio.learner_id)
    with pytest.raises(SignInFailed):
        await sign_in.by_link(old.link_token, address=HERE)
    assert await sign_in.by_link(new.link_token, address=HERE)


async def test_a_code_is_void_after_five_wrong_ones(studio: Studio) -> None:
    """Whoever knows the first digits cannot try the rest; the link works on."""
    sign_in = studio.service.sign_in
    made = await sign_in.invite(studio.learner_id)
    for number in range(LIMITS.code_tries):
        with pytest.raises(SignInFailed):
            await sign_in.by_code(_wrong(made.code), address=f"192.0.2.{number}")
    with pytest.raises(SignInFailed):
        await sign_in.by_code(made.code, address=HERE)
    assert await sign_in.by_link(made.link_token, address=HERE)


async def test_guessing_is_slowed_down(studio: Studio, database_url: str) -> None:
    """After a few failures an address waits, right or wrong."""
    database = Database(database_url)
    await database.open()
    sign_in = SignIn(database, studio.clock, throttle=Throttle(ThrottleLimits(free=2)))
    made = await sign_in.invite(studio.learner_id)
    for guess in ("0000-0000", "nonsense", "1"):
        with pytest.raises(SignInFailed):
            await sign_in.by_code(guess, address=HERE)
    with pytest.raises(TooManyRequests) as caught:
        await sign_in.by_code(made.code, address=HERE)
    assert caught.value.retry_after_s == 2
    studio.clock.advance(2_000)
    assert await sign_in.by_code(made.code, address=HERE)
    await database.close()


async def test_signing_out_ends_one_device_and_revoking_all(studio: Studio) -> None:
    """A lost phone is signed out from elsewhere, and its invitation is void."""
    sign_in = studio.service.sign_in
    devices = []
    for _ in range(3):
        made = await sign_in.invite(studio.learner_id)
        devices.append(await sign_in.by_link(made.link_token, address=HERE))
    await sign_in.sign_out(devices[0].token)
    await sign_in.sign_out(devices[0].token)
    with pytest.raises(SignedOut):
        await sign_in.learner_of(devices[0].token)
    assert await sign_in.learner_of(devices[1].token)
    open_one = await sign_in.invite(studio.learner_id)
    assert await sign_in.revoke(studio.learner_id) == 2
    with pytest.raises(SignedOut):
        await sign_in.learner_of(devices[1].token)
    with pytest.raises(SignInFailed):
        await sign_in.by_link(open_one.link_token, address=HERE)


async def test_the_eleventh_device_signs_out_the_first(studio: Studio) -> None:
    """Tokens do not pile up."""
    sign_in = studio.service.sign_in
    devices = []
    for _ in range(11):
        made = await sign_in.invite(studio.learner_id)
        devices.append(await sign_in.by_link(made.link_token, address=HERE))
        studio.clock.advance(1_000)
    with pytest.raises(SignedOut):
        await sign_in.learner_of(devices[0].token)
    for device in devices[1:]:
        assert await sign_in.learner_of(device.token) == studio.learner_id


async def test_nothing_secret_is_stored(studio: Studio, database_url: str) -> None:
    """Neither code nor link nor token stands in the database."""
    sign_in = studio.service.sign_in
    made = await sign_in.invite(studio.learner_id)
    device = await sign_in.by_link(made.link_token, address=HERE)
    connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    dump = "\n".join(connection.iterdump())
    connection.close()
    for secret in (made.code, made.code.replace("-", ""), made.link_token, device.token):
        assert secret not in dump


async def test_nobody_is_invited_who_is_not_known(studio: Studio) -> None:
    """An invitation needs a learner."""
    with pytest.raises(NotFound):
        await studio.service.sign_in.invite("lrn_nobody")
