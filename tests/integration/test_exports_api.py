"""Exports and the outbox over HTTP: who may have them, and how they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from session_tracker.api.app import create_app
from session_tracker.testing import Studio
from verifier.edge import ApiKeys, KeyScope, new_api_key

KEYS = {scope: new_api_key(f"key-{scope}", [scope]) for scope in KeyScope}
PERIOD = "since_ms=0&until_ms=9007199254740991"


@pytest_asyncio.fixture
async def http(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    """A tracker with one settled lesson."""
    lesson = await studio.open()
    await lesson.watch(60)
    await lesson.close()
    app = create_app(studio.service, api_keys=ApiKeys.parse(line for _, line in KEYS.values()))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://tracker") as made:
        yield made


def by(scope: KeyScope) -> dict[str, str]:
    """Headers of somebody with that scope."""
    return {"Authorization": f"Bearer {KEYS[scope][0]}"}


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (f"hours?format=jsonl&{PERIOD}", 3),
        (f"hours?{PERIOD}", 2),
        (f"xapi?{PERIOD}", 1),
        ("scores", 1),
        (f"sample?seed=dice&{PERIOD}", 2),
        ("hours?since_ms=5&until_ms=5", 1),
    ],
)
async def test_exports_are_streamed(http: httpx.AsyncClient, path: str, lines: int) -> None:
    """Each comes as an attachment, not to be kept by caches; an empty period is no error."""
    answer = await http.get(f"/v1/exports/{path}", headers=by(KeyScope.INSPECTOR))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "attachment" in answer.headers["content-disposition"]
    assert len(answer.text.splitlines()) == lines
    if answer.headers["content-type"].startswith("text/csv"):
        assert next(csv.reader(io.StringIO(answer.text)))[0] == "session_id"
    else:
        assert all(json.loads(line) for line in answer.text.splitlines())


@pytest.mark.parametrize("scope", [*KeyScope])
async def test_who_may_have_exports(http: httpx.AsyncClient, scope: KeyScope) -> None:
    """Trackers, inspectors and administrators."""
    answer = await http.get("/v1/exports/scores", headers=by(scope))
    allowed = scope in (KeyScope.TRACKER, KeyScope.INSPECTOR, KeyScope.ADMIN)
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize("scope", [*KeyScope])
async def test_the_outbox_is_for_administrators(http: httpx.AsyncClient, scope: KeyScope) -> None:
    """A replay names a receiver that is configured, and takes no address."""
    status = 200 if scope is KeyScope.ADMIN else 403
    assert (await http.get("/v1/outbox", headers=by(scope))).status_code == status
    for body, expected in (
        ({"target": "nobody", "since_ms": 0}, 404),
        ({"target": "nobody", "since_ms": 0, "url": "http://10.0.0.1/"}, 422),
    ):
        answer = await http.post("/v1/outbox/replay", headers=by(scope), json=body)
        assert answer.status_code == (expected if status == 200 else 403)
