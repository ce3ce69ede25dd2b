"""A lesson under way in a browser, and what the ledger says of it; for tests that take minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import phone
from tests.browser.test_lesson import study
from tests.browser.whole import PROGRAMME, Album, Whole

LONG: Final[dict[str, object]] = {"targets.initial_class_hours": 40, "checks.challenge_share": 0.0}
"""A programme that outlasts the test; challenges at the start and on suspicion only."""
WATCH_S: Final = 15


class Studying:
    """A lesson under way."""

    def __init__(self, whole: Whole, page: Page, learner_id: str, link: str) -> None:
        self.whole = whole
        self.page = page
        self.learner_id = learner_id
        self.link = link

    async def story(self) -> dict[str, Any]:
        """Give what the ledger says of the learner's newest session."""
        course = await self.whole.client.credit(self.learner_id, PROGRAMME)
        return await self.whole.client.explain(course["sessions"][-1]["session_id"])

    async def facts(self, kind: str) -> list[dict[str, Any]]:
        """Give the facts of a kind, the oldest first."""
        return [fact for fact in (await self.story())["facts"] if fact["kind"] == kind]

    async def runs(self, seconds: float = 60) -> None:
        """Wait until time counts."""
        status = self.page.locator(".status.good")
        await expect(status).to_be_visible(timeout=1_000 * seconds)

    async def until_fact(self, kind: str, seconds: float = 60, **data: Any) -> dict[str, Any]:
        """Wait for a fact with such data."""
        for _ in range(int(seconds / 0.5)):
            for fact in await self.facts(kind):
                if data.items() <= fact["data"].items():
                    return fact
            await asyncio.sleep(0.5)
        raise AssertionError(f"no {kind} {data}: {(await self.story())['facts']}")

    async def gains(self, after_ms: int, by_ms: int, seconds: float = 60) -> dict[str, Any]:
        """Wait until so much was credited after an instant; gives the story."""
        for _ in range(int(seconds)):
            story = await self.story()
            if credited_after(story, after_ms) >= by_ms:
                return story
            await asyncio.sleep(1)
        raise AssertionError(f"not credited: {(await self.story())['void']}")


@asynccontextmanager
async def studying(whole: Whole, browser: Browser, album: Album) -> AsyncIterator[Studying]:
    """The genuine learner studies, and has been credited for a while."""
    learner_id, link = await whole.invite()
    await whole.enrol(learner_id, album.id_photo("lady"))
    poses = album.poses("lady")
    async with phone(browser, faces=poses) as page:
        await page.goto(link)
        await page.get_by_text("我已看完，我同意").click()
        await study(page)
        lesson = Studying(whole, page, learner_id, link)
        await lesson.runs()
        await asyncio.sleep(WATCH_S)
        yield lesson


def credited_after(story: dict[str, Any], instant_ms: int) -> int:
    """Sum the credited milliseconds after an instant."""
    return sum(
        max(0, span["end_ms"] - max(span["start_ms"], instant_ms)) for span in story["credited"]
    )


def now_of(story: dict[str, Any]) -> int:
    """The newest instant of a session."""
    return int(story["end_ms"])
