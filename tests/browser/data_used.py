"""A lesson of 45 minutes played through on three phones at once: what each way in costs in data.

``python -m tests.browser.data_used [minutes]`` prints one JSON object per way: bytes that left the
phone for the service's streams (over WebRTC with its packets' overhead, over WebSocket and HTTP the
messages' bodies), and what the ledger credits. The lesson is a chain of the sample's films, the
rules are the sample's, and a virtual learner sits there; in real time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, Request, WebSocket

from tests.browser.browsing import browser_running, phone
from tests.browser.start_checks import LOOPBACK, SHARED
from tests.browser.test_lesson import no_sockets, no_udp, study
from tests.browser.whole import PROGRAMME, Album, Whole, whole_service

PART_MS: Final = 240_000
WAYS: Final[dict[str, Callable[[Page], Any] | None]] = {
    "webrtc": None,
    "websocket": no_udp,
    "http": no_sockets,
}
COUNT_PEERS: Final = """
window.peers = [];
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...options) {
    super(...options);
    window.peers.push(this);
  }
};
window.peerBytes = async () => {
  let bytes = 0;
  for (const peer of window.peers) {
    for (const entry of (await peer.getStats()).values()) {
      if (entry.type === "transport") bytes += entry.bytesSent;
    }
  }
  return bytes;
};
"""


class Meter:
    """What one phone has sent."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.bytes: Counter[str] = Counter()
        page.on("request", self._asked)
        page.on("websocket", self._socket)

    def _asked(self, request: Request) -> None:
        if request.method == "POST":
            size = len(request.post_data_buffer or b"")
            self.bytes["http" if request.url.endswith("/frames") else "reports"] += size

    def _socket(self, socket: WebSocket) -> None:
        def sent(payload: str | bytes) -> None:
            self.bytes["websocket"] += len(payload)

        socket.on("framesent", sent)

    async def read(self) -> dict[str, int]:
        """Give the bytes so far, by way."""
        return {**self.bytes, "webrtc": await self._page.evaluate("window.peerBytes()")}


def course(minutes: int) -> str:
    """Write a catalogue that lasts so long."""
    lines = [f'programme = "{PROGRAMME}"', 'version = "long"']
    for part in range(60_000 * minutes // PART_MS + 2):
        lines += ["", "[[media]]", f'id = "part-{part}"', f'title_zh = "第{part + 1}节"']
        lines += [f'title_en = "Part {part + 1}"', f"duration_ms = {PART_MS}"]
        lines += [
            'src = "/web/media/sample-lesson.webm"',
            'also = ["/web/media/sample-lesson.mp4"]',
        ]
    return "\n".join(lines)


async def play(whole: Whole, album: Album, page: Page, way: str, minutes: int) -> dict[str, Any]:
    """Study for so long; gives what was sent and what was credited."""
    meter = Meter(page)
    await page.add_init_script(COUNT_PEERS)
    block = WAYS[way]
    if block is not None:
        await block(page)
    learner_id, link = await whole.invite()
    await whole.enrol(learner_id, album.id_photo("lady"))
    await page.goto(link)
    await page.get_by_text("我已看完，我同意").click()
    await study(page)
    began = time.monotonic()
    told: dict[str, Any] = {}
    while (spent := time.monotonic() - began) < 60 * minutes:
        await asyncio.sleep(min(60, 60 * minutes - spent))
        facts = Counter(f["kind"] for f in await whole.facts(learner_id))
        credited = (await whole.client.credit(learner_id, PROGRAMME))["credited_s"]
        told = {"way": way, "minutes": round((time.monotonic() - began) / 60, 1)}
        told |= {"sent": await meter.read(), "credited_s": credited, "facts": dict(facts)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    return told


async def main(minutes: int) -> None:
    """Print what every way has cost, minute by minute."""
    album = Album(SHARED / "faces", SHARED / "models")
    with tempfile.TemporaryDirectory() as place:
        catalogue = Path(place) / "course.toml"
        catalogue.write_text(course(minutes), encoding="utf-8")
        rules: dict[str, object] = {"targets.initial_class_hours": 400, "class_hour.seconds": 60}
        async with AsyncExitStack() as stack:
            whole = await stack.enter_async_context(
                whole_service(
                    Path(place), album.pack_dir, rules, base={}, courses=(str(catalogue),)
                )
            )
            browser = await stack.enter_async_context(browser_running(LOOPBACK))
            poses = album.poses("lady")
            pages = [await stack.enter_async_context(phone(browser, faces=poses)) for _ in WAYS]
            async with asyncio.TaskGroup() as tasks:
                for way, page in zip(WAYS, pages, strict=True):
                    tasks.create_task(play(whole, album, page, way, minutes))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 45))
