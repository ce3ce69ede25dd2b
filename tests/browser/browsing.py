"""A real browser on the learner's page: Chromium as a phone, with its own camera or a drawn one.

RECIPES of the design: no sandbox (CI runs as root), no background networking (the machine's network
is closed), no mDNS candidates (they cost a second each).
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    async_playwright,
)

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
NARROW: Final[ViewportSize] = {"width": 320, "height": 640}
"""WCAG 2.2, 1.4.10: nothing may need scrolling sideways at this width."""
DESK: Final[dict[str, Any]] = {
    "viewport": {"width": 1280, "height": 860},
    "device_scale_factor": 1,
    "has_touch": False,
    "is_mobile": False,
}
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
_CAMERA: Final = (Path(__file__).parent / "virtual_camera.js").read_text("utf-8")
_LEGIBLE: Final = (Path(__file__).parent / "legible.js").read_text("utf-8")
_KEYS: Final = (Path(__file__).parent / "keys.js").read_text("utf-8")
_SPEAK: Final = "async code => (await import('/web/shared/i18n.js')).chooseLanguage(code)"


def chromium() -> str:
    """Name the browser; CI installs it where it is missing."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found is not None, "Chromium is missing: apt-get install chromium"
    return found


@asynccontextmanager
async def browser_running(*more: str) -> AsyncIterator[Browser]:
    """Start the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), headless=True, args=[*FLAGS, *more]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def phone(
    browser: Browser,
    *,
    language: str = "zh-CN",
    faces: Mapping[str, bytes] | None = None,
    **options: Any,
) -> AsyncIterator[Page]:
    """Open a page as on a phone; `faces` replaces the camera by drawn photographs (by pose).

    Leaving it, no error may be on the console.
    """
    settings: dict[str, Any] = {
        "viewport": PHONE,
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
        "locale": language,
    }
    context = await browser.new_context(**{**settings, **options})
    errors: list[str] = []
    try:
        if faces is not None:
            await draw_camera(context, faces)
        page = await context.new_page()
        page.on("console", lambda message: _note(errors, message))
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        assert not errors, errors
    finally:
        await context.close()


async def draw_camera(context: BrowserContext, faces: Mapping[str, bytes]) -> None:
    """Have `getUserMedia` give a canvas on which the photographs move."""
    await context.add_init_script(f"window.virtualFaces = {as_urls(faces)!r};\n{_CAMERA}")


def as_urls(faces: Mapping[str, bytes]) -> dict[str, str]:
    """Give photographs as a page can load them, whatever its policy."""
    return {
        pose: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        for pose, jpeg in faces.items()
    }


async def illegible(page: Page) -> list[str]:
    """List what a person of sixty, or a screen reader, could not read on the page as it is now."""
    faults = await page.evaluate(_LEGIBLE[_LEGIBLE.index("() =>") :])
    return [str(fault) for fault in faults]


async def unreachable(page: Page) -> list[str]:
    """List what the tab key does not reach, or reaches without a sign of it."""
    await page.evaluate(f"window.keys = {_KEYS[_KEYS.index('(() =>') :]}")
    for _ in range(await page.evaluate("keys.wanted()") + 2):
        await page.keyboard.press("Tab")
        await page.evaluate("keys.note()")
    return [str(fault) for fault in await page.evaluate("keys.missed()")]


async def speak(page: Page, code: str) -> None:
    """Have the page change its language: `zh` or `en`."""
    await page.evaluate(_SPEAK, arg=code)


def _note(errors: list[str], message: ConsoleMessage) -> None:
    """Keep what the page itself got wrong; a failed request is part of some tests."""
    if message.type == "error" and not message.text.startswith("Failed to load resource"):
        errors.append(message.text)
