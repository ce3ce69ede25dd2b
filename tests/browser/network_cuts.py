"""Network cuts of 10, 60 and 200 s, as a telephone meets them: every packet is lost.

Run by `test_lesson_soak.py` in a network namespace of its own, where the loopback device can be
switched off; not collected otherwise.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.browsing import browser_running
from tests.browser.studying import LONG, credited_after, now_of, studying
from tests.browser.test_lesson import LOOPBACK
from tests.browser.whole import Album, Whole, whole_service

pytestmark = [
    pytest.mark.soak,
    pytest.mark.models,
    pytest.mark.faces,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory, album: Album) -> AsyncIterator[Whole]:
    """A service whose lesson is longer than any test."""
    async with whole_service(tmp_path_factory.mktemp("cuts"), album.pack_dir, LONG) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_browser() -> AsyncIterator[Browser]:
    """A browser whose WebRTC works, on loopback."""
    async with browser_running(LOOPBACK) as running:
        yield running


@pytest.mark.parametrize(("cut_s", "reason"), [(10, None), (60, "network_gap")])
async def test_network_cut(
    whole: Whole,
    open_browser: Browser,
    album: Album,
    cut_s: int,
    reason: str | None,
) -> None:
    """Up to 30 s the bracket goes on; longer, the lesson waits, and the gap is not credited."""
    async with studying(whole, open_browser, album) as lesson:
        began = now_of(await lesson.story())
        await cut(cut_s)
        story = await lesson.gains(began + 1_000 * cut_s, 5_000, seconds=90)
        pauses = [fact["data"]["reason"] for fact in await lesson.facts("paused")]
        assert ("network_gap" in pauses) == (reason is not None)
        gap = credited_after(story, began) - credited_after(story, began + 1_000 * cut_s)
        assert gap <= (1_000 * cut_s if reason is None else 1_500)


async def test_network_away_for_too_long(whole: Whole, open_browser: Browser, album: Album) -> None:
    """After 120 s without a frame the session is closed at the last pass; the page explains."""
    async with studying(whole, open_browser, album) as lesson:
        began = now_of(await lesson.story())
        await cut(200)
        closed = await lesson.until_fact("closed", 30)
        assert closed["data"]["reason"] == "network_gap"
        await expect(lesson.page.locator(".note")).to_contain_text("断网太久", timeout=40_000)
        assert credited_after(await lesson.story(), began) <= 1_500


async def cut(seconds: float) -> None:
    """Lose every packet for a while; browser and test talk over pipes."""
    await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "lo", "down"], check=True)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "lo", "up"], check=True)
