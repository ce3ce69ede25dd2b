"""A verifier on scripted pictures, called without a network."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from verifier.api.testing import ScriptedVerifier, scripted_verifier
from verifier.streaming.testing import Person, scene


@pytest.fixture
async def verifier() -> AsyncIterator[ScriptedVerifier]:
    """A verifier without API keys, which so serves this machine only."""
    made = scripted_verifier()
    yield made
    await made.batcher.close()


@pytest.fixture
async def caller(verifier: ScriptedVerifier) -> AsyncIterator[httpx.AsyncClient]:
    """A caller on this machine."""
    transport = httpx.ASGITransport(verifier.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def picture() -> Callable[..., str]:
    """Write a scene as the base64 of a picture."""

    def write(*people: Person | str, shot: int = 0) -> str:
        return base64.b64encode(scene(*people, shot=shot)).decode()

    return write


@pytest.fixture
def enrol(caller: httpx.AsyncClient, picture: Callable[..., str]) -> Callable[..., Any]:
    """Make a template of a person over HTTP."""

    async def make(who: str, subject: str = "") -> dict[str, str]:
        named = subject or who
        answer = await caller.post("/v1/templates", json={"subject": named, "photo": picture(who)})
        assert answer.status_code == 200, answer.text
        return {"subject": named, "template": answer.json()["template"]}

    return make
