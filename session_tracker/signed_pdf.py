"""A PDF file whose bytes are signed: our Ed25519 signature in a comment behind its end.

The last line of the file is ``%benren-signature KEY-ID.BASE64URL``; signed (purpose
`certificate-pdf`) is every byte before that line. PDF readers pass over comments, and look for the
end of the file in its last 1 024 bytes. Whoever changes a byte, before or in the line, or puts one
behind it, is found out.
"""

from __future__ import annotations

from typing import Final

from session_tracker.certificate import (
    CertificateInvalid,
    Checked,
    key_ids,
    verify_certificate,
)
from session_tracker.paper import document_in
from verifier.errors import BadRequest, SignatureInvalid
from verifier.keys import KeyRing

PURPOSE: Final = "certificate-pdf"
_MARK: Final = b"%benren-signature "
_LONGEST: Final = 512
"""Bytes of the last line, at most."""
MAX_BYTES: Final = 32 * 1024 * 1024
MAGIC: Final = b"%PDF-"


def sign_pdf(pdf: bytes, keyring: KeyRing) -> bytes:
    """Put the signature behind the file."""
    body = pdf if pdf.endswith(b"\n") else pdf + b"\n"
    return body + _MARK + keyring.sign(PURPOSE, body).encode("ascii") + b"\n"


def verify_file(content: bytes, keyring: KeyRing) -> Checked:
    """Check a certificate in either form, JSON or PDF, offline.

    Of a PDF first the signature over its bytes, and only then is it opened. Raises BadRequest,
    UnknownKey and CertificateInvalid as `verify_certificate` does.
    """
    if not content.startswith(MAGIC):
        return verify_certificate(content, keyring)
    body, signature = _split(content)
    try:
        keyring.verify(PURPOSE, body, signature)
    except SignatureInvalid as error:
        raise CertificateInvalid("The signature does not fit: the PDF was changed.") from error
    return verify_certificate(document_in(body), keyring)


def file_key_ids(content: bytes) -> set[str]:
    """Name the keys that a certificate in either form says it was signed with."""
    if not content.startswith(MAGIC):
        return key_ids(content)
    return {_split(content)[1].partition(".")[0]}


def _split(content: bytes) -> tuple[bytes, str]:
    if len(content) > MAX_BYTES:
        raise BadRequest(f"A certificate has at most {MAX_BYTES} bytes.")
    at = content.rfind(b"\n" + _MARK) + 1
    line = content[at:]
    if not at or not line.endswith(b"\n") or len(line) > _LONGEST or not line.isascii():
        raise CertificateInvalid(
            "The PDF carries no signature of ours.",
            remedy="Give the file as it was issued: printing it anew drops the signature.",
        )
    signature = line[len(_MARK) : -1].decode("ascii")
    if signature != signature.strip():
        raise CertificateInvalid("The signature does not fit: the PDF was changed.")
    return content[:at], signature
