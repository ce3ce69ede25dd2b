"""The key ring: seals and signs with the current key, opens and verifies with every key it has."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from verifier.clock import Clock
from verifier.errors import KeyUnusable, SealBroken, SignatureInvalid, UnknownKey
from verifier.keys.sources import (
    ENVIRONMENT,
    KEY_BYTES,
    KEY_ID,
    Found,
    Kind,
    check_id,
    read_directory,
    read_environment,
)

_PURPOSE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NONCE_BYTES: Final = 12  # NIST SP 800-38D: 96 bits, drawn at random
_MAGIC: Final = b"BNR\x01"


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
            check_id(name, name)
        if any(len(secret) != KEY_BYTES for secret in self._secrets.values()):
            raise KeyUnusable(f"A sealing key must have exactly {KEY_BYTES} bytes.")
        self._ciphers: dict[tuple[str, str], AESGCM] = {}

    @classmethod
    def generate(cls, clock: Clock) -> KeyRing:
        """Make a ring of one new sealing and one new signing key, in memory only."""
        name = new_key_id(clock)
        return cls(
            sealing={name: secrets.token_bytes(KEY_BYTES)},
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
        found: Found = {kind: {} for kind in Kind}
        if directory is not None:
            read_directory(directory, found)
        read_environment((environ or {}).get(ENVIRONMENT, ""), found)
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

    def digests(self, purpose: str, message: bytes) -> tuple[str, ...]:
        """Give the keyed hashes of a message, ``key-id.hex`` of an HMAC-SHA256, by every key.

        The first is by the current key and is the one to store; the others find what older keys
        stored. Without the ring a hash can neither be guessed at nor compared.
        """
        newest = sorted(self._secrets, key=lambda name: (name in self._sealing, name), reverse=True)
        return tuple(f"{name}.{self._digest(name, purpose, message)}" for name in newest)

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
            if _base64url(raw) != encoded:
                raise ValueError("bits to spare, or another alphabet: one signature has one text")
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

    def _digest(self, name: str, purpose: str, message: bytes) -> str:
        info = b"benren mac v1\x00" + _checked_purpose(purpose)
        derive = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info)
        return hmac.digest(derive.derive(self._secrets[name]), message, "sha256").hex()

    def _cipher(self, name: str, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((name, purpose))
        if cipher is None:
            info = b"benren seal v1\x00" + _checked_purpose(purpose)
            derive = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info)
            cipher = AESGCM(derive.derive(self._secrets[name]))
            self._ciphers[name, purpose] = cipher
        return cipher


def _parse_sealed(sealed: bytes) -> tuple[str, bytes, bytes]:
    start = len(_MAGIC) + 1
    if not sealed.startswith(_MAGIC) or len(sealed) < start:
        raise SealBroken("This was not sealed by Benren.")
    end = start + sealed[len(_MAGIC)]
    name, nonce = sealed[start:end], sealed[end : end + _NONCE_BYTES]
    if len(nonce) < _NONCE_BYTES or not KEY_ID.fullmatch(name.decode("ascii", "replace")):
        raise SealBroken("The sealed data is cut off or altered.")
    return name.decode("ascii"), nonce, sealed[end + _NONCE_BYTES :]


def _signed_bytes(purpose: str, payload: bytes) -> bytes:
    return b"benren sign v1\x00" + _checked_purpose(purpose) + b"\x00" + payload


def _checked_purpose(purpose: str) -> bytes:
    if not _PURPOSE.fullmatch(purpose):
        raise ValueError(f"{purpose!r} is not a purpose: small letters, digits and hyphens")
    return purpose.encode("ascii")


def new_key_id(clock: Clock) -> str:
    """Make an id that sorts after every older one: UTC to the second, and two random bytes."""
    return f"{clock.stamp().utc:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"


def _current(keys: Mapping[str, object], verb: str) -> str:
    if not keys:
        raise KeyUnusable(
            f"There is no key to {verb} with.", remedy="Make one with `benren keys rotate`."
        )
    return max(keys)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
