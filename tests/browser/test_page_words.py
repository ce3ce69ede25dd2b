"""Every code of the service has words on the page, in both languages."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from session_tracker.events import CloseReason, PauseReason, VoidReason
from session_tracker.refusals import OPENING, StudiesElsewhere
from tests.browser.learner_page import learner
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Turn

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


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
