"""One session from the side of the learner's device: frames, reports, and where it stands.

It holds the tokens of this session only; `client.BenrenClient.open_session` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from benren.line import Line, not_as_documented
from benren.problems import json_object
from benren.ways import PeerWay, SocketWay
from verifier.errors import StreamGone, StreamTakenOver, Unauthorised
from verifier.streaming.cues import Cue
from verifier.streaming.framing import BURST_TYPE, FramedPicture, pack_burst

_SIGNATURES = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """Where a session stands, as the learner may know it."""

    state: str
    reason: str | None
    """Why the player stands still, as a plain code."""
    play: bool
    """Whether the player may run."""
    credited_s: int
    course_credited_s: int
    target_s: int
    certificate: str | None
    """Number of the certificate, once issued."""
    report_every_s: int


class StudySession:
    """One session from the side of the learner's device; made by `BenrenClient.open_session`."""

    def __init__(
        self,
        tracker: Line,
        verifier: Line,
        *,
        session_id: str,
        session_token: str,
        stream: Mapping[str, Any],
        status: SessionStatus,
    ) -> None:
        self.id = session_id
        self.status = status
        """As of the last answer of the tracker."""
        self._tracker = tracker
        self._verifier = verifier
        self._token = session_token
        self._frames_path = ""
        self._socket_path = ""
        self._offer_path = ""
        self._ice_servers: list[Mapping[str, Any]] = []
        self._client_token = ""
        self.sample_period_ms = 0
        """Wished time between two frames; the device adds jitter."""
        self._frame_seq = 0
        self._report_seq = 0
        self._renewing = False
        self._use(stream)

    async def push_frame(
        self, picture: bytes, *, captured_utc_ms: int | None = None, media_type: str | None = None
    ) -> Cue:
        """Send one JPEG, PNG or WebP picture.

        Where the stream was lost or the token is over, another stream is asked for, once, and
        the picture is sent again. Every other refusal is raised; the frame is then no sample.
        Raises StreamTakenOver where another device or window sends for this session:
        `renew_stream` takes it back.
        """
        if self._renewing:
            await self.renew_stream()
        self._frame_seq += 1
        try:
            return await self._push(picture, captured_utc_ms, media_type)
        except StreamTakenOver:
            raise
        except (StreamGone, Unauthorised):
            await self.renew_stream()
        self._frame_seq += 1
        return await self._push(picture, captured_utc_ms, media_type)

    async def push_burst(self, pictures: Sequence[bytes]) -> list[Cue]:
        """Send a few pictures (five at most) in one upload; each gets its cue."""
        frames = []
        for picture in pictures:
            self._frame_seq += 1
            frames.append(FramedPicture(seq=self._frame_seq, data=picture))
        response = await self._verifier.send(
            "POST",
            f"{self._frames_path.removesuffix('frames')}bursts",
            content=pack_burst(frames),
            token=self._client_token,
            headers={"Content-Type": BURST_TYPE},
        )
        try:
            return [Cue.from_json(cue) for cue in json_object(response)["cues"]]
        except (KeyError, TypeError, ValueError) as error:
            raise not_as_documented("burst", error) from error

    def socket(self) -> AbstractAsyncContextManager[SocketWay]:
        """Open a WebSocket for frames; it takes over from every other way."""
        return SocketWay.open(self._verifier.url + self._socket_path, self._client_token)

    def peer(self) -> AbstractAsyncContextManager[PeerWay]:
        """Open a WebRTC connection for frames; it takes over from every other way."""
        token, path = self._client_token, self._offer_path

        async def ask(offer: Mapping[str, Any]) -> Mapping[str, Any]:
            return await self._verifier.ask("POST", path, offer, token=token)

        return PeerWay.open(ask, self._ice_servers)

    async def report(
        self,
        *,
        media_id: str,
        media_ms: int,
        playing: bool,
        interaction: bool = False,
        client_utc_ms: int | None = None,
    ) -> SessionStatus:
        """Say where the player is: at every change, and every `status.report_every_s`."""
        self._report_seq += 1
        body = {
            "seq": self._report_seq,
            "media_id": media_id,
            "media_ms": media_ms,
            "playing": playing,
            "interaction": interaction,
        }
        if client_utc_ms is not None:
            body["client_ms"] = client_utc_ms
        return await self._ask("POST", f"/v1/sessions/{self.id}/playback", body)

    async def look(self) -> SessionStatus:
        """Ask where the session stands."""
        return await self._ask("GET", f"/v1/sessions/{self.id}")

    async def close(self) -> SessionStatus:
        """End the session; ending twice is fine."""
        return await self._ask("POST", f"/v1/sessions/{self.id}/close")

    async def renew_stream(self) -> None:
        """Have another stream opened, after the old one was lost or taken over."""
        path = f"/v1/sessions/{self.id}/stream"
        self._renewing = True  # until it is answered: the service may have done it already
        self._use(await self._tracker.ask("POST", path, token=self._token))

    def _use(self, stream: Mapping[str, Any]) -> None:
        try:
            self._frames_path = str(stream["frames_path"])
            self._socket_path = str(stream["socket_path"])
            self._offer_path = str(stream["offer_path"])
            self._ice_servers = list(stream["ice_servers"])
            self._client_token = str(stream["client_token"])
            self.sample_period_ms = int(stream["sample_period_ms"])
        except (KeyError, TypeError, ValueError) as error:
            raise not_as_documented("stream grant", error) from error
        self._frame_seq = 0
        self._renewing = False

    async def _push(
        self, picture: bytes, captured_utc_ms: int | None, media_type: str | None
    ) -> Cue:
        headers = {
            "Content-Type": media_type or _SIGNATURES.get(picture[:4], "image/jpeg"),
            "Benren-Seq": str(self._frame_seq),
        }
        if captured_utc_ms is not None:
            headers["Benren-Captured-Ms"] = str(captured_utc_ms)
        response = await self._verifier.send(
            "POST", self._frames_path, content=picture, token=self._client_token, headers=headers
        )
        body = json_object(response)
        try:
            return Cue.from_json(body)
        except (KeyError, TypeError, ValueError) as error:
            raise not_as_documented("cue", error) from error

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> SessionStatus:
        self.status = status_of(await self._tracker.ask(method, path, body, token=self._token))
        return self.status


def status_of(body: Mapping[str, Any]) -> SessionStatus:
    """Read where a session stands. Raises UnexpectedAnswer."""
    try:
        return SessionStatus(
            state=str(body["state"]),
            reason=body["reason"],
            play=bool(body["play"]),
            credited_s=int(body["credited_s"]),
            course_credited_s=int(body["course_credited_s"]),
            target_s=int(body["target_s"]),
            certificate=body["certificate"],
            report_every_s=int(body["report_every_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise not_as_documented("session", error) from error
