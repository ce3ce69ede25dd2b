"""Downloads against a local server that behaves, and against one that does not."""

import hashlib
import http.server
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from verifier.clock import ManualClock
from verifier.errors import ModelAltered, ModelDownloadFailed, ModelError
from verifier.models.download import Downloader

CONTENT = os.urandom(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Script:
    """What the server does, and what it was asked for."""

    steps: list[str] = field(default_factory=list)
    """How to answer, in order; the last step is repeated."""
    content: bytes = CONTENT
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    proceed: threading.Event = field(default_factory=threading.Event)
    """What a slow answer waits for."""

    def next_step(self) -> str:
        """Take the next step."""
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


class _Handler(http.server.BaseHTTPRequestHandler):
    script: Script

    def do_GET(self) -> None:
        """Answer as the script says."""
        script, asked = self.script, self.headers["Range"]
        script.ranges.append(asked)
        step = script.next_step()
        if step.isdigit():
            self.send_error(int(step))
            return
        if step == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        resumes = begin > 0 and step not in {"no-range", "wrong-range"}
        body = script.content[begin:] if resumes else script.content
        if step == "wrong-range":
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        elif resumes:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(script.content) - 1}/*")
        else:
            self.send_response(200)
        if step != "no-length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if step == "cut":
            body = body[: len(body) // 2]
        if step == "stall":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            script.proceed.wait(10)
            return
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What the server will do; proxies of this machine are left aside."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Script()


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    """Address of the file on the local server."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/file"
    script.proceed.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def waits() -> list[float]:
    """Seconds that were waited between attempts."""
    return []


@pytest.fixture
def downloader(waits):
    """One that does not really wait between attempts."""
    return Downloader(pause=waits.append, connect_s=5, silence_s=5)


@pytest.fixture
def target(tmp_path):
    """Where the file shall be, in a folder that is not there yet."""
    return tmp_path / "open" / "x.onnx"


def _fetch(downloader, url, target, **more):
    downloader.fetch(url, target, size=len(CONTENT), sha256=DIGEST, **more)


def test_the_right_bytes_arrive(script, url, downloader, target, waits):
    """The file is whole, readable for others, alone in its folder, and was asked for once."""
    script.steps = ["good"]
    seen = []
    _fetch(downloader, url, target, progress=seen.append)
    assert target.read_bytes() == CONTENT
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert list(target.parent.iterdir()) == [target]
    assert script.ranges == [None]
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)
    assert waits == []


def test_a_server_may_keep_the_length_to_itself(script, url, downloader, target):
    """Without Content-Length the end of the connection is the end of the file."""
    script.steps = ["no-length"]
    _fetch(downloader, url, target)
    assert target.read_bytes() == CONTENT


def test_redirects_are_followed(script, url, downloader, target):
    """An address that moved still gives the file."""
    script.steps = ["redirect", "good"]
    _fetch(downloader, url, target)
    assert target.read_bytes() == CONTENT


def test_endless_redirects_end(script, url, downloader, target):
    """A server that only sends one on is given up."""
    script.steps = ["redirect"]
    with pytest.raises(ModelDownloadFailed, match="redirects"):
        _fetch(downloader, url, target)
    assert not target.exists()


def test_wrong_bytes_are_never_stored(script, url, downloader, target, waits):
    """Bytes of another digest are refused with both digests, at once, and nothing stays."""
    script.steps = ["good"]
    script.content = os.urandom(len(CONTENT))
    with pytest.raises(ModelAltered, match=DIGEST) as caught:
        _fetch(downloader, url, target)
    assert hashlib.sha256(script.content).hexdigest() in caught.value.detail
    assert url in caught.value.detail
    assert list(target.parent.iterdir()) == []
    assert waits == []


def test_wrong_bytes_leave_the_old_file_alone(script, url, downloader, target):
    """What was there before a failed download is still there."""
    target.parent.mkdir()
    target.write_bytes(b"old")
    script.steps = ["good"]
    script.content = os.urandom(len(CONTENT))
    with pytest.raises(ModelAltered):
        _fetch(downloader, url, target)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("step", "extra"),
    [("good", 1), ("good", 1_000_000), ("no-length", 1), ("no-length", 1_000_000)],
)
def test_too_many_bytes_are_refused(script, url, target, step, extra):
    """An overlong answer is refused, whether or not it states its length."""
    downloader = Downloader(pause=lambda _seconds: None)
    script.steps = [step]
    script.content = CONTENT + bytes(extra)
    with pytest.raises(ModelAltered, match="bytes"):
        _fetch(downloader, url, target)
    assert list(target.parent.iterdir()) == []


def test_too_few_bytes_are_refused(script, url, downloader, target):
    """A shorter file is refused by its stated length, without a retry."""
    script.steps = ["good"]
    script.content = CONTENT[:-1]
    with pytest.raises(ModelAltered, match=f"offers {len(CONTENT) - 1} bytes"):
        _fetch(downloader, url, target)
    assert script.ranges == [None]


def test_a_cut_connection_is_resumed(script, url, downloader, target, waits):
    """The next attempt asks for the rest only, after a pause."""
    script.steps = ["cut", "cut", "good"]
    _fetch(downloader, url, target)
    assert target.read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert script.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("step", ["no-range", "wrong-range"])
def test_a_server_that_cannot_resume_starts_over(script, url, downloader, target, step):
    """The bytes of the first attempt are dropped where the server sends all of them again."""
    script.steps = ["cut", step, "good"]
    _fetch(downloader, url, target)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_is_always_cut_is_given_up(script, url, downloader, target, waits):
    """After the last attempt the error names address, reason and remedy; nothing stays."""
    script.steps = ["cut"]
    with pytest.raises(ModelDownloadFailed, match="4 attempts") as caught:
        _fetch(downloader, url, target)
    assert url in caught.value.detail
    assert "BENREN_MODEL_MIRROR" in caught.value.remedy
    assert str(target) in caught.value.remedy
    assert list(target.parent.iterdir()) == []
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_busy_server_is_asked_again(script, url, downloader, target, status):
    """Errors of the server's own may pass."""
    script.steps = [status, status, "good"]
    _fetch(downloader, url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refusal_is_final(script, url, downloader, target, status):
    """What is not there will not be there in a second either."""
    script.steps = [status]
    with pytest.raises(ModelDownloadFailed, match=f"the server answered {status}"):
        _fetch(downloader, url, target)
    assert len(script.ranges) == 1
    assert list(target.parent.iterdir()) == []


def test_silence_is_not_waited_for(script, url, target):
    """A server that stalls in the middle is left after the silence allowed."""
    script.steps = ["stall"]
    impatient = Downloader(attempts=1, silence_s=0.2, pause=lambda _seconds: None)
    with pytest.raises(ModelDownloadFailed, match="1 attempts"):
        _fetch(impatient, url, target)
    assert list(target.parent.iterdir()) == []


def test_a_slow_server_has_a_deadline(script, url, target):
    """Bytes that trickle in for ever end at the total time allowed."""
    script.steps = ["good"]
    clock = ManualClock()
    slow = Downloader(total_s=60, clock=clock)
    with pytest.raises(ModelDownloadFailed, match="not done after 60 s"):
        _fetch(slow, url, target, progress=lambda _done: clock.advance(50_000))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1:1/file", "gopher://127.0.0.1/x", "http://[bad", "nothing"]
)
def test_an_address_without_a_server_is_told(wrong, downloader, target):
    """Closed ports and addresses that are none give the same kind of error."""
    with pytest.raises(ModelDownloadFailed, match=r"x\.onnx could not be downloaded"):
        _fetch(downloader, wrong, target)
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(script, url, downloader, tmp_path):
    """A file where the folder should be gives an error with the remedy, before asking anybody."""
    (tmp_path / "open").write_bytes(b"")
    script.steps = ["good"]
    with pytest.raises(ModelError, match="cannot be written") as caught:
        _fetch(downloader, url, tmp_path / "open" / "x.onnx")
    assert "BENREN_MODELS" in caught.value.remedy
    assert script.ranges == []


def test_a_full_disk_is_told(script, url, downloader, target, monkeypatch):
    """An error while writing names the file and leaves nothing behind."""
    script.steps = ["good"]

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"x\.onnx cannot be written: No space left on device"):
        _fetch(downloader, url, target)
    assert list(target.parent.iterdir()) == []


def test_several_processes_do_not_disturb_each_other(script, url, target):
    """Four processes that fetch the same file at once all succeed, and one whole file is there."""
    script.steps = ["good"]
    code = (
        "import sys; from pathlib import Path; from verifier.models.download import Downloader;"
        f"Downloader().fetch({url!r}, Path({str(target)!r}), size={len(CONTENT)},"
        f" sha256={DIGEST!r})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
