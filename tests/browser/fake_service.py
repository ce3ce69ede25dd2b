"""A service that says what a test tells it to: every state of the page, without waiting for it.

The page runs as it is; requests of ``/v1`` are answered here, and frames go over a WebSocket that
the test holds. What the real service says is tested in ``test_lesson.py``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Final

from playwright.async_api import Page, Route, WebSocketRoute

NOW_MS: Final = 1_795_482_000_000
TEXT_ZH: Final = (
    "为了确认学习的是您本人，我们需要处理您的人脸信息。\n\n"
    "用途只有一个：核对学习者身份，计算学时。不作他用，不向他人提供。\n\n"
    "我们保存由照片算出的加密模板，不保存录像；课程结束、申诉期满后删除。您可以随时撤回同意。"
)
TEXT_EN: Final = (
    "To make sure that it is you who learns, we process your face.\n\n"
    "For one purpose only: to verify who is learning and to count the hours.\n\n"
    "We keep an encrypted template, no video, until the course and the time for appeals are over. "
    "You can withdraw your consent at any time."
)
_SIGNED_IN: Final = {"learner_token": "lrt_1", "expires_utc_ms": 4_000_000_000_000}
_NO_PICTURE: Final = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'


class FakeService:
    """Answers of the service, to be changed by a test at any time."""

    def __init__(self) -> None:
        self.me: dict[str, Any] = {
            "learner_id": "lrn_1",
            "name_masked": "李*明",
            "category": "principal",
            "track": "initial",
            "consent": {"id": "cns_1", "text_version": "2026-11", "given_utc_ms": NOW_MS},
            "consent_text": {"version": "2026-11", "zh": TEXT_ZH, "en": TEXT_EN},
            "face": {
                "state": "approved",
                "provenance": "id_photo",
                "provisional": False,
                "reasons": [],
            },
            "programmes": [
                {
                    "name": "foshan-2021",
                    "title": "佛山市两类人员安全生产线上培训",
                    "target_s": 43200,
                    "credited_s": 7225,
                    "provisional_s": 0,
                    "class_hour_s": 2700,
                    "certificate": None,
                    "media": [
                        _medium("lesson-1", "作业前的五分钟", "Five minutes before work", 0),
                        _medium("lesson-2", "危险源辨识", "Finding hazards", 12_000),
                    ],
                }
            ],
        }
        self.vouchers: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.explanation: dict[str, Any] = {}
        self.certificate: dict[str, Any] = {}
        self.appeals: list[dict[str, Any]] = []
        self.looks: list[str] = ["ok"]
        self.face_answer: dict[str, Any] = {"accepted": True, "advice": []}
        self.view: dict[str, Any] = {
            "session_id": "ses_1",
            "state": "awaiting_start_check",
            "reason": "start_check",
            "play": False,
            "credited_s": 0,
            "course_credited_s": 7225,
            "target_s": 43200,
            "certificate": None,
            "report_every_s": 1,
        }
        self.elsewhere = False
        self.replaced = False
        """Whether another stream took the place of the one that was granted last."""
        self.refuses: dict[str, tuple[int, dict[str, Any]]] = {}
        """Path suffix -> status and problem of the next requests to it."""
        self.holds: dict[str, asyncio.Event] = {}
        """Path suffix -> what its answers wait for."""
        self.reachable = True
        self.reports: list[dict[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.sent: list[tuple[str, str, Any]] = []
        self.frames: list[bytes] = []
        self.socket: WebSocketRoute | None = None
        self._cue: dict[str, Any] = {
            "seq": None,
            "accepted": None,
            "advice": "ok",
            "period_ms": 1_000,
            "challenge": None,
        }

    async def attend(self, page: Page) -> None:
        """Answer for this page."""
        await page.route(re.compile(r"/v1/"), self._answer)
        await page.route_web_socket(re.compile(r"/v1/streams/"), self._connect)

    def running(self, credited_s: int = 754, **more: Any) -> None:
        """Let the player run."""
        self.view |= {"state": "running", "reason": None, "play": True, "credited_s": credited_s}
        self.view |= {"course_credited_s": 7225 + credited_s, **more}

    def paused(self, reason: str) -> None:
        """Have the player stand still."""
        self.view |= {"state": "paused", "reason": reason, "play": False}

    def session_calls(self) -> list[tuple[str, Any]]:
        """Give what was asked of the session, the oldest first: last part of the path, body."""
        return [
            (path.rpartition("/")[2], body)
            for method, path, body in self.sent
            if method == "POST" and path.startswith("/v1/sessions/ses_1/")
        ]

    def sent_to(self, path: str) -> list[Any]:
        """Give the bodies that were sent to a path, the oldest first."""
        return [body for method, at, body in self.sent if at == path and method == "POST"]

    def cue(self, **change: Any) -> None:
        """Push a cue to the device."""
        self._cue |= change
        if self.socket is not None:
            self.socket.send(json.dumps({**self._cue, "seq": None, "accepted": None}))

    def _connect(self, socket: WebSocketRoute) -> None:
        if self.replaced:
            # It is open before it is closed, as the service's own.
            socket.on_message(lambda _: asyncio.ensure_future(socket.close(code=4001)))
            return
        self.socket = socket
        socket.on_message(self._frame)

    def _frame(self, message: str | bytes) -> None:
        assert isinstance(message, bytes)
        assert message[:4] == b"BNR1"
        self.frames.append(message)
        seq = int.from_bytes(message[4:8])
        assert self.socket is not None
        self.socket.send(json.dumps({**self._cue, "seq": seq, "accepted": True}))

    async def _answer(self, route: Route) -> None:
        request = route.request
        path = re.sub(r"^https?://[^/]+|\?.*$", "", request.url)
        if not self.reachable:
            await route.abort("internetdisconnected")
            return
        for suffix, (status, problem) in self.refuses.items():
            if path.endswith(suffix):
                await route.fulfill(status=status, json=problem)
                return
        body = None
        if "json" in request.headers.get("content-type", ""):
            body = request.post_data_json
        self.sent.append((request.method, path, body))
        for suffix, event in [*self.holds.items()]:
            if path.endswith(suffix):
                await event.wait()
        status, answer = self._of(request.method, path, body)
        if isinstance(answer, str):
            await route.fulfill(status=status, body=answer, content_type="image/svg+xml")
        elif answer is None:
            await route.fulfill(status=status)
        else:
            await route.fulfill(status=status, json=answer)

    def _of(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Find the answer to a request."""
        known: dict[tuple[str, str], Callable[[Any], tuple[int, Any]]] = {
            ("POST", "/v1/me/sign-in"): lambda _: (200, _SIGNED_IN),
            ("GET", "/v1/me"): lambda _: (200, self.me),
            ("POST", "/v1/me/consent"): self._consent,
            ("DELETE", "/v1/me/consent"): self._withdraw,
            ("POST", "/v1/me/face/look"): lambda _: (200, {"advice": self._look()}),
            ("POST", "/v1/me/face"): self._face,
            ("GET", "/v1/me/vouchers"): lambda _: (200, {"vouchers": self.vouchers}),
            ("GET", "/v1/me/appeals"): lambda _: (200, {"appeals": self.appeals}),
            ("POST", "/v1/me/appeals"): lambda given: (201, {"state": "open", **given}),
            ("GET", "/v1/me/sessions"): lambda _: (200, {"sessions": self.sessions}),
            ("POST", "/v1/me/sessions"): self._open,
            ("GET", "/v1/me/sessions/ses_1/explain"): lambda _: (200, self.explanation),
            ("GET", "/v1/sessions/ses_1"): lambda _: (200, self.view),
            ("POST", "/v1/sessions/ses_1/playback"): self._report,
            ("POST", "/v1/sessions/ses_1/stream"): self._renew,
            ("POST", "/v1/sessions/ses_1/close"): self._close,
            ("GET", "/v1/me/certificates/BR2026-7K3M9QX2TA"): lambda _: (200, self.certificate),
            ("GET", "/v1/certificates/BR2026-7K3M9QX2TA/qr.svg"): lambda _: (200, _NO_PICTURE),
        }
        answer = known.get((method, path))
        if answer is not None:
            return answer(body)
        return 404, {"status": 404, "code": "not_found", "detail": path, "remedy": ""}

    def _consent(self, body: Any) -> tuple[int, Any]:
        version = body["text_version"]
        self.me["consent"] = {"id": "cns_1", "text_version": version, "given_utc_ms": NOW_MS}
        return 200, self.me["consent"]

    def _withdraw(self, _: Any) -> tuple[int, Any]:
        self.me["consent"] = None
        return 204, None

    def _look(self) -> str:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def _face(self, _: Any) -> tuple[int, Any]:
        if self.face_answer["accepted"]:
            self.me["face"] = {
                "state": "approved",
                "provenance": "self_live",
                "provisional": True,
                "reasons": [],
            }
        return 200, {**self.face_answer, "face": self.me["face"]}

    def _renew(self, _: Any) -> tuple[int, Any]:
        self.replaced = False
        return 200, self._grant()

    def _report(self, body: Any) -> tuple[int, Any]:
        self.reports.append(body)
        return 200, self.view

    def _close(self, _: Any) -> tuple[int, Any]:
        self.view |= {"state": "settled", "reason": None, "play": False}
        return 200, self.view

    def _open(self, body: Any) -> tuple[int, Any]:
        self.opened.append(body)
        if self.elsewhere and not body["take_over"]:
            return 409, {"status": 409, "code": "studies_elsewhere", "detail": "", "remedy": ""}
        return 201, {
            "session_id": "ses_1",
            "session_token": "sst_1",
            "stream": self._grant(),
            "session": self.view,
        }

    def _grant(self) -> dict[str, Any]:
        base = "/v1/streams/str_1"
        return {
            "stream_id": "str_1",
            "client_token": "tok_1",
            "expires_utc_ms": 4_000_000_000_000,
            "frames_path": f"{base}/frames",
            "socket_path": f"{base}/socket",
            "offer_path": f"{base}/offer",
            "ice_servers": [],
            "sample_period_ms": 1_000,
        }


def _medium(media_id: str, zh: str, en: str, resume_ms: int) -> dict[str, Any]:
    return {
        "media_id": media_id,
        "title_zh": zh,
        "title_en": en,
        "src": "/web/media/test.webm",
        "duration_ms": 20_000,
        "resume_ms": resume_ms,
        "reach_ms": resume_ms,
        "credited_ms": 0,
        "gaps": [],
    }
