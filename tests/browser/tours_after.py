"""Tour: how lessons end, history and appeals, the certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from playwright.async_api import Page, expect

from session_tracker.events import CloseReason, VoidReason
from tests.browser.fake_service import FakeService, problem
from tests.browser.learner_page import LESSON, begin
from tests.browser.records import CERTIFICATE, NOW_MS, appeal, explanation, session
from tests.browser.tours import Tour, anew, visitor

TOURS: Final[list[Tour[FakeService]]] = []


@visitor(TOURS, LESSON)
async def ends(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Every end, with and without time that counts."""
    for reason in CloseReason:
        for credited_s in (0, 2_710):
            await anew(page, LESSON)
            service.running(credited_s)
            await begin(service, page)
            state = "suspended" if reason is CloseReason.SUSPENDED else "settled"
            service.view |= {"state": state, "reason": reason.value, "play": False}
            await expect(page.locator("h1")).to_have_text("学习结束")
            yield f"end-{reason}-{credited_s}-s"
    await anew(page, LESSON)
    service.running(2_710, certificate=CERTIFICATE["number"], course_credited_s=43_200)
    await begin(service, page)
    service.view |= {"state": "settled", "reason": "learner", "play": False}
    await expect(page.locator(".note.good")).to_be_visible()
    yield "end-with-certificate"
    service.running(0, certificate=None)
    await anew(page, LESSON)
    await begin(service, page)
    for path in ("/ses_1", "/playback"):
        service.refuses[path] = problem(404, "not_found")
    await expect(page.locator("h1")).to_have_text("学习结束")
    yield "end-not-all-shown"


@visitor(TOURS, "#/history")
async def history(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Nothing yet, an error, sessions that run and have ended, appeals in every state."""
    await expect(page.locator("main")).to_contain_text("还没有学习记录")
    yield "history-empty"
    service.refuses["/v1/me/sessions"] = problem(503, "storage_error")
    await anew(page, "#/history")
    await expect(page.locator(".note")).to_be_visible()
    yield "history-busy"
    service.refuses.clear()
    service.sessions = [
        session("ses_2", NOW_MS + 7_200_000, closed=False, credited_s=755),
        session("ses_1", NOW_MS, closed=True, credited_s=2_580),
    ]
    service.appeals = [
        appeal("open"),
        appeal("granted", answer="我们正在看。", reason="同意：画面中可见本人。"),
        appeal("upheld", answer="我们看了当时的画面。", reason="画面中是另一个人。"),
    ]
    await anew(page, "#/history")
    await expect(page.locator("h2")).to_be_visible()
    yield "history"


@visitor(TOURS, "#/history/ses_1")
async def a_session_explained(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Every state and reason of a piece of time; the appeal; what can go wrong with it."""
    await expect(page.locator(".quiet, .note").first).to_be_visible()
    service.refuses["/explain"] = problem(404, "not_found")
    await anew(page, "#/history/ses_1")
    await expect(page.locator(".note")).to_be_visible()
    yield "explanation-not-found"
    service.refuses.clear()
    service.explanation = explanation([])
    await anew(page, "#/history/ses_1")
    await expect(page.locator("main")).to_contain_text("没有留下时间")
    yield "explanation-empty"
    service.explanation = explanation(
        [
            ("void", "before_first_pass", 18),
            ("credited", None, 1_300),
            ("disputed", "mismatch", 40),
            ("granted", "spoof", 60),
            ("upheld", "no_evidence", 25),
            ("credited", None, 400),
            ("pending", "pending", 150),
        ]
    )
    await anew(page, "#/history/ses_1")
    await expect(page.locator(".timeline-item").first).to_be_visible()
    yield "explanation"
    service.explanation = explanation([("void", reason.value, 65) for reason in VoidReason])
    await anew(page, "#/history/ses_1")
    await page.get_by_text("显示全部").click()
    yield "explanation-every-reason"
    await page.get_by_text("我有异议").nth(7).click()
    await expect(page.get_by_label("请用自己的话说明情况")).to_be_focused()
    yield "appeal-form"
    await page.get_by_label("请用自己的话说明情况").fill("我一直坐在手机前面。")
    service.refuses["/appeals"] = problem(409, "conflict", "Ten appeals wait.")
    await page.get_by_text("提交申诉").click()
    await expect(page.locator("form .note")).to_be_visible()
    yield "appeal-refused"
    service.refuses.clear()
    await page.get_by_text("提交申诉").click()
    await expect(page.locator(".note.good")).to_be_visible()
    yield "appeal-sent"


@visitor(TOURS, f"#/certificate/{CERTIFICATE['number']}")
async def certificate(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Valid, revoked, not there."""
    await expect(page.locator(".certificate")).to_be_visible()
    yield "certificate"
    await page.emulate_media(media="print")
    yield "certificate-on-paper"
    await page.emulate_media(media="screen")
    service.certificate |= {"state": "revoked", "reason": "由他人代学"}
    path = f"#/certificate/{CERTIFICATE['number']}"
    await anew(page, path)
    await expect(page.locator(".certificate.revoked")).to_be_visible()
    yield "certificate-revoked"
    await anew(page, "#/certificate/BR2026-0000000000")
    await expect(page.locator(".note")).to_be_visible()
    yield "certificate-not-found"
