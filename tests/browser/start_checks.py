"""The start check tried in a browser, at the product's own times: who and what gets through.

``python -m tests.browser.start_checks KIND [tries] [--log FILE]`` prints one JSON object per try as
it ends, and the counts last; with a log it goes on where it was stopped. Kinds: `learner` (the
virtual learner, who follows the arrows), and before Chromium's own fake camera `still` (a
photograph of the right person), `loop` (a recording of the right person, on and on) and `sides` (a
clip of the right person who turns to all sides in a fixed order). One service is kept, and a
browser per film; each try has a learner and a page of its own, a few pages at once.

The programme is the sample's as it is: the check is a challenge of four turns, with two attempts of
a minute each. Nothing of the server knows that it is tried out. A learner is judged by his first
challenge; a fake is shown further ones for as long as its session lives, and any that it passes
is a pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from playwright.async_api import Browser, Error

from benren.demo.answering import Obedient
from benren.demo.cameras import AS_RECORDED, Camera, as_picture
from benren.demo.poses import PoseStudio, jpeg_of
from session_tracker.events import Outcome
from tests import virtual_learner
from tests.acceptance.challenge_trials import recording
from tests.browser.browsing import browser_running, phone
from tests.browser.whole import Album, Whole, whole_service
from verifier.errors import BenrenError
from verifier.models.store import Store
from verifier.streaming.challenge import DIRECTIONS

SHARED: Final = Path(__file__).resolve().parents[3] / "shared"
LOOPBACK: Final = "--allow-loopback-in-peer-connection"
PAGES: Final = 5
"""At once; two cores carry it."""
EACH: Final = 10
"""Tries with the same film: a browser has one."""
FAKE_FPS: Final = 30
"""At which Chromium plays a film of JPEGs."""
MOST_S: Final = 240
"""Two attempts, and what goes before."""
MOST_FAKE_S: Final = 960
"""A session that was never let in is closed after 900 s (`checks.start_limit_s`)."""
OVER: Final = frozenset({"closed", "suspended"})
"""Facts after which no challenge follows."""
SINGER: Final = "singer"
PASS: Final = Outcome.PASS.value


@dataclass(frozen=True, slots=True)
class Front:
    """Who is enrolled, and what is before the camera."""

    name: str
    photo: bytes
    poses: dict[str, bytes] | None = None
    film: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What one start check came to."""

    name: str
    outcome: str
    """`pass`, `unanswered`, `mismatch`, `spoof`, `no_evidence`; `none`: no challenge had ended."""
    shown: bool = False
    """Whether its arrows were."""
    took_s: float = 0.0
    """From the first arrow to the answer."""
    challenges: int = 0
    """That had ended by then."""
    over: bool = False
    """Whether the session was closed or suspended by then."""


def learner(name: str, number: int, album: Album) -> Front:
    """Somebody who follows the arrows."""
    return Front(name, album.id_photo(name), poses=album.poses(name))


def still(name: str, number: int, album: Album) -> Front:
    """A photograph."""
    return Front(name, album.id_photo(name), film=album.poses(name)["neutral"] * FAKE_FPS)


def loop(name: str, number: int, album: Album) -> Front:
    """The recording that comes with the test pictures; it shows the same person each time."""
    photo = (album.faces_dir / "video" / "miranda_reference.png").read_bytes()
    pictures = recording(album.faces_dir, 90, 211)
    return Front(SINGER, photo, film=b"".join(jpeg_of(picture, 85) for picture in pictures))


def sides(name: str, number: int, album: Album) -> Front:
    """A clip of somebody who was told to turn to each side, one after the other."""
    studio = PoseStudio.of_store(Store.default(models_dir=album.pack_dir))
    scene = Obedient(
        [studio.relief(virtual_learner.photograph(name, album.faces_dir))], seed=number
    )
    camera = Camera(scene, seed=1, lens=AS_RECORDED)
    order = [*DIRECTIONS[number % 4 :], *DIRECTIONS[: number % 4]][:: -1 if number % 2 else 1]
    straight_s, turned_s = 1.0 + 0.4 * (number % 5), 1.2 + 0.3 * (number % 4)
    film = bytearray()
    n = 0
    for turn in order:
        for told, length_s in (("centre", straight_s), (turn.value, turned_s)):
            scene.told(told, n / FAKE_FPS)
            for _ in range(int(length_s * FAKE_FPS)):
                data = np.frombuffer(camera.frame(n, n / FAKE_FPS), np.uint8)
                picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
                assert picture is not None
                film += jpeg_of(as_picture(picture), 85)
                n += 1
    return Front(name, album.id_photo(name), film=bytes(film))


KINDS: Final[dict[str, Callable[[str, int, Album], Front]]] = {
    "learner": learner,
    "still": still,
    "loop": loop,
    "sides": sides,
}


def judged(front: Front, facts: Sequence[Mapping[str, Any]]) -> Tried:
    """Say what the challenges so far came to: one that was passed, or else the last."""
    ended = [fact["data"] for fact in facts if fact["kind"] == "check" and fact["data"]["active"]]
    over = any(fact["kind"] in OVER for fact in facts)
    if not ended:
        return Tried(front.name, "none", over=over)
    data = next((one for one in ended if one["outcome"] == PASS), ended[-1])
    took_s = (data["t"] - data["asked"]) / 1_000
    return Tried(front.name, data["outcome"], data["shown"], took_s, len(ended), over)


def settled(front: Front, tried: Tried) -> bool:
    """Tell whether nothing that may still come changes what a try came to."""
    if tried.outcome == PASS or tried.over:
        return True
    return front.film is None and tried.challenges > 0


async def try_out(whole: Whole, browser: Browser, front: Front) -> Tried:
    """Begin a lesson as a new learner, and wait for what becomes of his challenges."""
    learner_id, link = await whole.invite()
    await whole.enrol(learner_id, front.photo)
    async with phone(browser, faces=front.poses) as page:
        await page.goto(link)
        await page.get_by_text("我已看完，我同意").click()
        await page.locator(".lessons button.main").first.click()
        await page.get_by_text("打开摄像头并开始").click()
        await page.locator(".watch").wait_for(timeout=60_000)  # the session is open
        tried = Tried(front.name, "none")
        for _ in range(MOST_S if front.film is None else MOST_FAKE_S):
            await asyncio.sleep(1)
            tried = judged(front, await whole.facts(learner_id))
            if settled(front, tried):
                break
    return tried


async def batch(whole: Whole, front: Front, tries: int, note: Callable[[Tried], None]) -> None:
    """Try the same front so often, a few pages at a time."""
    with tempfile.TemporaryDirectory() as place:
        flags = [LOOPBACK]
        if front.film is not None:
            film = Path(place) / "camera.mjpeg"
            film.write_bytes(front.film)
            flags.append(f"--use-file-for-fake-video-capture={film}")
        free = asyncio.Semaphore(PAGES)
        async with browser_running(*flags) as browser, asyncio.TaskGroup() as tasks:

            async def one() -> None:
                async with free:
                    try:
                        note(await try_out(whole, browser, front))
                    except (Error, BenrenError) as error:
                        sys.stderr.write(f"{error}\n")
                        note(Tried(front.name, "none"))

            for _ in range(tries):
                tasks.create_task(one())


def logged(log: Path | None) -> Counter[str]:
    """Count what was tried before."""
    if log is None or not log.exists():
        return Counter()
    return Counter(json.loads(line)["outcome"] for line in log.read_text("utf-8").splitlines())


async def tally(
    kind: str, tries: int, album: Album, place: Path, log: Path | None = None
) -> Counter[str]:
    """Count what so many start checks came to; those of the log are done already."""
    counts = logged(log)

    def note(tried: Tried) -> None:
        line = json.dumps({"kind": kind, **asdict(tried)}, ensure_ascii=False)
        counts[tried.outcome] += 1
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        sys.stdout.write(f"{counts.total()}/{tries} {line}\n")
        sys.stdout.flush()

    names = [*virtual_learner.PHOTOGRAPHS]
    async with whole_service(place, album.pack_dir, base={}) as whole:
        while (done := counts.total()) < tries:
            number = done // EACH
            front = KINDS[kind](names[number % len(names)], number, album)
            await batch(whole, front, min(EACH - done % EACH, tries - done), note)
    return counts


async def main() -> None:
    """Try one kind and print what came of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("kind", choices=KINDS)
    asked.add_argument("tries", type=int, nargs="?", default=60)
    asked.add_argument("--log", type=Path)
    args = asked.parse_args()
    album = Album(SHARED / "faces", SHARED / "models")
    with tempfile.TemporaryDirectory() as place:
        counts = await tally(args.kind, args.tries, album, Path(place), args.log)
    sys.stdout.write(json.dumps({"kind": args.kind, "tries": args.tries, **counts}) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
