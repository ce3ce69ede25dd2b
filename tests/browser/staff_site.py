"""A served tracker with things for staff to see: a spoof, a certificate, people who wait.

The sessions are scripted (no pictures); keys, routes, decisions and the ledger are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page

from benren.server import listening
from session_tracker.api.app import create_app
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from tests.browser.browsing import phone
from verifier.edge import ApiKeys, KeyScope, new_api_key
from verifier.types import Decision

KEYS: Final = {
    name: new_api_key(name, [KeyScope.REVIEWER, KeyScope.STAFF]) for name in ("li-hua", "wang-fang")
} | {"inspector": new_api_key("inspector", [KeyScope.INSPECTOR])}
NAME: Final = "欧阳明"


@dataclass
class Site:
    """A served tracker with a suspended session (a spoof) and a certificate."""

    studio: Studio
    url: str
    number: str
    code: str
    spoofed: str
    """The suspended session."""


@asynccontextmanager
async def staff_site(place: Path) -> AsyncIterator[Site]:
    """Hold up a photograph, then study for a certificate; `place` is the file of the database."""
    studio = Studio(f"sqlite:///{place}", policy=load_policy("demo"))
    await studio.start()
    try:
        await studio.service.registry.people.record(
            studio.learner_id, name=NAME, identity_number="11010519491231002X"
        )
        spoofed = await studio.open(media="lesson-3")
        await spoofed.watch(120)
        studio.verifier.show(spoofed.id, Decision.SPOOF)
        await spoofed.watch(600)
        await studio.service.settled()
        for media in ("lesson-1", "lesson-2"):
            lesson = await studio.open(media=media)
            await lesson.watch(300)
            view = await lesson.close()
        assert view.certificate is not None
        issued = await studio.service.certification.issued(view.certificate)
        keys = ApiKeys.parse(line for _, line in KEYS.values())
        async with listening(create_app(studio.service, api_keys=keys)) as url:
            code = json.loads(issued.document)["check_code"]
            yield Site(studio, url, view.certificate, code, spoofed.id)
    finally:
        await studio.stop()


@asynccontextmanager
async def desk(browser: Browser, site: Site, who: str, **options: Any) -> AsyncIterator[Page]:
    """Sign in at the staff's page."""
    async with phone(browser, **options) as page:
        await page.goto(f"{site.url}/review/")
        await sign_in(page, who)
        yield page


async def sign_in(page: Page, who: str) -> None:
    """Hand in somebody's key."""
    await page.locator("#key").fill(KEYS[who][0])
    await page.get_by_role("button", name="登录").click()


async def revoke(site: Site) -> None:
    """Revoke the certificate, in words."""
    context = site.studio.service.context()
    await site.studio.service.certification.revoke(
        site.number, actor="course", reason="由他人代学", context=context
    )
