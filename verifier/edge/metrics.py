"""What the HTTP edge counts, in a Prometheus registry of its own."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpMetrics:
    """Requests by route and status. One object serves several apps: `service` tells them apart."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._requests = Counter(
            "benren_http_requests_total",
            "HTTP requests answered.",
            ("service", "method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "benren_http_request_seconds",
            "Time from the request line to the end of the answer.",
            ("service", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._rejected = Counter(
            "benren_http_problems_total",
            "Requests answered with problem details, by code.",
            ("service", "code"),
            registry=self.registry,
        )
        self._in_progress = Gauge(
            "benren_http_requests_in_progress",
            "HTTP requests being answered.",
            ("service",),
            registry=self.registry,
        )

    def started(self, service: str) -> None:
        """Count a request in."""
        self._in_progress.labels(service).inc()

    def finished(
        self, service: str, *, method: str, route: str, status: int, code: str, seconds: float
    ) -> None:
        """Count a request out; `route` is the pattern of the path, `code` empty without problem."""
        self._in_progress.labels(service).dec()
        verb = method if method in _METHODS else "OTHER"
        self._requests.labels(service, verb, route, str(status)).inc()
        self._seconds.labels(service, route).observe(seconds)
        if code:
            self._rejected.labels(service, code).inc()

    def response(self) -> Response:
        """Show the whole registry in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
