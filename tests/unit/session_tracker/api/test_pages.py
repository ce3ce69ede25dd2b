"""The static pages: what is served, under which headers, and that nothing else is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from session_tracker.api import pages
from session_tracker.api.pages import Asset, load_assets, pages_router
from verifier.edge import ApiKeys, KeyScope, install_edge

MEDIA = Asset(content=bytes(range(100)), media_type="video/webm", etag='"m"')


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that serves the pages and one small medium, to anybody."""
    app = FastAPI(redirect_slashes=False)
    app.include_router(
        pages_router(
            {**load_assets(), "media/a.webm": MEDIA}, media_origins=("https://media.example",)
        )
    )
    keys = ApiKeys.parse([f"k:sha256:{'0' * 64}:admin"])
    install_edge(app, service="tracker", api_keys=keys, default=KeyScope.ADMIN, rules=pages.RULES)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("path", ["/learn/", "/review/", "/check/", "/check/BR-2026-1"])
async def test_pages_come_under_a_strict_policy(http: httpx.AsyncClient, path: str) -> None:
    """A page runs its own scripts only, may use the camera, and leaks no address."""
    response = await http.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "media-src 'self' blob: https://media.example;" in policy
    assert "unsafe" not in policy
    assert "camera=(self)" in response.headers["permissions-policy"]
    assert "microphone=()" in response.headers["permissions-policy"]
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "to"), [("/", "/learn/"), ("/learn", "/learn/"), ("/review", "/review/")]
)
async def test_short_addresses_lead_on(http: httpx.AsyncClient, path: str, to: str) -> None:
    """Whoever types the address without its slash comes to the page."""
    response = await http.get(path)
    assert response.status_code == 307
    assert response.next_request is not None
    assert response.next_request.url.path == to


async def test_every_file_a_page_names_is_there(http: httpx.AsyncClient) -> None:
    """Each page's own files are served, and nothing is asked of another host."""
    for path in ("/learn/", "/review/", "/check/1"):
        page = (await http.get(path)).text
        for link in re.findall(r'(?:src|href)="([^"#]+)"', page):
            assert "//" not in link, link
            found = await http.get(str(httpx.URL(f"http://127.0.0.1{path}").join(link)))
            assert found.is_success or found.is_redirect, link


async def test_an_unchanged_file_is_not_sent_again(http: httpx.AsyncClient) -> None:
    """The tag of a file spares the second download."""
    first = await http.get("/learn/")
    again = await http.get("/learn/", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


async def test_head_tells_what_get_would_send(http: httpx.AsyncClient) -> None:
    """HEAD has the headers of GET and no body."""
    got, head = await http.get("/learn/"), await http.head("/learn/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("asked", "status", "sent"),
    [
        ("bytes=0-9", 206, range(10)),
        ("bytes=90-", 206, range(90, 100)),
        ("bytes=-5", 206, range(95, 100)),
        ("bytes=-500", 206, range(100)),
        ("bytes=95-5000", 206, range(95, 100)),
        ("bytes=100-", 416, range(0)),
        ("bytes=-0", 416, range(0)),
        ("bytes=9-3", 200, range(100)),
        ("bytes=0-1,5-6", 200, range(100)),
        ("bytes=-", 200, range(100)),
        ("lines=1-2", 200, range(100)),
    ],
)
async def test_players_seek_with_ranges(
    http: httpx.AsyncClient, asked: str, status: int, sent: range
) -> None:
    """A range is answered as RFC 9110 says; what is not understood gets the whole."""
    response = await http.get("/web/media/a.webm", headers={"Range": asked})
    assert response.status_code == status
    assert response.content == bytes(sent)
    if status == 206:
        assert response.headers["content-range"] == f"bytes {sent.start}-{sent.stop - 1}/100"
    if status == 416:
        assert response.headers["content-range"] == "bytes */100"


async def test_a_part_of_an_older_file_is_not_mixed_in(http: httpx.AsyncClient) -> None:
    """A range under the tag of another version gets the whole."""
    headers = {"Range": "bytes=0-9", "If-Range": '"old"'}
    response = await http.get("/web/media/a.webm", headers=headers)
    assert (response.status_code, len(response.content)) == (200, 100)


@pytest.mark.parametrize(
    "path",
    [
        "/web/../api/app.py",
        "/web/%2e%2e/api/app.py",
        "/web/..%2fapi%2fapp.py",
        "/web//etc/passwd",
        "/web/learn/..%5c..%5cservice.py",
        "/web/learn/",
        "/web/",
        "/web/__init__.py",
        "/web/learn/index.html%00.png",
    ],
)
async def test_no_path_leads_out(http: httpx.AsyncClient, path: str) -> None:
    """What is not a file of the folder is not found, however it is written."""
    response = await http.get(path)
    assert response.status_code in (401, 404)
    assert response.headers["content-type"] == "application/problem+json"


async def test_pages_take_nothing(http: httpx.AsyncClient) -> None:
    """A page is read, never written."""
    assert (await http.post("/learn/")).status_code == 405
    assert (await http.put("/web/learn/index.html", content=b"xx")).status_code in (405, 413, 415)
