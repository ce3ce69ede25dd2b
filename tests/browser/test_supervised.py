"""Staff's pages for the way without a face, in a browser: a lesson that they sit by, to its end.

The tracker is real and its clock runs with the browser's; nobody's face is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from benren.server import listening
from session_tracker.api.app import create_app
from session_tracker.casework import ENDED
from session_tracker.catalogue import load_catalogue
from session_tracker.policy import Provenance, Training, load_policy
from session_tracker.testing import Studio
from tests.browser.browsing import illegible, phone
from verifier.edge import ApiKeys, KeyScope, new_api_key

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SECRET, LINE = new_api_key("counter-3", [KeyScope.STAFF])
NAME, NUMBER = "欧阳明", "11010519491231002X"
TICK_S = 0.1
PLAYED = re.compile(r"0:(0[6-9]|[1-5]\d) / 4:00")
"""The player has come some seconds far."""


@dataclass
class Site:
    """A served tracker and a learner who does without the face."""

    studio: Studio
    url: str
    learner_id: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Register a learner, and let the service's clock run."""
    place = tmp_path_factory.mktemp("supervised") / "t.sqlite3"
    catalogue = load_catalogue([], programmes=["sample"])
    studio = Studio(f"sqlite:///{place}", policy=load_policy("sample"), catalogue=catalogue)
    await studio.start()
    registry = studio.service.registry
    learner = await registry.add_learner(
        category="principal", track=Training.INITIAL, industry="furniture", business_ref="b-5"
    )
    await registry.people.record(learner.id, name=NAME, identity_number=NUMBER)
    await studio.service.office.approve(learner.id, actor="counter-3", reason="licence seen")
    ticking = asyncio.create_task(_tick(studio))
    async with listening(create_app(studio.service, api_keys=ApiKeys.parse([LINE]))) as url:
        yield Site(studio, url, learner.id)
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    await studio.stop()


async def _tick(studio: Studio) -> None:
    loop = asyncio.get_running_loop()
    last = loop.time()
    while True:
        await asyncio.sleep(TICK_S)
        now = loop.time()
        studio.clock.advance(round((now - last) * 1_000))
        last = now


@asynccontextmanager
async def desk(browser: Browser, site: Site, tab: str) -> AsyncIterator[Page]:
    """Sign in at the staff's page and open a tab."""
    async with phone(browser) as page:
        await page.goto(f"{site.url}/review/")
        await page.locator("#key").fill(SECRET)
        await page.get_by_role("button", name="登录").click()
        await page.get_by_role("link", name=tab).click()
        yield page


async def legible(page: Page) -> None:
    """Hold the page as it is against contrast and size."""
    found = await illegible(page)
    assert not found, found


async def begin(page: Page) -> None:
    """Find the learner and open a session for a quarter of an hour."""
    await page.locator("#who").fill(NUMBER)
    await page.get_by_role("button", name="查找学员").click()
    await expect(page.locator("main")).to_contain_text(NAME)
    await page.locator("#minutes").select_option("15")
    await page.locator("#chose").check()
    await page.locator("#there").check()
    await page.locator("#reason").fill("本人不愿用摄像头，二号教室")
    await page.get_by_role("button", name="开始，由我监督").click()
    await expect(page.locator("video")).to_be_visible()


async def end(page: Page) -> None:
    """End the session with a reason."""
    await page.locator("#end-why").fill("今天到这里")
    await page.get_by_role("button", name="结束学习").click()
    await expect(page.locator("main")).to_contain_text("这次学习已经结束")


async def kinds(site: Site, session_id: str) -> list[str]:
    """Name what the ledger holds of a session."""
    return [entry.kind for entry in await site.studio.service.ledger.of_subject(session_id)]


async def test_a_lesson_that_staff_sit_by(browser: Browser, site: Site) -> None:
    """Found, opened, played here, confirmed on, ended; what they answered for is credited."""
    async with desk(browser, site, "现场监督") as page:
        await expect(page.locator("main")).to_contain_text("现在没有现场监督的学习")
        await legible(page)
        await page.locator("#who").fill("110105194912310021")
        await page.get_by_role("button", name="查找学员").click()
        await expect(page.locator(".note")).to_contain_text("没有找到这个学员")
        await page.locator("#who").fill(NUMBER)
        await page.get_by_role("button", name="查找学员").click()
        await expect(page.locator("main")).to_contain_text(NAME)
        await legible(page)
        await page.locator("#reason").fill("二号教室")
        await page.get_by_role("button", name="开始，由我监督").click()
        await expect(page.locator("#chose")).to_be_focused()
        assert site.studio.service.casework.supervised() == []
        await begin(page)
        await expect(page.get_by_text("正在学习")).to_be_visible()
        (live,) = site.studio.service.casework.supervised()
        until = live.machine.supervised_until
        assert until is not None
        await expect(page.locator("main")).to_contain_text("监督到")
        await legible(page)
        await expect(page.locator("main")).to_contain_text(PLAYED, timeout=30_000)
        await page.locator("#more").select_option("60")
        await page.locator("#more-why").fill("还在教室")
        await page.get_by_role("button", name="确认我在场").click()
        await expect(page.locator(".note.good")).to_contain_text("已记录")
        assert (live.machine.supervised_until or 0) > until + 2_000_000
        await end(page)
        credit = await site.studio.service.course_credit(site.learner_id, "sample")
        assert 4 <= credit.credit.credited_s <= 60
        await expect(page.locator("main")).to_contain_text(f"{credit.credit.credited_s} 秒")
        await expect(page.locator("main")).to_contain_text("工作人员结束了这次学习")
        await legible(page)
        assert ENDED in await kinds(site, live.id)
        await page.get_by_role("link", name="返回").click()
        await expect(page.locator("main")).to_contain_text("现在没有现场监督的学习")
        await page.get_by_role("button", name="English").click()
        await expect(page.locator("main")).to_contain_text("Nobody studies under supervision now")
        await legible(page)


async def test_staff_who_were_late_say_since_when_they_sat_there(
    browser: Browser, site: Site
) -> None:
    """The time is over: the page says that nothing counts, until they confirm it, gap and all."""
    async with desk(browser, site, "现场监督") as page:
        await begin(page)
        (live,) = site.studio.service.casework.supervised()
        until = live.machine.supervised_until
        assert until is not None
        site.studio.clock.advance(until - site.studio.clock.stamp().utc_ms + 30_000)
        await page.reload()
        await expect(page.locator(".note.attention")).to_contain_text("没有人监督")
        await legible(page)
        await page.locator("#since").check()
        await page.locator("#more-why").fill("一直在旁边")
        await page.get_by_role("button", name="确认我在场").click()
        await expect(page.locator(".note.good")).to_contain_text("已记录")
        await expect(page.locator(".note.attention")).to_have_count(0)
        await expect(page.locator("#since")).to_be_hidden()
        assert f"supervised:{until}-{live.machine.supervised_until}" in live.facts
        await (
            page.get_by_role("button", name="播放")
            .or_(page.get_by_role("button", name="暂停"))
            .wait_for()
        )
        await page.get_by_role("link", name="返回").click()
        case = page.locator(f"[data-session='{live.id}']")
        await expect(case).to_contain_text("欧**")
        await legible(page)
        await case.click()
        await end(page)


async def test_a_session_of_another_device_is_confirmed_and_ended_here(
    browser: Browser, site: Site
) -> None:
    """Its lesson plays elsewhere, and the page says so; one that is over is over."""
    opened = await site.studio.service.openings.open_supervised(
        learner_id=site.learner_id,
        programme="sample",
        media=["sample-lesson"],
        minutes=30,
        actor="counter-1",
        reason="room 1",
    )
    async with desk(browser, site, "现场监督") as page:
        await page.locator(f"[data-session='{opened.session_id}']").click()
        await expect(page.locator("main")).to_contain_text("在开始它的那台设备上播放")
        await expect(page.locator("video")).to_have_count(0)
        await legible(page)
        await end(page)
        await page.goto(f"{site.url}/review/#/supervised/{opened.session_id}")
        await page.reload()
        await expect(page.locator("main")).to_contain_text("这次学习已经结束")


async def test_what_is_refused_is_said_in_words(browser: Browser, site: Site) -> None:
    """The learner studies elsewhere: the page says it, and opens nothing."""
    studio = site.studio
    other = await studio.open(media="sample-lesson")
    await studio.service.registry.people.record(
        studio.learner_id, name="王小明", identity_number=None
    )
    async with desk(browser, site, "现场监督") as page:
        await page.locator("#who").fill(studio.learner_id)
        await page.get_by_role("button", name="查找学员").click()
        await page.locator("#chose").check()
        await page.locator("#there").check()
        await page.locator("#reason").fill("二号教室")
        await page.get_by_role("button", name="开始，由我监督").click()
        await expect(page.locator(".note")).to_contain_text("正在另一台设备上学习")
        await legible(page)
    await other.close()


async def test_a_face_that_waits_is_confirmed(browser: Browser, site: Site) -> None:
    """A selfie's hours wait for a look: found under their own heading, confirmed with a reason."""
    learner_id, _ = await site.studio.enrol(Provenance.SELF_LIVE)
    registry = site.studio.service.registry
    assert await registry.faces_waiting(learner_id) == [1]
    async with desk(browser, site, "注册审核") as page:
        await page.get_by_role("button", name="人脸待确认").click()
        card = page.locator(f"[data-learner='{learner_id}']")
        await expect(card).to_contain_text("已通过")
        await legible(page)
        await card.locator("input[type=text]").fill("与身份证一致")
        await card.get_by_role("button", name="确认是本人").click()
        await expect(card.locator("input[type=checkbox]")).to_be_focused()
        assert await registry.faces_waiting(learner_id) == [1]
        await card.locator("input[type=checkbox]").check()
        await card.get_by_role("button", name="确认是本人").click()
        await expect(card).to_have_count(0)
        assert await registry.faces_waiting(learner_id) == []
    words = await registry.staff_words.of(learner_id)
    assert "与身份证一致" in words.values()


@pytest.mark.parametrize("button", ["确认是本人", "不通过"])
async def test_an_earlier_face_is_decided_about_by_itself(
    browser: Browser, site: Site, button: str
) -> None:
    """Replaced since: the newest first, then the one before, of which the page says what it is."""
    studio, registry = site.studio, site.studio.service.registry
    studio.learner_id, studio.consent_id = await studio.enrol(Provenance.SELF_LIVE)
    lesson = await studio.open(media="sample-lesson")
    await lesson.watch(60)
    await lesson.close()
    await registry.put_template(studio.learner_id, b"opaque", Provenance.SELF_LIVE)
    await studio.service.office.approve(studio.learner_id, actor="counter", reason="seen")
    async with desk(browser, site, "注册审核") as page:
        await page.get_by_role("button", name="人脸待确认").click()
        card = page.locator(f"[data-learner='{studio.learner_id}']")
        await expect(card).not_to_contain_text("较早登记")
        await card.locator("input[type=text]").fill("与身份证一致")
        await card.locator("input[type=checkbox]").check()
        await card.get_by_role("button", name="确认是本人").click()
        await expect(card).to_contain_text("较早登记的人脸（第 1 次登记）")
        assert await registry.faces_waiting(studio.learner_id) == [1]
        await legible(page)
        await card.locator("input[type=text]").fill("当时在柜台见过")
        await card.locator("input[type=checkbox]").check()
        await card.get_by_role("button", name=button).click()
        await expect(card).to_have_count(0)
    assert await registry.faces_waiting(studio.learner_id) == []
    assert str((await registry.registration(studio.learner_id)).state) == "approved"


async def test_whoever_is_taken_for_a_picture_acts_instead(browser: Browser, site: Site) -> None:
    """Staff who have seen the learner say so, with a reason, and take it back."""
    office, learner_id = site.studio.service.office, site.studio.learner_id
    async with desk(browser, site, "注册审核") as page:
        await page.get_by_role("button", name="已通过").click()
        card = page.locator(f"[data-learner='{learner_id}']")
        await card.get_by_role("button", name="查看姓名").click()
        await card.locator("form input[type=text]").fill("当面看过，是他本人")
        await card.get_by_role("button", name="改用动作").click()
        await expect(card).to_contain_text("用动作代替")
        assert await office.needs_challenge(learner_id)
        await legible(page)
        await card.locator("form input[type=text]").fill("换了摄像头")
        await card.get_by_role("button", name="恢复照常核验").click()
        await expect(card.get_by_role("button", name="改用动作")).to_be_visible()
        assert not await office.needs_challenge(learner_id)
