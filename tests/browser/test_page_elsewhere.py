"""A lesson that is open on another device or in another window as well."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, expect

from tests.browser.learner_page import (
    LESSON,
    RUNS,
    STANDS,
    begin,
    learner,
    readable,
    until,
    until_true,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


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
        await expect(page.locator("h1")).to_be_visible()  # it has asked all that it asks
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
        await expect(page.locator("h1")).to_be_visible()  # it has asked all that it asks
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
