"""One file over HTTP into its place: streamed, bounded, proven by digest, then renamed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import Final

import httpx

from verifier.clock import Clock, SystemClock
from verifier.errors import ModelAltered, ModelDownloadFailed, ModelError

ATTEMPTS: Final = 4
"""Tries per file; each goes on where the one before broke off, if the server can."""
CONNECT_S: Final = 10.0
"""Longest wait for a connection."""
SILENCE_S: Final = 30.0
"""Longest wait for the next bytes."""
TOTAL_S: Final = 900.0
"""Longest time for one file, all attempts together."""

Progress = Callable[[int], None]
"""Is told how many bytes of the file are there; may go back to 0 when a server cannot resume."""


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class _AttemptError(Exception):
    """One attempt failed in a way that another may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloader:
    """Fetches files whose size and digest are known beforehand."""

    attempts: int = ATTEMPTS
    connect_s: float = CONNECT_S
    silence_s: float = SILENCE_S
    total_s: float = TOTAL_S
    clock: Clock = field(default_factory=SystemClock)
    pause: Callable[[float], None] = _wait
    """Is called with the seconds to wait between two attempts."""

    def fetch(
        self, url: str, target: Path, *, size: int, sha256: str, progress: Progress | None = None
    ) -> None:
        """Put the file of `size` bytes and digest `sha256` at `target`, or leave nothing there.

        The bytes go to a temporary file beside `target` with a name of its own, so that several
        processes may do this at once and none ever sees half a file. Raises `ModelAltered` where
        other bytes came, `ModelDownloadFailed` where none or too few came, `ModelError` where the
        folder cannot be written.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                dir=target.parent, prefix=f".{target.name}.", suffix=".part"
            )
        except OSError as refused:
            raise _unwritable(target, refused) from refused
        part = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                _Transfer(self, url, target, size, sha256, progress or _ignore).into(file)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # mkstemp's 0600 would lock out the service's user
                os.fsync(file.fileno())
            part.replace(target)
            _sync_folder(target.parent)
        except OSError as refused:
            raise _unwritable(target, refused) from refused
        finally:
            part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Transfer:
    """One file on its way."""

    settings: Downloader
    url: str
    target: Path
    size: int
    sha256: str
    progress: Progress

    def into(self, file: BufferedRandom) -> None:
        """Fill `file` with the right bytes, in as many attempts as the settings allow."""
        begun_ms = self.settings.clock.stamp().monotonic_ms
        deadline_ms = begun_ms + round(self.settings.total_s * 1000)
        timeout = httpx.Timeout(self.settings.silence_s, connect=self.settings.connect_s)
        reason = ""
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            for attempt in range(self.settings.attempts):
                if attempt:
                    self.settings.pause(float(2 ** (attempt - 1)))
                try:
                    self._attempt(client, file, deadline_ms)
                except (_AttemptError, httpx.TransportError) as broken:
                    reason = str(broken) or type(broken).__name__
                else:
                    return
        raise self._failed(f"{reason} ({self.settings.attempts} attempts)")

    def _attempt(self, client: httpx.Client, file: BufferedRandom, deadline_ms: int) -> None:
        done = file.seek(0, os.SEEK_END)
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        try:
            with client.stream("GET", self.url, headers=headers) as response:
                if done and not _resumes(response, done):
                    file.seek(0)
                    file.truncate()
                    done = 0
                self._check_answer(response, self.size - done)
                for chunk in response.iter_raw():  # as they come: a cut loses nothing
                    done += len(chunk)
                    if done > self.size:
                        raise self._altered(f"more than {self.size} bytes came")
                    file.write(chunk)
                    self.progress(done)
                    if self.settings.clock.stamp().monotonic_ms > deadline_ms:
                        raise self._failed(f"not done after {self.settings.total_s:.0f} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as wrong:
            raise self._failed(str(wrong)) from wrong
        if done < self.size:
            raise _AttemptError(f"only {done} of {self.size} bytes came")
        self._check_digest(file)

    def _check_answer(self, response: httpx.Response, rest: int) -> None:
        """Refuse an answer that cannot hold exactly the `rest` bytes that are wanted."""
        status = response.status_code
        if status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS:
            raise _AttemptError(f"the server answered {status} {response.reason_phrase}")
        if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise self._failed(f"the server answered {status} {response.reason_phrase}")
        stated = response.headers.get("Content-Length", "")
        if stated.isdigit() and int(stated) != rest:
            raise self._altered(f"the server offers {stated} bytes, expected {rest}")

    def _check_digest(self, file: BufferedRandom) -> None:
        file.seek(0)
        actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != self.sha256:
            raise self._altered(f"its SHA-256 is {actual}, expected {self.sha256}")

    def _altered(self, reason: str) -> ModelAltered:
        return ModelAltered(
            f"{self.url} is not the {self.target.name} of the manifest: {reason}.",
            remedy="Check the mirror and what stands between; nothing was stored.",
        )

    def _failed(self, reason: str) -> ModelDownloadFailed:
        return ModelDownloadFailed(
            f"{self.target.name} could not be downloaded from {self.url}: {reason}.",
            remedy=(
                "Check the network and the proxy, or set BENREN_MODEL_MIRROR,"
                f" or put the file at {self.target} by hand."
            ),
        )


def _resumes(response: httpx.Response, done: int) -> bool:
    """Whether the answer goes on at byte `done`."""
    begins_there = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
    return response.status_code == httpx.codes.PARTIAL_CONTENT and begins_there


def _ignore(_done: int) -> None:
    """Take progress for a caller that wants none."""


def _unwritable(target: Path, refused: OSError) -> ModelError:
    return ModelError(
        f"{target} cannot be written: {refused.strerror or refused}.",
        remedy="Free space or allow writing there, or set BENREN_MODELS to another folder.",
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name durable as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
