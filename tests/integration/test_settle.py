"""`benren settle --write` against a service: what differs is settled anew there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from benren.cli import app
from benren.server import listening
from session_tracker import settle_all as module
from session_tracker.api.app import create_app
from session_tracker.policy import load_policy
from session_tracker.records import Course
from session_tracker.settle_all import Graded
from session_tracker.settlement import Settlement
from session_tracker.store.writer import Transaction
from session_tracker.testing import Studio
from verifier.edge import ApiKeys, KeyScope, new_api_key
from verifier.errors import StorageError

ADMIN, ADMIN_LINE = new_api_key("chief", [KeyScope.ADMIN])
COURSE, COURSE_LINE = new_api_key("course", [KeyScope.TRACKER])


class Site:
    """A tracker that listens, with a certificate whose hours are void by now."""

    def __init__(self, studio: Studio, address: str, number: str) -> None:
        self.studio = studio
        self.address = address
        self.number = number

    async def settle(self, key: str, *more: str) -> Result:
        """Run the command in a thread: it has an event loop of its own."""
        words = ["settle", "--write", "--server", self.address, "--api-key", key, *more]
        return await asyncio.to_thread(CliRunner().invoke, app, words)


@pytest_asyncio.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    """Study for a certificate, then take away what it rests on."""
    studio = Studio(database_url, policy=load_policy("demo"))
    await studio.start()
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None

    async def doubt(tx: Transaction) -> None:
        await tx.connection.execute(text("UPDATE templates SET provenance = 'self_live'"))

    await studio.service._database.write(doubt)
    keys = ApiKeys.parse([ADMIN_LINE, COURSE_LINE])
    async with listening(create_app(studio.service, api_keys=keys)) as address:
        yield Site(studio, address, view.certificate)
    await studio.stop()


async def test_it_revokes_what_the_hours_do_not_bear(site: Site) -> None:
    """The public check says so at once; a second pass finds nothing to do."""
    done = await site.settle(ADMIN, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[0])
    assert (told["revoked"], told["certificate"], told["differing"]) == (site.number, None, 2)
    assert f"The certificate {site.number} was revoked" in done.stderr
    async with httpx.AsyncClient(base_url=site.address) as http:
        seen = (await http.get(f"/v1/certificates/{site.number}")).json()
    assert (seen["state"], seen["reason"]) == ("revoked", "hours_void")
    again = json.loads((await site.settle(ADMIN, "--json")).stdout.splitlines()[0])
    assert (again["revoked"], again["differing"]) == (None, 0)


async def test_only_an_administrator_may(site: Site) -> None:
    """Another key is refused, and nothing has happened."""
    refused = await site.settle(COURSE)
    assert refused.exit_code != 0
    issued = await site.studio.service.certification.issued(site.number)
    assert issued.revoked_ms is None
    clash = await site.settle(ADMIN, "--db", "sqlite:///x")
    assert clash.exit_code == 2


async def test_a_pass_that_breaks_off_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer lacks its end then: the command fails, and the next one ends the work."""
    studio = site.studio
    studio.learner_id, studio.consent_id = await studio.enrol()
    lesson = await studio.open()
    await lesson.watch(60)
    await lesson.close()
    grading = studio.service._stage.grading
    real, calls = grading.grade, 0

    async def once(course: Course, settlement: Settlement | None = None) -> Graded:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise StorageError("The disk is full.")
        return await real(course, settlement)

    monkeypatch.setattr(module, "_AT_ONCE", 1)
    monkeypatch.setattr(grading, "grade", once)
    failed = await site.settle(ADMIN)
    assert (failed.exit_code, calls) == (1, 2)
    monkeypatch.setattr(grading, "grade", real)
    assert "2 courses" in (await site.settle(ADMIN)).stderr
