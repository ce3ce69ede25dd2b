"""What the verifier counts beside HTTP: decisions, reasons, stages, the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from verifier.types import Reason, Verdict

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_WAITS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class VerifierMetrics:
    """Counts verdicts and refusals; `BatchObserver` of the batcher, `LookObserver` of streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "benren_verdicts_total", "Verdicts by decision.", ("decision",), registry=registry
        )
        self._reasons = Counter(
            "benren_verdict_reasons_total", "Reasons of verdicts.", ("reason",), registry=registry
        )
        self._refusals = Counter(
            "benren_template_refusals_total",
            "Why photographs did not become templates.",
            ("reason",),
            registry=registry,
        )
        self._templates = Counter("benren_templates_total", "Templates made.", registry=registry)
        self._waiting = Gauge(
            "benren_images_waiting", "Images that wait for a worker.", registry=registry
        )
        self._turned_away = Counter(
            "benren_images_turned_away_total",
            "Jobs refused by the queue: full, bytes, bulk, owner, large, late or closing.",
            ("reason",),
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "benren_stage_seconds",
            "Time of one batch of a stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait_seconds = Histogram(
            "benren_job_wait_seconds",
            "Time that the first job of a batch waited.",
            ("job",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_images = Histogram(
            "benren_batch_images",
            "Images of a batch.",
            ("job",),
            buckets=_SIZES,
            registry=registry,
        )

        self._look_seconds = Histogram(
            "benren_look_seconds",
            "From the arrival of a frame until what was seen of its identity was recorded.",
            buckets=_WAITS,
            registry=registry,
        )
        self._looks_passed_over = Counter(
            "benren_looks_passed_over_total",
            "Identity samples that were due and not taken: inference was too far behind.",
            registry=registry,
        )

    def judged(self, verdict: Verdict) -> None:
        """Count a verdict and its reasons."""
        self._decisions.labels(verdict.decision.value).inc()
        for reason in verdict.reasons:
            self._reasons.labels(reason.value).inc()

    def enrolled(self, reasons: tuple[Reason, ...]) -> None:
        """Count a template, or the reasons why there is none."""
        if not reasons:
            self._templates.inc()
        for reason in reasons:
            self._refusals.labels(reason.value).inc()

    def waiting(self, images: int) -> None:
        """Show how many images wait."""
        self._waiting.set(images)

    def ran(
        self, job: str, *, images: int, waited_s: float, stages_ms: Mapping[str, float]
    ) -> None:
        """Note a batch."""
        self._wait_seconds.labels(job).observe(waited_s)
        self._batch_images.labels(job).observe(images)
        for stage, took_ms in stages_ms.items():
            self._stage_seconds.labels(stage).observe(took_ms / 1000)

    def turned_away(self, reason: str) -> None:
        """Count a refused job."""
        self._turned_away.labels(reason).inc()

    def look_taken(self, waited_ms: int) -> None:
        """Note an identity sample of a stream."""
        self._look_seconds.observe(waited_ms / 1000)

    def look_passed_over(self) -> None:
        """Count an identity sample that was due and not taken."""
        self._looks_passed_over.inc()
