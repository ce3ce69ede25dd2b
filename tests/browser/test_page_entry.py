"""How a learner comes in: sign-in, consent, the photo."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.learner_page import learner, readable

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_signing_in(browser: Browser, pages: str) -> None:
    """A code as people type it signs in; a wrong one is explained; the link signs in by itself."""
    async with learner(browser, pages, signed_in=False) as (service, page):
        await readable(page)
        service.refuses["/sign-in"] = (401, {"status": 401, "code": "unauthorised", "detail": ""})
        await page.get_by_label("登录码").fill("１２３４ ５６７８")
        await page.get_by_role("button", name="登录", exact=True).click()
        await expect(page.locator(".note")).to_contain_text("登录码不对")
        await readable(page)
        service.refuses.clear()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("您好，李*明")
        assert service.sent_to("/v1/me/sign-in") == [{"code": "1234-5678"}]
        await page.get_by_text("退出登录").click()
        await page.goto(f"{pages}/learn/?again#t=abc_DEF")
        await expect(page.locator("h1")).to_have_text("您好，李*明")
        assert service.sent_to("/v1/me/sign-in")[-1] == {"link_token": "abc_DEF"}
        assert "abc_DEF" not in page.url


async def test_consent_may_be_refused(browser: Browser, pages: str) -> None:
    """Who does not consent hears of the other way; who consents does so to a text and version."""
    async with learner(browser, pages, "#/history") as (service, page):
        service.me["consent"] = None
        await page.goto(f"{pages}/learn/?again")
        await expect(page.locator("h1")).to_have_text("人脸信息处理的单独同意")
        await expect(page.locator(".consent-text")).to_contain_text("我们保存由照片算出的加密模板")
        await readable(page)
        await page.get_by_text("我不同意").click()
        await expect(page.locator("main")).to_contain_text("由工作人员当场核对身份证")
        await readable(page)
        assert service.sent_to("/v1/me/consent") == []
        await page.get_by_text("我再看一遍说明").click()
        await page.get_by_text("English").click()
        await expect(page.locator(".consent-text")).to_contain_text("withdraw your consent")
        await page.get_by_text("I have read it and I agree").click()
        await expect(page.locator("h1")).to_have_text("Hello, 李*明")
        expected = {"text_version": "2026-11", "language": "en"}
        assert service.sent_to("/v1/me/consent") == [expected]
        await page.goto(f"{pages}/learn/#/privacy")
        await page.get_by_role("button", name="Withdraw my consent").click()
        await page.get_by_role("button", name="Withdraw", exact=True).click()
        await expect(page.locator("h1")).to_have_text("You did not agree, and that is fine")


async def test_guided_selfie(browser: Browser, pages: str) -> None:
    """The selfie tells what to mend, takes itself when all is well, and says what it is worth."""
    async with learner(browser, pages, "#/photo") as (service, page):
        service.me["face"] = None
        service.looks = ["come_closer", "more_light", "ok"]
        service.face_answer = {"accepted": False, "advice": ["face_camera"]}
        await page.goto(f"{pages}/learn/?again#/photo")
        await readable(page)
        await page.get_by_text("开始自拍").click()
        await expect(page.locator(".selfie-advice")).to_have_text("请靠近一点")
        await expect(page.locator(".selfie-advice")).to_have_text("太暗了，请面向光亮处")
        await expect(page.locator(".note")).to_contain_text("请正对镜头")
        await readable(page)
        service.face_answer = {"accepted": True, "advice": []}
        await expect(page.locator(".note.good")).to_contain_text("还没有和您本人或身份证核对")
        await readable(page)


async def test_who_was_rejected_hears_why(browser: Browser, pages: str) -> None:
    """Why staff refused a photo: a code in words, what they wrote as they wrote it."""
    async with learner(browser, pages) as (service, page):
        why = ["same_face", "face_camera", "照片与身份证不是同一人"]
        service.me["face"] = {**service.me["face"], "state": "refused", "reasons": why}
        await page.goto(f"{pages}/learn/?again#/photo")
        told = page.locator(".note.attention")
        await expect(told).to_contain_text("另一个账号登记了同一张脸")
        await expect(told).to_contain_text("请正对镜头")
        await expect(told).to_contain_text("照片与身份证不是同一人")
        await readable(page)
