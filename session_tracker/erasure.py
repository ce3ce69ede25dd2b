"""Erasing what is known of a learner, and proving it.

Erasing destroys the learner's key: what lies under it, in the database, in its logs and in every
backup, is noise from then on. The rows are emptied too. The proof is an entry of the ledger with
its way to a signed head: that it happened, when, and what was there.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import Table, Text, cast, delete, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker import ledger
from session_tracker.learner_keys import LearnerKeys, Realm
from session_tracker.ledger import (
    HEAD_PURPOSE,
    RECORDS_PURGED,
    Context,
    Ledger,
    head_payload,
    read_head,
)
from session_tracker.merkle import inclusion_holds, leaf_hash
from session_tracker.staff_words import digest
from session_tracker.store import learners as rows
from session_tracker.store.database import Database
from session_tracker.store.purge import purge_learner
from session_tracker.store.schema import certificates, ledger_entries, sessions, templates
from session_tracker.store.tables_people import (
    challenge_routes,
    offline_hours,
    people,
    registrations,
    staff_words,
)
from session_tracker.store.tables_reviews import pictures, review_votes, reviews
from session_tracker.store.tables_signin import invitations, learner_tokens
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import Clock
from verifier.errors import BadRequest, SignatureInvalid
from verifier.keys import KeyRing

FORMAT: Final = "benren-erasure-1"
BIOMETRICS: Final = "biometrics_erased"
PERSON: Final = "person_erased"
Due: TypeAlias = Callable[[AsyncConnection], Awaitable[str | None]]
"""Says, by what the database holds now, why a learner's face may no longer be kept; or None."""
_NOTHING: Final = Context(policy="", models={}, profile="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure found, and its proof."""

    learner_id: str
    templates: int
    pictures: int
    proof: dict[str, Any]
    """JSON: the entry, its way to a signed head, the head. See `verify_erasure`."""


class Erasure:
    """Erases; who may is up to the routes, when is up to the housekeeping."""

    def __init__(self, database: Database, keys: LearnerKeys, book: Ledger, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._ledger = book
        self._clock = clock

    async def biometrics(
        self, learner_id: str, *, actor: str, cause: str, words: str = ""
    ) -> Erased:
        """Erase every template and every picture of a learner. Raises NotFound.

        Asked again, where nothing is left, the first proof is given again. `cause` is a code;
        of what somebody wrote, `words`, a digest is all that is kept.
        """
        await self._require(learner_id)
        return await self._biometrics(learner_id, actor=actor, cause=cause, words=words)

    async def biometrics_if_due(self, learner_id: str, due: Due, *, actor: str) -> Erased | None:
        """Erase as `biometrics` does where `due` names a cause; None where it names none.

        It is asked in the transaction that takes the templates away: what began before that, it
        sees, and nothing begins with them after that.
        """
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> str | None:
            cause = await due(tx.connection)
            if cause is not None:
                await _empty(tx, learner_id, now)
            return cause

        cause = await self._database.write(job)
        return (
            None if cause is None else await self.finish(learner_id, now, actor=actor, cause=cause)
        )

    async def unfinished(self) -> dict[str, int]:
        """Give whose templates were taken away with no entry that says so, and when (UTC ms)."""
        async with self._database.read() as connection:
            return await _begun(connection)

    async def finish(self, learner_id: str, begun_ms: int, *, actor: str, cause: str) -> Erased:
        """Erase what is left of a face whose templates were taken away at `begun_ms` (UTC ms).

        Who has enrolled again since then keeps what is new: template, key, pictures, fingerprints.
        """
        return await self._biometrics(learner_id, actor=actor, cause=cause, begun_ms=begun_ms)

    async def _biometrics(
        self,
        learner_id: str,
        *,
        actor: str,
        cause: str,
        words: str = "",
        begun_ms: int | None = None,
    ) -> Erased:
        """Destroy the key, then what lay under it: all of it, or what is of `begun_ms` or older."""
        gone = await self._keys.destroy(learner_id, Realm.FACE, made_by_ms=begun_ms)
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> tuple[int, int, int]:
            count = await _taken(tx.connection, learner_id)
            if begun_ms is None:
                count += await _empty(tx, learner_id, now)
            shown_count = await _forget_seen(tx, learner_id, begun_ms)
            data = {
                "templates": count,
                "pictures": shown_count,
                "keys_destroyed": [str(realm) for realm in gone],
                "actor": actor,
                **_digested(words),
            }
            taken_ms = (await _begun(tx.connection, learner_id)).get(learner_id)
            made = _entry(learner_id, BIOMETRICS, now, data, cause, key_ms=taken_ms)
            index = await _append(tx, made, anew=bool(gone or count or shown_count))
            return index, count, shown_count

        index, count, shown_count = await self._database.write(job)
        return Erased(
            learner_id=learner_id,
            templates=count,
            pictures=shown_count,
            proof=await self._proof(learner_id, index),
        )

    async def person(self, learner_id: str, *, actor: str, cause: str, words: str = "") -> Erased:
        """Erase everything that names a learner: biometrics, name, number, words. Raises NotFound.

        Sessions, decisions and hours stay, under the pseudonym; his devices are signed out.
        """
        faces = await self.biometrics(learner_id, actor=actor, cause=cause)
        gone = await self._keys.destroy(learner_id, Realm.PERSON)
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> int:
            known = (people.c.learner_id == learner_id) & people.c.erased_ms.is_(None)
            nothing = {"name": None, "identity_number": None, "erased_ms": now}
            changed = await tx.connection.execute(update(people).where(known).values(**nothing))
            mine = reviews.c.learner_id == learner_id
            await tx.connection.execute(
                update(reviews).where(mine).values(statement=None, answer=None)
            )
            cases = select(reviews.c.id).where(mine)
            await tx.connection.execute(
                update(review_votes).where(review_votes.c.review_id.in_(cases)).values(reason=b"")
            )
            await _forget_words(tx, learner_id)
            await _sign_out(tx, learner_id)
            data = {
                "persons": changed.rowcount,
                "keys_destroyed": [str(realm) for realm in gone],
                "actor": actor,
                **_digested(words),
            }
            made = _entry(learner_id, PERSON, now, data, cause)
            return await _append(tx, made, anew=bool(gone or changed.rowcount))

        index = await self._database.write(job)
        return Erased(
            learner_id=learner_id,
            templates=faces.templates,
            pictures=faces.pictures,
            proof=await self._proof(learner_id, index),
        )

    async def records(self, learner_id: str, *, actor: str, cause: str) -> Erased:
        """Remove what is kept under the pseudonym too: every row, but no entry of the ledger.

        The entry names the sessions, so that `ledger verify` knows why the frames and heartbeats
        that their settlements speak of are gone. Raises NotFound.
        """
        person = await self.person(learner_id, actor=actor, cause=cause)
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> int:
            gone = await purge_learner(tx.connection, learner_id)
            data = {"sessions": list(gone.sessions), "rows": gone.rows, "actor": actor}
            (index,) = await tx.append([_entry(learner_id, RECORDS_PURGED, now, data, cause)])
            return index

        index = await self._database.write(job)
        return replace(person, proof=await self._proof(learner_id, index))

    async def _require(self, learner_id: str) -> None:
        async with self._database.read() as connection:
            await rows.read_learner(connection, learner_id)

    async def _proof(self, learner_id: str, index: int) -> dict[str, Any]:
        head = await self._ledger.head()
        entry = await self._ledger.entry(index)
        path = await self._ledger.inclusion(index, head.size)
        return {
            "format": FORMAT,
            "learner_id": learner_id,
            "entry": entry.body.decode("utf-8"),
            "index": index,
            "path": [step.hex() for step in path],
            "head": head.as_json(),
        }


async def _empty(tx: Transaction, learner_id: str, now: int) -> int:
    """Empty every template of a learner; give how many there were."""
    stored = (templates.c.learner_id == learner_id) & templates.c.blob.is_not(None)
    changed = update(templates).where(stored).values(blob=None, erased_ms=now)
    return (await tx.connection.execute(changed)).rowcount


async def _begun(connection: AsyncConnection, learner_id: str | None = None) -> dict[str, int]:
    """Give by learner when templates were taken away last, where no entry says so yet.

    The entry's key has the time at which they were taken.
    """
    taken = select(templates.c.learner_id, func.max(templates.c.erased_ms).label("at_ms"))
    taken = taken.where(templates.c.erased_ms.is_not(None))
    if learner_id is not None:
        taken = taken.where(templates.c.learner_id == learner_id)
    last = taken.group_by(templates.c.learner_id).subquery()
    said = exists().where(
        ledger_entries.c.subject == last.c.learner_id,
        ledger_entries.c.key == literal(f"{BIOMETRICS}:") + cast(last.c.at_ms, Text),
    )
    found = await connection.execute(select(last).where(~said))
    return {row.learner_id: int(row.at_ms) for row in found}


async def _taken(connection: AsyncConnection, learner_id: str) -> int:
    """Count the templates that an erasure which is not finished took away."""
    at_ms = (await _begun(connection, learner_id)).get(learner_id)
    mine = (templates.c.learner_id == learner_id) & (templates.c.erased_ms == at_ms)
    query = select(func.count()).select_from(templates).where(mine)
    return 0 if at_ms is None else int(await connection.scalar(query) or 0)


async def _forget_seen(tx: Transaction, learner_id: str, until_ms: int | None) -> int:
    """Delete pictures and fingerprints, of sessions until then or of all; count the pictures."""
    counts = []
    for table in (pictures, frame_fingerprints):
        gone = delete(table).where(table.c.learner_id == learner_id)
        if until_ms is not None:
            until = select(sessions.c.id).where(
                sessions.c.learner_id == learner_id, sessions.c.opened_ms <= until_ms
            )
            gone = gone.where(table.c.session_id.in_(until))
        counts.append((await tx.connection.execute(gone)).rowcount)
    return counts[0]


async def _forget_words(tx: Transaction, learner_id: str) -> None:
    """Empty what staff and institutions wrote about a learner in rows that stay."""
    emptied: tuple[tuple[Table, Mapping[str, str | None]], ...] = (
        (registrations, {"reasons": "[]"}),
        (challenge_routes, {"reason": ""}),
        (offline_hours, {"topic": "", "withdrawn_reason": None}),
        (certificates, {"revoked_reason": None}),
    )
    for table, values in emptied:
        mine = table.c.learner_id == learner_id
        await tx.connection.execute(update(table).where(mine).values(**values))
    mine = staff_words.c.learner_id == learner_id
    await tx.connection.execute(delete(staff_words).where(mine))


async def _sign_out(tx: Transaction, learner_id: str) -> None:
    """Let no device and no invitation act for the learner any more."""
    for table in (learner_tokens, invitations):
        await tx.connection.execute(delete(table).where(table.c.learner_id == learner_id))


def verify_erasure(proof: Mapping[str, Any], keyring: KeyRing) -> dict[str, Any]:
    """Check a proof with the public keys in `keyring`, offline; gives the entry's content.

    Raises BadRequest where it is no proof, SignatureInvalid where it was changed, UnknownKey.
    """
    try:
        if proof["format"] != FORMAT:
            raise BadRequest("This is no proof of an erasure.")
        body = str(proof["entry"]).encode("utf-8")
        head = read_head(proof["head"])
        path = [bytes.fromhex(step) for step in proof["path"]]
        index = int(proof["index"])
        content: dict[str, Any] = json.loads(body)
        subject, kind = content["subject"], content["kind"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest("This is no whole proof of an erasure.") from error
    keyring.verify(HEAD_PURPOSE, head_payload(head.size, head.root, head.at_ms), head.signature)
    if not inclusion_holds(
        index=index, size=head.size, leaf=leaf_hash(body), path=path, root=head.root
    ):
        raise SignatureInvalid("The entry does not lie under the signed head.")
    if kind not in (BIOMETRICS, PERSON, RECORDS_PURGED) or subject != proof["learner_id"]:
        raise SignatureInvalid("The entry says something else than the proof.")
    return content


def _digested(words: str) -> dict[str, str]:
    return {"reason_sha256": digest(words)} if words else {}


def _entry(
    learner_id: str,
    kind: str,
    now: int,
    data: Mapping[str, Any],
    cause: str,
    *,
    key_ms: int | None = None,
) -> NewEntry:
    return ledger.entry(
        subject=learner_id,
        key=f"{kind}:{now if key_ms is None else key_ms}",
        kind=kind,
        at_ms=now,
        context=_NOTHING,
        reason=cause,
        data=data,
    )


async def _append(tx: Transaction, made: NewEntry, *, anew: bool) -> int:
    """Append the entry; where nothing was there and an earlier one says so, give that one."""
    if not anew:
        query = select(func.max(ledger_entries.c.idx)).where(
            ledger_entries.c.subject == made.subject, ledger_entries.c.kind == made.kind
        )
        earlier = await tx.connection.scalar(query)
        if earlier is not None:
            return int(earlier)
    (index,) = await tx.append([made])
    return index
