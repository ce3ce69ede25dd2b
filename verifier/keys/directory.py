"""A key directory: made whole at the first start, and added to when keys rotate."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.clock import Clock
from verifier.errors import KeyUnusable
from verifier.keys.ring import KeyRing, new_key_id
from verifier.keys.sources import KEY_BYTES, Kind


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
    if older and max(older) >= name.rpartition("-")[0]:  # also those of the same second
        raise KeyUnusable(
            f"The key {max(older)} sorts after the new key {name}.",
            remedy="Set the machine's clock, or wait a second.",
        )
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    seal = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"
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
