"""The PostgreSQL server of tests leaves nothing behind, whatever happens to the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from session_tracker.store.testing import PostgresServer

ROOT = Path(__file__).resolve().parents[4]
_STARTS_ONE = """
import sys, time
from session_tracker.store.testing import PostgresServer
server = PostgresServer()
print(server._process.pid, server.folder, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.postgres


def gone(pid: int) -> bool:
    """Whether a process is there no more."""
    return not Path(f"/proc/{pid}").exists()


def test_a_server_ends_with_its_process() -> None:
    """Tests that are killed leave no server running."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    pid, folder = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(200):
        if gone(int(pid)):
            break
        time.sleep(0.05)
    assert gone(int(pid))
    subprocess.run(["rm", "-rf", folder.decode()], check=True)


def test_a_crash_and_a_start() -> None:
    """What was committed before a crash is there after the next start."""
    with PostgresServer(durable=True) as server:
        name = server.create()
        server.execute("CREATE TABLE t (x int)", "INSERT INTO t VALUES (7)", database=name)
        server.crash()
        server.start()
        assert server.execute("SELECT x FROM t", database=name) == "7"
        folder = server.folder
    assert not folder.exists()
