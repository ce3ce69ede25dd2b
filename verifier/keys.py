"""The key ring: named keys that seal templates and sign verdicts, certificates and ledger heads.

Keys come from a directory of files or from the environment, never from the database. One file
holds one key, and its name says what it is for:

=====================  ====================================================================
``ID.seal``            32 random bytes in base64: encrypts and decrypts (AES-256-GCM)
``ID.open``            the same, retired: only decrypts
``ID.sign``            Ed25519 private key, PEM (PKCS #8): signs and verifies
``ID.verify``          Ed25519 public key, PEM: only verifies
=====================  ====================================================================

An id begins with the date (``20261124-a``); among several the greatest one is the current one, so
rotating is adding a file. ``openssl rand -base64 32`` and ``openssl genpkey -algorithm ed25519``
make them by hand. In the environment ``BENREN_KEYS`` holds ``kind:ID:base64`` words of the raw 32
bytes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import rfc8785
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from verifier.clock import Clock
from verifier.errors import KeyUnusable, SealBroken, SignatureInvalid, UnknownKey

ENVIRONMENT: Final = "BENREN_KEYS"
_ID: Final = re.compile(r"[0-9]{8}[a-z0-9-]{0,24}")
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MAX_FILES: Final = 256
_MAX_FILE_BYTES: Final = 4096
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D: 96 bits, drawn at random
_MAGIC: Final = b"BNR\x01"


class Kind(StrEnum):
    """What a key may do; also the suffix of its file."""

    SEAL = "seal"
    OPEN = "open"
    SIGN = "sign"
    VERIFY = "verify"


def canonical_json(value: object, *, floats: bool = False) -> bytes:
    """Give the one byte string of a JSON value (RFC 8785).

    Floating-point numbers are refused unless `floats`: what is hashed for years (the ledger)
    holds integers only. Raises ValueError for what JSON cannot hold.
    """
    if not floats:
        _refuse_floats(value)
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks the types itself


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is not an integer: state it in a smaller unit")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


class KeyRing:
    """Keys by id. Whatever is sealed or signed names the key that did it.

    Purposes separate domains: what was sealed or signed for one never passes for another. For
    sealing every purpose has its own key, derived with HKDF-SHA256 (RFC 5869).
    """

    def __init__(
        self,
        *,
        sealing: Mapping[str, bytes] | None = None,
        opening: Mapping[str, bytes] | None = None,
        signing: Mapping[str, Ed25519PrivateKey] | None = None,
        verifying: Mapping[str, Ed25519PublicKey] | None = None,
    ) -> None:
        self._sealing = dict(sealing or {})
        self._signing = dict(signing or {})
        self._secrets = {**self._sealing, **(opening or {})}
        self._public = {name: key.public_key() for name, key in self._signing.items()}
        self._public.update(verifying or {})
        for name in (*self._secrets, *self._public):
            _check_id(name, name)
        if any(len(secret) != _KEY_BYTES for secret in self._secrets.values()):
            raise KeyUnusable(f"A sealing key must have exactly {_KEY_BYTES} bytes.")
        self._ciphers: dict[tuple[str, str], AESGCM] = {}

    @classmethod
    def generate(cls, clock: Clock) -> KeyRing:
        """Make a ring of one new sealing and one new signing key, in memory only."""
        name = new_key_id(clock)
        return cls(
            sealing={name: secrets.token_bytes(_KEY_BYTES)},
            signing={name: Ed25519PrivateKey.generate()},
        )

    @classmethod
    def load(
        cls, directory: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> KeyRing:
        """Read the keys of a directory and of ``BENREN_KEYS`` in `environ` together.

        Raises KeyUnusable, naming the file or the word that is wrong, where a key is unreadable,
        readable by everybody, or there twice, or where none can seal or sign.
        """
        found: dict[Kind, dict[str, bytes]] = {kind: {} for kind in Kind}
        if directory is not None:
            _read_directory(directory, found)
        _read_environment((environ or {}).get(ENVIRONMENT, ""), found)
        ring = cls(
            sealing=found[Kind.SEAL],
            opening=found[Kind.OPEN],
            signing={
                name: Ed25519PrivateKey.from_private_bytes(raw)
                for name, raw in found[Kind.SIGN].items()
            },
            verifying={
                name: Ed25519PublicKey.from_public_bytes(raw)
                for name, raw in found[Kind.VERIFY].items()
            },
        )
        if not ring._sealing or not ring._signing:
            missing = "seal" if not ring._sealing else "sign"
            where = f"in {directory} or in {ENVIRONMENT}" if directory else f"in {ENVIRONMENT}"
            raise KeyUnusable(
                f"There is no key to {missing} with {where}.",
                remedy="Make one with `benren keys rotate`.",
            )
        return ring

    @property
    def current_sealing_id(self) -> str:
        """Id of the key that seals."""
        return _current(self._sealing, "seal")

    @property
    def current_signing_id(self) -> str:
        """Id of the key that signs."""
        return _current(self._signing, "sign")

    def seal(self, purpose: str, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt `plaintext` so that it opens only for this purpose and this context."""
        name = self.current_sealing_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = _MAGIC + bytes([len(name)]) + name.encode("ascii") + nonce
        return header + self._cipher(name, purpose).encrypt(nonce, plaintext, header + context)

    def open(self, purpose: str, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what `seal` returned. Raises UnknownKey or SealBroken."""
        name, nonce, body = _parse_sealed(sealed)
        if name not in self._secrets:
            raise UnknownKey(
                f"The key {name} is not in the key ring.",
                remedy=f"Put the file {name}.open back among the keys.",
            )
        header = sealed[: len(sealed) - len(body)]
        try:
            return self._cipher(name, purpose).decrypt(nonce, body, header + context)
        except InvalidTag as error:
            raise SealBroken from error

    def sign(self, purpose: str, payload: bytes) -> str:
        """``key-id.base64url`` of an Ed25519 signature over the purpose and the payload."""
        name = self.current_signing_id
        signature = self._signing[name].sign(_signed_bytes(purpose, payload))
        return f"{name}.{_base64url(signature)}"

    def verify(self, purpose: str, payload: bytes, signature: str) -> str:
        """Check what `sign` returned and give the key's id. Raises UnknownKey, SignatureInvalid."""
        name, dot, encoded = signature.partition(".")
        if not dot or len(signature) > 256:
            raise SignatureInvalid("The signature does not read KEY-ID.BASE64URL.")
        if name not in self._public:
            raise UnknownKey(
                "The signature names a key that is not in the key ring.",
                remedy="Put the file KEY-ID.verify of that key among the keys.",
            )
        try:
            raw = base64.b64decode(
                encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True
            )
            self._public[name].verify(raw, _signed_bytes(purpose, payload))
        except (binascii.Error, ValueError, InvalidSignature) as error:
            raise SignatureInvalid from error
        return name

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Give the public keys as a JSON Web Key Set (RFC 7517, RFC 8037), newest first."""
        return {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "use": "sig",
                    "kid": name,
                    "x": _base64url(self._public[name].public_bytes_raw()),
                }
                for name in sorted(self._public, reverse=True)
            ]
        }

    def public_pem(self, key_id: str) -> str:
        """Give one public key as PEM (SubjectPublicKeyInfo). Raises UnknownKey."""
        if key_id not in self._public:
            raise UnknownKey(f"There is no signing key {key_id!r} in the key ring.")
        return (
            self._public[key_id]
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode("ascii")
        )

    def _cipher(self, name: str, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((name, purpose))
        if cipher is None:
            info = b"benren seal v1\x00" + _checked_purpose(purpose)
            derive = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info)
            cipher = AESGCM(derive.derive(self._secrets[name]))
            self._ciphers[name, purpose] = cipher
        return cipher


def new_key_id(clock: Clock) -> str:
    """Make an id that sorts after every older one: UTC to the second, and two random bytes."""
    return f"{clock.stamp().utc:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"


def create_key_directory(directory: Path, clock: Clock) -> KeyRing:
    """Make the directory with one key of each sort, all at once, and load it.

    For the first start of an embedded set-up. Where another process was quicker, its keys are
    loaded. Raises KeyUnusable where the place cannot be written.
    """
    draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        add_keys(draft, clock)
        try:
            draft.rename(directory)  # takes an empty directory's place, never a filled one's
        except OSError:
            for file in draft.iterdir():
                file.unlink()
            draft.rmdir()
            if not directory.is_dir():
                raise
    except OSError as error:
        raise KeyUnusable(
            f"The key directory {directory} cannot be made: {error.strerror}.",
            remedy="Make it writable, or set key_directory to a place that is.",
        ) from error
    return KeyRing.load(directory)


def add_keys(directory: Path, clock: Clock) -> str:
    """Add a sealing and a signing key, which are current from the next start on; returns their id.

    Each file appears whole and with mode 0600, or not at all.
    """
    name = new_key_id(clock)
    older = [file.stem for file in directory.iterdir() if not file.name.startswith(".")]
    if older and max(older) >= name:
        raise KeyUnusable(
            f"The key {max(older)} sorts after the new key {name}.",
            remedy="Set the machine's clock, or wait a second.",
        )
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    seal = base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n"
    for kind, content in ((Kind.SEAL, seal), (Kind.SIGN, private)):
        _write_private(directory / f"{name}.{kind}", content)
    return name


def _write_private(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _read_directory(directory: Path, found: dict[Kind, dict[str, bytes]]) -> None:
    try:
        files = sorted(file for file in directory.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise KeyUnusable(
            f"The key directory {directory} cannot be read: {error.strerror}.",
            remedy="Make one with `benren keys rotate`, or set key_directory.",
        ) from error
    if len(files) > _MAX_FILES:
        raise KeyUnusable(f"There are more than {_MAX_FILES} files in {directory}.")
    for file in files:
        suffix = file.suffix.removeprefix(".")
        if suffix not in set(Kind):
            raise KeyUnusable(
                f"{file} is not a key: its name must end in .seal, .open, .sign or .verify.",
                remedy="Move it out of the key directory.",
            )
        kind = Kind(suffix)
        content = _read_file(file, private=kind is not Kind.VERIFY)
        _add(found, kind, file.stem, _parse_file(kind, content, file), str(file))


def _read_file(file: Path, *, private: bool) -> bytes:
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyUnusable(
            f"The key {file} cannot be read: {error.strerror}.",
            remedy="Give the file to the user that runs the service.",
        ) from error
    # A group may read: that is how container platforms hand secrets to an unprivileged user.
    if private and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise KeyUnusable(
            f"The key {file} has mode {stat.S_IMODE(mode):04o}: others may read or change it.",
            remedy=f"Run chmod 600 {file}; if strangers had access, rotate the key.",
        )
    if len(content) > _MAX_FILE_BYTES:
        raise KeyUnusable(f"The key {file} is longer than {_MAX_FILE_BYTES} bytes.")
    return content


def _parse_file(kind: Kind, content: bytes, file: Path) -> bytes:
    try:
        if kind in (Kind.SEAL, Kind.OPEN):
            return _decode_secret(content.decode("ascii").strip())
        if kind is Kind.SIGN:
            private = serialization.load_pem_private_key(content, password=None)
            if isinstance(private, Ed25519PrivateKey):
                return private.private_bytes_raw()
        else:
            public = serialization.load_pem_public_key(content)
            if isinstance(public, Ed25519PublicKey):
                return public.public_bytes_raw()
    except (ValueError, TypeError) as error:
        raise KeyUnusable(
            f"The key {file} is broken.", remedy="Restore it from your backup of the keys."
        ) from error
    raise KeyUnusable(
        f"The key {file} is not an Ed25519 key.",
        remedy="Make one with `openssl genpkey -algorithm ed25519`.",
    )


def _read_environment(text: str, found: dict[Kind, dict[str, bytes]]) -> None:
    for number, word in enumerate(text.split(), start=1):
        where = f"word {number} of {ENVIRONMENT}"  # never the word itself: it is a secret
        parts = word.split(":")
        if len(parts) != 3 or parts[0] not in set(Kind):
            raise KeyUnusable(f"The {where} does not read seal|open|sign|verify:ID:BASE64.")
        try:
            raw = _decode_secret(parts[2])
        except ValueError as error:
            raise KeyUnusable(f"The {where} is not {_KEY_BYTES} bytes in base64.") from error
        _add(found, Kind(parts[0]), parts[1], raw, where)


def _add(
    found: dict[Kind, dict[str, bytes]], kind: Kind, name: str, raw: bytes, where: str
) -> None:
    _check_id(name, where)
    family = (Kind.SEAL, Kind.OPEN) if kind in (Kind.SEAL, Kind.OPEN) else (Kind.SIGN, Kind.VERIFY)
    if any(name in found[member] for member in family):
        raise KeyUnusable(f"The key id {name} is there twice: see {where}.")
    found[kind][name] = raw


def _check_id(name: str, where: str) -> None:
    if not _ID.fullmatch(name):
        raise KeyUnusable(
            f"The id of the key {where} does not begin with a date such as 20261124-a.",
            remedy="Rename it; ids hold small letters, digits and hyphens, 32 at most.",
        )


def _decode_secret(text: str) -> bytes:
    raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    if len(raw) != _KEY_BYTES:
        raise ValueError("wrong length")
    return raw


def _parse_sealed(sealed: bytes) -> tuple[str, bytes, bytes]:
    start = len(_MAGIC) + 1
    if not sealed.startswith(_MAGIC) or len(sealed) < start:
        raise SealBroken("This was not sealed by Benren.")
    end = start + sealed[len(_MAGIC)]
    name, nonce = sealed[start:end], sealed[end : end + _NONCE_BYTES]
    if len(nonce) < _NONCE_BYTES or not _ID.fullmatch(name.decode("ascii", "replace")):
        raise SealBroken("The sealed data is cut off or altered.")
    return name.decode("ascii"), nonce, sealed[end + _NONCE_BYTES :]


def _signed_bytes(purpose: str, payload: bytes) -> bytes:
    return b"benren sign v1\x00" + _checked_purpose(purpose) + b"\x00" + payload


def _checked_purpose(purpose: str) -> bytes:
    if not _PURPOSE.fullmatch(purpose):
        raise ValueError(f"{purpose!r} is not a purpose: small letters, digits and hyphens")
    return purpose.encode("ascii")


def _current(keys: Mapping[str, object], verb: str) -> str:
    if not keys:
        raise KeyUnusable(
            f"There is no key to {verb} with.", remedy="Make one with `benren keys rotate`."
        )
    return max(keys)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
