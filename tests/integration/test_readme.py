"""The README's Python runs as it stands, against `benren serve` as the README starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENREN = Path(sys.executable).with_name("benren")
START_WITHIN_S = 120

pytestmark = [pytest.mark.models, pytest.mark.faces, pytest.mark.slow]


@pytest.fixture
def address(tmp_path: Path, pack_dir: Path) -> Iterator[str]:
    """Where a `benren serve` of its own answers; it has to end cleanly afterwards."""
    log = tmp_path / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [BENREN, "serve", "--port", "0"],
            cwd=tmp_path,
            env={**os.environ, "BENREN_MODELS": str(pack_dir)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(server, log)
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
    assert code == 0, log.read_text()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"serving on (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"benren serve did not come up: {log.read_text()}")


def test_the_quick_start_runs_as_it_is_written(address: str, faces_dir: Path) -> None:
    """Whoever copies it sees a frame taken, a session that waits for its start check, no credit."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- quickstart -->\n```python\n(.*?)```", readme, flags=re.DOTALL)
    assert found
    assert "http://127.0.0.1:8000" in found[1]
    families = faces_dir / "families"
    done = subprocess.run(
        [sys.executable, "-c", found[1].replace("http://127.0.0.1:8000", address)],
        env={
            **os.environ,
            "ID_PHOTO": str(families / "Family1-Dad1.jpg"),
            "WEBCAM": str(families / "Family1-Dad2.jpg"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "advice: ok",
        "state: awaiting_start_check play: False",
        "credited: 0 of 43200 s",
    ]
