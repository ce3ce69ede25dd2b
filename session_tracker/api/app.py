"""The tracker as an ASGI app: puts the routes together; decides nothing."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel, Field

from session_tracker.api import certificates, me, pages, reviews, settling, staff
from session_tracker.api.appeals import appeals_router
from session_tracker.api.certificates import certificates_router
from session_tracker.api.exports import exports_router
from session_tracker.api.learners import learners_router
from session_tracker.api.me import me_router
from session_tracker.api.outbox import outbox_router
from session_tracker.api.pages import pages_router
from session_tracker.api.records import records_router
from session_tracker.api.reviews import reviews_router
from session_tracker.api.sessions import sessions_router
from session_tracker.api.settling import settling_router
from session_tracker.api.staff import staff_router
from session_tracker.api.supervised import supervised_router
from session_tracker.consent_text import ConsentText, load_consent_text
from session_tracker.desk import Desk
from session_tracker.enroller import Enroller
from session_tracker.service import SessionService
from verifier.edge import (
    ApiKeys,
    EdgeLimits,
    Entry,
    HttpMetrics,
    KeyScope,
    RouteRule,
    install_edge,
)

_SMALL: Final = 16 * 1024

RULES: Final = (
    *me.RULES,
    *staff.RULES,
    *reviews.RULES,
    RouteRule(
        path="/v1/learners/{learner_id}/template", by=KeyScope.TRACKER, max_body_bytes=131_072
    ),
    RouteRule(path="/v1/learners", by=KeyScope.TRACKER, max_body_bytes=_SMALL),
    RouteRule(path="/v1/learners/{rest:path}", by=KeyScope.TRACKER, max_body_bytes=_SMALL),
    RouteRule(path="/v1/programmes", by=KeyScope.TRACKER, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions", by=KeyScope.TRACKER, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions/{session_id}/explain", by=KeyScope.TRACKER, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions/{session_id}", by=Entry.TOKEN, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions/{session_id}/playback", by=Entry.TOKEN, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions/{session_id}/stream", by=Entry.TOKEN, max_body_bytes=_SMALL),
    RouteRule(path="/v1/sessions/{session_id}/close", by=Entry.TOKEN, max_body_bytes=_SMALL),
    *certificates.RULES,
    RouteRule(path="/v1/ledger/{rest:path}", by=Entry.ANYONE, max_body_bytes=_SMALL),
    RouteRule(
        path="/v1/exports/{rest:path}",
        by=(KeyScope.TRACKER, KeyScope.INSPECTOR),
        max_body_bytes=_SMALL,
    ),
    *settling.RULES,
    RouteRule(path="/v1/outbox", by=KeyScope.ADMIN, max_body_bytes=_SMALL),
    RouteRule(path="/v1/outbox/{rest:path}", by=KeyScope.ADMIN, max_body_bytes=_SMALL),
    *pages.RULES,
)
"""What the edge has to ask for on the tracker's paths; heads and public checks are for anybody."""
HEALTH_RULES: Final = (
    RouteRule(path="/healthz", by=Entry.ANYONE),
    RouteRule(path="/readyz", by=Entry.ANYONE),
    RouteRule(path="/version", by=Entry.LOCAL),
    RouteRule(path="/metrics", by=Entry.LOCAL),
    RouteRule(path="/openapi.json", by=Entry.LOCAL),
)
_DESCRIPTION: Final = """
Verdicts in, hours out: study time is credited only where the registered person was seen. A
server registers learners and opens sessions with an API key; the learner's device reports
playback with the session token. Errors are problem details (RFC 9457).
"""


class Alive(BaseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


def tracker_router(
    service: SessionService,
    *,
    enroller: Enroller | None = None,
    consent_text: ConsentText | None = None,
) -> APIRouter:
    """Make every route of the tracker but those about health; the edge has to apply `RULES`.

    Without an `enroller` learners cannot enrol themselves; without a `consent_text` they are
    shown the one that comes along.
    """
    router = APIRouter()
    desk = Desk(
        service,
        enroller=enroller,
        consent_text=consent_text if consent_text is not None else load_consent_text(),
    )
    for part in (
        learners_router(service),
        sessions_router(service),
        records_router(service),
        certificates_router(service),
        outbox_router(service),
        settling_router(service),
        exports_router(service),
        me_router(service, desk),
        appeals_router(service),
        staff_router(service),
        supervised_router(service, desk),
        reviews_router(service),
        pages_router(media_origins=service.catalogue.origins()),
    ):
        router.include_router(part)
    return router


def create_app(
    service: SessionService,
    *,
    enroller: Enroller | None = None,
    consent_text: ConsentText | None = None,
    api_keys: ApiKeys | None = None,
    limits: EdgeLimits | None = None,
    metrics: HttpMetrics | None = None,
) -> FastAPI:
    """Make an app of the tracker alone. Whoever made the service starts and stops it."""
    http_metrics = metrics if metrics is not None else HttpMetrics()
    app = FastAPI(
        title="Benren session tracker",
        version=installed_version("benren"),
        description=_DESCRIPTION,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.include_router(tracker_router(service, enroller=enroller, consent_text=consent_text))
    app.include_router(_health_router(service, http_metrics))
    install_edge(
        app,
        service="tracker",
        api_keys=api_keys if api_keys is not None else ApiKeys(),
        default=KeyScope.TRACKER,
        rules=(*RULES, *HEALTH_RULES),
        limits=limits,
        metrics=http_metrics,
    )
    return app


def _health_router(service: SessionService, metrics: HttpMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Alive:
        """Answer."""
        return Alive(status="ok")

    @router.get("/readyz", summary="Can it do its work?")
    async def readyz() -> Alive:
        """Write to the database and take it back. Raises StorageError (503)."""
        await service.probe()
        return Alive(status="ok")

    @router.get("/version", summary="What runs?")
    async def version() -> dict[str, Any]:
        """Name the release, the verifier's models and the policies in force."""
        context = service.context()
        return {
            "version": installed_version("benren"),
            "models": dict(context.models),
            "profile_version": context.profile,
            "policies": {
                name: policy.version
                for name, policy in service.registry.programmes.in_force().items()
            },
        }

    @router.get("/metrics", summary="Prometheus", response_class=Response)
    async def show_metrics() -> Response:
        """Show the metrics in Prometheus' text format."""
        return metrics.response()

    return router
