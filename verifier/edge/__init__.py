"""The HTTP edge that both services share: no pixels, no rules of time, only manners.

`install_edge` gives an app request ids, problem details, API keys by path, limits on bodies and
metrics. Everything that no rule opens needs an API key of the service's scope; without any
configured API key only this very machine is served.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from verifier.edge.access import (
    ApiKey,
    ApiKeys,
    Entry,
    Gate,
    KeyScope,
    RouteRule,
    is_loopback,
    new_api_key,
    require_loopback_without_keys,
)
from verifier.edge.actors import LOCAL_ACTOR, Actor, actor_of
from verifier.edge.metrics import HttpMetrics
from verifier.edge.openapi import document_edge
from verifier.edge.problems import (
    MEDIA_TYPE,
    FieldError,
    InvalidRequest,
    Problem,
    install_problem_handlers,
    problem_of,
    problem_response,
    request_id_of,
    unexpected_problem,
)
from verifier.edge.wire import EdgeLimits, EdgeMiddleware

__all__ = [
    "LOCAL_ACTOR",
    "MEDIA_TYPE",
    "Actor",
    "ApiKey",
    "ApiKeys",
    "EdgeLimits",
    "Entry",
    "FieldError",
    "HttpMetrics",
    "InvalidRequest",
    "KeyScope",
    "Problem",
    "RouteRule",
    "actor_of",
    "install_edge",
    "is_loopback",
    "new_api_key",
    "problem_of",
    "problem_response",
    "request_id_of",
    "require_loopback_without_keys",
    "unexpected_problem",
]


def install_edge(
    app: FastAPI,
    *,
    service: str,
    api_keys: ApiKeys,
    default: KeyScope | Entry,
    rules: Sequence[RouteRule] = (),
    limits: EdgeLimits | None = None,
    metrics: HttpMetrics | None = None,
) -> HttpMetrics:
    """Give `app` the edge; call it once, after the other middleware.

    `default` is what a path asks for that no rule names; `service` labels the metrics. Within a
    request ``request.state.request_id`` and ``request.state.api_key`` (an `ApiKey` or None) are
    set; `actor_of(request)` names the caller for the records. Routes declare whole paths, so that
    metrics and rules name them alike.
    """
    chosen = metrics if metrics is not None else HttpMetrics()
    gate = Gate(api_keys, default, rules)
    install_problem_handlers(app)
    document_edge(app, gate)
    app.add_middleware(
        EdgeMiddleware,
        service=service,
        gate=gate,
        limits=limits if limits is not None else EdgeLimits(),
        metrics=chosen,
    )
    return chosen
