"""Vouchers (凭证): what a learner has obtained, and what is still missing.

Of every programme that is open to the learner there is one for the online hours, and one for every
certificate of an earlier course. The page shows obtained ones in colour and missing ones in grey.
A revoked certificate obtains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from session_tracker.certification import Issued
from session_tracker.policy import Policy


class VoucherKind(StrEnum):
    """What a voucher is for."""

    ONLINE_HOURS = "online_hours"
    """线上学时凭证: the online class hours of a programme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """One voucher, obtained or missing."""

    kind: VoucherKind
    programme: str
    title_zh: str
    title_en: str
    course: int | None
    """Which course it was obtained in; None where it is missing."""
    obtained_utc_ms: int | None
    number: str | None
    """Of the certificate; None where it is missing."""

    @property
    def obtained(self) -> bool:
        """Whether it is shown in colour."""
        return self.number is not None


def vouchers(
    programmes: Iterable[Policy], issued: Sequence[Issued], *, category: str, industry: str
) -> tuple[Voucher, ...]:
    """List a learner's vouchers: obtained ones first, the newest before older ones."""
    policies = {policy.name: policy for policy in programmes}
    valid = sorted(
        (one for one in issued if one.revoked_ms is None), key=lambda one: -one.issued_ms
    )
    obtained = [_voucher(policies.get(one.programme), one.programme, one) for one in valid]
    have = {one.programme for one in valid}
    missing = [
        _voucher(policy, policy.name, None)
        for policy in policies.values()
        if policy.name not in have
        and category in policy.admission.categories
        and industry not in policy.admission.refused_industries
    ]
    return (*obtained, *missing)


def _voucher(policy: Policy | None, programme: str, issued: Issued | None) -> Voucher:
    title = programme if policy is None else policy.title
    return Voucher(
        kind=VoucherKind.ONLINE_HOURS,
        programme=programme,
        title_zh=f"线上学时凭证 · {title}",
        title_en=f"Online class hours · {title}",
        course=None if issued is None else issued.course,
        obtained_utc_ms=None if issued is None else issued.issued_ms,
        number=None if issued is None else issued.number,
    )
