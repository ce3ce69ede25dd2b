"""The certificate on paper: one A4 page in Chinese and English, with the signed document inside.

The page says what the document says, and the holder's name, which the document never carries. The
document travels as an attachment, and the bytes of the whole file are signed
(:mod:`session_tracker.signed_pdf`), so that the paper's file can be checked without us, too.

Chinese text is set in the font file that the operator names (TrueType, embedded as a subset), or
else in *STSong-Light*, which PDF readers with East Asian fonts have or replace: docs/adr/0021.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import segno
from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

from session_tracker.certificate import CertificateInvalid
from verifier.errors import ConfigurationError

ATTACHMENT: Final = "certificate.json"
_REFERENCED: Final = "STSong-Light"
"""One of the fonts for simplified Chinese that PDF readers bring themselves (Adobe-GB1)."""
_EMBEDDED: Final = "BenrenCertificate"
_LATIN: Final = "Helvetica"
"""For what stands in Windows-1252; every PDF reader has it, with the widths that we reckon with."""
_RUNS: Final = re.compile(r"[\u0020-\u00ff]+|[^\u0020-\u00ff]+")
_PIECES: Final = re.compile(r"[\u0021-\u00ff]+ *| +|.[，。；：、！？）》」]*", re.DOTALL)
"""What a line may be broken behind: a Latin word, or a Chinese character with its punctuation."""
_INK: Final = HexColor(0x1B2A41)
_QUIET: Final = HexColor(0x56657A)
_ACCENT: Final = HexColor(0x9C2A2A)
_FRAME: Final = HexColor(0xB08D57)
_WIDTH, _HEIGHT = A4
_MARGIN: Final = 62.0
"""Points (1/72 inch) from the paper's edge to the text."""
_TRACKS: Final = {"initial": ("初次培训", "initial training"), "refresher": ("再培训", "refresher")}
_SECONDS_PER_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """How certificates are printed here."""

    check_url: str = "http://127.0.0.1:8000/check/"
    """Address of the public check; the number follows. The default is this machine's own."""
    font: Path | None = None
    """A TrueType file (``.ttf`` or ``.ttc``) with Chinese characters; None: referenced."""
    time_zone: str = "Asia/Shanghai"
    """Whose dates are printed."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError where the font cannot be used."""
        _register(self.font)

    def link(self, number: str, check_code: str) -> str:
        """Give what the QR code holds."""
        return f"{self.check_url}{number}?code={check_code}"


def render(document: bytes, paper: Paper, *, holder: str | None = None) -> bytes:
    """Print a certificate that was verified: a PDF file, not yet signed.

    `holder` is the learner's name; without one the pseudonym of the document stands there. The
    same input gives the same bytes.
    """
    parsed = json.loads(document)
    core = parsed["certificate"]
    link = paper.link(core["number"], parsed["check_code"])
    page = io.BytesIO()
    canvas = Canvas(page, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle(f"学时证明 {core['number']}")
    canvas.setAuthor("Benren 本人")
    canvas.setSubject(f"Certificate of online study hours, check code {parsed['check_code']}")
    sheet = _Sheet(canvas, _register(paper.font))
    sheet.frame()
    sheet.heading(core["title"])
    sheet.fields(_fields(core, holder, ZoneInfo(paper.time_zone)))
    sheet.statement(core)
    sheet.proof(core, parsed["check_code"], link)
    canvas.showPage()
    canvas.save()
    return _with_attachment(page.getvalue(), document)


def qr_svg(content: str) -> bytes:
    """Draw a QR code (error correction M, quiet zone 4) as an SVG document, 5 px a module.

    Shown at its own size it has modules of whole pixels, which every reader can tell apart.
    """
    out = io.BytesIO()
    segno.make(content, error="m", micro=False).save(out, kind="svg", border=4, scale=5)
    return out.getvalue()


def document_in(pdf: bytes) -> bytes:
    """Take the signed document out of a paper. Raises CertificateInvalid where there is none."""
    try:
        found = PdfReader(io.BytesIO(pdf)).attachments.get(ATTACHMENT, [])
        if len(found) == 1:
            return bytes(found[0])
    except (PyPdfError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CertificateInvalid("The PDF cannot be read: it was changed.") from error
    raise CertificateInvalid("The PDF carries no certificate.")


def _with_attachment(page: bytes, document: bytes) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(page))
    writer.add_attachment(ATTACHMENT, document)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _register(font: Path | None) -> str:
    """Make the font known to the PDF library; returns its name there."""
    if font is None:
        if _REFERENCED not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(UnicodeCIDFont(_REFERENCED))
        return _REFERENCED
    name = f"{_EMBEDDED}-{os.fspath(font)}"
    if name not in pdfmetrics.getRegisteredFontNames():
        try:
            pdfmetrics.registerFont(TTFont(name, os.fspath(font), subfontIndex=0))
        except (TTFError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"The font {font} cannot be used for certificates: {error}.",
                remedy="Name a TrueType file with Chinese characters (not one with PostScript "
                "outlines), such as WenQuanYi Zen Hei, or none.",
            ) from error
    return name


def _fields(
    core: dict[str, Any], holder: str | None, zone: ZoneInfo
) -> Iterator[tuple[str, str, str]]:
    """Name what stands on the paper: Chinese label, English label, value."""
    issued = datetime.fromtimestamp(core["issued_ms"] / 1_000, UTC).astimezone(zone)
    track_zh, track_en = _TRACKS.get(core["track"], (core["track"], core["track"]))
    minutes = core["class_hour_s"] / 60
    hours = core["credited_s"] / _SECONDS_PER_HOUR
    yield "姓　　名", "Holder", holder if holder is not None else core["holder"]
    yield "培训类别", "Track", f"{track_zh} · {track_en}"
    yield (
        "线上学时",
        "Online class hours",
        f"{core['class_hours']} 学时 · class hours of {minutes:g} min ({hours:.1f} h)",
    )
    yield "学习次数", "Sessions", str(len(core["sessions"]))
    yield "签发日期", "Issued", f"{issued:%Y 年 %m 月 %d 日} · {issued:%Y-%m-%d}"
    yield "证书编号", "Number", core["number"]


class _Sheet:
    """Draws from the top of the page down; `y` is where the next thing stands, in points."""

    def __init__(self, canvas: Canvas, font: str) -> None:
        self.canvas = canvas
        self.font = font
        self.y = _HEIGHT - 128.0

    def frame(self) -> None:
        """Draw the border: two lines, the outer one the heavier."""
        self.canvas.setFillColor(white)
        for inset, weight in ((28.0, 2.2), (35.0, 0.6)):
            self.canvas.setStrokeColor(_FRAME)
            self.canvas.setLineWidth(weight)
            self.canvas.rect(inset, inset, _WIDTH - 2 * inset, _HEIGHT - 2 * inset)

    def heading(self, title: str) -> None:
        """Set the name of the paper and of the programme."""
        self._centred("学 时 证 明", 34, _ACCENT, 30)
        self._centred("Certificate of Online Study Hours", 14, _QUIET, 46)
        for line in self._lines(title, 17, _WIDTH - 2 * _MARGIN):
            self._centred(line, 17, _INK, 26)
        self.y -= 6
        self.canvas.setStrokeColor(_FRAME)
        self.canvas.setLineWidth(0.6)
        self.canvas.line(_WIDTH / 2 - 90, self.y, _WIDTH / 2 + 90, self.y)
        self.y -= 46

    def fields(self, rows: Iterator[tuple[str, str, str]]) -> None:
        """Set what is certified, label by label."""
        left, value_at = _MARGIN + 8, _MARGIN + 150
        for chinese, english, value in rows:
            self._text(left, self.y, chinese, 12.5, _INK)
            self._text(left, self.y - 13, english, 8.5, _QUIET)
            lines = self._lines(value, 13.5, _WIDTH - value_at - _MARGIN)
            for number, line in enumerate(lines):
                self._text(value_at, self.y - 3 - 17 * number, line, 13.5, _INK)
            self.y -= 39 + 17 * (len(lines) - 1)

    def statement(self, core: dict[str, Any]) -> None:
        """Say what was verified, and that face, offline part and exam are other papers' matter."""
        self.y -= 6
        said = (
            f"兹证明持证人已完成上述培训项目的线上学习。所计学时均为经人脸识别核验为本人学习的时间，"
            f"或经工作人员确认的时间，达到规定的 {core['target_s'] // core['class_hour_s']} 学时。"
            "本证明不包括线下培训和考试。",
            "The holder completed the online part of this programme. Only time in which the "
            "registered person was verified to be the one who studied, or that staff confirmed, "
            "was counted. Offline training and the examination are not part of this certificate.",
        )
        for text, size, leading, ink in ((said[0], 11, 18, _INK), (said[1], 9, 13.5, _QUIET)):
            for line in self._lines(text, size, _WIDTH - 2 * _MARGIN - 16):
                self._text(_MARGIN + 8, self.y, line, size, ink)
                self.y -= leading
            self.y -= 6

    def proof(self, core: dict[str, Any], check_code: str, link: str) -> None:
        """Set the QR code, the check code and where the hours lie in the ledger."""
        side = 96.0
        bottom = 66.0
        left = _WIDTH - _MARGIN - side
        self._qr(link, left, bottom, side)
        grouped = " ".join(check_code[i : i + 4] for i in range(0, len(check_code), 4))
        head = core["head"]
        lines = (
            ("防伪查询码 · Check code", 9, _QUIET, 18),
            (grouped, 15, _INK, 20),
            ("扫描二维码查询真伪；是否被撤销以在线查询为准。", 9, _QUIET, 12),
            ("Scan to check. Only the online check shows a revocation.", 9, _QUIET, 17),
            (f"Ledger head: {head['size']} entries, {head['root'][:32]}", 7, _QUIET, 9),
            ("The signed record is attached to this file; any copy can be checked", 7, _QUIET, 9),
            ("offline with: benren certificate verify FILE --public-key KEYS", 7, _QUIET, 9),
        )
        y = bottom + side - 8
        for text, size, ink, drop in lines:
            self._text(_MARGIN + 8, y, text, size, ink)
            y -= drop

    def _qr(self, content: str, left: float, bottom: float, side: float) -> None:
        code = segno.make(content, error="m", micro=False)
        rows = [bytes(row) for row in code.matrix]
        unit = side / len(rows)
        self.canvas.setFillColor(Color(0, 0, 0))
        path = self.canvas.beginPath()
        for r, row in enumerate(rows):
            for c, dark in enumerate(row):
                if dark:
                    path.rect(left + c * unit, bottom + side - (r + 1) * unit, unit, unit)
        self.canvas.drawPath(path, stroke=0, fill=1)

    def _centred(self, text: str, size: float, ink: Color, drop: float) -> None:
        self._text((_WIDTH - self._width(text, size)) / 2, self.y, text, size, ink)
        self.y -= drop

    def _text(self, x: float, y: float, text: str, size: float, ink: Color) -> None:
        """Draw one line; Latin and Chinese runs each in a font that has them."""
        self.canvas.setFillColor(ink)
        for font, run in self._runs(text):
            self.canvas.setFont(font, size)
            self.canvas.drawString(x, y, run)
            x += pdfmetrics.stringWidth(run, font, size)

    def _runs(self, text: str) -> Iterator[tuple[str, str]]:
        for run in _RUNS.findall(text):
            yield (_LATIN if run[0] <= "\u00ff" else self.font), run

    def _width(self, text: str, size: float) -> float:
        return float(sum(pdfmetrics.stringWidth(run, font, size) for font, run in self._runs(text)))

    def _lines(self, text: str, size: float, width: float) -> list[str]:
        """Break a text into lines of at most `width` points."""
        lines = [""]
        for piece in _PIECES.findall(text):
            if lines[-1] and self._width(lines[-1] + piece.rstrip(), size) > width:
                lines.append("")
            lines[-1] += piece
        return [line.rstrip() for line in lines]
