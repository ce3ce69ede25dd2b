"""The file of published heads: complete after a crash, and a witness against its own database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from session_tracker.ledger import Ledger
from session_tracker.published import PublishedHeads
from session_tracker.store.database import Database
from session_tracker.store.testing import tamper
from session_tracker.store.writer import NewEntry
from verifier.clock import ManualClock
from verifier.errors import ConfigurationError, StorageError
from verifier.keys import KeyRing

pytestmark = pytest.mark.both_databases


class Book:
    """A ledger whose heads are published in a file."""

    def __init__(self, url: str, path: Path, keyring: KeyRing) -> None:
        self.database = Database(url)
        self._clock = ManualClock()
        self.ledger = Ledger(self.database, keyring, self._clock, heads_file=PublishedHeads(path))

    async def grow(self, number: int) -> None:
        """Add an entry and sign a head."""
        body = f"{number}".encode()
        entry = NewEntry(subject="s", key=f"{number}", kind="note", body=body)
        await self.database.write(lambda tx: tx.append([entry]))
        await self.ledger.head()


@pytest.fixture
def keyring() -> KeyRing:
    """Keys to sign heads with."""
    return KeyRing.generate(ManualClock())


async def test_every_head_is_published_once(
    database_url: str, tmp_path: Path, keyring: KeyRing
) -> None:
    """Heads are appended as they are signed; a start adds what a crash kept from the file."""
    path = tmp_path / "heads.jsonl"
    book = Book(database_url, path, keyring)
    await book.database.open()
    for number in range(3):
        await book.grow(number)
    await book.database.close()
    lines = path.read_text().splitlines(keepends=True)
    assert [json.loads(line)["size"] for line in lines] == [1, 2, 3]

    path.write_text("".join(lines[:1]) + lines[1][:20])  # killed while it was written
    book = Book(database_url, path, keyring)
    await book.database.open()
    await book.ledger.publish()
    await book.database.close()
    assert path.read_text() == "".join(lines)


async def test_a_database_without_what_was_published_is_refused(
    database_url: str, tmp_path: Path, keyring: KeyRing
) -> None:
    """Entries cut off together with our heads: the published head tells."""
    path = tmp_path / "heads.jsonl"
    book = Book(database_url, path, keyring)
    await book.database.open()
    for number in range(3):
        await book.grow(number)
    await book.database.close()
    await tamper(
        database_url,
        "DELETE FROM ledger_heads WHERE size = 3",
        "DELETE FROM ledger_entries WHERE idx = 2",
    )
    book = Book(database_url, path, keyring)
    await book.database.open()
    with pytest.raises(StorageError, match="head of 3 entries") as caught:
        await book.ledger.publish()
    assert "ledger verify" in caught.value.remedy
    await book.database.close()


async def test_a_file_that_cannot_be_written_stops_no_head(
    database_url: str, tmp_path: Path, keyring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    """The head is signed and stored all the same; the log says what to do."""
    book = Book(database_url, tmp_path / "nowhere" / "heads.jsonl", keyring)
    await book.database.open()
    await book.grow(0)
    assert "cannot be published" in caplog.text
    await book.database.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """Some other file is named, and left alone."""
    path = tmp_path / "heads.jsonl"
    path.write_text("a shopping list\n")
    with pytest.raises(ConfigurationError, match="file of signed heads"):
        PublishedHeads(path)
