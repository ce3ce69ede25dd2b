"""Tours of the pages: every state, one after another, each with a name.

Who takes a tour looks at each state as it comes: ``screens.py`` takes its picture, and
``test_every_state.py`` holds it against what all have to keep (``legible.js``, the keyboard). The
learner's states are brought about by a scripted service (``fake_service.py``), those of the staff's
pages and of the public check by a real tracker (``staff_site.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from playwright.async_api import Page

World = TypeVar("World")
_Walk = Callable[[World, Page], AsyncIterator[str]]
_visits = count()


@dataclass(frozen=True, slots=True)
class Tour(Generic[World]):
    """A walk through states of a page."""

    name: str
    walk: _Walk[World]
    """Brings each state about, then yields its name; the page stays until it is asked to go on."""
    path: str = ""
    """Where it begins: fragment of the learner's page, or path of another one."""
    signed_in: bool = True


def visitor(
    tours: list[Tour[World]], path: str = "", *, signed_in: bool = True
) -> Callable[[_Walk[World]], _Walk[World]]:
    """Add a walk to the tours."""

    def add(walk: _Walk[World]) -> _Walk[World]:
        name = getattr(walk, "__name__", "").replace("_", "-")
        tours.append(Tour(name=name, walk=walk, path=path, signed_in=signed_in))
        return walk

    return add


async def anew(page: Page, path: str) -> None:
    """Open the learner's page at a fragment, as a device that remembers no session."""
    base = page.url.split("/learn/")[0]
    await page.goto(f"{base}/check/")
    await page.evaluate("sessionStorage.clear()")
    await page.goto(f"{base}/learn/?visit={next(_visits)}{path}")


async def later(page: Page, seconds: int) -> None:
    """Let the page believe that so much time went by; its timers tick on."""
    await page.evaluate(
        "ms => { const now = Date.now.bind(Date); Date.now = () => now() + ms; }",
        arg=1_000 * seconds,
    )
