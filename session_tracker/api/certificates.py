"""Routes of certificates and vouchers: for anybody, for the learner, for the course server."""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from session_tracker import people
from session_tracker.api.bearer import Authorization, learner_of
from session_tracker.api.bodies import (
    Because,
    CertificateBody,
    CertificatesBody,
    VoucherBody,
    VouchersBody,
)
from session_tracker.api.watched import Purpose, look
from session_tracker.certificate import masked
from session_tracker.certification import Issued
from session_tracker.paper import qr_svg
from session_tracker.service import SessionService
from session_tracker.store.certificates import ISSUED_ANEW
from session_tracker.throttle import Throttle, ThrottleLimits
from session_tracker.vouchers import vouchers
from verifier.edge import Entry, KeyScope, RouteRule, actor_of
from verifier.errors import NotFound

_SMALL: Final = 16 * 1024
RULES: Final = (
    RouteRule(path="/v1/certificates/{number}", by=Entry.ANYONE, max_body_bytes=_SMALL),
    RouteRule(path="/v1/certificates/{number}/pdf", by=Entry.ANYONE, max_body_bytes=_SMALL),
    RouteRule(path="/v1/certificates/{number}/qr.svg", by=Entry.ANYONE, max_body_bytes=_SMALL),
    RouteRule(
        path="/v1/certificates/{number}/{rest:path}", by=KeyScope.TRACKER, max_body_bytes=_SMALL
    ),
)
"""Checking is for anybody, the paper for whoever has its code, the rest for the course server."""

Number = Annotated[
    str, Path(pattern=r"^[A-Z0-9-]{4,40}$", description="As printed, such as BR2026-7K3M9QX2TA.")
]
LearnerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CheckCode = Annotated[
    str | None,
    Query(pattern=r"^[0-9A-Z]{16}$", description="Compare the paper's check code as well."),
]
PaperCode = Annotated[
    str,
    Query(pattern=r"^[0-9A-Z]{16}$", description="The check code, as the paper has it."),
]
_PRIVATE: Final = {"Cache-Control": "private, no-store"}
_GUESSES: Final = ThrottleLimits(free=20, forgiven_every_ms=30_000, all_per_minute=300)
"""Numbers and codes that are not there, of one address: a clerk who types papers in errs rarely."""
_CHECKS: Final = ThrottleLimits(
    free=300, forgiven_every_ms=500, longest_wait_ms=60_000, all_per_minute=3_000
)
"""Certificates that are there, of one address: a hall of learners who print, a clerk's script."""


class _Desk:
    """Looks certificates up for strangers; slows down whoever guesses, or asks without end."""

    def __init__(self, service: SessionService) -> None:
        self._service = service
        self._throttle = Throttle(
            _GUESSES,
            detail="Too many numbers or codes that are not there.",
            remedy="Wait, and compare them with the paper.",
        )
        self._checks = Throttle(
            _CHECKS, detail="Too many checks at once.", remedy="Wait, and go on more slowly."
        )

    async def find(self, request: Request, number: str, code: str | None) -> Issued:
        """Give a certificate whose code, where one is given, fits.

        Raises NotFound, TooManyRequests.
        """
        address = request.client.host if request.client is not None else ""
        now = self._service.now_ms()
        self._throttle.admit(address, now)
        self._checks.admit(address, now)
        try:
            issued = await self._service.certification.issued(number)
            if code is not None and not hmac.compare_digest(code, _code_of(issued)):
                raise NotFound(
                    "There is no certificate of this number with this check code.",
                    remedy="Compare both with the paper: they have no I, L, O or U.",
                )
        except NotFound:
            self._throttle.failed(address, now)
            raise
        self._checks.failed(address, now)
        return issued


def certificates_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/certificates`` and of vouchers."""
    router = APIRouter(tags=["certificates"])
    desk = _Desk(service)
    _add_public_routes(router, service, desk)
    _add_server_routes(router, service)
    _add_own_routes(router, service)
    return router


def _add_public_routes(router: APIRouter, service: SessionService, desk: _Desk) -> None:
    @router.get("/v1/certificates/{number}", summary="Check a certificate")
    async def check(request: Request, number: Number, code: CheckCode = None) -> CertificateBody:
        """Tell whether a certificate is genuine and still holds; with its code, masked, whose.

        Why it was revoked is told as a code; in words, which may name somebody, with its code only.
        """
        issued = await desk.find(request, number, code)
        name = None if code is None else await service.printer.holder(issued)
        masked_name = None if name is None else people.masked(name)
        return _body(issued, code, masked_name, reason=_public_reason(issued, code))

    @router.get(
        "/v1/certificates/{number}/pdf",
        summary="Get the certificate to print",
        response_class=Response,
        responses={200: {"content": {"application/pdf": {}}, "description": "Signed, one page."}},
    )
    async def pdf(request: Request, number: Number, code: PaperCode) -> Response:
        """Give the paper to whoever has its check code; the file can be checked offline as well."""
        content = await service.printer.print(await desk.find(request, number, code))
        headers = {"Content-Disposition": f'inline; filename="{number}.pdf"', **_PRIVATE}
        return Response(content, media_type="application/pdf", headers=headers)

    @router.get(
        "/v1/certificates/{number}/qr.svg",
        summary="Get the QR code",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}, "description": "Leads to the check."}},
    )
    async def qr(request: Request, number: Number, code: PaperCode) -> Response:
        """Draw the QR code that leads to the public check."""
        await desk.find(request, number, code)
        content = qr_svg(service.printer.paper.link(number, code))
        return Response(content, media_type="image/svg+xml", headers=_PRIVATE)


def _add_server_routes(router: APIRouter, service: SessionService) -> None:
    @router.get(
        "/v1/certificates/{number}/document",
        summary="Get the signed document",
        response_class=Response,
        responses={200: {"content": {"application/json": {}}, "description": "As it was signed."}},
    )
    async def document(request: Request, number: Number, purpose: Purpose = "") -> Response:
        """Give the certificate as issued, byte for byte: it can be checked offline. Recorded."""
        found = await service.certification.issued(number)
        await look(service, request, found.learner_id, purpose)
        return Response(found.document, media_type="application/json")

    @router.post("/v1/certificates/{number}/revoke", summary="Revoke a certificate")
    async def revoke(request: Request, number: Number, body: Because) -> CertificateBody:
        """Revoke for a reason; the first reason stays. The ledger keeps who did it.

        After `name_corrected` it is issued anew at once, with another number and the name as it
        is recorded now; after `hours_void` once the hours are there again. After any other reason
        the course has no certificate.
        """
        actor = actor_of(request).name
        revoked = await service.revoke_certificate(number, actor=actor, reason=body.reason)
        return _body(revoked, None, None, reason=revoked.revoked_reason)

    @router.get("/v1/learners/{learner_id}/vouchers", summary="List a learner's vouchers")
    async def of_learner(
        request: Request, learner_id: LearnerId, purpose: Purpose = ""
    ) -> VouchersBody:
        """List what a learner has obtained and what is missing. Recorded."""
        await service.registry.learner(learner_id)
        await look(service, request, learner_id, purpose)
        return await _vouchers(service, learner_id)


def _add_own_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/me/vouchers", summary="See one's vouchers", tags=["me"])
    async def own_vouchers(authorization: Authorization = None) -> VouchersBody:
        """List what one has obtained, to show in colour, and what is missing, in grey."""
        return await _vouchers(service, await learner_of(service.sign_in, authorization))

    @router.get("/v1/me/certificates", summary="List one's certificates", tags=["me"])
    async def own(authorization: Authorization = None) -> CertificatesBody:
        """List one's certificates with their check codes, revoked ones too."""
        learner_id = await learner_of(service.sign_in, authorization)
        found = await service.certification.of_learner(learner_id)
        return CertificatesBody(certificates=[await _own_body(service, one) for one in found])

    @router.get("/v1/me/certificates/{number}", summary="See one's certificate", tags=["me"])
    async def own_one(number: Number, authorization: Authorization = None) -> CertificateBody:
        """Give one's certificate with its check code, which opens paper and QR code."""
        learner_id = await learner_of(service.sign_in, authorization)
        issued = await service.certification.issued(number)
        if issued.learner_id != learner_id:
            raise NotFound("There is no certificate of this number.")
        return await _own_body(service, issued)


async def _vouchers(service: SessionService, learner_id: str) -> VouchersBody:
    learner = await service.registry.learner(learner_id)
    found = vouchers(
        service.registry.programmes.in_force().values(),
        await service.certification.of_learner(learner_id),
        category=learner.category,
        industry=learner.industry,
    )
    return VouchersBody(
        vouchers=[
            VoucherBody(
                kind=str(v.kind),
                programme=v.programme,
                title_zh=v.title_zh,
                title_en=v.title_en,
                obtained=v.obtained,
                obtained_utc_ms=v.obtained_utc_ms,
                number=v.number,
            )
            for v in found
        ]
    )


async def _own_body(service: SessionService, issued: Issued) -> CertificateBody:
    name = await service.printer.holder(issued)
    return _body(issued, _code_of(issued), name, reason=issued.revoked_reason)


def _code_of(issued: Issued) -> str:
    return str(json.loads(issued.document)["check_code"])


def _public_reason(issued: Issued, code: str | None) -> str | None:
    """Give why it was revoked, as far as whoever has, or has not, the check code may know."""
    told = code is not None or issued.revoked_reason in ISSUED_ANEW
    return issued.revoked_reason if told else None


def _body(
    issued: Issued, code: str | None, name: str | None, *, reason: str | None
) -> CertificateBody:
    core = json.loads(issued.document)["certificate"]
    return CertificateBody(
        number=issued.number,
        state="valid" if issued.revoked_ms is None else "revoked",
        check_code=code,
        holder=masked(issued.learner_id),
        holder_name=name,
        programme=core["programme"],
        title=core["title"],
        track=core["track"],
        credited_s=core["credited_s"],
        class_hours=core["class_hours"],
        issued_ms=issued.issued_ms,
        revoked_ms=issued.revoked_ms,
        reason=reason,
    )
