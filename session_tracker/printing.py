"""Prints certificates: the stored document, the holder's name, our signature over the file."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from session_tracker.certification import Certification, Issued
from session_tracker.paper import Paper, render
from session_tracker.signed_pdf import sign_pdf
from session_tracker.store.certificates import NAME_CORRECTED
from verifier.errors import BenrenError
from verifier.keys import KeyRing

KEPT: Final = 64
"""Papers kept in memory: some hundred kilobytes each. Whoever prints one often costs little."""

Names: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Learner id -> the name for the paper; None where none is known (any more)."""


class HolderChanged(BenrenError):
    """The name recorded now is not the one that the certificate was issued to."""

    status = 409


class CertificateRevoked(BenrenError):
    """The certificate was revoked and is printed no more."""

    status = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class _Printed:
    """A paper, and what it was made from."""

    document: bytes
    holder: str | None
    learner_id: str
    pdf: bytes


async def nameless(learner_id: str) -> str | None:
    """Know nobody's name: the paper shows the pseudonym."""
    del learner_id
    return None


async def unchanged(issued: Issued) -> bool:
    """Take the name as it is for the one at issue."""
    del issued
    return True


class Printer:
    """Makes the PDF of a certificate, the same bytes each time while name and keys stay.

    One at a time: pages are drawn for strangers too. The newest stay in memory.
    """

    def __init__(
        self,
        certification: Certification,
        keyring: KeyRing,
        paper: Paper,
        names: Names = nameless,
        *,
        same: Callable[[Issued], Awaitable[bool]] = unchanged,
    ) -> None:
        """Say what it works with.

        `same` tells whether the name is still the one that a certificate was issued to.
        """
        self._certification = certification
        self._keyring = keyring
        self._names = names
        self._drawing = asyncio.Lock()
        self._kept: OrderedDict[str, _Printed] = OrderedDict()
        """By number, the longest not asked for first."""
        self._same = same
        self.paper = paper

    async def holder(self, issued: Issued) -> str | None:
        """Give the holder's name; None where none is known (any more), or where it is another."""
        name = await self._names(issued.learner_id)
        return name if name is not None and await self._same(issued) else None

    async def pdf(self, number: str) -> bytes:
        """Print a certificate. Raises NotFound, CertificateRevoked, HolderChanged."""
        return await self.print(await self._certification.issued(number))

    async def print(self, issued: Issued) -> bytes:
        """Print a certificate that was read from the store.

        Raises CertificateRevoked, HolderChanged.
        """
        if issued.revoked_ms is not None:
            raise CertificateRevoked(
                remedy=f"The public check says why: {self.paper.check_url}{issued.number}."
            )
        holder = await self._names(issued.learner_id)
        if holder is not None and not await self._same(issued):
            raise HolderChanged(
                remedy="Record the name as it was; or revoke the certificate with the reason"
                f" {NAME_CORRECTED}, and it is issued anew."
            )
        async with self._drawing:
            kept = self._kept.get(issued.number)
            if kept is None or (kept.document, kept.holder) != (issued.document, holder):
                pdf = await asyncio.to_thread(self._print, issued.document, holder)
                kept = _Printed(
                    document=issued.document,
                    holder=holder,
                    learner_id=issued.learner_id,
                    pdf=pdf,
                )
                self._kept[issued.number] = kept
            self._kept.move_to_end(issued.number)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept.pdf

    def forget(self, learner_id: str) -> None:
        """Let go of papers that name somebody who was erased."""
        for number in [n for n, kept in self._kept.items() if kept.learner_id == learner_id]:
            del self._kept[number]

    def _print(self, document: bytes, holder: str | None) -> bytes:
        return sign_pdf(render(document, self.paper, holder=holder), self._keyring)
