"""The pages for staff and the public check in a browser, before a tracker that has things to tell.

The sessions are scripted (no pictures); keys, routes, decisions and the ledger are the real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import illegible, phone
from tests.browser.staff_site import NAME, Site, desk, revoke, staff_site

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The served tracker, for all tests of this module."""
    async with staff_site(tmp_path_factory.mktemp("staff") / "t.sqlite3") as served:
        yield served


async def decide(page: Page, words: str, button: str) -> None:
    """Give a reason and decide."""
    await page.locator("#reason").fill(words)
    await page.get_by_role("button", name=button).click()


async def legible(page: Page) -> None:
    """Hold the page as it is against contrast and size."""
    found = await illegible(page)
    assert not found, found


async def test_a_spoof_decision_falls_by_two_reviewers(browser: Browser, site: Site) -> None:
    """The case with its facts and timeline; one grant is not enough, nor twice the same person."""
    async with desk(browser, site, "li-hua") as page:
        case = page.locator("[data-review]").first
        await expect(case).to_contain_text("学习被停止")
        await legible(page)
        await case.click()
        await expect(page.locator("main")).to_contain_text("需要两名审核员")
        await expect(page.locator(".told")).to_contain_text("不像真人")
        await expect(page.locator(".timeline-bar")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("欧**")
        await legible(page)
        await page.locator("#answer").fill("我们正在核对。")
        await page.get_by_role("button", name="发送回复").click()
        await expect(page.locator("main")).to_contain_text("我们正在核对。")
        await decide(page, "画面反光，可以确认是本人", "计入这段时间")
        await expect(page.locator(".badge.is-second_needed")).to_be_visible()
        await decide(page, "我确定", "计入这段时间")
        await expect(page.locator("form .note")).to_contain_text("要由另一位审核员决定")
    before = await site.studio.service.course_credit(site.studio.learner_id, "demo")
    async with desk(browser, site, "wang-fang") as page:
        await page.locator("[data-review]").first.click()
        await decide(page, "同意", "计入这段时间")
        await expect(page.locator(".badge.is-decided")).to_be_visible()
        await expect(page.locator("#reason")).to_have_count(0)
    await site.studio.service.settled()
    after = await site.studio.service.course_credit(site.studio.learner_id, "demo")
    spoofed = before.of(site.spoofed), after.of(site.spoofed)
    assert spoofed[1].credited_ms > spoofed[0].credited_ms


async def test_who_looked_is_recorded_for_the_inspector(browser: Browser, site: Site) -> None:
    """A name is shown on request only, and the trail says who asked for it."""
    async with desk(browser, site, "li-hua") as page:
        await page.get_by_role("link", name="注册审核").click()
        await page.get_by_role("button", name="已通过").click()
        card = page.locator(f"[data-learner='{site.studio.learner_id}']")
        await expect(card).to_contain_text("欧**")
        await card.get_by_role("button", name="查看姓名").click()
        await expect(card).to_contain_text(NAME)
        await expect(card).to_contain_text("11010519491231002X")
        await legible(page)
    async with desk(browser, site, "inspector") as page:
        await page.get_by_role("link", name="查阅记录").click()
        told = page.locator(".told")
        await expect(told).to_contain_text("li-hua")
        await expect(told).to_contain_text(site.studio.learner_id)
        await legible(page)


async def test_a_key_opens_no_more_than_it_may(browser: Browser, site: Site) -> None:
    """An inspector cannot decide; a wrong key opens nothing, and says so."""
    async with desk(browser, site, "inspector") as page:
        await page.get_by_role("button", name="全部").click()
        await expect(page.locator("[data-review]").first).to_be_visible()
    async with phone(browser) as page:
        await page.goto(f"{site.url}/review/")
        await legible(page)
        await page.locator("#key").fill("benren_nobody_" + "x" * 43)
        await page.get_by_role("button", name="登录").click()
        await expect(page.locator(".note.bad")).to_contain_text("不能用")
        assert await page.locator("[data-review]").count() == 0


async def test_anybody_checks_a_certificate(browser: Browser, site: Site) -> None:
    """Typed or scanned, genuine or not, in both languages; the name is masked."""
    async with phone(browser) as page:
        await page.goto(f"{site.url}/check/")
        await legible(page)
        await page.locator("#number").fill(site.number.lower())
        spaced = " ".join(site.code[i : i + 4] for i in range(0, 16, 4))
        await page.locator("#code").fill(spaced)
        await page.get_by_role("button", name="查询").click()
        await expect(page.locator("[data-verdict=valid]")).to_contain_text("真实有效")
        await expect(page.locator("main")).to_contain_text("欧**")
        assert NAME not in await page.content()
        await legible(page)
        await page.goto(f"{site.url}/check/{site.number}?code={'0' * 16}")
        await expect(page.locator("[data-verdict=unknown]")).to_be_visible()
        await legible(page)
        await page.goto(f"{site.url}/check/{site.number}")
        await page.get_by_role("button", name="English").click()
        await expect(page.locator("[data-verdict=valid]")).to_contain_text("Genuine")
        assert "欧" not in await page.content()


async def test_a_revoked_certificate_says_so(browser: Browser, site: Site) -> None:
    """The public check shows the revocation and its reason; the paper is printed no more."""
    await revoke(site)
    async with phone(browser) as page:
        await page.goto(f"{site.url}/check/{site.number}?code={site.code}")
        await expect(page.locator("[data-verdict=revoked]")).to_contain_text("已被撤销")
        await expect(page.locator("main")).to_contain_text("由他人代学")
        await legible(page)
        answer = await page.request.get(
            f"{site.url}/v1/certificates/{site.number}/pdf?code={site.code}"
        )
        assert answer.status == 410
