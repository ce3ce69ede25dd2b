"""Checks a whole ledger, live or exported: nothing altered, removed, reordered or cut off.

The walk needs logarithmic memory: it recomputes every leaf hash from the stored bytes, grows the
tree leaf by leaf, and compares it with every signed head on the way and with the stored nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.ledger import HEAD_PURPOSE, RECORDS_PURGED, Head, head_payload
from session_tracker.merkle import BLOCK, RunningRoot, leaf_hash
from session_tracker.store.database import Database
from session_tracker.store.schema import (
    ledger_entries,
    ledger_heads,
    ledger_nodes,
    ledger_tiles,
    playback_reports,
    presence_runs,
)
from verifier.errors import SignatureInvalid, UnknownKey
from verifier.keys import KeyRing

_PAGE: Final = 4_096
_MOST_FINDINGS: Final = 100
_SESSIONS_AT_ONCE: Final = 100
_NOTHING: Final = hashlib.sha256().hexdigest()
_decode = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    what: str
    """``altered``, ``missing``, ``misplaced``, ``head``, ``signature`` or ``evidence``."""
    index: int | None
    """Of the entry (from 0); for a head its size."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a walk over the ledger found."""

    entries: int
    root: str
    """Hex, of all entries."""
    heads: int
    """Signed heads compared."""
    last_head_size: int
    """Entries after this one are not yet under a signed head."""
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class FullBlock(NamedTuple):
    """What has to be stored of a block that is full."""

    root: bytes
    tile_sha256: bytes
    """Over its 256 hashes, one after the other."""


@dataclass(slots=True)
class Walk:
    """A walk over the entries, from the first one on."""

    keyring: KeyRing
    heads: dict[int, list[Head]]
    last_head_size: int
    blocks: list[FullBlock] = field(default_factory=list)
    """Those that nobody has compared yet."""
    settled: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Settlements whose evidence nobody has compared yet: index and content."""
    purged: frozenset[str] = frozenset()
    """Sessions whose records were removed after their years: entries of the ledger say so."""
    findings: list[Finding] = field(default_factory=list)
    compared: int = 0
    size: int = 0
    _tree: RunningRoot = field(default_factory=RunningRoot)
    _block: RunningRoot = field(default_factory=RunningRoot)
    _leaves: list[bytes] = field(default_factory=list)

    @classmethod
    def begin(cls, keyring: KeyRing, heads: Iterable[Head]) -> Walk:
        """Begin with the heads that the entries have to meet."""
        by_size: dict[int, list[Head]] = {}
        for head in heads:
            by_size.setdefault(head.size, []).append(head)
        walk = cls(keyring, by_size, max(by_size, default=0))
        walk._compare_heads()  # a head of nothing
        return walk

    def note(self, what: str, index: int | None, detail: str) -> None:
        """Write down a finding."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(what=what, index=index, detail=detail))

    def take(
        self,
        index: int,
        body: bytes,
        *,
        columns: tuple[str, str, str] | None = None,
        stored_leaf: bytes | None = None,
    ) -> None:
        """Take the next entry, with what stands beside the body where anything does."""
        if index != self.size:
            what = "missing" if index > self.size else "misplaced"
            self.note(what, self.size, f"entry {self.size} expected, {index} found")
        leaf = leaf_hash(body)
        if stored_leaf is not None and stored_leaf != leaf:
            self.note("altered", index, "the body does not have its leaf hash")
        try:
            content = _decode(body.decode("utf-8"))
            said = (content["subject"], content["key"], content["kind"])
        except (ValueError, KeyError, TypeError):
            self.note("altered", index, "the body is not an entry")
        else:
            if columns is not None and said != columns:
                self.note("altered", index, "the columns differ from the body")
            if said[2] == "settled":
                self.settled.append((index, content))
        self._append(leaf)

    def _append(self, leaf: bytes) -> None:
        self.size += 1
        block = self._block
        block.append(leaf)
        self._leaves.append(leaf)
        if block.size == BLOCK:
            root = block.root()
            self.blocks.append(FullBlock(root, _tile_sha256(self._leaves)))
            self._tree.append(root, BLOCK)
            self._block, self._leaves = RunningRoot(), []
        if self.size in self.heads:
            self._compare_heads()

    def root(self) -> bytes:
        """Give the root of the entries taken so far."""
        return self._tree.root_with(self._block.peaks)

    def _compare_heads(self) -> None:
        for head in self.heads.pop(self.size, ()):
            self.compared += 1
            if head.root != self.root():
                detail = f"the first {head.size} entries do not have the root that was signed"
                self.note("head", head.size, detail)
            payload = head_payload(head.size, head.root, head.at_ms)
            try:
                self.keyring.verify(HEAD_PURPOSE, payload, head.signature)
            except (SignatureInvalid, UnknownKey) as error:
                self.note("signature", head.size, error.detail)

    def finish(self) -> Audit:
        """Say what was found."""
        for size in sorted(self.heads):
            detail = f"a head of {size} entries was signed, only {self.size} are there"
            self.note("missing", size, detail)
        return Audit(
            entries=self.size,
            root=self.root().hex(),
            heads=self.compared,
            last_head_size=self.last_head_size,
            findings=tuple(self.findings),
        )


async def audit_database(
    database: Database, keyring: KeyRing, *, held: Iterable[Head] = ()
) -> Audit:
    """Check the live ledger against its own heads and those in `held`, kept by somebody else."""
    async with database.read() as connection:
        return await audit_connection(connection, keyring, held=held)


async def audit_connection(
    connection: AsyncConnection, keyring: KeyRing, *, held: Iterable[Head] = ()
) -> Audit:
    """Check the ledger as one connection sees it."""
    walk = Walk.begin(keyring, [*await read_heads(connection), *held])
    walk.purged = await _purged(connection)
    nodes = _Nodes(connection, walk)
    async for rows in entry_pages(connection):
        for index, subject, key, kind, body, leaf in rows:
            walk.take(index, body, columns=(subject, key, kind), stored_leaf=leaf)
        await nodes.compare()
        if len(walk.settled) >= _SESSIONS_AT_ONCE:
            await _compare_evidence(connection, walk)
    await nodes.finish()
    await _compare_evidence(connection, walk)
    return walk.finish()


async def read_heads(connection: AsyncConnection) -> list[Head]:
    """Give every signed head, the oldest first."""
    rows = await connection.execute(select(ledger_heads).order_by(ledger_heads.c.size))
    return [
        Head(size=row.size, root=bytes(row.root), at_ms=row.at_ms, signature=row.signature)
        for row in rows.all()
    ]


async def entry_pages(connection: AsyncConnection) -> AsyncIterator[Sequence[Any]]:
    """Give all entries in pages of rows: index, subject, key, kind, body, leaf hash."""
    columns = ledger_entries.c
    wanted = (
        columns.idx,
        columns.subject,
        columns.key,
        columns.kind,
        columns.body,
        columns.leaf_hash,
    )
    after = -(1 << 62)
    while True:
        query = select(*wanted).where(columns.idx > after).order_by(columns.idx).limit(_PAGE)
        rows = (await connection.execute(query)).all()
        if rows:
            yield rows
        if len(rows) < _PAGE:
            return
        after = rows[-1].idx


class _Nodes:
    """Compares the stored roots and tiles of full blocks with those that the entries give."""

    def __init__(self, connection: AsyncConnection, walk: Walk) -> None:
        self._connection = connection
        self._walk = walk
        self._levels: list[list[bytes]] = []
        """Per level from 1 on: roots that have not filled a block of the next level yet."""
        self._seen: list[int] = []

    async def compare(self) -> None:
        """Compare the blocks that were filled since."""
        blocks, self._walk.blocks = self._walk.blocks, []
        level = 0
        while blocks:
            if level == len(self._levels):
                self._levels.append([])
                self._seen.append(0)
            await self._compare(level, blocks)
            waiting = self._levels[level]
            waiting.extend(block.root for block in blocks)
            blocks = []
            while len(waiting) >= BLOCK:
                above = RunningRoot()
                for node in waiting[:BLOCK]:
                    above.append(node)
                blocks.append(FullBlock(above.root(), _tile_sha256(waiting[:BLOCK])))
                del waiting[:BLOCK]
            level += 1

    async def _compare(self, level: int, blocks: list[FullBlock]) -> None:
        first = self._seen[level]
        self._seen[level] += len(blocks)
        roots = await self._stored(ledger_nodes, ledger_nodes.c.hash, level + 1, first, len(blocks))
        tiles = await self._stored(ledger_tiles, ledger_tiles.c.hashes, level, first, len(blocks))
        for position, block in enumerate(blocks, start=first):
            last = (position + 1) * BLOCK ** (level + 1) - 1
            if roots.get(position) != block.root:
                self._walk.note("altered", last, f"stored node {level + 1}/{position} is wrong")
            tile = tiles.get(position)
            if tile is None or hashlib.sha256(tile).digest() != block.tile_sha256:
                self._walk.note("altered", last, f"stored tile {level}/{position} is wrong")

    async def _stored(
        self, table: Table, value: ColumnElement[bytes], level: int, first: int, count: int
    ) -> Mapping[int, bytes]:
        columns = table.c
        query = select(columns.position, value).where(
            columns.level == level,
            columns.position >= first,
            columns.position < first + count,
        )
        rows = await self._connection.execute(query)
        return {position: bytes(stored) for position, stored in rows.all()}

    async def finish(self) -> None:
        """See to it that there are no nodes and tiles beyond those that the entries give."""
        await self.compare()
        expected = sum(self._seen)
        for table in (ledger_nodes, ledger_tiles):
            found = await self._connection.scalar(select(func.count()).select_from(table))
            if found != expected:
                detail = f"{expected} rows of {table.name} expected, {found} found"
                self._walk.note("altered", None, detail)


def _tile_sha256(hashes: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(hashes)).digest()


async def _compare_evidence(connection: AsyncConnection, walk: Walk) -> None:
    """Compare presence runs and heartbeats with the digest that the settlement committed to."""
    settled, walk.settled = walk.settled, []
    for start in range(0, len(settled), _SESSIONS_AT_ONCE):
        part = settled[start : start + _SESSIONS_AT_ONCE]
        digests = await _digests(connection, {content["subject"] for _, content in part})
        for index, content in part:
            session_id = content["subject"]
            expected = content["data"].get("evidence_sha256")
            if digests[session_id] != (_NOTHING if session_id in walk.purged else expected):
                walk.note("evidence", index, "presence runs or playback reports were changed")


async def _purged(connection: AsyncConnection) -> frozenset[str]:
    query = select(ledger_entries.c.body).where(ledger_entries.c.kind == RECORDS_PURGED)
    bodies = (await connection.scalars(query)).all()
    return frozenset(name for body in bodies for name in json.loads(body)["data"]["sessions"])


async def evidence_digest(connection: AsyncConnection, session_id: str) -> str:
    """SHA-256 over a session's presence runs and playback reports, hex (they lie outside)."""
    return (await _digests(connection, {session_id}))[session_id]


async def _digests(connection: AsyncConnection, sessions: set[str]) -> Mapping[str, str]:
    digests = {session_id: hashlib.sha256() for session_id in sessions}
    for table, key in ((presence_runs, "run"), (playback_reports, "seq")):
        query = select(table).where(table.c.session_id.in_(sorted(sessions)))
        # One session after the other; within each the order is that of the number.
        rows = await connection.execute(query.order_by(table.c.session_id, table.c[key]))
        for row in rows.mappings():
            digests[row["session_id"]].update(evidence_line(table, row))
    return {session_id: digest.hexdigest() for session_id, digest in digests.items()}


def evidence_line(table: Table, row: Any) -> bytes:
    """Give a row as canonical JSON: RFC 8785 of whole numbers, strings and booleans."""
    # Names and table are ASCII, numbers whole: sorting and separators are all there is to it.
    value = [table.name, dict(row)]
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8") + b"\n"


__all__ = [
    "Audit",
    "Finding",
    "Walk",
    "audit_connection",
    "audit_database",
    "entry_pages",
    "evidence_digest",
    "evidence_line",
    "read_heads",
]
