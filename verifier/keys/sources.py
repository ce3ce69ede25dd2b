"""Where keys come from: a directory of files, and the environment. Never the database."""

from __future__ import annotations

import base64
import os
import re
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from verifier.errors import KeyUnusable

ENVIRONMENT: Final = "BENREN_KEYS"
KEY_BYTES: Final = 32
KEY_ID: Final = re.compile(r"[0-9]{8}[a-z0-9-]{0,24}")
_MAX_FILES: Final = 256
_MAX_FILE_BYTES: Final = 4096


class Kind(StrEnum):
    """What a key may do; also the suffix of its file."""

    SEAL = "seal"
    OPEN = "open"
    SIGN = "sign"
    VERIFY = "verify"


Found: TypeAlias = dict[Kind, dict[str, bytes]]
"""Kind -> id -> 32 raw bytes."""


def read_directory(directory: Path, found: Found) -> None:
    """Add the keys of a directory; files whose name begins with a dot are none of ours."""
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


def read_environment(text: str, found: Found) -> None:
    """Add the keys of the environment's text: ``kind:ID:base64`` words."""
    for number, word in enumerate(text.split(), start=1):
        where = f"word {number} of {ENVIRONMENT}"  # never the word itself: it is a secret
        parts = word.split(":")
        if len(parts) != 3 or parts[0] not in set(Kind):
            raise KeyUnusable(f"The {where} does not read seal|open|sign|verify:ID:BASE64.")
        try:
            raw = _decode_secret(parts[2])
        except ValueError as error:
            raise KeyUnusable(f"The {where} is not {KEY_BYTES} bytes in base64.") from error
        _add(found, Kind(parts[0]), parts[1], raw, where)


def _add(found: Found, kind: Kind, name: str, raw: bytes, where: str) -> None:
    check_id(name, where)
    family = (Kind.SEAL, Kind.OPEN) if kind in (Kind.SEAL, Kind.OPEN) else (Kind.SIGN, Kind.VERIFY)
    if any(name in found[member] for member in family):
        raise KeyUnusable(f"The key id {name} is there twice: see {where}.")
    found[kind][name] = raw


def check_id(name: str, where: str) -> None:
    """Raise KeyUnusable where `name` is not an id; `where` tells whose."""
    if not KEY_ID.fullmatch(name):
        raise KeyUnusable(
            f"The id of the key {where} does not begin with a date such as 20261124-a.",
            remedy="Rename it; ids hold small letters, digits and hyphens, 32 at most.",
        )


def _decode_secret(text: str) -> bytes:
    raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    if len(raw) != KEY_BYTES:
        raise ValueError("wrong length")
    return raw
