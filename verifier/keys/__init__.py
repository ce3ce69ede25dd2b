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

from verifier.keys.canonical import canonical_json
from verifier.keys.directory import add_keys, create_key_directory
from verifier.keys.ring import KeyRing, new_key_id
from verifier.keys.sources import ENVIRONMENT, Kind

__all__ = [
    "ENVIRONMENT",
    "KeyRing",
    "Kind",
    "add_keys",
    "canonical_json",
    "create_key_directory",
    "new_key_id",
]
