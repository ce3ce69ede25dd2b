"""What others are told: which ledger entries are events, and how an event reads. Pure.

An event is made from the entry that records the fact, so that nothing is announced that the
ledger does not hold. It names pseudonyms only, no score, and no check code: with that anybody gets
the paper, which has the name. Whoever may have it fetches the document by its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SOURCE: Final = "/benren/tracker"
"""Of every event (CloudEvents 1.0): which service says so."""

TYPES: Final = (
    "session.started",
    "session.paused",
    "session.suspended",
    "session.settled",
    "check.issued",
    "check.passed",
    "check.failed",
    "segment.credited",
    "segment.voided",
    "certificate.issued",
    "certificate.revoked",
    "review.opened",
    "review.decided",
    "ledger.head",
)
_PLAIN: Final = {
    "opened": "session.started",
    "paused": "session.paused",
    "suspended": "session.suspended",
    "settled": "session.settled",
    "check_asked": "check.issued",
    "certificate_issued": "certificate.issued",
    "certificate_revoked": "certificate.revoked",
    "review_opened": "review.opened",
}
"""Kind of entry -> type of event, where the kind says it all."""
_TELLING: Final = frozenset({*_PLAIN, "check", "segment", "review_vote"})
_KEPT: Final = {
    "session.started": (),
    "session.paused": (),
    "session.suspended": (),
    "session.settled": (
        "learner",
        "programme",
        "course",
        "track",
        "start",
        "end",
        "provisional",
        "verified_ms",
        "credited_ms",
        "pending_ms",
        "days",
    ),
    "check.issued": ("check_id",),
    "check.passed": ("t", "since", "active"),
    "check.failed": ("t", "since", "active", "outcome"),
    "segment.credited": ("start", "end", "state", "evidence_type"),
    "segment.voided": ("start", "end", "state", "void_reason"),
    "certificate.issued": ("number", "credited_s", "programme", "course"),
    "certificate.revoked": ("number",),
    "review.opened": ("review", "kind", "learner", "start", "end", "answer_by_ms", "decide_by_ms"),
    "review.decided": ("review", "ruling", "start", "end"),
}
"""Type -> members of the entry's data that are told."""
_CREDITED_STATES: Final = ("credited", "granted")
_VOID_STATES: Final = ("void", "upheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An event to be delivered."""

    id: str
    """The same for the same fact, however often it is sent."""
    seq: int
    """Order of the ledger: twice the index of the entry; of a head, twice its size less one."""
    type: str
    subject: str
    at_ms: int
    """UTC, of the fact."""
    body: str
    """CloudEvents 1.0 in JSON."""


def announce_head(head: Mapping[str, Any]) -> Announcement:
    """Give the event that a signed head is: whoever takes it holds us to it."""
    size, at_ms = head["size"], head["at_ms"]
    name = hashlib.sha256(f"ledger\0{size}\0{head['root']}".encode()).hexdigest()[:32]
    return _event(
        name=name,
        event_type="ledger.head",
        subject="ledger",
        at_ms=at_ms,
        seq=2 * size - 1,
        data=head,
    )


def announce(*, index: int, subject: str, key: str, kind: str, body: bytes) -> Announcement | None:
    """Give the event that a ledger entry is, or None where it concerns nobody else."""
    if kind not in _TELLING:
        return None
    content = json.loads(body)
    event_type = _type_of(kind, content)
    if event_type is None:
        return None
    at_ms = content["at_ms"]
    name = hashlib.sha256(f"{subject}\0{key}\0{event_type}".encode()).hexdigest()[:32]
    data = content["data"]
    told = {member: data[member] for member in _KEPT[event_type] if member in data}
    more = {"reason": content["reason"], "policy": content["policy"], "ledger_index": index}
    return _event(
        name=name,
        event_type=event_type,
        subject=subject,
        at_ms=at_ms,
        seq=2 * index,
        data={**told, **more},
    )


def _event(
    *, name: str, event_type: str, subject: str, at_ms: int, seq: int, data: Mapping[str, Any]
) -> Announcement:
    event = {
        "specversion": "1.0",
        "id": f"evt_{name}",
        "source": SOURCE,
        "type": event_type,
        "subject": subject,
        "time": _rfc3339(at_ms),
        "sequence": f"{max(seq, 0):020d}",
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return Announcement(
        id=f"evt_{name}",
        seq=seq,
        type=event_type,
        subject=subject,
        at_ms=at_ms,
        body=json.dumps(event, ensure_ascii=False, separators=(",", ":")),
    )


def _type_of(kind: str, content: Mapping[str, Any]) -> str | None:
    data = content["data"]
    if kind == "check":
        return "check.passed" if data.get("outcome") == "pass" else "check.failed"
    if kind == "segment":
        state = data.get("state")
        if state in _CREDITED_STATES:
            return "segment.credited"
        return "segment.voided" if state in _VOID_STATES else None
    if kind == "review_vote":
        return "review.decided" if data.get("state") == "decided" else None
    return _PLAIN[kind]


def _rfc3339(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
