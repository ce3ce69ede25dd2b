"""What makes a lesson stand still, what the page says of it, and how it goes on."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from session_tracker.events import PauseReason
from tests.browser.learner_page import (
    LESSON,
    RUNS,
    STANDS,
    begin,
    learner,
    readable,
    until,
    until_true,
    worded,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_why_time_stopped(browser: Browser, pages: str) -> None:
    """Every reason to stand still is told in plain words, with what to do, and obeyed."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        for reason in PauseReason:
            await until_true(page, RUNS)
            service.paused(reason)
            await until_true(page, STANDS)
            status = page.locator(".status")
            title = await worded(page, f"pause.{reason}")
            await expect(status).to_contain_text(title)
            text = await status.inner_text()
            assert len(text) > len(title) + 8
            assert not re.search(r"[a-z]{3}", text)
            await readable(page)
            if reason is PauseReason.CHALLENGE:
                assert "箭头" not in text  # there is none any more
                await page.get_by_role("button", name="不方便转头？").click()
                await expect(page.locator("dialog")).to_contain_text("由工作人员当场核对身份证")
                await page.get_by_role("button", name="返回").click()
            if reason in {PauseReason.IDLE, PauseReason.LEARNER}:
                await page.locator(".watch-words button").click()
                await until(lambda: service.reports[-1]["interaction"])
            service.running()


@pytest.mark.parametrize("kept", [True, False], ids=["kept on", "not kept on"])
async def test_who_must_keep_the_screen_on_is_told(
    browser: Browser, pages: str, kept: bool
) -> None:
    """Where the browser does not keep the screen from locking, the learner has to."""
    lock = "Object.assign(new EventTarget(), {release: async () => {}})"
    answer = lock if kept else "Promise.reject(new DOMException('', 'NotAllowedError'))"
    script = (
        "Object.defineProperty(navigator, 'wakeLock',"
        f" {{value: {{request: async () => {answer}}}}})"
    )
    async with learner(browser, pages) as (service, page):
        await page.add_init_script(script)
        await page.goto(f"{pages}/learn/?again{LESSON}")
        service.running()
        await begin(service, page)
        await until_true(page, RUNS)
        words = "安心学习就好" if kept else "请让手机屏幕保持亮着"
        await expect(page.locator(".status.good")).to_contain_text(words)


async def test_camera_refused_and_taken_away(browser: Browser, pages: str) -> None:
    """Without a camera no session is opened; a camera that a call takes comes back by itself."""
    async with learner(browser, pages, LESSON, faces={}) as (service, page):
        await page.evaluate("virtualCamera.denied = 'NotAllowedError'")
        await page.get_by_text("打开摄像头并开始").click()
        await expect(page.locator(".note.bad")).to_contain_text("没有使用摄像头的权限")
        assert service.opened == []
        await readable(page)
        await page.evaluate("virtualCamera.denied = null")
        service.running()
        await page.get_by_role("button", name="再试一次").click()
        await until_true(page, RUNS)
        await page.evaluate("virtualCamera.denied = 'NotReadableError'; virtualCamera.end()")
        await expect(page.locator(".status")).to_contain_text("摄像头正被别的程序使用")
        assert await page.locator(".lesson-video").evaluate("video => video.paused")
        await readable(page)
        await page.evaluate("virtualCamera.denied = null")
        await expect(page.locator(".status")).to_contain_text("看得到您")
        await until_true(page, RUNS)


async def test_network_lost_and_back(browser: Browser, pages: str) -> None:
    """A lost network is told at once, and the lesson goes on by itself when it is back."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        service.reachable = False
        await page.context.set_offline(True)
        await expect(page.locator(".status")).to_contain_text("网络断了", timeout=10_000)
        await readable(page)
        await page.context.set_offline(False)
        service.reachable = True
        before = len(service.frames)
        await expect(page.locator(".status")).to_contain_text("看得到您", timeout=15_000)
        await until(lambda: len(service.frames) > before)


async def test_page_in_the_background(browser: Browser, pages: str) -> None:
    """A page that nobody sees stands still, says so to the service, and explains it afterwards."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until_true(page, RUNS)
        hide = """hidden => {
            Object.defineProperty(document, "visibilityState",
                {value: hidden ? "hidden" : "visible", configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await page.evaluate(hide, arg=True)
        await until(lambda: not service.reports[-1]["playing"])
        assert await page.locator(".lesson-video").evaluate("video => video.paused")
        await page.evaluate(hide, arg=False)
        await expect(page.locator(".status")).to_contain_text("欢迎回来")
        await until(lambda: service.reports[-1]["playing"])
