"""A lesson that goes well, on the page: challenge, player, reports, end."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, expect

from tests.browser.learner_page import (
    CHALLENGE,
    LESSON,
    SECOND_LESSON,
    STANDS,
    WORDS,
    begin,
    learner,
    readable,
    until,
    until_true,
)
from verifier.streaming.cues import Turn

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_lesson_from_start_check_to_end(browser: Browser, pages: str) -> None:
    """Arrow and words lead through the challenge; then the video runs and time is the service's."""
    async with learner(browser, pages, LESSON) as (service, page):
        await readable(page)
        await begin(service, page)
        status = page.locator(".status")
        await expect(status).to_contain_text("正在确认是您本人")
        video = page.locator(".lesson-video")
        assert await video.evaluate("video => video.paused")
        for step, turn in enumerate(Turn):
            service.cue(challenge={**CHALLENGE, "step": min(3, 1 + step), "turn": turn.value})
            await expect(page.locator(".turn-words")).to_have_text(WORDS[turn])
            await expect(page.locator("#spoken")).to_have_text(WORDS[turn])
            drawn = await page.locator(".turn-arrow").get_attribute("data-turn")
            assert drawn == (None if turn is Turn.CENTRE else turn)
        await readable(page)
        service.running(754)
        service.cue(challenge=None)
        await expect(page.locator("output.credited")).to_have_text("12:34")
        late = "约晚 2 分 30 秒显示，结束后全部显示"
        await expect(page.locator(".count")).to_contain_text(late)
        await expect(status).to_contain_text("看得到您，学时在计")
        await until_true(page, "document.querySelector('.lesson-video').currentTime > 0.5")
        await readable(page)
        await until(lambda: service.reports and service.reports[-1]["playing"])
        await page.get_by_role("button", name="暂停").click()
        await until(lambda: not service.reports[-1]["playing"])
        assert service.reports[-1]["interaction"]
        assert [r["seq"] for r in service.reports] == list(range(1, len(service.reports) + 1))
        await page.get_by_text("English").click()
        await expect(status).to_contain_text("You pressed pause")
        await page.get_by_role("button", name="End the lesson").click()
        await readable(page)
        await page.get_by_role("button", name="End it").click()
        await expect(page.locator("p.credited")).to_have_text("12 min credited")
        await expect(page.locator("main")).to_contain_text("All the time credited this time")
        await readable(page)


async def test_the_last_report_comes_before_the_end(browser: Browser, pages: str) -> None:
    """Ending by hand reports where the player stands, waits for the answer, and then closes."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        service.view["report_every_s"] = 60
        await begin(service, page)
        await until_true(page, "document.querySelector('.lesson-video').currentTime > 1.5")
        await until(lambda: service.reports and service.reports[-1]["playing"])
        service.holds["/playback"] = asyncio.Event()
        await page.get_by_role("button", name="结束学习").click()
        await page.get_by_role("button", name="结束", exact=True).click()
        await until(lambda: not service.session_calls()[-1][1]["playing"])
        await asyncio.sleep(0.3)
        name, last = service.session_calls()[-1]
        assert name == "playback"
        assert last["media_ms"] > 1_500
        service.refuses["/close"] = (503, {"status": 503, "code": "storage_error", "detail": ""})
        service.holds.pop("/playback").set()
        again = page.get_by_role("button", name="再试一次")
        await expect(again).to_be_visible()
        service.refuses.clear()
        await again.click()
        await expect(page.locator("h1")).to_have_text("学习结束")
        assert [name for name, _ in service.session_calls()[-2:]] == ["playback", "close"]
        assert service.reports[-1]["media_ms"] == last["media_ms"]


async def test_a_report_that_came_too_fast_is_sent_again(browser: Browser, pages: str) -> None:
    """Soon, and with the touch that called for it: the service must hear that the player stands."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        service.view["report_every_s"] = 60
        await begin(service, page)
        await until(lambda: service.reports and service.reports[-1]["playing"])
        problem = {"status": 429, "code": "too_many_requests", "detail": "", "retry_after_s": 1}
        service.refuses["/playback"] = (429, problem)
        await page.get_by_role("button", name="暂停").click()
        await until_true(page, STANDS)
        await asyncio.sleep(0.3)
        service.refuses.clear()
        assert service.reports[-1]["playing"]
        await until(lambda: not service.reports[-1]["playing"], 5)
        assert service.reports[-1]["interaction"]


async def test_a_new_session_begins_where_the_service_knows_of(
    browser: Browser, pages: str
) -> None:
    """What this device showed and could not report was not watched; a reload goes on after it."""
    async with learner(browser, pages, SECOND_LESSON) as (service, page):
        service.me["programmes"][0]["media"][1]["reach_ms"] = 14_000
        seen = "localStorage.setItem('benren.seen.lrn_1', '{\"lesson-2\": 18000}')"
        await page.evaluate(seen)
        await begin(service, page)
        at = "Math.abs(document.querySelector('.lesson-video').currentTime - {}) < 0.4"
        await until_true(page, at.format(13.5))
        await until(lambda: 13_000 <= service.reports[-1]["media_ms"] <= 14_000)
        await page.evaluate(seen)
        await page.reload()
        await begin(service, page)
        await until_true(page, at.format(17.5))
        assert len(service.opened) == 1


async def test_rules_of_time(browser: Browser, pages: str) -> None:
    """Nobody gets beyond what was watched, or faster than the clock; winding back is free."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until_true(page, "document.querySelector('.lesson-video').currentTime > 1.5")
        video = page.locator(".lesson-video")
        assert await video.get_attribute("controls") is None
        await video.evaluate("video => { video.playbackRate = 4; video.currentTime = 15; }")
        await asyncio.sleep(0.5)
        at, rate = await video.evaluate("video => [video.currentTime, video.playbackRate]")
        assert at < 6
        assert rate == 1
        await page.get_by_role("button", name="退回 10 秒").click()
        assert await video.evaluate("video => video.currentTime") < 1


async def test_reload_goes_on_with_the_session(browser: Browser, pages: str) -> None:
    """A page that was loaded anew in mid-lesson goes on with its session and counts on."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until(lambda: len(service.reports) > 1)
        await page.reload()
        reports = len(service.reports)
        await begin(service, page)
        await until(lambda: len(service.reports) > reports)
        assert len(service.opened) == 1
        seqs = [report["seq"] for report in service.reports]
        assert len(set(seqs)) == len(seqs)
