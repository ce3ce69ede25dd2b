"""Tour: the pages for staff and the public check, before a real tracker."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

import cv2
import numpy as np
from playwright.async_api import Page, Route, expect

from session_tracker.policy import Provenance, Training
from session_tracker.segments import SegmentState
from tests.browser.staff_site import Site, revoke, sign_in
from tests.browser.tours import Tour, visitor

TOURS: Final[list[Tour[Site]]] = []


async def appeal(site: Site) -> None:
    """Have the learner disagree with the longest piece of his that was not credited."""
    told = (await site.studio.service.explain(site.spoofed)).told
    lost = [s for s in told.spans if s.state is not SegmentState.CREDITED]
    longest = max(lost, key=lambda s: s.end - s.start)
    await site.studio.service.casework.appeal(
        site.studio.learner_id,
        site.spoofed,
        start=longest.start,
        end=longest.end,
        text="我一直坐在手机前面，只是中间擦了一下眼镜。\n请再看一看当时的画面。",
    )


async def register(site: Site, name: str) -> str:
    """Have somebody register and wait; gives his id."""
    registry = site.studio.service.registry
    learner = await registry.add_learner(
        category="safety_manager",
        track=Training.INITIAL,
        industry="furniture",
        business_ref="佛山市南海区某某五金制品有限公司-91440605",
    )
    await registry.put_template(learner.id, b"opaque", Provenance.SELF_PHOTO)
    await registry.people.record(learner.id, name=name, identity_number=None)
    return learner.id


async def kept_picture(route: Route) -> None:
    """Answer with a picture that browsers show: the scripted camera's are none."""
    picture = np.full((480, 640, 3), (120, 110, 90), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    await route.fulfill(body=jpeg, content_type="image/jpeg")


async def too_often(route: Route) -> None:
    """Answer that there were too many questions."""
    busy = {"status": 429, "code": "too_many_requests", "detail": "", "retry_after_s": 30}
    await route.fulfill(status=429, json=busy)


async def no_network(route: Route) -> None:
    """Let nothing through."""
    await route.abort("internetdisconnected")


@visitor(TOURS, "/review/")
async def at_the_door(site: Site, page: Page) -> AsyncIterator[str]:
    """A key that is asked for, one that is wrong, and one that may do less."""
    await expect(page.locator("#key")).to_be_visible()
    yield "staff-sign-in"
    await page.locator("#key").fill("benren_nobody_" + "x" * 43)
    await page.get_by_role("button", name="登录").click()
    await expect(page.locator(".note.bad")).to_be_visible()
    yield "staff-wrong-key"
    await sign_in(page, "inspector")
    await expect(page.locator("[data-review]").first).to_be_visible()
    await page.locator("[data-review]").first.click()
    await page.locator("#reason").fill("我想试试")
    await page.get_by_role("button", name="计入这段时间").click()
    await expect(page.locator(".note.bad")).to_be_visible()
    yield "staff-not-allowed"


@visitor(TOURS, "/review/")
async def reviewing(site: Site, page: Page) -> AsyncIterator[str]:
    """Lists, a case with its evidence, an answer, one vote of two, a decision."""
    await appeal(site)
    await page.route(re.compile("/pictures/"), kept_picture)
    await sign_in(page, "li-hua")
    cases = page.locator("[data-review]")
    await expect(cases.filter(has_text="学员申诉")).to_be_visible()
    yield "reviews"
    await page.get_by_role("button", name="已超期").click()
    await expect(page.locator("main")).to_contain_text("没有需要处理的内容")
    yield "reviews-none"
    await page.get_by_role("button", name="未决").click()
    await cases.filter(has_text="学习被停止").click()
    await expect(page.locator(".told")).to_be_visible()
    yield "case-of-a-spoof"
    await page.get_by_role("button", name="查看画面").first.click()
    await expect(page.locator(".shot")).to_be_visible()
    yield "case-picture"
    await page.locator("#answer").fill("我们正在核对。")
    await page.get_by_role("button", name="发送回复").click()
    await expect(page.locator("main")).to_contain_text("已给学员的回复")
    yield "case-answered"
    await page.locator("#reason").fill("画面反光，可以确认是本人")
    await page.get_by_role("button", name="计入这段时间").click()
    await expect(page.locator(".badge.is-second_needed")).to_be_visible()
    yield "case-second-needed"
    await page.locator("#reason").fill("画面反光，可以确认是本人")
    await page.get_by_role("button", name="计入这段时间").click()
    await expect(page.locator("form .note")).to_contain_text("另一位审核员")
    yield "case-not-twice"
    await page.get_by_role("link", name="返回").click()
    await cases.filter(has_text="学员申诉").click()
    await expect(page.locator(".said").first).to_be_visible()
    yield "case-of-an-appeal"
    await page.get_by_role("link", name="复核", exact=True).click()
    every = page.get_by_role("button", name="全部")
    await every.click()
    await expect(every).to_have_attribute("aria-pressed", "true")
    await expect(cases.first).to_be_visible()
    yield "reviews-all"


@visitor(TOURS, "/review/")
async def registering(site: Site, page: Page) -> AsyncIterator[str]:
    """People who wait, were approved and refused; a name that is read; who looked."""
    await register(site, "司马相如")
    refused = await register(site, "王芳")
    await site.studio.service.refuse_registration(
        refused, actor="li-hua", reasons=["照片太暗，看不清脸", "same_face"]
    )
    await sign_in(page, "li-hua")
    await page.get_by_role("link", name="注册审核").click()
    await expect(page.locator("[data-learner]")).to_be_visible()
    yield "registrations-waiting"
    await page.get_by_role("button", name="未通过").click()
    await expect(page.locator("[data-learner]")).to_contain_text("照片太暗")
    yield "registrations-refused"
    await page.get_by_role("button", name="已通过").click()
    await page.get_by_role("button", name="查看姓名").click()
    await expect(page.locator("main")).to_contain_text("11010519491231002X")
    yield "registrations-approved"
    await page.get_by_role("button", name="退出").click()
    await sign_in(page, "inspector")
    await page.get_by_role("link", name="查阅记录").click()
    await expect(page.locator(".told")).to_be_visible()
    yield "who-looked"


@visitor(TOURS, "/check/")
async def checking(site: Site, page: Page) -> AsyncIterator[str]:
    """The public check: typed, genuine, unknown, too often, without network, revoked."""
    verdict = page.locator("[data-verdict]")
    await expect(page.locator("#number")).to_be_visible()
    yield "check"
    await page.locator("#number").fill("123")
    await page.get_by_role("button", name="查询").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    yield "check-bad-input"
    paper = f"{site.url}/check/{site.number}?code={site.code}"
    for name, address in (
        ("genuine", paper),
        ("genuine-without-code", f"{site.url}/check/{site.number}"),
        ("unknown", f"{site.url}/check/{site.number}?code={'0' * 16}"),
    ):
        await page.goto(address)
        await expect(verdict).not_to_contain_text("正在查询")
        yield f"check-{name}"
    for name, refuse in (("too-often", too_often), ("no-network", no_network)):
        await page.route(re.compile("/v1/certificates/"), refuse)
        await page.goto(paper)
        await expect(verdict).not_to_contain_text("正在查询")
        yield f"check-{name}"
        await page.unroute(re.compile("/v1/certificates/"))
    await revoke(site)
    await page.goto(paper)
    await expect(page.locator("[data-verdict=revoked]")).to_be_visible()
    yield "check-revoked"
