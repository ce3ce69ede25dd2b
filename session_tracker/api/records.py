"""Routes of the ledger and of certificates: what anybody may check."""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from session_tracker import people
from session_tracker.api.bodies import (
    MAX_NUMBER,
    Because,
    CertificateBody,
    ConsistencyBody,
    HeadBody,
    InclusionBody,
)
from session_tracker.certificate import masked
from session_tracker.certification import Issued
from session_tracker.paper import qr_svg
from session_tracker.service import SessionService
from verifier.errors import NotFound

Number = Annotated[
    str, Path(pattern=r"^[A-Z0-9-]{4,40}$", description="As printed, such as BR2026-7K3M9QX2TA.")
]
CheckCode = Annotated[
    str | None,
    Query(pattern=r"^[0-9A-Z]{16}$", description="Compare the paper's check code as well."),
]
PaperCode = Annotated[
    str,
    Query(pattern=r"^[0-9A-Z]{16}$", description="The check code, as the paper has it."),
]
_PRIVATE: Final = {"Cache-Control": "private, no-store"}
_HEAD_MAX_AGE_MS: Final = 60_000
"""Anybody may ask for a head: not every question is worth a signature and a write."""
Count = Annotated[int, Query(ge=0, le=MAX_NUMBER)]


def records_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/ledger`` and ``/v1/certificates``."""
    router = APIRouter(tags=["records"])
    _add_ledger_routes(router, service)
    _add_certificate_routes(router, service)
    return router


def _add_ledger_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/ledger/head", summary="Get the signed head")
    async def head() -> HeadBody:
        """Give a signed head at most a minute old; keep it to hold us to it."""
        return HeadBody(**(await service.head(max_age_ms=_HEAD_MAX_AGE_MS)).as_json())

    @router.get("/v1/ledger/proof", summary="Prove an entry")
    async def proof(index: Count, size: Count) -> InclusionBody:
        """Prove that the entry at `index` (from 0) lies in the ledger of `size` entries."""
        path = await service.ledger.inclusion(index, size)
        entry = await service.ledger.entry(index)
        return InclusionBody(
            index=index,
            size=size,
            leaf_hash=entry.leaf_hash.hex(),
            path=[step.hex() for step in path],
        )

    @router.get("/v1/ledger/consistency", summary="Prove that nothing was rewritten")
    async def consistency(earlier: Count, later: Count) -> ConsistencyBody:
        """Prove that the ledger of `earlier` entries is the beginning of that of `later`."""
        found = await service.ledger.consistency(earlier, later)
        return ConsistencyBody(earlier=earlier, later=later, proof=found)


def _add_certificate_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/certificates/{number}", summary="Check a certificate")
    async def check(number: Number, code: CheckCode = None) -> CertificateBody:
        """Tell whether a certificate is genuine and still holds; with its code, masked, whose."""
        issued = await service.certification.issued(number)
        _compare(issued, code)
        name = None if code is None else await service.printer.holder(issued)
        return _public(issued, code, name)

    @router.get(
        "/v1/certificates/{number}/document",
        summary="Get the signed document",
        response_class=Response,
        responses={200: {"content": {"application/json": {}}, "description": "As it was signed."}},
    )
    async def document(number: Number) -> Response:
        """Give the certificate as issued, byte for byte: it can be checked offline."""
        found = await service.certification.issued(number)
        return Response(found.document, media_type="application/json")

    @router.get(
        "/v1/certificates/{number}/pdf",
        summary="Get the certificate to print",
        response_class=Response,
        responses={200: {"content": {"application/pdf": {}}, "description": "Signed, one page."}},
    )
    async def pdf(number: Number, code: PaperCode) -> Response:
        """Give the paper to whoever has its check code; the file can be checked offline as well."""
        issued = await service.certification.issued(number)
        _compare(issued, code)
        content = await service.printer.print(issued)
        headers = {"Content-Disposition": f'inline; filename="{number}.pdf"', **_PRIVATE}
        return Response(content, media_type="application/pdf", headers=headers)

    @router.get(
        "/v1/certificates/{number}/qr.svg",
        summary="Get the QR code",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}, "description": "Leads to the check."}},
    )
    async def qr(number: Number, code: PaperCode) -> Response:
        """Draw the QR code that leads to the public check."""
        _compare(await service.certification.issued(number), code)
        content = qr_svg(service.printer.paper.link(number, code))
        return Response(content, media_type="image/svg+xml", headers=_PRIVATE)

    @router.post("/v1/certificates/{number}/revoke", summary="Revoke a certificate")
    async def revoke(number: Number, body: Because) -> CertificateBody:
        """Revoke for a reason; the first reason stays."""
        context = service.context()
        found = await service.certification.revoke(number, reason=body.reason, context=context)
        return _public(found, None, None)


def _compare(issued: Issued, code: str | None) -> None:
    """Raise NotFound where a check code is given that is another certificate's."""
    own = json.loads(issued.document)["check_code"]
    if code is not None and not hmac.compare_digest(code, own):
        raise NotFound(
            "There is no certificate of this number with this check code.",
            remedy="Compare both with the paper: they have no I, L, O or U.",
        )


def _public(issued: Issued, code: str | None, name: str | None) -> CertificateBody:
    core = json.loads(issued.document)["certificate"]
    return CertificateBody(
        number=issued.number,
        state="valid" if issued.revoked_ms is None else "revoked",
        check_code=code,
        holder=masked(issued.learner_id),
        holder_name=None if name is None else people.masked(name),
        programme=core["programme"],
        title=core["title"],
        track=core["track"],
        credited_s=core["credited_s"],
        class_hours=core["class_hours"],
        issued_ms=issued.issued_ms,
        revoked_ms=issued.revoked_ms,
        reason=issued.revoked_reason,
    )
