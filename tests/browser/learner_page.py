"""A learner's phone on the page, against a service that says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import illegible, phone
from tests.browser.fake_service import FakeService

LESSON = "#/lesson/foshan-2021/lesson-1"
SECOND_LESSON = "#/lesson/foshan-2021/lesson-2"
CHALLENGE = {"id": "c1", "steps": 3, "step": 1, "remaining_ms": 8_000, "attempt": 1, "turn": "left"}
SIGNED_IN = json.dumps({"learner_token": "lrt_1", "expires_utc_ms": 4_000_000_000_000})
RUNS = "document.querySelector('.lesson-video')?.paused === false"
STANDS = "document.querySelector('.lesson-video')?.paused === true"
WORDS = {
    "left": "请向左转头",
    "right": "请向右转头",
    "up": "请抬头向上看",
    "down": "请低头向下看",
    "centre": "请看着正前方",
}


@asynccontextmanager
async def learner(
    browser: Browser, pages: str, path: str = "", *, signed_in: bool = True, **options: Any
) -> AsyncIterator[tuple[FakeService, Page]]:
    """A learner's phone on the page, with Chromium's own moving camera."""
    service = FakeService()
    async with phone(browser, **options) as page:
        await service.attend(page)
        if signed_in:
            keep = f"localStorage.setItem('benren.learner', {SIGNED_IN!r})"
            await page.add_init_script(keep)
        await page.goto(f"{pages}/learn/{path}")
        yield service, page


async def begin(service: FakeService, page: Page) -> None:
    """Open the camera and start, until frames arrive."""
    await page.get_by_text("打开摄像头并开始").click()
    await expect(page.locator(".stage")).to_be_visible()
    await until(lambda: len(service.frames) > 0)


async def until(condition: Any, seconds: float = 15) -> None:
    """Wait until it holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


async def until_true(page: Page, expression: str) -> None:
    """Wait until an expression holds in the page, whose policy forbids waiting inside it."""
    for _ in range(200):
        if await page.evaluate(expression):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not come true: {expression}")


async def worded(page: Page, key: str) -> str:
    """The page's own words, in the language that it shows."""
    text = await page.evaluate("async key => (await import('/web/shared/i18n.js')).t(key)", arg=key)
    return str(text)


async def readable(page: Page) -> None:
    """Nothing on the page is too pale, too small, nameless or cut off."""
    assert await illegible(page) == []
