"""The verifier over real HTTP with the real pack and real faces: right answers, and bad input."""

from __future__ import annotations

import base64
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from verifier.api.app import batch_limits, create_app
from verifier.api.metrics import VerifierMetrics
from verifier.api.verify import PURPOSE, signed_payload
from verifier.clock import SystemClock
from verifier.edge import MEDIA_TYPE, HttpMetrics
from verifier.keys import KeyRing
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.batching import Batcher
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.templates import TemplateVault
from verifier.settings import Settings, load_settings

pytestmark = [pytest.mark.models, pytest.mark.faces]

CLOCK: Final = SystemClock()
KEYS: Final = KeyRing.generate(CLOCK)
MAX_BODY: Final = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def engine(model_store: Store) -> Engine:
    """The real engine on the open pack, one thread per inference."""
    return Engine(load_pack("open", model_store, Runtime(threads=1)), load_profile())


@pytest.fixture(scope="module")
def address(engine: Engine, serve: Callable[..., str]) -> str:
    """Where the verifier listens."""
    settings = load_settings(Settings, limits={"max_body_bytes": MAX_BODY})
    metrics = HttpMetrics()
    counted = VerifierMetrics(metrics.registry)
    limits = batch_limits(settings, processors=2)
    batcher = Batcher(engine, decode=decode, limits=limits, observer=counted)
    app = create_app(
        batcher=batcher,
        vault=TemplateVault(KEYS, embedder=engine.models["embedder"], clock=CLOCK),
        keyring=KEYS,
        clock=CLOCK,
        settings=settings,
        metrics=metrics,
        verifier_metrics=counted,
    )
    return serve(app, batcher.close)


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    """A caller on this machine."""
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def photo(faces_dir: Path) -> Callable[[str], str]:
    """Read a photograph of the families as base64."""

    def read(name: str) -> str:
        return text((faces_dir / "families" / f"{name}.jpg").read_bytes())

    return read


@pytest.fixture(scope="module")
def dad(http: httpx.Client, photo: Callable[[str], str]) -> dict[str, str]:
    """Subject and template of a father."""
    answer = http.post("/v1/templates", json={"subject": "dad", "photo": photo("Family1-Dad1")})
    assert answer.status_code == 200, answer.text
    return {"subject": "dad", "template": answer.json()["template"]}


@pytest.fixture(autouse=True)
def still_up(http: httpx.Client) -> Iterator[None]:
    """Whatever a test sends, the service infers afterwards."""
    yield
    answer = http.get("/readyz")
    assert answer.status_code == 200, answer.text


def text(data: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(data).decode()


def png(pixels: Any) -> bytes:
    """Encode a picture."""
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return bytes(data.tobytes())


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is that problem, with a remedy and a request id."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = answer.json()
    assert found["remedy"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def test_the_same_person_matches_and_others_do_not(
    http: httpx.Client, dad: dict[str, str], photo: Callable[[str], str]
) -> None:
    """His other photographs are he; wife, son and a stranger are not; signatures hold."""
    for name, decision in (
        ("Family1-Dad2", "match"),
        ("Family1-Dad3", "match"),
        ("Family1-Mom1", "mismatch"),
        ("Family1-Son1", "mismatch"),
    ):
        answer = http.post("/v1/verify", json=dad | {"frames": [photo(name)]})
        assert answer.status_code == 200, answer.text
        verdict = answer.json()
        assert verdict["decision"] == decision, (name, verdict)
        assert (verdict["similarity"] >= verdict["threshold"]) == (decision == "match")
        KEYS.verify(PURPOSE, signed_payload(verdict), verdict["signature"])
        assert verdict["models"]["embedder"].count("@") == 1
        assert set(verdict["quality"]) >= {"Sharpness", "HeadPoseYaw", "InterEyeDistance"}
        assert len(verdict["face"]["landmarks"]) == 5


def test_nobody_is_no_evidence(http: httpx.Client, dad: dict[str, str]) -> None:
    """A wall, and darkness, are verdicts without a similarity."""
    wall = np.full((480, 640, 3), 180, np.uint8)
    for frame in (wall, wall // 60):
        answer = http.post("/v1/verify", json=dad | {"frames": [text(png(frame))]})
        assert answer.status_code == 200, answer.text
        verdict = answer.json()
        assert (verdict["decision"], verdict["reasons"]) == ("no_evidence", ["no_face"])
        assert verdict["similarity"] is None
        assert verdict["face"] is None


def test_a_reference_photograph_and_a_batch(
    http: httpx.Client, dad: dict[str, str], photo: Callable[[str], str]
) -> None:
    """Items of a batch are answered one by one, in order, by template or photograph."""
    items = [
        dad | {"frames": [photo("Family1-Dad2")]},
        dad | {"frames": [photo("Family1-Mom1")]},
        {"reference_photo": photo("Family1-Mom1"), "frames": [photo("Family1-Mom2")]},
        dad | {"frames": [text(b"not a picture")]},
        dad | {"subject": "mom", "frames": [photo("Family1-Mom1")]},
    ]
    answer = http.post("/v1/verify:batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    told = [
        item["verdict"]["decision"] if item["verdict"] else item["problem"]["code"]
        for item in answer.json()["results"]
    ]
    assert told == ["match", "mismatch", "match", "image_unreadable", "template_tampered"]


def test_many_callers_at_a_time_are_not_mixed_up(
    http: httpx.Client, dad: dict[str, str], photo: Callable[[str], str]
) -> None:
    """Requests that share batches get their own answers."""
    names = ["Family1-Dad2", "Family1-Mom1", "Family1-Dad3", "Family1-Son1"] * 6

    def ask(name: str) -> str:
        answer = http.post("/v1/verify", json=dad | {"frames": [photo(name)]})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["decision"])

    with ThreadPoolExecutor(8) as callers:
        decisions = list(callers.map(ask, names))
    assert decisions == ["match", "mismatch", "match", "mismatch"] * 6


def test_useless_photographs_are_refused_with_reasons(http: httpx.Client) -> None:
    """A wall cannot be enrolled."""
    wall = text(png(np.full((480, 640, 3), 180, np.uint8)))
    answer = http.post("/v1/templates", json={"subject": "x", "photo": wall})
    assert problem(answer, 422, "template_refused")["reasons"] == ["no_face"]


def test_version_and_metrics_name_what_runs(http: httpx.Client, engine: Engine) -> None:
    """Operators see models with digests, and how long the stages take."""
    version = http.get("/version").json()
    assert version["models"] == dict(engine.models)
    assert version["profile_version"] == engine.profile.version
    metrics = http.get("/metrics").text
    assert 'benren_verdicts_total{decision="match"}' in metrics
    assert 'benren_stage_seconds_bucket{le="0.1",stage="embed"}' in metrics


# --- bad input ------------------------------------------------------------------------------


def huge_png() -> bytes:
    """Make a valid PNG of 30 000 x 30 000 black pixels, 1 bit each: 110 KB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    squeeze = zlib.compressobj(9)
    row = bytes(1 + 30_000 // 8)
    rows = b"".join(squeeze.compress(row * 1_000) for _ in range(30)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def animated_gif() -> bytes:
    """Make a GIF of two frames of one pixel."""
    frame = b"\x21\xf9\x04\x00\x0a\x00\x00\x00\x2c" + bytes(4) + b"\x01\x00\x01\x00\x00"
    return (
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00"
        b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
        + (frame + b"\x02\x02\x44\x01\x00") * 2
        + b";"
    )


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda jpeg: jpeg[: len(jpeg) // 2], (422, "image_unreadable")),
        (lambda jpeg: jpeg[:100], (422, "image_unreadable")),
        (lambda jpeg: jpeg[:-3_000] + bytes(2_000) + jpeg[-1_000:], (422, "image_unreadable")),
        (lambda _: huge_png(), (413, "image_too_large")),
        (lambda _: animated_gif(), (422, "image_unreadable")),
        (lambda _: b"I am a text file whose name ends in .jpg\n" * 20, (422, "image_unreadable")),
        (lambda _: png(np.zeros((8, 8, 3), np.uint8)), (422, "image_unreadable")),
    ],
    ids=["truncated", "cut to 100 bytes", "corrupt", "30000x30000", "gif", "text", "8x8"],
)
def test_what_is_no_usable_image_has_its_own_error(
    http: httpx.Client,
    dad: dict[str, str],
    faces_dir: Path,
    spoil: Callable[[bytes], bytes],
    expected: tuple[int, str],
) -> None:
    """As a photograph, as a reference and as a frame; details differ, remedies are named."""
    good = (faces_dir / "families" / "Family1-Dad2.jpg").read_bytes()
    bad = text(spoil(good))
    problem(http.post("/v1/templates", json={"subject": "x", "photo": bad}), *expected)
    problem(http.post("/v1/verify", json=dad | {"frames": [bad]}), *expected)
    body = {"reference_photo": bad, "frames": [text(good)]}
    problem(http.post("/v1/verify", json=body), *expected)
    answer = http.post("/v1/verify", json=dad | {"frames": [text(good), bad]})
    assert "Image 2 of 2" in problem(answer, *expected)["detail"]


def test_too_many_frames_and_empty_bodies(http: httpx.Client, dad: dict[str, str]) -> None:
    """Ten thousand frames, no frames, no body and no object are each told."""
    tiny = text(png(np.zeros((2, 2, 3), np.uint8)))
    answer = http.post("/v1/verify", json=dad | {"frames": [tiny] * 10_000})
    found = problem(answer, 422, "invalid_request")
    assert found["errors"][0]["where"].endswith("frames")
    assert "8" in found["errors"][0]["detail"]
    for body in (b"", b"{}", b"[]", b"null"):
        answer = http.post("/v1/verify", content=body, headers={"content-type": "application/json"})
        problem(answer, 422, "invalid_request")
    answer = http.post("/v1/verify", json=dad | {"frames": []})
    problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("media_type", ["image/jpeg", "text/plain", "multipart/form-data", ""])
def test_wrong_content_types(http: httpx.Client, dad: dict[str, str], media_type: str) -> None:
    """JSON under another name, and no name at all, are 415."""
    headers = {"content-type": media_type} if media_type else {}
    answer = http.post("/v1/verify", content=json.dumps(dad).encode(), headers=headers)
    problem(answer, 415, "unsupported_media_type")


def test_bodies_beyond_the_limit(http: httpx.Client, address: str) -> None:
    """Announced or in chunks, with or without valid JSON inside: 413, and not read to the end."""
    headers = {"content-type": "application/json"}
    answer = http.post("/v1/verify", content=b" " * (MAX_BODY + 1), headers=headers)
    problem(answer, 413, "request_too_large")

    # A caller that never stops sending; httpx would insist on finishing, so by hand.
    place = urlsplit(address)
    assert place.hostname
    assert place.port
    with socket.create_connection((place.hostname, place.port), timeout=30) as line:
        line.sendall(
            b"POST /v1/verify HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        sent = 0
        try:
            while sent < 20:
                line.sendall(piece)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server hung up, as it should
        else:
            assert line.recv(65_536).startswith(b"HTTP/1.1 413"), "neither refused nor hung up"


def test_templates_that_do_not_belong(
    http: httpx.Client, dad: dict[str, str], engine: Engine, photo: Callable[[str], str]
) -> None:
    """Another subject, an altered byte, another model, a foreign key, rubbish: told apart."""
    frames = {"frames": [photo("Family1-Dad2")]}
    answer = http.post("/v1/verify", json=dad | frames | {"subject": "mom"})
    problem(answer, 422, "template_tampered")
    blob = base64.b64decode(dad["template"])
    for position in (4, 8, len(blob) // 2, len(blob) - 1):
        altered = bytearray(blob)
        altered[position] ^= 1
        body = dad | frames | {"template": text(bytes(altered))}
        problem(http.post("/v1/verify", json=body), 422, "template_tampered")
    embedding = np.zeros(256, np.float32)
    embedding[0] = 1
    other = TemplateVault(KEYS, embedder="edgeface_xs@" + "0" * 64, clock=CLOCK)
    sealed = other.seal(subject="dad", embedding=embedding, quality={})
    answer = http.post("/v1/verify", json=dad | frames | {"template": text(sealed)})
    found = problem(answer, 409, "template_of_another_model")
    assert "edgeface_xs" in found["detail"]
    assert engine.models["embedder"] in found["detail"]
    assert "Enrol" in found["remedy"]
    foreign = TemplateVault(
        KeyRing.generate(CLOCK), embedder=engine.models["embedder"], clock=CLOCK
    ).seal(subject="dad", embedding=embedding, quality={})
    for wrong in (foreign, b"rubbish", blob[:40]):
        answer = http.post("/v1/verify", json=dad | frames | {"template": text(wrong)})
        problem(answer, 422, "template_tampered")


def test_images_are_bytes_never_places(http: httpx.Client, dad: dict[str, str]) -> None:
    """Paths and addresses are not fetched."""
    for place in ("/etc/hostname", "file:///etc/hostname", "http://127.0.0.1/x.jpg", "../x.jpg"):
        answer = http.post("/v1/verify", json=dad | {"frames": [place]})
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in ("invalid_request", "image_unreadable")
