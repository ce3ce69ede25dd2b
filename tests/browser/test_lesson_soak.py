"""What goes wrong in a lesson, in a browser and in real time: each ends as the credit model says.

The rules' lengths of time are the programme's own where a test is about them (network gaps of 30
and 120 s); the answer is read from the ledger, never from the page.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.browsing import as_urls, browser_running, phone
from tests.browser.studying import LONG, credited_after, now_of, studying
from tests.browser.test_lesson import LOOPBACK, study
from tests.browser.whole import PROGRAMME, Album, Whole, whole_service

pytestmark = [
    pytest.mark.soak,
    pytest.mark.models,
    pytest.mark.faces,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory, album: Album) -> AsyncIterator[Whole]:
    """A service whose lesson is longer than any test."""
    async with whole_service(tmp_path_factory.mktemp("soak"), album.pack_dir, LONG) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_browser() -> AsyncIterator[Browser]:
    """A browser whose WebRTC works, on loopback."""
    async with browser_running(LOOPBACK) as running:
        yield running


async def test_another_camera_in_mid_lesson(
    whole: Whole, open_browser: Browser, album: Album
) -> None:
    """Somebody else sits down in mid-lesson: time stops at the last pass of the learner."""
    async with studying(whole, open_browser, album) as lesson:
        dad = album.poses("dad")
        swapped = now_of(await lesson.story())
        await lesson.page.evaluate("urls => virtualCamera.load(urls)", as_urls(dad))
        await lesson.until_fact("paused", 90, reason="mismatch")
        await expect(lesson.page.locator(".status")).to_contain_text("登记照片不一致")
        await lesson.until_fact("closed", 120)
        assert credited_after(await lesson.story(), swapped) <= 1_500


async def test_covered_lens(whole: Whole, open_browser: Browser, album: Album) -> None:
    """A hand before the lens: absent, nothing is credited, and it goes on once he is seen again."""
    async with studying(whole, open_browser, album) as lesson:
        covered = now_of(await lesson.story())
        await lesson.page.evaluate("virtualCamera.cover = true")
        await lesson.until_fact("paused", 60, reason="absent")
        assert credited_after(await lesson.story(), covered) <= 1_500
        await lesson.page.evaluate("virtualCamera.cover = false")
        await lesson.gains(covered, 5_000)


async def test_tab_in_the_background(whole: Whole, open_browser: Browser, album: Album) -> None:
    """A hidden page stands still and is not credited; it goes on when it is seen again."""
    async with studying(whole, open_browser, album) as lesson:
        hide = """hidden => {
            Object.defineProperty(document, "visibilityState",
                {value: hidden ? "hidden" : "visible", configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await lesson.page.evaluate(hide, arg=True)
        await asyncio.sleep(1)
        hidden = now_of(await lesson.story())
        await asyncio.sleep(20)
        assert credited_after(await lesson.story(), hidden) == 0
        await lesson.page.evaluate(hide, arg=False)
        await lesson.gains(hidden, 5_000)


async def test_second_device(whole: Whole, open_browser: Browser, album: Album) -> None:
    """A second device is refused until it takes over; then the first is closed, and one counts."""
    async with studying(whole, open_browser, album) as lesson:
        invitation = await whole.invite_again(lesson.learner_id)
        poses = album.poses("lady")
        async with phone(open_browser, faces=poses) as second:
            await second.goto(invitation)
            await study(second)
            await second.get_by_role("button", name="改在这里学习").click()
            await expect(second.locator(".status.good")).to_be_visible(timeout=60_000)
            await expect(lesson.page.locator(".note")).to_contain_text("另一台设备", timeout=30_000)
        course = await whole.client.credit(lesson.learner_id, PROGRAMME)
        first, other = [await whole.client.explain(s["session_id"]) for s in course["sessions"]]
        (closed,) = [fact for fact in first["facts"] if fact["kind"] == "closed"]
        assert closed["data"]["reason"] == "taken_over"
        starts = [span["start_ms"] for span in other["credited"]]
        ends = [span["end_ms"] for span in first["credited"]]
        assert not starts or not ends or min(starts) >= max(ends)


@pytest.mark.usefixtures("album")
async def test_network_cuts_in_a_namespace_of_their_own() -> None:
    """The cuts of `network_cuts.py` need a loopback device that may be switched off."""
    cuts = Path(__file__).with_name("network_cuts.py")
    run = f"ip link set lo up && exec {sys.executable} -m pytest -q -m soak {cuts}"
    done = await asyncio.to_thread(
        subprocess.run, ["unshare", "-n", "sh", "-c", run], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()[-4_000:]
