"""Entries, signed heads and proofs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from session_tracker import ledger
from session_tracker.ledger import HEAD_PURPOSE, Context, Ledger, head_payload
from session_tracker.merkle import consistency_holds, inclusion_holds, leaf_hash
from session_tracker.store.database import Database
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import ManualClock
from verifier.errors import BadRequest, NotFound
from verifier.keys import KeyRing, canonical_json

pytestmark = pytest.mark.both_databases

CONTEXT = Context(policy="demo@1", models={"embedder": "e@1"}, profile="p-1")


def note(number: int) -> NewEntry:
    """An entry like any other."""
    return ledger.entry(
        subject="ses_1",
        key=f"note:{number}",
        kind="note",
        at_ms=1_000 + number,
        context=CONTEXT,
        data={"number": number},
    )


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, empty database."""
    made = Database(database_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def keyring(clock: ManualClock) -> KeyRing:
    """A fresh key ring."""
    return KeyRing.generate(clock)


async def fill(database: Database, first: int, count: int) -> None:
    """Append so many notes."""

    async def job(tx: Transaction) -> None:
        await tx.append([note(i) for i in range(first, first + count)])

    await database.write(job)


def test_an_entry_is_canonical_and_explains_itself() -> None:
    """The body is canonical JSON and names policy, models and profile."""
    made = note(7)
    content = json.loads(made.body)
    assert canonical_json(content) == made.body
    assert content["policy"] == "demo@1"
    assert content["models"] == {"embedder": "e@1"}
    assert content["profile"] == "p-1"


def test_fractions_have_no_place_in_the_ledger() -> None:
    """A float is refused: canonical JSON holds whole numbers only."""
    with pytest.raises(ValueError, match="not an integer"):
        ledger.entry(
            subject="s", key="k", kind="k", at_ms=1, context=CONTEXT, data={"similarity": 0.5}
        )


async def test_a_head_is_signed_and_found_again(
    database: Database, keyring: KeyRing, clock: ManualClock
) -> None:
    """A head's signature holds; without new entries the same head is given again."""
    book = Ledger(database, keyring, clock)
    await fill(database, 0, 5)
    head = await book.head()
    payload = head_payload(head.size, head.root, head.at_ms)
    assert head.size == 5
    assert keyring.verify(HEAD_PURPOSE, payload, head.signature) == keyring.current_signing_id
    clock.advance(10_000)
    assert await book.head() == head
    await fill(database, 5, 1)
    assert (await book.head()).size == 6


async def test_a_head_of_nothing(database: Database, keyring: KeyRing, clock: ManualClock) -> None:
    """An empty ledger has a head too."""
    head = await Ledger(database, keyring, clock).head()
    assert (head.size, head.root.hex()[:8]) == (0, "e3b0c442")


async def test_proofs_from_the_store(
    database: Database, keyring: KeyRing, clock: ManualClock
) -> None:
    """Proofs read from the database hold, within and across blocks of 256."""
    book = Ledger(database, keyring, clock)
    await fill(database, 0, 300)
    early = await book.head()
    await fill(database, 300, 500)
    late = await book.head()
    for index in (0, 255, 256, 299, 511, 512, 799):
        path = await book.inclusion(index, 800)
        leaf = leaf_hash(note(index).body)
        assert inclusion_holds(index=index, size=800, leaf=leaf, path=path, root=late.root)
    proof = await book.consistency(300, 800)
    assert consistency_holds(
        proof, earlier=300, earlier_root=early.root, later=800, later_root=late.root
    )


@pytest.mark.parametrize(("index", "size"), [(5, 5), (0, 6), (-1, 5), (0, 0)])
async def test_proofs_of_what_is_not_there(
    database: Database, keyring: KeyRing, clock: ManualClock, index: int, size: int
) -> None:
    """Asking for an entry or a size beyond the ledger is answered with the way out."""
    book = Ledger(database, keyring, clock)
    await fill(database, 0, 5)
    with pytest.raises(BadRequest) as caught:
        await book.inclusion(index, size)
    assert caught.value.remedy
    with pytest.raises(BadRequest):
        await book.consistency(size + 1, size)
    with pytest.raises(NotFound):
        await book.entry(99)
