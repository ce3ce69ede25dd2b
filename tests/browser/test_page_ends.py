"""How lessons end, and why one may not begin: in the page's own words."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from session_tracker.events import CloseReason
from session_tracker.refusals import OPENING, StudiesElsewhere
from tests.browser.fake_service import problem
from tests.browser.learner_page import (
    LESSON,
    RUNS,
    begin,
    learner,
    readable,
    until_true,
    worded,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_how_a_lesson_ended(browser: Browser, pages: str) -> None:
    """Every way to end is told in plain words; a fault of ours is called one, and blames nobody."""
    async with learner(browser, pages, LESSON) as (service, page):
        for reason in CloseReason:
            await page.goto(f"{pages}/learn/?{reason}{LESSON}")
            service.running(0)
            await begin(service, page)
            service.view |= {"state": "closed", "reason": reason, "play": False}
            await expect(page.locator("h1")).to_have_text("学习结束")
            text = await page.locator("main").inner_text()
            assert not re.search(r"[a-z]{3}", text)
            await readable(page)
            if reason is not CloseReason.LEARNER:
                assert len(await page.locator(".note").inner_text()) > 12
            asks = reason in {CloseReason.LEARNER, CloseReason.EXPIRED}
            assert ("不一致" in text) is asks
            assert ("不是您的责任" in text) is (reason is CloseReason.SYSTEM_ERROR)


async def test_who_may_not_begin_hears_why(browser: Browser, pages: str) -> None:
    """Every refusal to open a session is told in the page's words, not in the service's."""
    refusals = [(kind.status, kind("").code) for kind in OPENING if kind is not StudiesElsewhere]
    others = [(403, "something_new"), (500, "internal_error"), (503, "storage_error")]
    async with learner(browser, pages, LESSON) as (service, page):
        for status, code in [*refusals, *others]:
            problem = {"status": status, "code": code, "detail": "raw words", "remedy": "of ours"}
            service.refuses["/v1/me/sessions"] = (status, problem)
            await page.goto(f"{pages}/learn/?{code}{LESSON}")
            await page.get_by_text("打开摄像头并开始").click()
            note = page.locator(".note")
            await expect(note).to_be_visible()
            text = (await note.inner_text()).replace("something_new", "")
            assert not re.search(r"[a-z]{3}", text), text
            if (status, code) in refusals:
                assert await worded(page, f"problem.{code}") in text
            await readable(page)


async def test_suspended(browser: Browser, pages: str) -> None:
    """A suspended session names the people who will look at it, and blames nobody."""
    async with learner(browser, pages, LESSON) as (service, page):
        await begin(service, page)
        service.view |= {"state": "suspended", "reason": "mismatch", "play": False}
        await expect(page.locator(".note")).to_contain_text("机器也会出错")
        await expect(page.locator("main")).to_contain_text("这次没有计入学时")
        await readable(page)


async def test_all_that_was_credited_is_shown_at_the_end(browser: Browser, pages: str) -> None:
    """Whatever ended a lesson, the page asks once more, shows all that counts, and says so."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running(0)
        await begin(service, page)
        await until_true(page, RUNS)
        service.running(140)
        service.view |= {"state": "settled", "reason": "taken_over", "play": False}
        service.refuses["/playback"] = problem(409, "taken_over")
        await expect(page.locator("p.credited")).to_have_text("这次计入 2 分 20 秒")
        await expect(page.locator("main")).to_contain_text("这次计入的时间已全部显示")


async def test_what_is_not_shown_yet_is_not_called_nothing(browser: Browser, pages: str) -> None:
    """Where the service does not tell how a lesson ended, its last minutes are yet to come."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running(0)
        await begin(service, page)
        for path in ("/ses_1", "/playback"):
            service.refuses[path] = problem(404, "not_found")
        await expect(page.locator("h1")).to_have_text("学习结束")
        await expect(page.locator("main")).to_contain_text("最后几分钟计入的时间还没有显示")
        await expect(page.locator("main")).not_to_contain_text("没有计入学时")
