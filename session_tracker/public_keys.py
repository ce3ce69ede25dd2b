"""Reads public keys as others hold them: a JSON Web Key Set, or one key as PEM."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from verifier.errors import BadRequest, KeyUnusable
from verifier.keys import KeyRing


def read_public_keys(content: bytes, *, key_ids: Iterable[str]) -> KeyRing:
    """Make a ring that can only verify.

    `content` is what ``benren keys show`` prints (a JSON Web Key Set), or one PEM file; PEM has
    no room for an id, so that such a key stands for every one of `key_ids`. Raises BadRequest
    for other content, KeyUnusable for ids that cannot be.
    """
    if content.lstrip().startswith(b"-----BEGIN"):
        key = _pem(content)
        return _ring(dict.fromkeys(key_ids, key))
    try:
        found = {}
        for item in json.loads(content)["keys"]:
            if item["kty"] == "OKP" and item["crv"] == "Ed25519":
                raw = base64.urlsafe_b64decode(item["x"] + "=" * (-len(item["x"]) % 4))
                found[str(item["kid"])] = Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _unreadable() from error
    if not found:
        raise _unreadable()
    return _ring(found)


def _pem(content: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise _unreadable() from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unreadable()
    return key


def _ring(keys: dict[str, Ed25519PublicKey]) -> KeyRing:
    try:
        return KeyRing(verifying=keys)
    except KeyUnusable as error:
        raise BadRequest("The signature names a key with an impossible id.") from error


def _unreadable() -> BadRequest:
    return BadRequest(
        "The public key is neither a JSON Web Key Set nor an Ed25519 key as PEM.",
        remedy="Give the file that `benren keys show` printed.",
    )
