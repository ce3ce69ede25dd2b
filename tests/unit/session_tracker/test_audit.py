"""The audit finds what was altered, removed, reordered or cut off, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from session_tracker.audit import audit_connection, audit_database
from session_tracker.ledger import Context, Head, Ledger, entry
from session_tracker.ledger_file import audit_export, export_ledger
from session_tracker.merkle import BLOCK, leaf_hash
from session_tracker.store.database import Database
from session_tracker.store.schema import ledger_entries
from session_tracker.store.testing import tamper
from session_tracker.store.writer import NewEntry
from session_tracker.testing import Studio
from verifier.clock import ManualClock
from verifier.errors import BadRequest
from verifier.keys import KeyRing

pytestmark = pytest.mark.both_databases


class Vault:
    """A stopped tracker's database, with the tools of somebody who owns the file."""

    def __init__(self, url: str, keyring: KeyRing, held: Head) -> None:
        self.url = url
        self.keyring = keyring
        self.held = held

    async def tamper(self, *statements: str | tuple[str, Mapping[str, object]]) -> None:
        """Drop the triggers and change whatever it is."""
        await tamper(self.url, *statements)

    async def entry(self, index: int) -> bytes:
        """Give a body."""
        database = Database(self.url)
        await database.open_to_read()
        async with database.read() as connection:
            query = select(ledger_entries.c.body).where(ledger_entries.c.idx == index)
            body = await connection.scalar(query)
        await database.close()
        return bytes(body or b"")

    async def findings(self, *, held: bool = False) -> set[str]:
        """What an audit finds."""
        database = Database(self.url)
        await database.open()
        audit = await audit_database(database, self.keyring, held=[self.held] if held else [])
        await database.close()
        return {finding.what for finding in audit.findings}


@pytest.fixture
def keyring() -> KeyRing:
    """Keys to sign heads with."""
    return KeyRing.generate(ManualClock())


@pytest.fixture
async def vault(studio: Studio) -> Vault:
    """The ledger of one short lesson under a signed head."""
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    head = await studio.service.head()
    await studio.service.stop()
    return Vault(studio.url, studio.keyring, head)


async def test_an_honest_ledger_is_intact(vault: Vault) -> None:
    """Nothing is found where nothing was done, with the head that somebody kept as well."""
    assert await vault.findings(held=True) == set()


@pytest.mark.parametrize(("index", "where"), [(0, 0.0), (5, 0.5), (11, 1.0)])
async def test_one_changed_byte_is_found(vault: Vault, index: int, where: float) -> None:
    """A single bit flipped anywhere in any body is found."""
    body = await vault.entry(index)
    changed = bytearray(body)
    changed[round(where * (len(body) - 1))] ^= 1
    await vault.tamper(
        (
            "UPDATE ledger_entries SET body = :body WHERE idx = :idx",
            {"body": bytes(changed), "idx": index},
        )
    )
    assert {"altered", "head"} <= await vault.findings()


async def test_a_change_with_a_matching_leaf_hash_is_found(vault: Vault) -> None:
    """Whoever recomputes the leaf hash too is found by the signed head."""
    body = await vault.entry(4)
    forged = body.replace(b'"at_ms":', b'"at_ms":1')
    assert forged != body
    await vault.tamper(
        (
            "UPDATE ledger_entries SET body = :body, leaf_hash = :leaf WHERE idx = 4",
            {"body": forged, "leaf": leaf_hash(forged)},
        )
    )
    assert await vault.findings() == {"head"}


@pytest.mark.parametrize("column", ["subject", "key", "kind"])
async def test_a_changed_column_is_found(vault: Vault, column: str) -> None:
    """The columns beside the body must say what the body says."""
    await vault.tamper(f"UPDATE ledger_entries SET {column} = 'other' WHERE idx = 3")  # noqa: S608
    assert await vault.findings() == {"altered"}


async def test_a_removed_entry_is_found(vault: Vault) -> None:
    """An entry taken out of the middle is missed."""
    await vault.tamper("DELETE FROM ledger_entries WHERE idx = 6")
    assert "missing" in await vault.findings()


async def test_a_removed_and_renumbered_entry_is_found(vault: Vault) -> None:
    """Closing the gap does not help: the root under the head is another."""
    await vault.tamper(
        "DELETE FROM ledger_entries WHERE idx = 6",
        "UPDATE ledger_entries SET idx = 1 - idx WHERE idx > 6",
        "UPDATE ledger_entries SET idx = -idx WHERE idx < 0",
    )
    assert "missing" in await vault.findings()


async def test_reordered_entries_are_found(vault: Vault) -> None:
    """Two entries that changed places are found by the head."""
    await vault.tamper(
        "UPDATE ledger_entries SET idx = -1 WHERE idx = 4",
        "UPDATE ledger_entries SET idx = 4 WHERE idx = 5",
        "UPDATE ledger_entries SET idx = 5 WHERE idx = -1",
    )
    assert await vault.findings() == {"head"}


async def test_truncation_before_a_head_is_found(vault: Vault) -> None:
    """Cutting off the end is found by our own head."""
    await vault.tamper(
        ("DELETE FROM ledger_entries WHERE idx >= :size", {"size": vault.held.size - 2})
    )
    assert await vault.findings() == {"missing"}


async def test_truncation_with_the_head_is_found_by_whoever_kept_it(vault: Vault) -> None:
    """Cutting off the end and our heads is invisible to us, and plain to who holds a head."""
    await vault.tamper(
        ("DELETE FROM ledger_entries WHERE idx >= :size", {"size": vault.held.size - 2}),
        ("DELETE FROM ledger_heads WHERE size > :size", {"size": vault.held.size - 2}),
    )
    assert await vault.findings() == set()
    assert await vault.findings(held=True) == {"missing"}


async def test_a_forged_head_is_found(vault: Vault) -> None:
    """A head with another time does not have our signature."""
    await vault.tamper("UPDATE ledger_heads SET at_ms = at_ms + 1")
    assert await vault.findings() == {"signature"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE playback_reports SET media_ms = media_ms + 1000 WHERE seq = 2",
        "UPDATE presence_runs SET last_ms = last_ms + 60000",
        "DELETE FROM playback_reports WHERE seq = 3",
    ],
)
async def test_changed_evidence_outside_the_ledger_is_found(vault: Vault, statement: str) -> None:
    """Presence runs and heartbeats are bound by the digest in the settlement."""
    await vault.tamper(statement)
    assert await vault.findings() == {"evidence"}


@pytest.fixture
async def exported(vault: Vault, tmp_path: Path) -> Path:
    """The ledger as JSON Lines."""
    database = Database(vault.url)
    await database.open()
    path = tmp_path / "ledger.jsonl"
    with path.open("w", encoding="utf-8") as out:
        assert await export_ledger(database, out) > 10
    await database.close()
    return path


def test_an_export_stands_alone(vault: Vault, exported: Path) -> None:
    """An export is checked with the public key alone."""
    audit = audit_export(exported, vault.keyring, held=[vault.held])
    assert audit.intact
    assert audit.heads >= 2


def _drop(lines: list[str]) -> list[str]:
    return [*lines[:5], *lines[6:]]


def _swap(lines: list[str]) -> list[str]:
    return [*lines[:5], lines[6], lines[5], *lines[7:]]


def _alter(lines: list[str]) -> list[str]:
    changed = json.loads(lines[5])
    changed["body"] = changed["body"].replace('"v":1', '"v":2')
    written = json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
    return [*lines[:5], written, *lines[6:]]


@pytest.mark.parametrize("change", [_drop, _swap, _alter])
def test_a_changed_export_is_found(
    vault: Vault, exported: Path, change: Callable[[list[str]], list[str]]
) -> None:
    """A line removed, moved or altered is found."""
    exported.write_text("\n".join(change(exported.read_text().splitlines())) + "\n")
    assert not audit_export(exported, vault.keyring).intact


@pytest.mark.parametrize("content", ["", "not json\n", '{"type":"ledger"}\n', "[1]\n"])
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, studio: Studio, content: str) -> None:
    """Some other file is an error, not an intact ledger."""
    path = tmp_path / "other.jsonl"
    path.write_text(content)
    with pytest.raises(BadRequest, match="export"):
        audit_export(path, studio.keyring)


# --- every byte ---------------------------------------------------------------------------------

MASKS = (0x01, 0x20, 0x80)


@pytest.mark.sqlite_only
async def test_every_changed_byte_of_an_export_is_found(keyring: KeyRing, tmp_path: Path) -> None:
    """Whichever byte of the file is changed: it is no export any more, or not intact."""
    exported = await small_export(keyring, tmp_path / "small.jsonl")
    content = exported.read_bytes()
    assert audit_export(exported, keyring).intact
    changed = tmp_path / "changed.jsonl"
    for position in range(len(content)):
        mask = MASKS[position % len(MASKS)]
        altered = bytearray(content)
        altered[position] ^= mask
        changed.write_bytes(altered)
        try:
            intact = audit_export(changed, keyring).intact
        except BadRequest:
            intact = False
        assert not intact, f"byte {position} ^ {mask}: {content[position - 40 : position + 40]!r}"


async def small_export(keyring: KeyRing, path: Path) -> Path:
    """A ledger of three entries and their head."""
    clock = ManualClock()
    url = f"sqlite:///{path.with_suffix('.sqlite3')}"
    database = await small_ledger(url, keyring, clock, entries=3)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        await export_ledger(database, out)
    await database.close()
    return path


async def small_ledger(url: str, keyring: KeyRing, clock: ManualClock, *, entries: int) -> Database:
    """An open ledger of a few short entries under a head."""
    database = Database(url)
    await database.open()
    await database.write(lambda tx: tx.append([note(number) for number in range(entries)]))
    await Ledger(database, keyring, clock).head()
    return database


def note(number: int) -> NewEntry:
    """A short entry, with a quotation mark and a Chinese word in it."""
    context = Context(policy="p@1", models={}, profile="")
    data = {"said": f'"本人" {number}'}
    return entry(subject="s", key=f"k{number}", kind="note", at_ms=1, context=context, data=data)


COLUMNS = {
    "ledger_entries": ("idx", ("idx", "subject", "key", "kind", "body", "leaf_hash")),
    "ledger_nodes": ("position", ("level", "position", "hash")),
    "ledger_tiles": ("position", ("level", "position", "hashes")),
    "ledger_heads": ("size", ("size", "root", "at_ms", "signature")),
}


def changes_of(value: Any) -> Iterator[Any]:
    """Every value that differs in one byte."""
    if isinstance(value, int):
        yield from (value ^ (1 << bit) for bit in range(12))
    elif isinstance(value, str):
        for position, char in enumerate(value):
            if ord(char) < 128:
                yield value[:position] + chr(ord(char) ^ 1) + value[position + 1 :]
    else:
        # A tile's 8 KiB: a byte of every second hash or so, at another place in each.
        for position in range(0, len(value), 67 if len(value) > 1_024 else 1):
            altered = bytearray(value)
            altered[position] ^= MASKS[position % len(MASKS)]
            yield bytes(altered)


@pytest.mark.parametrize("table", [*COLUMNS])
async def test_every_changed_byte_of_the_tables_is_found(
    database_url: str, keyring: KeyRing, table: str
) -> None:
    """Body, leaf hash, columns, nodes, tiles, heads, signatures: one changed byte is found."""
    entries = BLOCK if table in {"ledger_nodes", "ledger_tiles"} else 2
    database = await small_ledger(database_url, keyring, ManualClock(), entries=entries)
    await database.close()
    await tamper(database_url)  # no triggers any more
    engine = database._engine(write=True, size=1)
    number, columns = COLUMNS[table]
    tried = 0
    async with engine.connect() as connection:
        assert (await audit_connection(connection, keyring)).intact
        rows = (await connection.execute(text(f"SELECT * FROM {table}"))).mappings().all()  # noqa: S608
        for row in rows:
            for column in columns:
                for value in changes_of(row[column]):
                    nested = await connection.begin_nested()
                    statement = f"UPDATE {table} SET {column} = :value WHERE {number} = :row"  # noqa: S608
                    try:
                        values = {"value": value, "row": row[number]}
                        await connection.execute(text(statement), values)
                        audit = await audit_connection(connection, keyring)
                        assert not audit.intact, f"{column} of {number} {row[number]}: {value!r}"
                    except IntegrityError:
                        pass  # two rows of one number: the database itself refuses
                    await nested.rollback()
                    tried += 1
        await connection.rollback()
    await engine.dispose()
    assert tried > 40


@pytest.mark.parametrize("place", ["ledger_nodes VALUES (1, 0,", "ledger_tiles VALUES (0, 0,"])
async def test_nodes_beyond_the_tree_are_found(
    database_url: str, keyring: KeyRing, place: str
) -> None:
    """A node or a tile that no entries give is not left for a later proof to stumble over."""
    database = await small_ledger(database_url, keyring, ManualClock(), entries=2)
    hash_ = b"x" * 32
    await tamper(database_url, (f"INSERT INTO {place} :hash)", {"hash": hash_}))
    assert {f.what for f in (await audit_database(database, keyring)).findings} == {"altered"}
    await database.close()


async def test_a_tile_that_is_gone_is_found(database_url: str, keyring: KeyRing) -> None:
    """A row of hashes that proofs are read from has to be there."""
    database = await small_ledger(database_url, keyring, ManualClock(), entries=BLOCK)
    await tamper(database_url, "DELETE FROM ledger_tiles")
    found = (await audit_database(database, keyring)).findings
    assert [f.what for f in found] == ["altered", "altered"]
    assert "tile 0/0" in found[0].detail
    await database.close()
