"""Every state of every page can be read, heard and reached by keys; narrow and in English, too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page

from tests.browser.browsing import NARROW, PHONE, illegible, speak, unreachable
from tests.browser.fake_service import FakeService
from tests.browser.screens import LEARNERS, STAFFS, learner_on, site_on
from tests.browser.staff_site import Site
from tests.browser.tours import Tour

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def faults_of(page: Page, states: AsyncIterator[str]) -> list[str]:
    """Go on a tour and list what is wrong, by state."""
    found: list[str] = []
    seen: list[str] = []
    async for name in states:
        seen.append(name)
        faults = [*await illegible(page), *await unreachable(page)]
        await speak(page, "en")
        await page.set_viewport_size(NARROW)
        faults += [f"narrow: {fault}" for fault in await illegible(page)]
        await page.set_viewport_size(PHONE)
        await speak(page, "zh")
        found += [f"{name}: {fault}" for fault in faults]
    assert seen
    return found


@pytest.mark.parametrize("tour", LEARNERS, ids=lambda tour: tour.name)
async def test_every_state_of_the_learners_page(
    browser: Browser, pages: str, tour: Tour[FakeService]
) -> None:
    """Contrast, size, names, headings, no overlap; every button by the tab key, and seen there."""
    async with learner_on(browser, pages, tour) as (page, states):
        assert await faults_of(page, states) == []


@pytest.mark.parametrize("tour", STAFFS, ids=lambda tour: tour.name)
async def test_every_state_of_the_pages_for_staff(browser: Browser, tour: Tour[Site]) -> None:
    """The same of the desks and of the public check."""
    async with site_on(browser, tour) as (page, states):
        assert await faults_of(page, states) == []
