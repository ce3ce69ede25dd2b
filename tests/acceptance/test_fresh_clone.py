"""`make demo` as a stranger runs it: a clone, nothing beside it, weights from upstream's mirror."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from verifier.models.prepare.build import bundled_recipes
from verifier.models.store import Place, Store

pytestmark = [pytest.mark.models, pytest.mark.soak]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 360
"""A minute of installing, seconds of converting, the lessons."""


class _Mirror(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, Path]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.asked.append(path)
        if path not in self.files:
            self.send_error(404)
            return
        content = self.files[path].read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def upstream(pack_dir: Path) -> Iterator[str]:
    """Serve the files of upstream under the paths that upstream has."""
    for recipe in bundled_recipes().recipes.values():
        for source in recipe.sources:
            _Mirror.files[source.address("").lstrip("/")] = pack_dir / "upstream" / source.filename
    manifest = Store([Place(folder=pack_dir, what="pack")]).manifest
    for file in manifest.members("open"):
        if file.upstream is not None:
            path = f"{file.origin.repository}/{file.origin.commit}/{file.origin.path}"
            _Mirror.files[path] = pack_dir / file.path
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _run(folder: Path, environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_make_demo_works_without_shared_beside_it(upstream: str, tmp_path: Path) -> None:
    """Weights are fetched and converted, faces are insightface's samples, and the demo says so."""
    kept = ("PATH", "LANG", "TMPDIR", "PIP_", "SSL_", "HTTP", "NO_PROXY", "REQUESTS_")
    environ = {name: value for name, value in os.environ.items() if name.upper().startswith(kept)}
    environ |= {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "BENREN_UPSTREAM": upstream,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    (tmp_path / "home").mkdir()
    clone = tmp_path / "alone" / "benren"
    cloned = _run(tmp_path, environ, "git", "clone", "--quiet", f"file://{ROOT}", str(clone))
    assert cloned.returncode == 0, cloned.stderr
    ran = _run(clone, environ, "make", "demo", "ARGS=--json")
    assert ran.returncode == 0, ran.stderr[-3_000:] + ran.stdout[-1_000:]
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    credited = {row["role"]: row["credited_s"] for row in rows if "role" in row}
    assert len(credited) >= 5
    assert max(credited.values()) > 0
    assert "mechanics" in (ran.stderr + ran.stdout).lower()
    assert len(_Mirror.asked) == len(set(_Mirror.asked)) >= 9, "each file once"
    models = tmp_path / "cache" / "benren" / "models" / "open"
    assert len(list(models.glob("*.onnx"))) == 7
