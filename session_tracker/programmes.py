"""Programmes and the versions of their rules: old hours stay explainable under old rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select

from session_tracker import ledger
from session_tracker.ledger import Context
from session_tracker.policy import Policy, Provenance, stored_policy
from session_tracker.store.database import Database
from session_tracker.store.schema import programmes
from session_tracker.store.writer import Transaction
from verifier.clock import Clock
from verifier.errors import ConfigurationError, NotFound


class Programmes:
    """The policies in force, and every earlier version that the store knows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._newest: dict[str, Policy] = {}
        self._known: dict[tuple[str, str], Policy] = {}

    async def register(self, policies: Sequence[Policy]) -> None:
        """Record the policies; the last given of a name is in force for courses that begin.

        Raises ConfigurationError where a version is known with other content.
        """
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> None:
            for policy in policies:
                query = select(programmes.c.digest).where(
                    programmes.c.name == policy.name, programmes.c.version == policy.version
                )
                digest = await tx.connection.scalar(query)
                if digest is None:
                    await _record_policy(tx, policy, now)
                elif digest != policy.digest:
                    raise ConfigurationError(
                        f"The policy {policy.name} {policy.version} was changed.",
                        remedy="Give changed rules a new version; old hours stay under the old.",
                    )

        await self._database.write(job)
        await self.read()
        self._newest = {policy.name: policy for policy in policies}

    async def read(self) -> None:
        """Learn every version that the store knows; none is in force by that."""
        async with self._database.read() as connection:
            for row in (await connection.execute(select(programmes))).all():
                stored = stored_policy(row.document)
                self._known[stored.name, stored.version] = stored

    def in_force(self) -> Mapping[str, Policy]:
        """Give the policies in force by programme."""
        return self._newest

    def provisional(self) -> frozenset[Provenance]:
        """Give the kinds of enrolment of which some policy in force asks for a confirmation."""
        policies = self._newest.values()
        return frozenset(p for p in Provenance if any(one.is_provisional(p) for one in policies))

    def policy(self, programme: str, version: str | None = None) -> Policy:
        """Give a programme's policy: that version, or the one in force. Raises NotFound."""
        found = (
            self._newest.get(programme)
            if version is None
            else self._known.get((programme, version))
        )
        if found is None:
            raise NotFound(
                f"There is no programme {programme!r}.",
                remedy=f"Choose one of: {', '.join(sorted(self._newest))}.",
            )
        return found


async def _record_policy(tx: Transaction, policy: Policy, now: int) -> None:
    values = {
        "name": policy.name,
        "version": policy.version,
        "digest": policy.digest,
        "document": policy.model_dump_json(),
        "registered_ms": now,
    }
    await tx.connection.execute(insert(programmes), values)
    context = Context(policy=f"{policy.name}@{policy.version}", models={}, profile="")
    await tx.append(
        [
            ledger.entry(
                subject=f"programme:{policy.name}",
                key=f"policy:{policy.version}",
                kind="policy",
                at_ms=now,
                context=context,
                data={"sha256": policy.digest},
            )
        ]
    )
