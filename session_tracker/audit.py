"""Checks a whole ledger, live or exported: nothing altered, removed, reordered or cut off.

The walk needs logarithmic memory: it recomputes every leaf hash from the stored bytes, grows the
tree leaf by leaf, and compares it with every signed head on the way and with the stored nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.ledger import HEAD_PURPOSE, Entry, Head, head_payload, to_entry
from session_tracker.merkle import BLOCK, RunningRoot, leaf_hash, node_hash
from session_tracker.store.database import Database
from session_tracker.store.schema import (
    ledger_entries,
    ledger_heads,
    ledger_nodes,
    playback_reports,
    presence_runs,
)
from verifier.errors import BadRequest, SignatureInvalid, UnknownKey
from verifier.keys import KeyRing, canonical_json

EXPORT_FORMAT: Final = "benren-ledger-1"
_PAGE: Final = 1_000
_MOST_FINDINGS: Final = 100


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


@dataclass(slots=True)
class _Walk:
    keyring: KeyRing
    heads: dict[int, list[Head]]
    tree: RunningRoot = field(default_factory=RunningRoot)
    block: list[bytes] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    compared: int = 0

    def note(self, what: str, index: int | None, detail: str) -> None:
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(what=what, index=index, detail=detail))

    def take(self, found: Entry) -> None:
        expected = self.tree.size
        if found.index != expected:
            what = "missing" if found.index > expected else "misplaced"
            self.note(what, expected, f"entry {expected} expected, {found.index} found")
        computed = leaf_hash(found.body)
        if computed != found.leaf_hash:
            self.note("altered", found.index, "the body does not have its leaf hash")
        try:
            content = json.loads(found.body)
            columns = [content["subject"], content["key"], content["kind"]]
        except (ValueError, KeyError, TypeError):
            self.note("altered", found.index, "the body is not an entry")
        else:
            if columns != [found.subject, found.key, found.kind]:
                self.note("altered", found.index, "the columns differ from the body")
        self.tree.append(computed)
        self.compare_heads()

    def compare_heads(self) -> None:
        for head in self.heads.pop(self.tree.size, ()):
            self.compared += 1
            if head.root != self.tree.root():
                detail = f"the first {head.size} entries do not have the root that was signed"
                self.note("head", head.size, detail)
            payload = head_payload(head.size, head.root, head.at_ms)
            try:
                self.keyring.verify(HEAD_PURPOSE, payload, head.signature)
            except (SignatureInvalid, UnknownKey) as error:
                self.note("signature", head.size, error.detail)

    def finish(self, last_head: int) -> Audit:
        for size in sorted(self.heads):
            detail = f"a head of {size} entries was signed, only {self.tree.size} are there"
            self.note("missing", size, detail)
        return Audit(
            entries=self.tree.size,
            root=self.tree.root().hex(),
            heads=self.compared,
            last_head_size=last_head,
            findings=tuple(self.findings),
        )


def _begin(keyring: KeyRing, heads: Iterable[Head]) -> tuple[_Walk, int]:
    by_size: dict[int, list[Head]] = {}
    for head in heads:
        by_size.setdefault(head.size, []).append(head)
    walk = _Walk(keyring, by_size)
    last = max(by_size, default=0)
    walk.compare_heads()  # a head of nothing
    return walk, last


async def audit_database(
    database: Database, keyring: KeyRing, *, held: Iterable[Head] = ()
) -> Audit:
    """Check the live ledger against its own heads and those in `held`, kept by somebody else."""
    async with database.read() as connection:
        rows = (await connection.execute(select(ledger_heads))).all()
        own = [
            Head(size=r.size, root=bytes(r.root), at_ms=r.at_ms, signature=r.signature)
            for r in rows
        ]
        walk, last = _begin(keyring, [*own, *held])
        settled: list[tuple[int, dict[str, Any]]] = []
        levels: list[list[bytes]] = [[]]
        async for found in _entries(connection):
            walk.take(found)
            if found.kind == "settled":
                settled.append((found.index, found.content))
            await _compare_nodes(connection, walk, levels, leaf_hash(found.body))
            if len(settled) >= _PAGE:
                await _compare_evidence(connection, walk, settled)
        await _compare_evidence(connection, walk, settled)
        return walk.finish(last)


async def _entries(connection: AsyncConnection) -> AsyncIterator[Entry]:
    after = -(1 << 62)
    while True:
        query = select(ledger_entries).where(ledger_entries.c.idx > after)
        rows = (await connection.execute(query.order_by(ledger_entries.c.idx).limit(_PAGE))).all()
        for row in rows:
            yield to_entry(row)
        if len(rows) < _PAGE:
            return
        after = rows[-1].idx


async def _compare_nodes(
    connection: AsyncConnection, walk: _Walk, levels: list[list[bytes]], leaf: bytes
) -> None:
    """Compare the stored roots of full blocks with those that the entries give."""
    level, node = 0, leaf
    while True:
        levels[level].append(node)
        if len(levels[level]) < BLOCK:
            return
        node = _fold(levels[level])
        levels[level] = []
        level += 1
        position = walk.tree.size // BLOCK**level - 1
        query = select(ledger_nodes.c.hash).where(
            ledger_nodes.c.level == level, ledger_nodes.c.position == position
        )
        stored = await connection.scalar(query)
        if stored is None or bytes(stored) != node:
            walk.note("altered", walk.tree.size - 1, f"stored node {level}/{position} is wrong")
        if level == len(levels):
            levels.append([])


def _fold(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


async def _compare_evidence(
    connection: AsyncConnection, walk: _Walk, settled: list[tuple[int, dict[str, Any]]]
) -> None:
    """Compare presence runs and heartbeats with the digest that the settlement committed to."""
    for index, content in settled:
        expected = content["data"].get("evidence_sha256")
        if expected != await evidence_digest(connection, content["subject"]):
            walk.note("evidence", index, "presence runs or playback reports were changed")
    settled.clear()


async def evidence_digest(connection: AsyncConnection, session_id: str) -> str:
    """SHA-256 over a session's presence runs and playback reports, hex (they lie outside)."""
    digest = hashlib.sha256()
    for table, key in ((presence_runs, "run"), (playback_reports, "seq")):
        query = select(table).where(table.c.session_id == session_id).order_by(table.c[key])
        for row in (await connection.execute(query)).mappings():
            digest.update(canonical_json([table.name, dict(row)]) + b"\n")
    return digest.hexdigest()


# --- Export: JSON Lines that stand alone --------------------------------------------------


async def export_ledger(database: Database, out: TextIO) -> int:
    """Write the ledger as JSON Lines: a first line, entries, heads; returns the entries written.

    ``body`` is the canonical JSON as a string, so that its bytes survive the journey.
    """
    _line(out, {"type": "ledger", "format": EXPORT_FORMAT})
    count = 0
    async with database.read() as connection:
        async for found in _entries(connection):
            body = found.body.decode("utf-8")
            _line(out, {"type": "entry", "index": found.index, "body": body})
            count += 1
        for row in (await connection.execute(select(ledger_heads))).all():
            head = Head(
                size=row.size, root=bytes(row.root), at_ms=row.at_ms, signature=row.signature
            )
            _line(out, {"type": "head", **head.as_json()})
    return count


def _line(out: TextIO, value: dict[str, Any]) -> None:
    out.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def audit_export(path: Path, keyring: KeyRing, *, held: Iterable[Head] = ()) -> Audit:
    """Check an exported ledger; two passes, because the heads stand at the end.

    Raises BadRequest where the file is not an export.
    """
    heads = [*held]
    _each_line(path, "head", lambda line: heads.append(read_head(line)))
    walk, last = _begin(keyring, heads)
    _each_line(path, "entry", lambda line: _take_line(walk, line))
    return walk.finish(last)


def _take_line(walk: _Walk, line: dict[str, Any]) -> None:
    body = str(line["body"]).encode("utf-8")
    try:
        content = json.loads(body)
        columns = {name: str(content[name]) for name in ("subject", "key", "kind")}
    except (ValueError, KeyError, TypeError):
        columns = {"subject": "", "key": "", "kind": ""}
    walk.take(Entry(index=int(line["index"]), body=body, leaf_hash=leaf_hash(body), **columns))


def _each_line(path: Path, kind: str, take: Callable[[dict[str, Any]], None]) -> None:
    try:
        with path.open(encoding="utf-8") as text:
            lines = _parsed(text)
            if next(lines, {}).get("format") != EXPORT_FORMAT:
                raise BadRequest(f"{path} is not a ledger export.", remedy="Export it anew.")
            for line in lines:
                if line.get("type") == kind:
                    take(line)
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(
            f"{path} is not a whole ledger export.", remedy="Export it anew."
        ) from error
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        parsed = json.loads(line)
        if not isinstance(parsed, dict):
            raise TypeError("a line is not an object")
        yield parsed


def read_head(value: dict[str, Any]) -> Head:
    """Read a head as published. Raises KeyError, TypeError or ValueError where it is none."""
    return Head(
        size=int(value["size"]),
        root=bytes.fromhex(value["root"]),
        at_ms=int(value["at_ms"]),
        signature=str(value["signature"]),
    )
