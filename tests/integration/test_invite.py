"""`benren invite` and `benren approve` against a service: what an operator tries the page with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from typer.testing import CliRunner

from benren.cli import app
from benren.server import listening
from session_tracker.api import app as tracker
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.api.app import Guests, create_app
from verifier.api.testing import scripted_verifier
from verifier.settings import Settings
from verifier.streaming.testing import scene


@pytest_asyncio.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    """Both services in one app, on loopback, without keys."""
    studio = Studio(database_url, policy=load_policy("sample"))
    await studio.start()
    site = scripted_verifier()
    app = create_app(
        batcher=site.batcher,
        vault=site.vault,
        keyring=site.keyring,
        clock=site.clock,
        settings=Settings(),
        guests=Guests(
            routers=(tracker.tracker_router(studio.service, enroller=studio.enroller),),
            rules=tracker.RULES,
        ),
    )
    async with listening(app) as where:
        yield where
    await site.batcher.close()
    await studio.stop()


async def _run(*words: str) -> dict[str, Any]:
    """Run a command in a thread: it has an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def _me(http: httpx.AsyncClient, link: str) -> dict[str, Any]:
    """Sign in with a link, and give where the learner stands."""
    body = {"link_token": link.partition("#t=")[2]}
    signed_in = (await http.post("/v1/me/sign-in", json=body)).json()
    headers = {"Authorization": f"Bearer {signed_in['learner_token']}"}
    me: dict[str, Any] = (await http.get("/v1/me", headers=headers)).json()
    return me


async def test_a_newcomer_is_invited(address: str) -> None:
    """The link signs a new learner in, under the id that was printed."""
    invited = await _run("invite", "--server", address, "--track", "initial")
    assert invited["link"].startswith(f"{address}/learn/#t=inv_")
    async with httpx.AsyncClient(base_url=address) as http:
        me = await _me(http, invited["link"])
        assert (me["learner_id"], me["track"]) == (invited["learner_id"], "initial")
        assert me["face"] is None


async def test_a_photograph_that_staff_have_checked_needs_no_more(
    address: str, tmp_path: Path
) -> None:
    """With --photo the learner may study at once; a second invitation is for the same learner."""
    photo = tmp_path / "card.jpg"
    photo.write_bytes(scene("li"))
    words = ("invite", "--server", address, "--track", "initial", "--photo", str(photo))
    learner_id = (await _run(*words))["learner_id"]
    again = await _run("invite", "--server", address, "--learner", learner_id)
    assert again["learner_id"] == learner_id
    async with httpx.AsyncClient(base_url=address) as http:
        face = (await _me(http, again["link"]))["face"]
    assert face is not None
    assert (face["state"], face["provisional"]) == ("approved", False)
    approved = await _run("approve", learner_id, "--reason", "seen", "--server", address)
    assert approved["state"] == "approved"


async def test_a_missing_photograph_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is told before anything is asked of the service."""
    words = ["invite", "--photo", str(tmp_path / "nowhere.jpg")]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 1
    assert "nowhere.jpg" in str(result.exception)
