"""The ledger as a file that stands alone: JSON Lines with entries and signed heads.

Every line has exactly one way to be written, and the reader insists on it: a changed byte
anywhere in the file is either an entry that does not fit, or a file that is no export.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from session_tracker.audit import Audit, Walk, entry_pages, read_heads
from session_tracker.ledger import Head, read_head
from session_tracker.store.database import Database
from verifier.errors import BadRequest
from verifier.keys import KeyRing

EXPORT_FORMAT: Final = "benren-ledger-1"
_FIRST: Final = {"type": "ledger", "format": EXPORT_FORMAT}
_ENTRY: Final = '{"type":"entry",'
_KEYS: Final = {
    "entry": ["type", "index", "body"],
    "head": ["type", "size", "root", "at_ms", "signature"],
    "end": ["type", "entries", "heads"],
}


async def export_ledger(database: Database, out: TextIO) -> int:
    """Write the ledger as JSON Lines: a first line, entries, heads; returns the entries written.

    ``body`` is the canonical JSON as a string, so that its bytes survive the journey.
    """
    out.write(_line(_FIRST))
    count = 0
    async with database.read() as connection:
        async for rows in entry_pages(connection):
            for row in rows:
                body = bytes(row.body).decode("utf-8")
                out.write(_line({"type": "entry", "index": row.idx, "body": body}))
            count += len(rows)
        heads = await read_heads(connection)
        for head in heads:
            out.write(_line({"type": "head", **head.as_json()}))
    out.write(_line({"type": "end", "entries": count, "heads": len(heads)}))
    return count


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def audit_export(path: Path, keyring: KeyRing, *, held: Iterable[Head] = ()) -> Audit:
    """Check an exported ledger; two passes, because the heads stand at the end.

    Raises BadRequest where the file is not a whole export.
    """
    heads = [*held]
    own = 0

    def take_head(line: dict[str, Any]) -> None:
        nonlocal own
        own += 1
        heads.append(read_head({name: line[name] for name in line if name != "type"}))

    end: list[dict[str, Any]] = []
    _each_line(path, {"head": take_head, "end": end.append})
    walk = Walk.begin(keyring, heads)
    _each_line(path, {"entry": lambda line: _take_entry(walk, line)})
    if end[0]["entries"] != walk.size or end[0]["heads"] != own:
        counted = f"{walk.size} entries and {own} heads"
        walk.note("missing", walk.size, f"the last line counts other than {counted}")
    return walk.finish()


def _take_entry(walk: Walk, line: dict[str, Any]) -> None:
    if type(line["index"]) is not int:
        raise TypeError("an index is a whole number")
    walk.take(line["index"], line["body"].encode("utf-8"))


def _each_line(path: Path, take: dict[str, Callable[[dict[str, Any]], None]]) -> None:
    last = ""
    try:
        with path.open(encoding="utf-8", newline="\n") as text:
            if next(text, None) != _line(_FIRST):
                raise BadRequest(f"{path} is not a ledger export.", remedy="Export it anew.")
            for line in _parsed(text, entries="entry" in take):
                last = line["type"]
                if last in take:
                    take[last](line)
        if last != "end":
            raise ValueError("the last line is missing")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"{path} is not a whole ledger export.", remedy="Export it anew."
        ) from error
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error


def _parsed(lines: Iterable[str], *, entries: bool) -> Iterator[dict[str, Any]]:
    ended = False
    for line in lines:
        if not entries and not ended and line.startswith(_ENTRY):
            continue
        parsed = json.loads(line)
        if ended or list(parsed) != _KEYS[parsed["type"]] or _line(parsed) != line:
            raise ValueError("a line is not as the export writes it")
        ended = parsed["type"] == "end"
        yield parsed


__all__ = ["EXPORT_FORMAT", "audit_export", "export_ledger"]
