"""A challenge on the page: its way out, and what it does without camera or network."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.learner_page import (
    CHALLENGE,
    LESSON,
    RUNS,
    WORDS,
    begin,
    learner,
    readable,
    until_true,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_a_challenge_has_a_way_out(browser: Browser, pages: str) -> None:
    """It says what is in its way, nothing else can be pressed, and it leads to the other route."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until_true(page, RUNS)
        await page.get_by_role("button", name="退回 10 秒").focus()
        overlay = page.locator(".challenge")
        service.cue(challenge=CHALLENGE)
        await expect(overlay).to_be_focused()
        await expect(overlay).to_contain_text("还有")
        inert = "[...document.querySelectorAll('#bar, .stage, .watch')].every(part => part.inert)"
        assert await page.evaluate(inert)
        assert not await page.evaluate("document.getElementById('spoken').inert")
        service.cue(challenge={**CHALLENGE, "turn": "centre"})
        await expect(page.locator(".turn-words")).to_have_text(WORDS["centre"])
        await expect(overlay).not_to_contain_text("还有")
        service.cue(advice="no_face")
        await expect(overlay).to_contain_text("请让脸出现在画面里")
        await readable(page)
        await overlay.get_by_role("button", name="不方便转头？").click()
        await expect(page.locator("dialog")).to_contain_text("由工作人员当场核对身份证")
        service.cue(challenge={**CHALLENGE, "step": 2})
        await expect(page.locator(".turn-words")).to_have_text(WORDS["left"])
        await readable(page)
        await page.get_by_role("button", name="返回").click()
        service.cue(challenge=None)
        await expect(overlay).to_be_hidden()
        assert not await page.evaluate(inert)
        await expect(page.get_by_role("button", name="退回 10 秒")).to_be_focused()
        service.view |= {"state": "challenged", "reason": "challenge", "play": False}
        await expect(page.locator(".status")).to_contain_text("请您转一转头")
        service.cue(challenge=CHALLENGE)
        await overlay.get_by_role("button", name="结束学习").click()
        await page.get_by_role("button", name="结束", exact=True).click()
        await expect(page.locator("h1")).to_have_text("学习结束")
        assert not await page.evaluate("document.getElementById('bar').inert")


async def test_a_challenge_goes_with_camera_and_network(browser: Browser, pages: str) -> None:
    """Nobody is asked to turn before a camera or a network that is not there."""
    async with learner(browser, pages, LESSON, faces={}) as (service, page):
        service.running()
        await begin(service, page)
        overlay = page.locator(".challenge")
        service.cue(challenge=CHALLENGE)
        await expect(overlay).to_be_visible()
        await page.evaluate("virtualCamera.denied = 'NotReadableError'; virtualCamera.end()")
        await expect(overlay).to_be_hidden()
        await expect(page.locator(".status")).to_contain_text("摄像头正被别的程序使用")
        service.cue(challenge={**CHALLENGE, "step": 2})
        await page.evaluate("virtualCamera.denied = null")
        await expect(overlay).to_contain_text("第 2 步", timeout=15_000)
        service.reachable = False
        await page.context.set_offline(True)
        await expect(overlay).to_be_hidden(timeout=10_000)
        await expect(page.locator(".status")).to_contain_text("网络断了", timeout=10_000)
        await page.context.set_offline(False)
        service.reachable = True
        await expect(overlay).to_contain_text("第 2 步", timeout=15_000)
