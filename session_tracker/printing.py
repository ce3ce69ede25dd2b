"""Prints certificates: the stored document, the holder's name, our signature over the file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from session_tracker.certification import Certification, Issued
from session_tracker.paper import Paper, render
from session_tracker.signed_pdf import sign_pdf
from verifier.errors import BenrenError
from verifier.keys import KeyRing

Names: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Learner id -> the name for the paper; None where none is known (any more)."""


class CertificateRevoked(BenrenError):
    """The certificate was revoked and is printed no more."""

    status = 410


async def nameless(learner_id: str) -> str | None:
    """Know nobody's name: the paper shows the pseudonym."""
    del learner_id
    return None


class Printer:
    """Makes the PDF of a certificate, the same bytes each time while name and keys stay."""

    def __init__(
        self,
        certification: Certification,
        keyring: KeyRing,
        paper: Paper,
        names: Names = nameless,
    ) -> None:
        self._certification = certification
        self._keyring = keyring
        self._names = names
        self.paper = paper

    async def holder(self, issued: Issued) -> str | None:
        """Give the holder's name; None where none is known (any more)."""
        return await self._names(issued.learner_id)

    async def pdf(self, number: str) -> bytes:
        """Print a certificate. Raises NotFound, CertificateRevoked."""
        return await self.print(await self._certification.issued(number))

    async def print(self, issued: Issued) -> bytes:
        """Print a certificate that was read from the store. Raises CertificateRevoked."""
        if issued.revoked_ms is not None:
            raise CertificateRevoked(
                remedy=f"The public check says why: {self.paper.check_url}{issued.number}."
            )
        holder = await self.holder(issued)
        return await asyncio.to_thread(self._print, issued.document, holder)

    def _print(self, document: bytes, holder: str | None) -> bytes:
        return sign_pdf(render(document, self.paper, holder=holder), self._keyring)
