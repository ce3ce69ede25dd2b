"""The verifier as an ASGI app: puts the routes together; decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, FastAPI

from verifier.api.health import Readiness, Version, health_router
from verifier.api.metrics import VerifierMetrics
from verifier.api.streams import stream_rules, streams_router
from verifier.api.templates import templates_router
from verifier.api.verify import Verification, verify_router
from verifier.clock import Clock
from verifier.edge import (
    ApiKeys,
    EdgeLimits,
    Entry,
    HttpMetrics,
    KeyScope,
    RouteRule,
    install_edge,
)
from verifier.keys import KeyRing
from verifier.models.backend import on_gpu
from verifier.pipeline.batching import Batcher, BatchLimits
from verifier.pipeline.templates import TemplateVault
from verifier.settings import Settings
from verifier.streaming.hub import StreamHub
from verifier.types import TemplateComparer

if TYPE_CHECKING:
    from verifier.streaming.webrtc import Peers

RULES: Final = (
    RouteRule(path="/healthz", by=Entry.ANYONE),
    RouteRule(path="/readyz", by=Entry.ANYONE),
    RouteRule(path="/version", by=Entry.LOCAL),
    RouteRule(path="/metrics", by=Entry.LOCAL),
    RouteRule(path="/openapi.json", by=Entry.LOCAL),
)
"""What does not simply need a key of the scope `verifier`."""
_DESCRIPTION: Final = """
Frames in, verdicts out: is this the registered person, alive? The verifier stores nothing;
templates are opaque blobs that the caller keeps. Errors are problem details (RFC 9457); *no face*
and *mismatch* are answers, not errors.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guests:
    """What else lives under this address: in one process the session tracker does."""

    routers: Sequence[APIRouter] = ()
    rules: Sequence[RouteRule] = ()
    """What the edge has to ask for on their paths."""
    probes: Sequence[Callable[[], Awaitable[None]]] = ()
    """Raise where a guest is not ready; asked by ``/readyz``."""
    title: str = "Benren verifier"
    description: str = ""


def create_app(
    *,
    batcher: Batcher,
    vault: TemplateVault,
    keyring: KeyRing,
    clock: Clock,
    settings: Settings,
    metrics: HttpMetrics | None = None,
    verifier_metrics: VerifierMetrics | None = None,
    comparer: TemplateComparer | None = None,
    hub: StreamHub | None = None,
    peers: Peers | None = None,
    providers: Sequence[str] = (),
    guests: Guests | None = None,
) -> FastAPI:
    """Make the app. Whoever made the batcher closes it; the app works with or without lifespan.

    Pass the `verifier_metrics` that observe the batcher (made on the registry of `metrics`), so
    that the queue shows up in ``/metrics`` too. Raises ConfigurationError for wrong API keys.
    """
    http_metrics = metrics if metrics is not None else HttpMetrics()
    counted = (
        verifier_metrics if verifier_metrics is not None else VerifierMetrics(http_metrics.registry)
    )
    release = installed_version("benren")
    guests = guests if guests is not None else Guests()
    app = FastAPI(
        title=guests.title,
        version=release,
        description=_DESCRIPTION + guests.description,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    verification = Verification(
        batcher=batcher, vault=vault, keyring=keyring, clock=clock, metrics=counted
    )
    app.include_router(verify_router(verification))
    app.include_router(templates_router(batcher, vault, counted, comparer))
    if hub is not None:
        app.include_router(streams_router(hub, peers=peers))
    for router in guests.routers:
        app.include_router(router)

    async def self_test() -> None:
        await batcher.self_test()
        for probe in guests.probes:
            await probe()

    app.include_router(
        health_router(
            readiness=Readiness(self_test),
            keyring=keyring,
            metrics=http_metrics,
            version=Version(
                version=release,
                pack=settings.pack,
                models=dict(batcher.models),
                providers=list(providers),
                profile_version=batcher.profile_version,
            ),
        )
    )
    install_edge(
        app,
        service="verifier",
        api_keys=ApiKeys.parse(settings.api_keys),
        default=KeyScope.VERIFIER,
        rules=(*RULES, *(stream_rules(hub.limits) if hub is not None else ()), *guests.rules),
        limits=EdgeLimits(
            max_body_bytes=settings.limits.max_body_bytes,
            max_held_bytes=settings.limits.max_held_bytes,
            body_timeout_s=settings.limits.body_timeout_s,
        ),
        metrics=http_metrics,
    )
    return app


def batch_limits(settings: Settings, processors: int, providers: Iterable[str] = ()) -> BatchLimits:
    """Give the batcher's limits for a machine that grants so many processors.

    `providers` name what runs the networks (`Engine.providers`).
    """
    chosen = settings.batching
    return BatchLimits(
        workers=settings.worker_count(processors, gpu=any(map(on_gpu, providers))),
        max_batch=chosen.max_batch,
        window_ms=chosen.window_ms,
        max_pending=chosen.max_pending,
        max_pending_bytes=chosen.max_pending_bytes,
        timeout_s=chosen.timeout_s,
        drain_s=chosen.drain_s,
    )
