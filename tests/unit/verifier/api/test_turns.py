"""Time and turns of requests over HTTP: one deadline for all steps, owners one after the other."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

import httpx
import pytest

from verifier.api.testing import ScriptedInference, ScriptedVerifier, scripted_verifier
from verifier.edge import KeyScope, new_api_key
from verifier.pipeline.batching import BatchLimits
from verifier.settings import Settings, load_settings
from verifier.streaming.testing import embedding_of
from verifier.types import Frame

LIMIT_S = 0.5


def body_of(verifier: ScriptedVerifier, picture: Any, route: str, subject: str, shot: int) -> Any:
    """Write a request of a subject whose picture is told by its shot."""
    if route == "/v1/templates":
        return {"subject": subject, "photo": picture("li", shot=shot)}
    if route == "by photograph":
        return {"reference_photo": picture("li"), "frames": [picture("li", shot=shot)]}
    blob = verifier.vault.seal(subject=subject, embedding=embedding_of("li"), quality={})
    template = base64.b64encode(blob).decode("ascii")
    return {"subject": subject, "template": template, "frames": [picture("li", shot=shot)]}


@pytest.mark.parametrize("route", ["/v1/verify", "/v1/templates", "by photograph"])
async def test_all_steps_share_one_deadline(
    monkeypatch: pytest.MonkeyPatch, picture: Any, route: str
) -> None:
    """Steps of 0.6 of the limit each are too slow together, though none is by itself."""
    for step in ("decode", "assess"):
        original = getattr(ScriptedInference, step)

        def slow(self: Any, *given: Any, _original: Any = original, **more: Any) -> Any:
            time.sleep(0.6 * LIMIT_S)
            return _original(self, *given, **more)

        monkeypatch.setattr(ScriptedInference, step, slow)
    made = scripted_verifier(limits=BatchLimits(workers=1, timeout_s=LIMIT_S))
    transport = httpx.ASGITransport(made.app)
    path = "/v1/verify" if route == "by photograph" else route
    body = body_of(made, picture, route, "li", 0)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post(path, json=body)
        items = (
            await client.post("/v1/verify:batch", json={"items": [body]})
            if (path == "/v1/verify")
            else None
        )
    await made.batcher.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"]
    if items is not None:
        assert items.json()["results"][0]["problem"]["code"] == "overloaded"


@pytest.mark.parametrize("route", ["/v1/verify", "/v1/templates"])
@pytest.mark.parametrize(
    "modest", [("lms", "wang"), ("other", "li")], ids=["another person", "another key"]
)
async def test_whoever_asks_for_much_waits_behind_himself(
    monkeypatch: pytest.MonkeyPatch, picture: Any, route: str, modest: tuple[str, str]
) -> None:
    """Of two owners, a key with a subject each, the second is served after one of the first."""
    gate, seen = threading.Event(), []
    original = ScriptedInference.decode

    def decode(self: ScriptedInference, data: bytes) -> Frame:
        assert gate.wait(10)
        seen.append(data)
        return original(self, data)

    monkeypatch.setattr(ScriptedInference, "decode", decode)
    secrets, lines = {}, []
    for name in ("lms", "other"):
        secrets[name], line = new_api_key(name, [KeyScope.VERIFIER])
        lines.append(line)
    settings = load_settings(Settings, api_keys=tuple(lines))
    limits = BatchLimits(workers=1, max_batch=1, window_ms=0)
    made = scripted_verifier(settings=settings, limits=limits)
    asked = [("lms", "li")] * 4 + [modest]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(made.app), base_url="http://127.0.0.1"
    ) as client:
        tasks = []
        for shot, (key, subject) in enumerate(asked):
            body = body_of(made, picture, route, subject, shot)
            call = client.post(route, json=body, headers={"X-API-Key": secrets[key]})
            tasks.append(asyncio.create_task(call))
            while made.batcher._queue.pending <= shot:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.001)
        gate.set()
        answers = await asyncio.gather(*tasks)
    await made.batcher.close()
    assert [answer.status_code for answer in answers] == [200] * 5
    sent = [base64.b64decode(picture("li", shot=shot)) for shot in range(5)]
    order = [sent.index(data) for data in seen]
    assert order.index(4) == 2, "after the one that ran and the first of those that waited"
    assert [number for number in order if number != 4] == [0, 1, 2, 3]
