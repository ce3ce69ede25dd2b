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
from session_tracker.refusals import OPENING, StudiesElsewhere
from tests.browser.browsing import illegible, phone
from tests.browser.fake_service import NOW_MS, FakeService
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Turn

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

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


async def test_another_window_sends(browser: Browser, pages: str) -> None:
    """Who is taken over by another window is told, is silent, and comes back only when asked to."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until_true(page, RUNS)
        assert service.socket is not None
        await service.socket.close(code=4001)
        status = page.locator(".status")
        await expect(status).to_contain_text("另一台设备或另一个页面正在学习")
        await until_true(page, STANDS)
        await readable(page)
        frames, reports = len(service.frames), len(service.reports)
        await asyncio.sleep(2.5)
        assert (len(service.frames), len(service.reports)) == (frames, reports)
        await page.get_by_role("button", name="在这里学习").click()
        await expect(status).to_contain_text("看得到您")
        await until_true(page, RUNS)
        await until(lambda: len(service.frames) > frames and len(service.reports) > reports)
        assert service.reports[-1]["seq"] > service.reports[reports - 1]["seq"] + 1_000


async def test_another_window_has_another_stream(browser: Browser, pages: str) -> None:
    """The stream of who is taken over is no more: he stays away, and asks for one when wanted."""
    async with learner(browser, pages, LESSON) as (service, page):
        service.running()
        await begin(service, page)
        await until_true(page, RUNS)
        assert service.socket is not None
        service.replaced = True
        await service.socket.close(code=4001)
        status = page.locator(".status")
        await expect(status).to_contain_text("另一台设备或另一个页面正在学习")
        await asyncio.sleep(2.5)
        assert service.sent_to("/v1/sessions/ses_1/stream") == []
        frames = len(service.frames)
        await page.get_by_role("button", name="在这里学习").click()
        await expect(status).to_contain_text("看得到您")
        await until(lambda: len(service.frames) > frames)
        assert len(service.sent_to("/v1/sessions/ses_1/stream")) == 1


async def test_another_window_takes_uploads_over(browser: Browser, pages: str) -> None:
    """An upload has no line to be told on: its answer says it by a code."""
    async with learner(browser, pages) as (_, page):
        ends = await page.evaluate(
            """async codes => {
                const { UploadWay } = await import("/web/shared/stream/ways.js");
                const ends = [];
                for (const code of codes) {
                    const problem = JSON.stringify({ code });
                    window.fetch = async () => new Response(problem, { status: 410 });
                    const way = new UploadWay({ photo: async () => new Blob(["x"]) });
                    const lost = ({ taken, renew }) => ends.push([taken, renew]);
                    await way.open({ frames_path: "/frames" }, { cue: () => {}, lost });
                    await way.send(1);
                }
                return ends;
            }""",
            arg=["stream_taken_over", "stream_gone"],
        )
        assert ends == [[True, False], [False, True]]


async def test_another_window_takes_a_connection_over(browser: Browser, pages: str) -> None:
    """Over WebRTC the last message says what a WebSocket's close code does."""
    async with learner(browser, pages) as (_, page):
        ends = await page.evaluate(
            """async codes => {
                const { WebRtcWay } = await import("/web/shared/stream/ways.js");
                let channel;
                window.fetch = async () => new Response("{}");
                window.RTCPeerConnection = class {
                    iceGatheringState = "complete";
                    localDescription = { sdp: "" };
                    createDataChannel() { return (channel = {}); }
                    addTrack() { return { getParameters: () => ({}) }; }
                    async createOffer() { return {}; }
                    async setLocalDescription() {}
                    async setRemoteDescription() { setTimeout(() => channel.onopen()); }
                    close() {}
                };
                const ends = [];
                for (const code of codes) {
                    const way = new WebRtcWay({ paint: canvas => canvas.getContext("2d") });
                    const lost = ({ taken, renew }) => ends.push([taken, renew]);
                    await way.open({ offer_path: "/offer" }, { cue: () => {}, lost });
                    channel.onmessage({ data: JSON.stringify({ end: code }) });
                    channel.onclose();
                }
                return ends;
            }""",
            arg=[4001, 4410, 4503],
        )
        assert ends == [[True, False], [False, True], [False, False]]


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
        *(f"problem.{kind('').code}" for kind in OPENING if kind is not StudiesElsewhere),
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
