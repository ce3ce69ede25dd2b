"""Every state of the learner's page, against a service that says what the test tells it to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from session_tracker.events import CloseReason, PauseReason, VoidReason
from tests.browser.browsing import illegible, phone
from tests.browser.fake_service import NOW_MS, FakeService
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Turn

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LESSON = "#/lesson/foshan-2021/lesson-1"
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


async def readable(page: Page) -> None:
    """Nothing on the page is too pale, too small, nameless or cut off."""
    assert await illegible(page) == []


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
        await expect(page.locator(".note.good")).to_contain_text("还没有和身份证照片核对")
        await readable(page)


async def test_lesson_from_start_check_to_end(browser: Browser, pages: str) -> None:
    """Arrow and words lead through the challenge; then the video runs and time is the service's."""
    async with learner(browser, pages, LESSON) as (service, page):
        await readable(page)
        await begin(service, page)
        status = page.locator(".status")
        await expect(status).to_contain_text("正在确认是您本人")
        video = page.locator(".lesson-video")
        assert await video.evaluate("video => video.paused")
        shown = {"id": "c1", "steps": 3, "remaining_ms": 8_000, "attempt": 1}
        for step, turn in enumerate(Turn):
            service.cue(challenge={**shown, "step": min(3, 1 + step), "turn": turn.value})
            await expect(page.locator(".turn-words")).to_have_text(WORDS[turn])
            await expect(page.locator("#spoken")).to_have_text(WORDS[turn])
            drawn = await page.locator(".turn-arrow").get_attribute("data-turn")
            assert drawn == (None if turn is Turn.CENTRE else turn)
        await readable(page)
        service.running(754)
        service.cue(challenge=None)
        await expect(page.locator("output.credited")).to_have_text("12:34")
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
        await readable(page)


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
            title = await page.evaluate(
                "async key => (await import('/web/shared/i18n.js')).t(key)", arg=f"pause.{reason}"
            )
            await expect(status).to_contain_text(title)
            text = await status.inner_text()
            assert len(text) > len(title) + 8
            assert not re.search(r"[a-z]{3}", text)
            await readable(page)
            if reason in {PauseReason.IDLE, PauseReason.LEARNER}:
                await page.locator(".watch-words button").click()
                await until(lambda: service.reports[-1]["interaction"])
            service.running()


async def test_another_device(browser: Browser, pages: str) -> None:
    """A lesson open elsewhere is taken over only when asked for; the one taken from is told."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.elsewhere = True
        await page.get_by_text("打开摄像头并开始").click()
        await expect(page.locator("dialog")).to_contain_text("您在另一处还开着学习")
        await readable(page)
        await page.get_by_role("button", name="改在这里学习").click()
        await expect(page.locator(".stage")).to_be_visible()
        assert [body["take_over"] for body in service.opened] == [False, True]
        service.view |= {"state": "closed", "reason": "taken_over", "play": False}
        await expect(page.locator(".note")).to_contain_text("您已在另一台设备上学习")
        await readable(page)


async def test_suspended(browser: Browser, pages: str) -> None:
    """A suspended session names the people who will look at it, and blames nobody."""
    async with learner(browser, pages, LESSON) as (service, page):
        await begin(service, page)
        service.view |= {"state": "suspended", "reason": "mismatch", "play": False}
        await expect(page.locator(".note")).to_contain_text("机器也会出错")
        await expect(page.locator("main")).to_contain_text("这次没有计入学时")
        await readable(page)


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


async def test_history_explains_and_appeals(browser: Browser, pages: str) -> None:
    """Every piece of a session tells why; one that was not credited can be appealed."""
    async with learner(browser, pages) as (service, page):
        service.sessions = [
            {
                "session_id": "ses_1",
                "programme": "foshan-2021",
                "opened_utc_ms": NOW_MS,
                "closed_utc_ms": NOW_MS + 600_000,
                "settled": True,
                "wall_s": 600,
                "credited_s": 480,
                "void_s": {"absent": 120},
                "provisional": False,
            }
        ]
        spans = [
            ("void", "before_first_pass", 0, 20),
            ("credited", None, 20, 300),
            ("void", "absent", 300, 400),
            ("disputed", "mismatch", 400, 420),
            ("credited", None, 420, 600),
        ]
        service.explanation = {
            "session_id": "ses_1",
            "from_ms": NOW_MS,
            "to_ms": NOW_MS + 600_000,
            "credited_s": 460,
            "spans": [
                {
                    "state": state,
                    "reason": reason,
                    "from_ms": NOW_MS + 1_000 * start,
                    "to_ms": NOW_MS + 1_000 * end,
                    "evidence": [],
                }
                for state, reason, start, end in spans
            ],
        }
        await page.get_by_text("我的学习记录").click()
        await readable(page)
        await page.get_by_text("看看每一段").click()
        await expect(page.locator(".timeline-item")).to_have_count(5)
        await expect(page.locator(".timeline-list")).to_contain_text("画面里没有人")
        await readable(page)
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
        number = "BR2026-7K3M9QX2TA"
        kept = {"kind": "online_hours", "title_zh": "线上学时凭证", "title_en": "Online hours"}
        service.vouchers = [
            {
                **kept,
                "obtained": True,
                "obtained_utc_ms": NOW_MS,
                "number": number,
                "check_code": "4T9K2M7XQ0ZC8RWA",
            },
            {**kept, "obtained": False, "obtained_utc_ms": None, "number": None},
        ]
        service.certificate = {
            "number": number,
            "state": "valid",
            "check_code": "4T9K2M7XQ0ZC8RWA",
            "holder": "lrn_5f…30",
            "holder_name": "李*明",
            "programme": "foshan-2021",
            "title": "佛山市两类人员安全生产线上培训",
            "track": "initial",
            "credited_s": 43_200,
            "class_hours": 16,
            "issued_ms": NOW_MS,
        }
        await page.goto(f"{pages}/learn/?again")
        await expect(page.locator(".voucher.missing")).to_contain_text("未获得")
        await readable(page)
        await page.locator(".voucher.obtained").click()
        await expect(page.locator(".certificate")).to_contain_text("4T9K 2M7X Q0ZC 8RWA")
        await expect(page.locator(".qr")).to_have_attribute(
            "src", f"/v1/certificates/{number}/qr.svg?code=4T9K2M7XQ0ZC8RWA"
        )
        await readable(page)


async def test_every_code_has_words(browser: Browser, pages: str) -> None:
    """Whatever the service may say of a learner's time is said in both languages."""
    codes = [
        *(f"{part}.{reason}" for reason in PauseReason for part in ("pause", "do")),
        *(f"void.{reason}" for reason in VoidReason),
        *(f"advice.{advice}" for advice in Advice),
        *(f"turn.{turn}" for turn in Turn),
        *(f"close.{reason}" for reason in CloseReason),
    ]
    async with learner(browser, pages, language="en-GB") as (_, page):
        missing = await page.evaluate(
            """async codes => {
                await import("/web/learn/words.js");
                const { chooseLanguage, t } = await import("/web/shared/i18n.js");
                const missing = [];
                for (const language of ["zh", "en"]) {
                    chooseLanguage(language);
                    missing.push(...codes.filter(code => t(code) === code)
                        .map(code => language + " " + code));
                }
                return missing;
            }""",
            arg=codes,
        )
        assert missing == []
        same = await page.evaluate(
            """async () => {
                const { vocabulary } = await import("/web/shared/i18n.js");
                const { zh, en } = vocabulary();
                const only = (a, b) => a.filter(key => !b.includes(key));
                return [...only(zh, en), ...only(en, zh)];
            }"""
        )
        assert same == []
