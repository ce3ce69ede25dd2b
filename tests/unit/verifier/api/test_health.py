"""The operators' routes, and how often readiness really tests."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from verifier.api.health import NotReady, Readiness
from verifier.api.testing import ScriptedVerifier
from verifier.errors import InferenceFailed


async def test_health_is_about_the_process_only(
    caller: httpx.AsyncClient, verifier: ScriptedVerifier
) -> None:
    """A broken engine makes the service unready, not dead."""
    assert (await caller.get("/readyz")).json() == {"status": "ok"}
    verifier.engine.broken = InferenceFailed("NaN")
    assert (await caller.get("/healthz")).json() == {"status": "ok"}


async def test_unready_tells_why(caller: httpx.AsyncClient, verifier: ScriptedVerifier) -> None:
    """The probe gets 503, the reason and a time to ask again; unforeseen reasons stay inside."""
    verifier.engine.broken = InferenceFailed("The detector gave NaN.")
    answer = await caller.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"] == "The detector gave NaN."
    assert answer.headers["retry-after"] == "5"


class Test:
    """A self-test that counts, waits and fails as told."""

    __test__ = False

    def __init__(self) -> None:
        self.runs = 0
        self.failure: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self) -> None:
        """Count a run."""
        self.runs += 1
        await self.hold.wait()
        if self.failure is not None:
            raise self.failure


async def test_many_probes_cost_one_inference() -> None:
    """Probes at the same time, and for some seconds after, share one result."""
    test = Test()
    readiness = Readiness(test, fresh_s=1_000)
    await asyncio.gather(*(readiness.check() for _ in range(20)))
    await readiness.check()
    assert test.runs == 1


async def test_a_stale_result_is_tested_again() -> None:
    """Failure and recovery are noticed once the result is stale."""
    test = Test()
    readiness = Readiness(test, fresh_s=0)
    await readiness.check()
    test.failure = ZeroDivisionError("swordfish")
    with pytest.raises(NotReady) as error:
        await readiness.check()
    assert "swordfish" not in str(error.value)
    test.failure = None
    await readiness.check()
    assert test.runs == 3


async def test_an_inference_that_hangs_is_not_ready() -> None:
    """Readiness answers in bounded time."""
    test = Test()
    test.hold.clear()
    with pytest.raises(NotReady, match="not judged within"):
        await Readiness(test, timeout_s=0.01).check()


async def test_version_names_everything(caller: httpx.AsyncClient) -> None:
    """Release, pack, models with digests, provider and profile."""
    version = (await caller.get("/version")).json()
    assert version["pack"] == "open"
    assert version["models"]["detector"] == "scripted@00"
    assert version["providers"] == ["scripted"]
    assert version["profile_version"] == "scripted-1"
    assert version["version"][0].isdigit()


async def test_metrics_show_http_decisions_and_stages(
    caller: httpx.AsyncClient, picture: Any, enrol: Any
) -> None:
    """One page has the edge's, the batcher's and the verifier's numbers."""
    body = await enrol("li") | {"frames": [picture("wang")]}
    await caller.post("/v1/verify", json=body)
    answer = await caller.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'benren_verdicts_total{decision="mismatch"} 1.0',
        'benren_verdict_reasons_total{reason="not_the_same_person"} 1.0',
        'benren_stage_seconds_count{stage="scripted"} 1.0',
        'benren_http_requests_total{method="POST",route="/v1/verify",service="verifier",'
        'status="200"} 1.0',
        "benren_images_waiting 0.0",
    ):
        assert line in answer.text, line
