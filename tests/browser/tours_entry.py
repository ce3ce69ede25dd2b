"""Tour: sign-in, consent, the photo, the start page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from playwright.async_api import Page, expect

from tests.browser.fake_service import FakeService, problem
from tests.browser.learner_page import until
from tests.browser.records import CERTIFICATE, NOW_MS, voucher
from tests.browser.tours import Tour, anew, visitor
from verifier.streaming.advice import Advice

TOURS: Final[list[Tour[FakeService]]] = []
CARD: Final = {"name": "card.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xd9"}
NO_CAMERA: Final = {
    "denied": "NotAllowedError",
    "missing": "NotFoundError",
    "busy": "NotReadableError",
}


def face(state: str, **more: Any) -> dict[str, Any]:
    """A registered photo that stands so."""
    kept = {"state": state, "provenance": "self_photo", "provisional": False, "reasons": []}
    return {**kept, **more}


@visitor(TOURS, signed_in=False)
async def signing_in(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A code that is wrong, tried too often, not sent; a link and a sign-in that are over."""
    yield "sign-in"
    for name, answer in (
        ("wrong", problem(401, "unauthorised")),
        ("too-many", problem(429, "too_many_requests")),
        ("fault", problem(500, "internal_error", "Something broke.")),
    ):
        service.refuses["/sign-in"] = answer
        await page.get_by_label("登录码").fill("1234-5678")
        await page.get_by_role("button", name="登录", exact=True).click()
        await expect(page.locator(".note")).to_be_visible()
        await expect(page.get_by_role("button", name="登录", exact=True)).to_be_enabled()
        yield f"sign-in-{name}"
    service.refuses.clear()
    service.reachable = False
    await page.get_by_role("button", name="登录", exact=True).click()
    await expect(page.locator(".note")).to_contain_text("连不上")
    yield "sign-in-unreachable"
    service.reachable = True
    service.refuses["/sign-in"] = problem(401, "unauthorised")
    await anew(page, "#t=used")
    await expect(page.locator(".note")).to_contain_text("链接")
    yield "sign-in-link-over"


@visitor(TOURS)
async def coming_back(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A start page that waits, cannot be reached, or asks to sign in again."""
    await expect(page.locator("h1")).to_be_visible()
    service.holds["/v1/me"] = asyncio.Event()
    await anew(page, "#/")
    await expect(page.locator(".spinner")).to_be_visible()
    yield "loading"
    service.holds.pop("/v1/me").set()
    service.reachable = False
    await anew(page, "#/")
    await expect(page.locator(".note")).to_contain_text("连不上")
    yield "unreachable"
    service.reachable = True
    service.refuses["/v1/me"] = problem(401, "unauthorised")
    await page.get_by_role("button", name="再试一次").click()
    await expect(page.locator(".note")).to_contain_text("重新登录")
    yield "sign-in-over"


@visitor(TOURS)
async def consenting(service: FakeService, page: Page) -> AsyncIterator[str]:
    """The consent: asked for, refused, of a text that changed, given, withdrawn."""
    service.me["consent"] = None
    await anew(page, "#/")
    await expect(page.locator("h1")).to_have_text("人脸信息处理的单独同意")
    yield "consent"
    service.refuses["/consent"] = problem(409, "consent_text_changed")
    await page.get_by_text("我已看完，我同意").click()
    await expect(page.locator(".note")).to_be_visible()
    yield "consent-text-changed"
    service.refuses.clear()
    await page.get_by_text("我不同意").click()
    await expect(page.locator("main")).to_contain_text("由工作人员当场核对身份证")
    yield "consent-refused"
    service.me["consent"] = {"id": "cns_1", "text_version": "2026-11", "given_utc_ms": NOW_MS}
    await anew(page, "#/privacy")
    await expect(page.locator("h1")).to_have_text("同意与隐私")
    yield "privacy"
    await page.get_by_role("button", name="撤回同意").click()
    yield "privacy-withdraw"


@visitor(TOURS)
async def handing_in_a_photo(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A photo of the identity card: chosen, refused, waiting, rejected, registered."""
    service.me["face"] = None
    await anew(page, "#/photo")
    await expect(page.locator("h1")).to_have_text("登记照片")
    yield "photo"
    service.holds["/v1/me/face"] = asyncio.Event()
    service.face_answer = {"accepted": False, "advice": ["several_faces", "more_light"]}
    await page.locator("#photo-file").set_input_files(CARD)
    await expect(page.locator(".spinner")).to_be_visible()
    yield "photo-sending"
    service.holds.pop("/v1/me/face").set()
    await expect(page.locator(".note.attention")).to_contain_text("这张照片用不了")
    yield "photo-refused"
    for name, kept in (
        ("waiting", face("waiting")),
        ("rejected", face("refused", reasons=["face_camera", "uncover_face"])),
        ("registered", face("approved")),
        ("provisional", face("approved", provisional=True)),
    ):
        service.me["face"] = kept
        service.me["face_ways"] = [] if name == "registered" else ["self_photo", "self_live"]
        await anew(page, "#/photo")
        await expect(page.locator(".note").first).to_be_visible()
        yield f"photo-{name}"


@visitor(TOURS)
async def taking_a_selfie(service: FakeService, page: Page) -> AsyncIterator[str]:
    """The guided selfie with every advice, and without a camera."""
    service.me["face"] = None
    await anew(page, "#/photo")
    for name, error in NO_CAMERA.items():
        await page.evaluate("name => { virtualCamera.denied = name; }", arg=error)
        press = "开始自拍" if name == "denied" else "再试一次"
        await page.get_by_role("button", name=press).click()
        await expect(page.locator(".note.bad")).to_contain_text(
            {"denied": "没有使用摄像头的权限", "missing": "没有找到", "busy": "别的程序"}[name]
        )
        yield f"selfie-camera-{name}"
    await page.evaluate("virtualCamera.denied = null")
    service.holds["/look"] = asyncio.Event()
    await page.get_by_role("button", name="再试一次").click()
    await expect(page.locator(".selfie-advice")).to_have_text("请看着镜头，让脸在圆圈里")
    yield "selfie"
    advice = page.locator(".selfie-advice")
    for code in Advice:
        if code is Advice.OK:
            continue
        service.looks = [code.value]
        words = await page.evaluate(
            "async key => (await import('/web/shared/i18n.js')).t(key)", arg=f"advice.{code}"
        )
        service.holds.pop("/look", asyncio.Event()).set()
        await expect(advice).to_have_text(str(words))
        yield f"selfie-{code}"
    service.face_answer = {"accepted": False, "advice": ["face_camera", "hold_still"]}
    service.holds["/v1/me/face"] = asyncio.Event()
    service.looks = ["ok"]
    await expect(advice).to_have_text("很好，请保持不动……")
    yield "selfie-taking"
    service.looks = ["face_camera"]
    service.holds.pop("/v1/me/face").set()
    await expect(page.locator(".note")).to_contain_text("请拿稳手机")
    yield "selfie-refused"


@visitor(TOURS)
async def start_page(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Where a learner stands: before, in the middle and at the end of a course."""
    await expect(page.locator("h1")).to_have_text("您好，李*明")
    await until(lambda: service.asked("/v1/me/vouchers"))
    yield "home"
    (programme,) = service.me["programmes"]
    for name, kept in (
        ("no-photo", None),
        ("waiting", face("waiting")),
        ("rejected", face("refused")),
        ("provisional", face("approved", provisional=True)),
    ):
        service.me["face"] = kept
        await anew(page, "#/")
        await expect(page.locator(".note").first).to_be_visible()
        yield f"home-{name}"
    service.me["face"] = face("approved")
    programme["media"][1]["gaps"] = [[2_000, 9_000], [10_000, 15_000]]
    programme["media"].append({**programme["media"][1], "media_id": "lesson-3", "gaps": []})
    programme["media"][2]["title_zh"] = "有限空间作业的通风、检测与监护：从准备到撤离的全过程"
    programme["media"][2]["title_en"] = "Ventilation, measurement and watch in confined spaces"
    service.me["name_masked"] = None
    service.refuses["/v1/me/vouchers"] = problem(500, "internal_error", "Something broke.")
    await anew(page, "#/")
    await expect(page.locator(".note")).to_be_visible()
    yield "home-catch-up"
    service.refuses.clear()
    service.vouchers = [voucher(True), voucher(False), voucher(False, "offline_hours")]
    programme |= {"credited_s": programme["target_s"], "certificate": CERTIFICATE["number"]}
    await anew(page, "#/")
    await expect(page.locator(".voucher.missing").first).to_be_visible()
    yield "home-complete"
    service.me["programmes"] = []
    service.vouchers = []
    await anew(page, "#/")
    await expect(page.locator(".note")).to_be_visible()
    yield "home-no-course"
