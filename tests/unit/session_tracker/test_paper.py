"""Certificates on paper: what stands there, the record inside, and every change of a byte."""

from __future__ import annotations

import asyncio
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from pypdf import PdfReader

from session_tracker.certificate import CertificateInvalid
from session_tracker.paper import Paper, document_in, render
from session_tracker.policy import load_policy
from session_tracker.printing import Printer
from session_tracker.signed_pdf import file_key_ids, sign_pdf, verify_file
from session_tracker.testing import Studio
from tests.qr import read_qr
from verifier.clock import ManualClock
from verifier.errors import BenrenError, ConfigurationError, NotFound, UnknownKey
from verifier.keys import KeyRing

PAPER = Paper(check_url="https://hours.example/check/")
NAME = "欧阳明"


async def _studied(url: str) -> tuple[bytes, KeyRing, bytes]:
    studio = Studio(url, policy=load_policy("demo"))
    await studio.start()
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None

    async def names(learner_id: str) -> str | None:
        return NAME if learner_id == studio.learner_id else None

    certification = studio.service.certification
    printer = Printer(certification, studio.keyring, PAPER, names)
    pdf = await printer.pdf(view.certificate)
    with pytest.raises(NotFound):
        await printer.pdf("BR2026-0000000000")
    document = (await certification.issued(view.certificate)).document
    await studio.stop()
    return document, studio.keyring, pdf


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, KeyRing, bytes]:
    """The document of a learner who met the target, the ring that signed it, and the paper."""
    return asyncio.run(_studied(f"sqlite:///{tmp_path_factory.mktemp('studio')}/t.sqlite3"))


@pytest.fixture
def document(studied: tuple[bytes, KeyRing, bytes]) -> bytes:
    """The certificate as JSON."""
    return studied[0]


@pytest.fixture
def keyring(studied: tuple[bytes, KeyRing, bytes]) -> KeyRing:
    """The ring that signed it."""
    return studied[1]


@pytest.fixture
def pdf(studied: tuple[bytes, KeyRing, bytes]) -> bytes:
    """The certificate as a signed PDF."""
    return studied[2]


def picture(pdf: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Print the page at 150 dots an inch: (height, width, 3) uint8, BGR."""
    return np.ascontiguousarray(pypdfium2.PdfDocument(pdf)[0].render(scale=150 / 72).to_numpy())


def test_the_page_says_what_the_record_says(document: bytes, pdf: bytes) -> None:
    """One page with name, number, hours and check code, in Chinese and English."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    assert len(pages) == 1
    text = "".join(pages[0].extract_text().split())
    parsed = json.loads(document)
    core, code = parsed["certificate"], parsed["check_code"]
    for part in (
        "学时证明",
        "Certificate of Online Study Hours",
        core["title"],
        NAME,
        core["number"],
        f"{core['class_hours']} 学时",
        code,
    ):
        assert "".join(part.split()) in text


def test_the_qr_code_leads_to_the_public_check(document: bytes, pdf: bytes) -> None:
    """What a phone reads off the printed page is the address of the check, with the code."""
    found = read_qr(picture(pdf))
    parsed = json.loads(document)
    number, code = parsed["certificate"]["number"], parsed["check_code"]
    assert found == f"https://hours.example/check/{number}?code={code}"


def test_nothing_leaves_the_page(pdf: bytes) -> None:
    """Outside the frame the page is white: no line of text runs out of it."""
    page = picture(pdf)
    inset = int(26 * 150 / 72)
    inside = np.zeros(page.shape[:2], dtype=bool)
    inside[inset:-inset, inset:-inset] = True
    assert page[~inside].min() == 255
    frame = int(36 * 150 / 72)
    between = page[200:-200, frame + 2 : frame + 14]
    assert between.min() == 255
    assert page[200:-200, -(frame + 14) : -(frame + 2)].min() == 255


def test_a_long_title_and_name_are_broken_into_lines(document: bytes) -> None:
    """Whatever the lengths, the text stays within the frame."""
    parsed = json.loads(document)
    parsed["certificate"]["title"] = (
        "佛山市高危行业主要负责人安全管理人员安全生产知识和管理能力" * 3
    )
    page = picture(
        render(json.dumps(parsed).encode(), PAPER, holder="Maximiliana von und zu Guttenberg " * 3)
    )
    frame = int(36 * 150 / 72)
    assert page[200:-200, -(frame + 14) : -(frame + 2)].min() == 255


def test_the_record_travels_inside(document: bytes, pdf: bytes, keyring: KeyRing) -> None:
    """Out of the PDF comes the signed document, byte for byte, and it holds."""
    assert document_in(pdf) == document
    checked = verify_file(pdf, keyring)
    assert checked.number == json.loads(document)["certificate"]["number"]
    assert verify_file(document, keyring) == checked
    assert file_key_ids(pdf) == {checked.key_id} == file_key_ids(document)


def test_the_same_certificate_prints_to_the_same_bytes(
    document: bytes, pdf: bytes, keyring: KeyRing
) -> None:
    """Printing again gives the same file: a digest of it can be kept."""
    assert sign_pdf(render(document, PAPER, holder=NAME), keyring) == pdf


def test_every_changed_byte_of_the_pdf_is_found(pdf: bytes, keyring: KeyRing) -> None:
    """One flipped bit anywhere, a byte cut off, added or put behind: it does not hold."""
    places = random.Random(5).sample(range(len(pdf)), 400)
    for at in {*places, 0, len(pdf) - 1, len(pdf) - 2, *range(len(pdf) - 130, len(pdf))}:
        changed = bytearray(pdf)
        changed[at] ^= 1
        with pytest.raises(BenrenError):
            verify_file(bytes(changed), keyring)
    for changed_file in (pdf[:-1], pdf + b"\n", pdf + b"x", pdf[1:], pdf + pdf):
        with pytest.raises(BenrenError):
            verify_file(changed_file, keyring)


def test_another_record_inside_does_not_hold(
    document: bytes, keyring: KeyRing, clock: ManualClock
) -> None:
    """A PDF that a stranger signed is unknown; an unsigned one carries no signature of ours."""
    clock.advance(1_000)
    page = render(document, PAPER)
    with pytest.raises(UnknownKey):
        verify_file(sign_pdf(page, KeyRing.generate(clock)), keyring)
    with pytest.raises(CertificateInvalid, match="no signature"):
        verify_file(page, keyring)


def test_a_signed_page_without_a_record_is_no_certificate(keyring: KeyRing) -> None:
    """Our signature alone is not enough: the record has to be there and to hold."""
    page = io.BytesIO()
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(page)
    canvas.drawString(100, 100, "hours")
    canvas.save()
    with pytest.raises(CertificateInvalid, match="carries no certificate"):
        verify_file(sign_pdf(page.getvalue(), keyring), keyring)
    with pytest.raises(CertificateInvalid, match="cannot be read"):
        verify_file(sign_pdf(b"%PDF-1.7\nnothing", keyring), keyring)


def test_without_a_name_the_pseudonym_is_printed(document: bytes) -> None:
    """Where no name is known any more, the paper still says whose record it is."""
    text = PdfReader(io.BytesIO(render(document, PAPER))).pages[0].extract_text()
    assert json.loads(document)["certificate"]["holder"] in text


def test_an_unusable_font_is_refused_at_once(tmp_path: Path) -> None:
    """A font that is missing or is none stops the start, not the first certificate."""
    broken = tmp_path / "font.ttf"
    broken.write_bytes(b"no font")
    for path in (broken, tmp_path / "missing.ttf"):
        with pytest.raises(ConfigurationError, match="cannot be used for certificates"):
            Paper(check_url="https://hours.example/check/", font=path)


def test_a_named_font_is_embedded(document: bytes) -> None:
    """With a TrueType file the text does not depend on the reader's fonts."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    page = PdfReader(io.BytesIO(render(document, Paper(check_url="https://x/", font=font))))
    fonts = page.pages[0]["/Resources"]["/Font"]
    embedded = [f.get_object() for f in fonts.values() if f.get_object()["/Subtype"] == "/TrueType"]
    assert embedded
    assert all("/FontFile2" in font["/FontDescriptor"] for font in embedded)
