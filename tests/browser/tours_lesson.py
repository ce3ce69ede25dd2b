"""Tour: a lesson, from the minute before it to the question whether it shall end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from playwright.async_api import Page, expect

from session_tracker.events import PauseReason
from session_tracker.refusals import OPENING, StudiesElsewhere
from tests.browser.fake_service import FakeService, problem
from tests.browser.learner_page import CHALLENGE, LESSON, RUNS, WORDS, begin, until, until_true
from tests.browser.tours import Tour, anew, later, visitor
from tests.browser.tours_entry import NO_CAMERA
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Turn

TOURS: Final[list[Tour[FakeService]]] = []
START: Final = "打开摄像头并开始"
HIDE: Final = """hidden => {
    Object.defineProperty(document, "visibilityState",
        {value: hidden ? "hidden" : "visible", configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
NO_PLAY: Final = """() => {
    const { play } = HTMLMediaElement.prototype;
    HTMLMediaElement.prototype.play = async function () {
        if (this.srcObject) return play.call(this);
        throw new DOMException("", "NotAllowedError");
    };
}"""
NO_LOCK: Final = """() => { Object.defineProperty(navigator, "wakeLock", {value: {
    request: async () => { throw new DOMException("", "NotAllowedError"); }}}); }"""
NEVER: Final = "() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }"
ROUND: Final = "document.querySelector('.lesson-video').loop = true"
"""The lesson of these tests is short, the tours are not."""


async def watching(service: FakeService, page: Page) -> None:
    """Bring a lesson about that runs."""
    service.running()
    await begin(service, page)
    await page.evaluate(ROUND)
    await until_true(page, RUNS)
    await expect(page.locator("output.credited")).to_have_text("12:34")


async def says(page: Page, words: str, within: str = ".status") -> None:
    """Wait until the page says it."""
    await expect(page.locator(within)).to_contain_text(words, timeout=20_000)


@visitor(TOURS, LESSON)
async def before_a_lesson(service: FakeService, page: Page) -> AsyncIterator[str]:
    """What to know first; no camera; every refusal; a lesson that is open elsewhere."""
    await expect(page.locator("h1")).to_have_text("开始之前")
    yield "prepare"
    for name, error in NO_CAMERA.items():
        await page.evaluate("name => { virtualCamera.denied = name; }", arg=error)
        press = START if name == "denied" else "再试一次"
        await page.get_by_role("button", name=press).click()
        words = {"denied": "没有使用摄像头的权限", "missing": "没有找到", "busy": "别的程序"}
        await says(page, words[name], ".note.bad")
        yield f"prepare-camera-{name}"
    refusals = [
        *((kind.status, kind("").code) for kind in OPENING if kind is not StudiesElsewhere),
        (403, "something_new"),
        (429, "too_many_requests"),
        (500, "internal_error"),
        (503, "storage_error"),
    ]
    for status, code in refusals:
        service.refuses["/v1/me/sessions"] = problem(status, code, "raw words")
        await anew(page, LESSON)
        await page.get_by_text(START).click()
        await expect(page.locator(".note")).to_be_visible()
        yield f"refused-{code}"
    service.refuses.clear()
    await anew(page, LESSON)
    await expect(page.get_by_text(START)).to_be_visible()
    service.reachable = False
    await page.get_by_text(START).click()
    await says(page, "连不上", ".note")
    yield "prepare-unreachable"
    service.reachable = True
    service.elsewhere = True
    await page.get_by_role("button", name="再试一次").click()
    await says(page, "您在另一处还开着学习", "dialog")
    yield "prepare-elsewhere"


@visitor(TOURS, LESSON)
async def start_check(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Opening, connecting, looking, advice, and a start that takes long."""
    await page.evaluate(NEVER)
    await page.get_by_text(START).click()
    await expect(page.locator(".spinner")).to_be_visible()
    yield "opening-the-camera"
    await anew(page, LESSON)
    service.holds["/offer"] = asyncio.Event()
    await page.get_by_text(START).click()
    await says(page, "正在连接")
    yield "connecting"
    service.holds.pop("/offer").set()
    await until(lambda: len(service.frames) > 0)
    await says(page, "正在确认是您本人")
    yield "start-check"
    service.cue(advice=Advice.MORE_LIGHT.value)
    await says(page, "太暗了")
    yield "start-check-advice"
    service.cue(advice=Advice.OK.value)
    await later(page, 25)
    await says(page, "还没能确认是您本人")
    yield "start-check-long"


@visitor(TOURS, LESSON)
async def challenge(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Every turn, what is in its way, once more, the way out, and what comes of it."""
    await watching(service, page)
    overlay = page.locator(".challenge")
    for step, turn in enumerate(Turn):
        service.cue(challenge={**CHALLENGE, "step": min(3, 1 + step), "turn": turn.value})
        await says(page, WORDS[turn], ".turn-words")
        yield f"challenge-{turn}"
    service.cue(challenge={**CHALLENGE, "attempt": 2})
    await says(page, "再来一次", ".challenge")
    yield "challenge-again"
    service.cue(advice=Advice.SEVERAL_FACES.value)
    await says(page, "好几个人", ".challenge")
    yield "challenge-trouble"
    await overlay.get_by_role("button", name="不方便转头？").click()
    await says(page, "由工作人员当场核对身份证", "dialog")
    yield "challenge-other-way"
    await page.get_by_role("button", name="返回").click()
    service.cue(challenge=None, advice=Advice.OK.value)
    await expect(overlay).to_be_hidden()
    service.view |= {"state": "challenged", "reason": "challenge", "play": False}
    await says(page, "请您转一转头")
    yield "challenge-coming"


@visitor(TOURS, LESSON)
async def lesson(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Watching: calm, with advice, paused by hand, silent, asked whether to end, ending."""
    await watching(service, page)
    await says(page, "看得到您")
    yield "watching"
    for code in (Advice.COME_CLOSER, Advice.SEVERAL_FACES, Advice.DUPLICATE):
        service.cue(advice=code.value)
        await says(page, {"come_closer": "靠近", "duplicate": "没有变化"}.get(code, "好几个人"))
        yield f"watching-{code}"
    service.cue(advice=Advice.OK.value)
    service.running(11_045)
    await expect(page.locator("output.credited")).to_have_text("3:04:05")
    await page.get_by_role("button", name="静音").click()
    yield "watching-long-and-silent"
    await page.get_by_role("button", name="暂停").click()
    await says(page, "您按了暂停")
    yield "paused-by-hand"
    await page.get_by_role("button", name="结束学习").click()
    await says(page, "要结束这次学习吗", "dialog")
    yield "end-question"
    service.holds["/close"] = asyncio.Event()
    await page.get_by_role("button", name="结束", exact=True).click()
    await expect(page.locator(".spinner")).to_be_visible()
    yield "ending"
    service.holds.pop("/close").set()
    await expect(page.locator("h1")).to_have_text("学习结束")
    yield "ended"


@visitor(TOURS, LESSON)
async def ending_that_fails(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A lesson that cannot be closed just now."""
    await watching(service, page)
    service.refuses["/close"] = problem(503, "storage_error")
    await page.get_by_role("button", name="结束学习").click()
    await page.get_by_role("button", name="结束", exact=True).click()
    await expect(page.get_by_role("button", name="再试一次")).to_be_visible()
    yield "ending-failed"


@visitor(TOURS, LESSON)
async def standing_still(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Every reason of the service to stand still."""
    await watching(service, page)
    for reason in PauseReason:
        service.paused(reason)
        title = await page.evaluate(
            "async key => (await import('/web/shared/i18n.js')).t(key)", arg=f"pause.{reason}"
        )
        await says(page, str(title))
        yield f"paused-{reason}"


@visitor(TOURS, LESSON)
async def without_a_tap(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A browser that plays nothing before somebody taps."""
    await page.evaluate(NO_PLAY)
    service.running()
    await page.get_by_text(START).click()
    await says(page, "可以继续了")
    yield "tap-needed"


@visitor(TOURS, LESSON)
async def screen_that_locks(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A browser that does not keep the screen on."""
    await page.evaluate(NO_LOCK)
    await watching(service, page)
    await says(page, "请让手机屏幕保持亮着")
    yield "watching-screen-may-lock"


@visitor(TOURS, LESSON)
async def camera_lost(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A camera that a call takes, another program holds, or the settings refuse."""
    await watching(service, page)
    await page.evaluate(NEVER)
    await page.evaluate("virtualCamera.end()")
    await says(page, "摄像头被打断了")
    yield "camera-taken"
    await anew(page, LESSON)
    await watching(service, page)
    await page.evaluate("virtualCamera.denied = 'NotReadableError'; virtualCamera.end()")
    await says(page, "摄像头正被别的程序使用")
    yield "camera-busy"
    await page.evaluate("virtualCamera.denied = 'NotAllowedError'")
    await says(page, "没有使用摄像头的权限")
    yield "camera-denied"


@visitor(TOURS, LESSON)
async def network_lost(service: FakeService, page: Page) -> AsyncIterator[str]:
    """A network that is lost for a moment and for longer, and a page that was in the background."""
    await watching(service, page)
    service.reachable = False
    await page.context.set_offline(True)
    await says(page, "网络断了，正在重连")
    yield "network-lost"
    await asyncio.sleep(1.5)  # the page's clock ticks once a second: let it begin to count
    await later(page, 25)
    await says(page, "网络断了，课程先停下")
    yield "network-lost-long"
    await page.context.set_offline(False)
    service.reachable = True
    await says(page, "看得到您")
    await page.evaluate(HIDE, arg=True)
    await page.evaluate(HIDE, arg=False)
    await says(page, "欢迎回来")
    yield "back-from-the-background"


@visitor(TOURS, LESSON)
async def another_window(service: FakeService, page: Page) -> AsyncIterator[str]:
    """Another window that sends for the session, and a stream that is over."""
    await watching(service, page)
    assert service.socket is not None
    await service.socket.close(code=4001)
    await says(page, "另一台设备或另一个页面正在学习")
    yield "taken-by-another-window"
    await page.get_by_role("button", name="在这里学习").click()
    await until_true(page, RUNS)
    service.refuses["/stream"] = problem(401, "unauthorised")
    await service.socket.close(code=4410)
    await says(page, "这里的连接结束了")
    yield "stream-over"
