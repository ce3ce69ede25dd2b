"""What the service keeps of a learner, as its routes answer it: for a page under test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

NOW_MS: Final = 1_795_482_000_000
CERTIFICATE: Final[dict[str, Any]] = {
    "number": "BR2026-7K3M9QX2TA",
    "state": "valid",
    "check_code": "4T9K2M7XQ0ZC8RWA",
    "holder": "lrn_5f…30",
    "holder_name": "李*明",
    "programme": "foshan-2021",
    "title": "佛山市两类人员安全生产线上培训",
    "track": "initial",
    "credited_s": 43_200,
    "class_hours": 16,
    "issued_ms": NOW_MS,
}
"""The learner's certificate, wherever one is asked for."""
_TITLES: Final = {
    "online_hours": ("线上学时凭证", "Online hours"),
    "offline_hours": ("线下学时凭证", "Offline hours"),
}


def voucher(obtained: bool, kind: str = "online_hours") -> dict[str, Any]:
    """Make a voucher that was obtained or is missing."""
    title_zh, title_en = _TITLES[kind]
    return {
        "kind": kind,
        "title_zh": title_zh,
        "title_en": title_en,
        "obtained": obtained,
        "obtained_utc_ms": NOW_MS if obtained else None,
        "number": CERTIFICATE["number"] if obtained else None,
        "check_code": CERTIFICATE["check_code"] if obtained else None,
    }


def explanation(spans: Sequence[tuple[str, str | None, int]]) -> dict[str, Any]:
    """An explanation of pieces `(state, reason, seconds)`, one after another."""
    told, at = [], 0
    for state, reason, length in spans:
        ends_at = at + length
        told.append(
            {
                "state": state,
                "reason": reason,
                "from_ms": NOW_MS + 1_000 * at,
                "to_ms": NOW_MS + 1_000 * ends_at,
                "evidence": [],
            }
        )
        at = ends_at
    credited_s = sum(length for state, _, length in spans if state in ("credited", "granted"))
    return {
        "session_id": "ses_1",
        "from_ms": NOW_MS,
        "to_ms": NOW_MS + 1_000 * at,
        "credited_s": credited_s,
        "spans": told,
    }


def session(session_id: str, opened_ms: int, *, closed: bool, credited_s: int) -> dict[str, Any]:
    """A session of the history."""
    return {
        "session_id": session_id,
        "programme": "foshan-2021",
        "opened_utc_ms": opened_ms,
        "closed_utc_ms": opened_ms + 2_700_000 if closed else None,
        "settled": closed,
        "wall_s": 2_700,
        "credited_s": credited_s,
        "void_s": {"absent": 120},
        "provisional": False,
    }


def appeal(state: str, **more: Any) -> dict[str, Any]:
    """An appeal that stands so."""
    return {
        "id": f"rev_{state}",
        "session_id": "ses_1",
        "from_ms": NOW_MS,
        "to_ms": NOW_MS + 90_000,
        "state": state,
        "text": "我当时在擦眼镜，一直坐在手机前面。",
        "answer": None,
        "reason": None,
        "opened_utc_ms": NOW_MS,
        "answer_by_utc_ms": NOW_MS + 7_200_000,
        "decide_by_utc_ms": NOW_MS + 259_200_000,
        "decided_utc_ms": None,
        **more,
    }
