"""Vouchers: obtained ones in colour, missing ones in grey, none that cannot be had."""

from __future__ import annotations

from dataclasses import replace

from session_tracker.certification import Issued
from session_tracker.policy import load_policy
from session_tracker.vouchers import VoucherKind, vouchers

FOSHAN, DEMO = load_policy("foshan-2021"), load_policy("demo")
ONE = Issued(
    number="BR2026-AAAAAAAAAA",
    learner_id="lrn_1",
    programme="foshan-2021",
    course=1,
    document=b"{}",
    issued_ms=1_000,
    revoked_ms=None,
    revoked_reason=None,
)


def test_what_is_missing_is_shown_too() -> None:
    """Each programme that is open to the learner has a voucher before anything was studied."""
    found = vouchers([FOSHAN, DEMO], [], category="principal", industry="furniture")
    assert [v.programme for v in found] == [FOSHAN.name, DEMO.name]
    assert not any(v.obtained for v in found)
    assert {v.kind for v in found} == {VoucherKind.ONLINE_HOURS}
    assert all(v.number is None and v.obtained_utc_ms is None for v in found)


def test_a_certificate_colours_its_voucher() -> None:
    """An issued certificate takes the place of the missing one, with its number and date."""
    found = vouchers([FOSHAN], [ONE], category="principal", industry="furniture")
    assert [(v.obtained, v.number, v.obtained_utc_ms, v.course) for v in found] == [
        (True, ONE.number, 1_000, 1)
    ]


def test_every_years_certificate_is_a_voucher() -> None:
    """Refreshers come every year: the newest stands first, and none is shown as missing."""
    second = replace(ONE, number="BR2027-BBBBBBBBBB", course=2, issued_ms=2_000)
    found = vouchers([FOSHAN], [ONE, second], category="principal", industry="furniture")
    assert [v.number for v in found] == [second.number, ONE.number]


def test_a_revoked_certificate_is_no_voucher() -> None:
    """What was revoked is missing again."""
    gone = replace(ONE, revoked_ms=3_000, revoked_reason="wrong_person")
    found = vouchers([FOSHAN], [gone], category="principal", industry="furniture")
    assert [v.obtained for v in found] == [False]


def test_what_cannot_be_had_is_not_shown() -> None:
    """High-risk industries and other categories train elsewhere: no grey voucher promises it."""
    assert vouchers([FOSHAN], [], category="principal", industry="fireworks") == ()
    assert vouchers([FOSHAN], [], category="apprentice", industry="furniture") == ()
    assert len(vouchers([FOSHAN], [ONE], category="principal", industry="fireworks")) == 1
