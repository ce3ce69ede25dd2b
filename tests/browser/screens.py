"""Take a picture of every state of the pages, to be looked at.

    python -m tests.browser.screens FOLDER [--only NAME] [--english] [--faces DIR --models DIR]

The learner's page at the size of a phone; staff's pages and the public check at that of a phone and
of a desk. With `--faces` (the photographs) and `--models` (the networks that turn heads) somebody
sits before the camera; without, its chair is empty. What is brought about and how: ``tours.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Error, Page

from tests import virtual_learner
from tests.browser import tours_after, tours_entry, tours_lesson, tours_staff
from tests.browser.browsing import DESK, browser_running, illegible, phone, speak
from tests.browser.fake_service import FakeService
from tests.browser.learner_page import learner
from tests.browser.pages_served import pages_served
from tests.browser.staff_site import Site, staff_site
from tests.browser.tours import Tour

LEARNERS: Final[tuple[Tour[FakeService], ...]] = (
    *tours_entry.TOURS,
    *tours_lesson.TOURS,
    *tours_after.TOURS,
)
STAFFS: Final[tuple[Tour[Site], ...]] = tuple(tours_staff.TOURS)


@asynccontextmanager
async def learner_on(
    browser: Browser, pages: str, tour: Tour[FakeService], faces: dict[str, bytes] | None = None
) -> AsyncIterator[tuple[Page, AsyncIterator[str]]]:
    """A learner's phone where a tour begins: its page and the tour's states."""
    async with learner(browser, pages, tour.path, signed_in=tour.signed_in, faces=faces or {}) as (
        service,
        page,
    ):
        yield page, tour.walk(service, page)


@asynccontextmanager
async def site_on(
    browser: Browser, tour: Tour[Site], *, desk: bool = False
) -> AsyncIterator[tuple[Page, AsyncIterator[str]]]:
    """A tracker of its own where a tour begins: its page and the tour's states."""
    options = DESK if desk else {}
    with tempfile.TemporaryDirectory() as place:
        async with (
            staff_site(Path(place) / "t.sqlite3") as site,
            phone(browser, **options) as page,
        ):
            await page.goto(f"{site.url}{tour.path}")
            yield page, tour.walk(site, page)


@dataclass(frozen=True, slots=True)
class Photographer:
    """Takes the pictures."""

    folder: Path
    only: str
    english: bool

    async def follow(self, page: Page, states: AsyncIterator[str], size: str) -> None:
        """Take a picture of each state of a tour, and say what cannot be read in it."""
        async for name in states:
            if self.only not in name:
                continue
            languages = ("zh", "en") if self.english else ("zh",)
            for language in languages:
                await speak(page, language)
                target = self.folder / f"{size}-{name}.{language}.png"
                await page.screenshot(path=target, full_page=True)
                faults = await illegible(page)
                print(target.name, *faults, sep="\n  ", flush=True)  # noqa: T201 - a tool
            await speak(page, "zh")


async def every_tour(
    browser: Browser, pages: str, photographer: Photographer, faces: dict[str, bytes] | None
) -> list[str]:
    """Go on every tour; gives those that did not come to their end, with the reason."""
    failed: list[str] = []
    for tour in LEARNERS:
        try:
            async with learner_on(browser, pages, tour, faces) as (page, states):
                await photographer.follow(page, states, "phone")
        except (AssertionError, Error) as error:
            failed.append(f"{tour.name}: {error}")
    for desk in (False, True):
        for site_tour in STAFFS:
            try:
                async with site_on(browser, site_tour, desk=desk) as (page, states):
                    await photographer.follow(page, states, "desk" if desk else "staff")
            except (AssertionError, Error) as error:
                failed.append(f"{site_tour.name}: {error}")
    return failed


async def take_all(given: argparse.Namespace) -> str:
    """Take the pictures; gives what failed."""
    given.folder.mkdir(parents=True, exist_ok=True)
    faces = None
    if given.faces is not None:
        faces = virtual_learner.poses("lady", given.faces, given.models)
    photographer = Photographer(given.folder, given.only, given.english)
    async with browser_running() as browser, pages_served() as pages:
        return "\n".join(await every_tour(browser, pages, photographer, faces))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="states whose name holds this")
    parser.add_argument("--english", action="store_true", help="in English as well")
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--models", type=Path)
    sys.exit(asyncio.run(take_all(parser.parse_args())) or 0)


if __name__ == "__main__":
    main()
