"""Names and identity numbers: encrypted under a key per learner, found by a keyed hash.

The ledger, the sessions and everything else know learners by their pseudonyms only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, insert, select, update

from session_tracker import ledger
from session_tracker.identity_number import masked_number, read_identity_number
from session_tracker.learner_keys import LearnerKey, LearnerKeys, Realm
from session_tracker.ledger import Context
from session_tracker.staff_words import IN_WORDS, Sealed, StaffWords
from session_tracker.store.database import Database
from session_tracker.store.schema import certificates, learners, ledger_entries
from session_tracker.store.tables_people import people
from session_tracker.store.writer import Transaction
from verifier.clock import Clock
from verifier.errors import BadRequest, Conflict, NotFound

_NAME: Final = "name"
_NUMBER: Final = "identity-number"
_MOST_CHARACTERS: Final = 100
PERSON_RECORDED: Final = "person_recorded"
"""Kind of the entry that says so."""
_NO_RULES: Final = Context(policy="", models={}, profile="")
_CARD_ZONE: Final = ZoneInfo("Asia/Shanghai")
"""Of the day before which a date of birth has to lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who a learner is, in clear; read only for whoever may know, and recorded when read."""

    learner_id: str
    name: str
    identity_number: str | None

    @property
    def masked_name(self) -> str:
        """The name as strangers may see it."""
        return masked(self.name)

    @property
    def masked_number(self) -> str | None:
        """The number as lists show it."""
        return None if self.identity_number is None else masked_number(self.identity_number)


class People:
    """Writes and reads persons."""

    def __init__(self, database: Database, keys: LearnerKeys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._words = StaffWords(database, keys)
        self._clock = clock

    async def record(
        self,
        learner_id: str,
        *,
        name: str,
        identity_number: str | None,
        actor: str = "",
        reason: str = "",
    ) -> Person:
        """Record who a learner is, or correct it; the ledger keeps that it was done, and by whom.

        What is recorded already is not recorded again. Raises NotFound, IdentityNumberInvalid with
        the reason, Conflict where another learner has this number, or where a certificate was
        issued and no reason is given for a change.
        """
        now = self._clock.stamp()
        name = _read_name(name)
        if identity_number is not None:
            today = now.utc.astimezone(_CARD_ZONE).date()
            identity_number = read_identity_number(identity_number, today=today)
        async with self._database.read() as connection:
            if not await connection.scalar(
                select(learners.c.id).where(learners.c.id == learner_id)
            ):
                raise NotFound(f"There is no learner {learner_id!r}.")
        made = Person(learner_id=learner_id, name=name, identity_number=identity_number)
        if await self.read(learner_id) == made:
            return made
        await self._require_reason(learner_id, reason)
        if identity_number is not None:
            await self._keys.index(learner_id, identity_number)
        key = await self._keys.ensure(learner_id, Realm.PERSON)
        why = await self._words.seal(learner_id, reason) if reason else None
        await self._database.write(_recording(made, key, now.utc_ms, actor=actor, why=why))
        return made

    async def _require_reason(self, learner_id: str, reason: str) -> None:
        async with self._database.read() as connection:
            query = select(certificates.c.number).where(certificates.c.learner_id == learner_id)
            issued = await connection.scalar(query.limit(1))
        if issued is not None and not reason:
            raise Conflict(
                "A certificate was issued to this learner: a change of the name needs a reason.",
                remedy="Give `reason`; the ledger has its digest, and who changed it.",
            )

    async def name_tag(self, learner_id: str) -> str | None:
        """Give the keyed hash of the name, which the ledger may know; None where there is none."""
        found = await self.read(learner_id)
        key = await self._keys.get(learner_id, Realm.PERSON)
        return None if found is None or key is None else key.tag(_NAME, found.name.encode())

    async def read(self, learner_id: str) -> Person | None:
        """Give who a learner is; None where nothing was recorded, or where it was erased."""
        async with self._database.read() as connection:
            query = select(people).where(people.c.learner_id == learner_id)
            row = (await connection.execute(query)).one_or_none()
        if row is None or row.name is None:
            return None
        key = await self._keys.get(learner_id, Realm.PERSON)
        if key is None:
            return None
        number = row.identity_number
        return Person(
            learner_id=learner_id,
            name=key.open(_NAME, bytes(row.name)).decode(),
            identity_number=None if number is None else key.open(_NUMBER, bytes(number)).decode(),
        )

    async def masked_name(self, learner_id: str) -> str | None:
        """Give the name as a public check shows it; None where there is none (any more)."""
        found = await self.read(learner_id)
        return None if found is None else found.masked_name

    async def find(self, identity_number: str) -> str | None:
        """Give the pseudonym of whoever has this number. Raises IdentityNumberInvalid."""
        today = self._clock.stamp().utc.astimezone(_CARD_ZONE).date()
        return await self._keys.find(read_identity_number(identity_number, today=today))


def _recording(
    made: Person, key: LearnerKey, now: int, *, actor: str, why: Sealed | None
) -> Callable[[Transaction], Awaitable[None]]:
    """Make the job that stores a person, with the ledger's entry: keyed hashes, never the name.

    Why it was changed may name people, too: the entry has its digest.
    """
    number = None if made.identity_number is None else made.identity_number.encode()
    values = {
        "name": key.seal(_NAME, made.name.encode()),
        "identity_number": None if number is None else key.seal(_NUMBER, number),
        "recorded_ms": now,
        "erased_ms": None,
    }
    data: dict[str, str | None] = {
        "actor": actor,
        "name_hmac": key.tag(_NAME, made.name.encode()),
        "identity_number_hmac": None if number is None else key.tag(_NUMBER, number),
    }
    if why is not None:
        data["reason_sha256"] = why.sha256
    mine = people.c.learner_id == made.learner_id

    async def job(tx: Transaction) -> None:
        changed = await tx.connection.execute(update(people).where(mine).values(**values))
        if not changed.rowcount:
            await tx.connection.execute(insert(people), {"learner_id": made.learner_id, **values})
        await tx.flush_entries()  # of this learner another may be on its way in the same batch
        earlier = select(func.count()).where(
            ledger_entries.c.subject == made.learner_id, ledger_entries.c.kind == PERSON_RECORDED
        )
        times = int(await tx.connection.scalar(earlier) or 0) + 1
        entry = ledger.entry(
            subject=made.learner_id,
            key=f"{PERSON_RECORDED}:{times}",
            kind=PERSON_RECORDED,
            at_ms=now,
            context=_NO_RULES,
            reason="" if why is None else IN_WORDS,
            data=data,
        )
        await tx.append([entry])
        if why is not None:
            await why.keep(tx, entry.subject, entry.key)

    return job


def masked(name: str) -> str:
    """Mask a name: the first letter of each of its words stays (张三丰: 张**)."""
    return " ".join(word[0] + "*" * (len(word) - 1) for word in name.split())


def _read_name(name: str) -> str:
    plain = " ".join(name.split())
    if not 0 < len(plain) <= _MOST_CHARACTERS or not plain.isprintable():
        raise BadRequest(
            f"A name has 1 to {_MOST_CHARACTERS} printable characters.",
            remedy="Copy it from the identity card.",
        )
    return plain
