"""What a learner keeps: history, appeals, vouchers, the certificate."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.fake_service import problem
from tests.browser.learner_page import learner, readable
from tests.browser.records import CERTIFICATE, NOW_MS, appeal, explanation, session, voucher

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_history_explains_and_appeals(browser: Browser, pages: str) -> None:
    """Every piece of a session tells why; one that was not credited can be appealed."""
    async with learner(browser, pages) as (service, page):
        service.sessions = [session("ses_1", NOW_MS, closed=True, credited_s=480)]
        service.explanation = explanation(
            [
                ("void", "before_first_pass", 20),
                ("credited", None, 280),
                ("void", "absent", 100),
                ("disputed", "mismatch", 20),
                ("credited", None, 180),
            ]
        )
        await page.get_by_text("我的学习记录").click()
        await readable(page)
        await page.get_by_text("看看每一段").click()
        await expect(page.locator(".timeline-item")).to_have_count(5)
        await expect(page.locator(".timeline-list")).to_contain_text("画面里没有人")
        await readable(page)
        await page.get_by_text("English").click()
        await expect(page.locator(".timeline")).to_contain_text("4 min 40 s")
        assert not re.search(r"[\u4e00-\u9fff]", await page.locator(".timeline").inner_text())
        await page.get_by_text("中文").click()
        await page.get_by_text("我有异议").nth(1).click()
        await page.get_by_label("请用自己的话说明情况").fill("我在擦眼镜。")
        await readable(page)
        await page.get_by_text("提交申诉").click()
        await expect(page.locator(".note.good")).to_contain_text("申诉已提交")
        assert service.sent_to("/v1/me/appeals") == [
            {
                "session_id": "ses_1",
                "from_ms": NOW_MS + 300_000,
                "to_ms": NOW_MS + 400_000,
                "text": "我在擦眼镜。",
            }
        ]


async def test_vouchers_and_certificate(browser: Browser, pages: str) -> None:
    """What was obtained is in colour, what is missing in grey; the certificate shows its code."""
    async with learner(browser, pages) as (service, page):
        number = CERTIFICATE["number"]
        service.vouchers = [voucher(True), voucher(False)]
        await page.goto(f"{pages}/learn/?again")
        await expect(page.locator(".voucher.missing")).to_contain_text("未获得")
        await readable(page)
        await page.locator(".voucher.obtained").click()
        await expect(page.locator(".certificate")).to_contain_text("4T9K 2M7X Q0ZC 8RWA")
        await expect(page.locator(".qr")).to_have_attribute(
            "src", f"/v1/certificates/{number}/qr.svg?code=4T9K2M7XQ0ZC8RWA"
        )
        await readable(page)


async def test_a_decision_is_told_with_its_reason(browser: Browser, pages: str) -> None:
    """What staff answered to an appeal, how they decided and why, is for the learner to read."""
    async with learner(browser, pages) as (service, page):
        decided = {"answer": "我们看了当时的画面。", "reason": "画面中是另一个人。"}
        service.appeals = [appeal("upheld", **decided)]
        await page.goto(f"{pages}/learn/?again#/history")
        told = page.locator("main")
        await expect(told).to_contain_text("维持原来的结果")
        await expect(told).to_contain_text("工作人员的答复： 我们看了当时的画面。")
        await expect(told).to_contain_text("决定的理由： 画面中是另一个人。")


@pytest.mark.parametrize(
    ("status", "words"), [(409, "现在不能申诉"), (403, "申诉的期限已过")], ids=["now", "any more"]
)
async def test_an_appeal_that_is_not_taken_says_why(
    browser: Browser, pages: str, status: int, words: str
) -> None:
    """In the page's words, not in the service's; what was written stays."""
    async with learner(browser, pages) as (service, page):
        service.explanation = explanation([("void", "absent", 60)])
        await page.goto(f"{pages}/learn/?again#/history/ses_1")
        await page.get_by_text("我有异议").click()
        await page.get_by_label("请用自己的话说明情况").fill("我在擦眼镜。")
        service.refuses["/appeals"] = problem(status, "conflict", "raw words")
        await page.get_by_text("提交申诉").click()
        await expect(page.locator("form .note")).to_contain_text(words)
        await expect(page.get_by_label("请用自己的话说明情况")).to_have_value("我在擦眼镜。")


@pytest.mark.parametrize(
    ("reason", "words"),
    [("hours_void", "有效学时不足"), ("由他人代学", "由他人代学")],
    ids=["code", "words"],
)
async def test_a_revoked_certificate_says_why_and_offers_no_paper(
    browser: Browser, pages: str, reason: str, words: str
) -> None:
    """A code of the service has words here, too; what cannot be printed any more is not offered."""
    async with learner(browser, pages) as (service, page):
        service.certificate |= {"state": "revoked", "reason": reason}
        await page.goto(f"{pages}/learn/?again#/certificate/{CERTIFICATE['number']}")
        sheet = page.locator(".certificate.revoked")
        await expect(sheet).to_contain_text("已撤销")
        await expect(sheet).to_contain_text(words)
        await expect(sheet).not_to_contain_text("hours_void")
        await expect(page.get_by_role("button", name="打印")).to_have_count(0)
        await expect(page.get_by_text("保存 PDF")).to_have_count(0)
