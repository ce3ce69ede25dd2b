"""How a learner's device signs in: a code or a link, once, against a token of its own.

Whoever registered the learner hands out an *invitation*: a link, and a code of eight digits to
type. It is good once. What is stored of either is a hash: of the link's token (256 random bits)
SHA-256, of the code scrypt with a salt. A code is found by its first four digits and compared
whole. Guesses are bounded three times: by address and altogether (`Throttle`), and by code: after
five wrong codes with its first digits it is void. A link needs no such care, and works on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from session_tracker.store.database import Database
from session_tracker.store.schema import learners
from session_tracker.store.tables_signin import invitations, learner_tokens
from session_tracker.store.writer import Transaction
from session_tracker.throttle import Throttle
from verifier.clock import Clock
from verifier.errors import NotFound, Refused, Unauthorised

_CODE: Final = re.compile(r"(\d{4})[- ]?(\d{4})")
_SELECTOR_DIGITS: Final = 4
_NO_SALT: Final = bytes(16)
_KEPT_MS: Final = 24 * 3_600_000
"""A used or expired invitation is forgotten after a day."""
_MAX_TOKENS: Final = 10
"""Devices of one learner that stay signed in; the oldest is signed out."""


class SignInFailed(Refused):
    """The code or the link is wrong, was used already, or has expired."""


class SignedOut(Unauthorised):
    """The device is not signed in, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLimits:
    """How long what is handed out holds, and how often a code may be missed."""

    code_ms: int = 30 * 60_000
    """A code is read out or typed at once; few that are alive make guessing hopeless."""
    link_ms: int = 72 * 3_600_000
    token_ms: int = 14 * 24 * 3_600_000
    code_tries: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What is handed to a learner; shown once, kept as hashes."""

    code: str
    """``1234-5678``."""
    code_expires_ms: int
    link_token: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceToken:
    """What a signed-in device holds."""

    learner_id: str
    token: str
    expires_ms: int


class SignIn:
    """Hands out invitations, changes them for tokens, and knows whose token one is."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        limits: SignInLimits | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits if limits is not None else SignInLimits()
        self._throttle = throttle if throttle is not None else Throttle()

    async def invite(self, learner_id: str) -> Invitation:
        """Make an invitation; it replaces every earlier one of the learner. Raises NotFound."""
        now = self._now()
        code = f"{secrets.randbelow(10**8):08d}"
        salt, link_token = secrets.token_bytes(16), f"inv_{secrets.token_urlsafe(32)}"
        made = Invitation(
            code=f"{code[:4]}-{code[4:]}",
            code_expires_ms=now + self._limits.code_ms,
            link_token=link_token,
            expires_ms=now + self._limits.link_ms,
        )
        values = {
            "id": secrets.token_hex(12),
            "learner_id": learner_id,
            "selector": code[:_SELECTOR_DIGITS],
            "salt": salt,
            "code_hash": await _code_hash(code, salt),
            "link_hash": _hash(link_token),
            "issued_ms": now,
            "code_expires_ms": made.code_expires_ms,
            "expires_ms": made.expires_ms,
            "failures": 0,
            "used_ms": None,
        }

        async def job(tx: Transaction) -> None:
            known = await tx.connection.scalar(
                select(learners.c.id).where(learners.c.id == learner_id)
            )
            if known is None:
                raise NotFound(
                    f"There is no learner {learner_id!r}.",
                    remedy="Register with POST /v1/learners.",
                )
            past = now - _KEPT_MS
            await tx.connection.execute(
                delete(invitations).where(
                    or_(invitations.c.expires_ms < past, invitations.c.used_ms < past)
                )
            )
            await tx.connection.execute(
                update(invitations)
                .where(invitations.c.learner_id == learner_id, invitations.c.used_ms.is_(None))
                .values(used_ms=now)
            )
            await tx.connection.execute(insert(invitations), values)

        await self._database.write(job)
        return made

    async def by_code(self, code: str, *, address: str) -> DeviceToken:
        """Change a code for a token. Raises SignInFailed, TooManyRequests."""
        now = self._now()
        self._throttle.admit(address, now)
        parts = _CODE.fullmatch(code.strip())
        plain = f"{parts[1]}{parts[2]}" if parts else ""
        found = await self._matching(plain, now)
        if found is None:
            self._throttle.failed(address, now)
            if plain:
                await self._note_failure(plain[:_SELECTOR_DIGITS], now)
            raise SignInFailed(remedy="Ask for a new code where you got this one.")
        return await self._redeem(found, now)

    async def by_link(self, link_token: str, *, address: str) -> DeviceToken:
        """Change a link's token for a token. Raises SignInFailed, TooManyRequests."""
        now = self._now()
        self._throttle.admit(address, now)
        query = select(invitations.c.id).where(
            invitations.c.link_hash == _hash(link_token),
            invitations.c.used_ms.is_(None),
            invitations.c.expires_ms > now,
        )
        async with self._database.read() as connection:
            found = await connection.scalar(query)
        if found is None:
            self._throttle.failed(address, now)
            raise SignInFailed(remedy="Ask for a new link where you got this one.")
        return await self._redeem(str(found), now)

    async def learner_of(self, token: str) -> str:
        """Tell whose token this is. Raises SignedOut."""
        query = select(learner_tokens.c.learner_id).where(
            learner_tokens.c.hash == _hash(token), learner_tokens.c.expires_ms > self._now()
        )
        async with self._database.read() as connection:
            found = await connection.scalar(query)
        if found is None:
            raise SignedOut(remedy="Sign in again with a new link or code.")
        return str(found)

    async def sign_out(self, token: str) -> None:
        """End one device's token; ending it twice is fine."""

        async def job(tx: Transaction) -> None:
            await tx.connection.execute(
                delete(learner_tokens).where(learner_tokens.c.hash == _hash(token))
            )

        await self._database.write(job)

    async def revoke(self, learner_id: str) -> int:
        """Sign out every device of a learner and void what was handed out; tells how many."""
        now = self._now()

        async def job(tx: Transaction) -> int:
            await tx.connection.execute(
                update(invitations)
                .where(invitations.c.learner_id == learner_id, invitations.c.used_ms.is_(None))
                .values(used_ms=now)
            )
            ended = await tx.connection.execute(
                delete(learner_tokens).where(learner_tokens.c.learner_id == learner_id)
            )
            return int(ended.rowcount)

        return await self._database.write(job)

    async def _matching(self, code: str, now: int) -> str | None:
        """Name the live invitation of this code; takes as long where there is none."""
        query = select(invitations).where(
            invitations.c.selector == code[:_SELECTOR_DIGITS],
            invitations.c.used_ms.is_(None),
            invitations.c.code_expires_ms > now,
            invitations.c.failures < self._limits.code_tries,
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        if not rows:
            await _code_hash(code, _NO_SALT)
        found: RowMapping | None = None
        for row in rows:
            given = await _code_hash(code, bytes(row["salt"]))
            if hmac.compare_digest(given, bytes(row["code_hash"])):
                found = row
        return None if found is None else str(found["id"])

    async def _note_failure(self, selector: str, now: int) -> None:
        async def job(tx: Transaction) -> None:
            await tx.connection.execute(
                update(invitations)
                .where(
                    invitations.c.selector == selector,
                    invitations.c.used_ms.is_(None),
                    invitations.c.code_expires_ms > now,
                )
                .values(failures=invitations.c.failures + 1)
            )

        await self._database.write(job)

    async def _redeem(self, invitation_id: str, now: int) -> DeviceToken:
        token = f"lrt_{secrets.token_urlsafe(32)}"
        expires_ms = now + self._limits.token_ms

        async def job(tx: Transaction) -> str:
            mine = invitations.c.id == invitation_id
            used = await tx.connection.execute(
                update(invitations).where(mine, invitations.c.used_ms.is_(None)).values(used_ms=now)
            )
            if not used.rowcount:  # somebody else was faster: good once is good once
                raise SignInFailed(remedy="Ask for a new code or link where you got this one.")
            query = select(invitations.c.learner_id).where(mine)
            learner_id = str(await tx.connection.scalar(query))
            await _make_room(tx, learner_id, now)
            values = {"learner_id": learner_id, "issued_ms": now, "expires_ms": expires_ms}
            await tx.connection.execute(insert(learner_tokens), {"hash": _hash(token), **values})
            return learner_id

        learner_id = await self._database.write(job)
        return DeviceToken(learner_id=learner_id, token=token, expires_ms=expires_ms)

    def _now(self) -> int:
        return self._clock.stamp().utc_ms


async def _make_room(tx: Transaction, learner_id: str, now: int) -> None:
    """Remove the learner's expired tokens, and the oldest where there are as many as may be."""
    of_learner = learner_tokens.c.learner_id == learner_id
    await tx.connection.execute(
        delete(learner_tokens).where(of_learner, learner_tokens.c.expires_ms <= now)
    )
    newest = (
        select(learner_tokens.c.hash)
        .where(of_learner)
        .order_by(learner_tokens.c.issued_ms.desc(), learner_tokens.c.hash)
    )
    hashes = (await tx.connection.scalars(newest)).all()
    surplus = hashes[_MAX_TOKENS - 1 :]
    if surplus:
        await tx.connection.execute(
            delete(learner_tokens).where(learner_tokens.c.hash.in_(surplus))
        )


async def _code_hash(code: str, salt: bytes) -> bytes:
    """Hash a code slowly (about 40 ms, 16 MiB), away from the event loop."""
    return await asyncio.to_thread(
        hashlib.scrypt, code.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
