"""The app as a whole: which paths are open, and to whom."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from verifier.api.app import batch_limits
from verifier.api.testing import ScriptedInference, scripted_verifier
from verifier.edge import KeyScope, new_api_key
from verifier.errors import ConfigurationError
from verifier.models.lanes import Lanes
from verifier.pipeline.batching import Batcher
from verifier.settings import Settings, load_settings
from verifier.types import Frame

OPEN = {"/healthz", "/readyz"}


async def test_every_path_but_the_probes_needs_a_key() -> None:
    """Of all documented operations a stranger reaches the probes only."""
    secret, line = new_api_key("lms", [KeyScope.VERIFIER])
    made = scripted_verifier(settings=load_settings(Settings, api_keys=(line,)))
    transport = httpx.ASGITransport(made.app, client=("10.0.0.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://verifier") as stranger:
        for path, item in made.app.openapi()["paths"].items():
            for method in item:
                answer = await stranger.request(method, path.replace("{stream_id}", "abc"))
                expected = 200 if path in OPEN else 401
                assert answer.status_code == expected, (method, path, answer.text)
        for path in ("/openapi.json", "/docs", "/redoc"):
            assert (await stranger.get(path)).status_code == 401
        stranger.headers["X-API-Key"] = secret
        assert (await stranger.get("/version")).status_code == 200
        assert (await stranger.get("/openapi.json")).status_code == 200
        assert (await stranger.get("/docs")).status_code == 404
    await made.batcher.close()


def test_wrong_api_keys_stop_the_start() -> None:
    """A broken line is told before the port opens."""
    with pytest.raises(ConfigurationError, match="API key 1"):
        scripted_verifier(settings=load_settings(Settings, api_keys=("nonsense",)))


def test_every_operation_has_a_summary_and_examples() -> None:
    """The document is made for readers: each operation says what it is, bodies show examples."""
    made = scripted_verifier()
    document = made.app.openapi()
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["description"], path
    for name in ("CreateTemplate", "VerifyByTemplate", "VerifyByPhoto"):
        assert schemas[name]["examples"]


async def test_the_app_works_without_lifespan() -> None:
    """Mounted below another app nothing depends on start-up hooks."""
    made = scripted_verifier()
    transport = httpx.ASGITransport(made.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/readyz")).status_code == 200
    await made.batcher.close()


def test_batch_limits_follow_the_settings() -> None:
    """Every knob of the section arrives."""
    settings = load_settings(Settings, batching={"max_batch": 4, "timeout_s": 3, "window_ms": 0})
    limits = batch_limits(settings, processors=6)
    assert (limits.workers, limits.max_batch, limits.timeout_s, limits.window_ms) == (6, 4, 3, 0)


@pytest.mark.parametrize(
    ("provider", "runs", "workers"),
    [
        ("cpu", ["CPUExecutionProvider"], 3),
        ("cuda", ["CUDAExecutionProvider"], 6),
        ("auto", ["OpenVINO CPU", "CPUExecutionProvider"], 3),
        ("auto", ["CPUExecutionProvider", "CUDAExecutionProvider"], 6),
    ],
)
def test_workers_follow_what_runs_the_networks(
    provider: str, runs: list[str], workers: int
) -> None:
    """Not what was asked for: where a GPU computes, there are workers that wait for it besides."""
    settings = load_settings(Settings, provider=provider)
    assert batch_limits(settings, 3, runs).workers == workers


class OnLanes(ScriptedInference):
    """An engine that asks a held-back GPU for the faces."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes, self.gate = Lanes(), threading.Event()
        self.begun = threading.Semaphore(0)

    def detect(self, frames: Sequence[Frame], **_: Any) -> Any:
        """Find nobody, once the GPU has answered."""
        key = frames[0].digest
        self.lanes.run(key, np.zeros((len(frames), 1), np.float32), most=32, infer=self._infer)
        return [()] * len(frames)

    def _infer(self, rows: Any) -> tuple[Any, ...]:
        self.begun.release()
        assert self.gate.wait(10)
        return (rows,)


async def test_pictures_are_decoded_while_every_lane_computes(picture: Any) -> None:
    """With the limits of a service on a GPU: preparation does not stand behind computation."""
    engine = OnLanes()
    limits = batch_limits(load_settings(Settings), 2, ["CUDAExecutionProvider"])
    data = base64.b64decode(picture("li"))
    async with Batcher(engine, decode=engine.decode, limits=limits) as batcher:
        frames = [Frame(pixels=np.zeros((2, 2, 3), np.uint8), digest=str(n)) for n in range(2)]
        computing = []
        for frame in frames:
            computing.append(asyncio.create_task(batcher.detect([frame])))
            assert await asyncio.to_thread(engine.begun.acquire, timeout=10)
        assert len(await batcher.decode([data], timeout_s=5)) == 1
        assert not any(task.done() for task in computing)
        engine.gate.set()
        await asyncio.gather(*computing)
