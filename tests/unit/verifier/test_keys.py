"""The key ring: purposes, rotation, files, environment, and what is refused."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import ManualClock
from verifier.errors import KeyUnusable, SealBroken, SignatureInvalid, UnknownKey
from verifier.keys import KeyRing, add_keys, canonical_json, create_key_directory

RING = KeyRing.generate(ManualClock())


@pytest.fixture
def directory(tmp_path: Path, clock: ManualClock) -> Path:
    """A key directory as the first start makes it."""
    create_key_directory(tmp_path / "keys", clock)
    return tmp_path / "keys"


@given(st.binary(max_size=300), st.binary(max_size=30))
def test_what_is_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    """Opening gives back what was sealed, and no two seals look alike."""
    sealed = RING.seal("template", plaintext, context)
    assert RING.open("template", sealed, context) == plaintext
    assert RING.seal("template", plaintext, context) != sealed


def test_a_seal_opens_only_for_its_purpose_and_context() -> None:
    """Purpose and context are part of the seal."""
    sealed = RING.seal("template", b"secret", b"alice")
    with pytest.raises(SealBroken):
        RING.open("template", sealed, b"bob")
    with pytest.raises(SealBroken):
        RING.open("thumbnail", sealed, b"alice")


def test_every_flipped_bit_and_every_cut_breaks_a_seal() -> None:
    """No byte of a sealed blob can be altered or left out."""
    sealed = RING.seal("template", b"secret", b"")
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((SealBroken, UnknownKey)):
            RING.open("template", bytes(altered), b"")
        with pytest.raises((SealBroken, UnknownKey)):
            RING.open("template", sealed[:position], b"")


def test_a_signature_holds_for_its_purpose_and_payload() -> None:
    """Another purpose, another payload and an altered signature are refused."""
    signature = RING.sign("verdict", b"payload")
    assert RING.verify("verdict", b"payload", signature) == RING.current_signing_id
    for purpose, payload, text in (
        ("certificate", b"payload", signature),
        ("verdict", b"other", signature),
        ("verdict", b"payload", signature[:-4] + "AAAA"),
        ("verdict", b"payload", signature + "?"),
        ("verdict", b"payload", "no-dot"),
        ("verdict", b"payload", signature + "A" * 300),
    ):
        with pytest.raises(SignatureInvalid):
            RING.verify(purpose, payload, text)
    with pytest.raises(UnknownKey):
        RING.verify("verdict", b"payload", "20200101." + signature.partition(".")[2])


def test_purposes_cannot_run_into_payloads() -> None:
    """A purpose is a plain word, so that no payload can pretend to be another purpose's."""
    with pytest.raises(ValueError, match="purpose"):
        RING.sign("verdict\x00", b"x")
    with pytest.raises(ValueError, match="purpose"):
        RING.seal("", b"x", b"")


def test_rotation_keeps_old_seals_and_signatures(directory: Path, clock: ManualClock) -> None:
    """After rotating, new work uses the new key and old work still opens and verifies."""
    old = KeyRing.load(directory)
    sealed, signature = old.seal("template", b"x", b""), old.sign("verdict", b"x")
    clock.advance(1_000)
    name = add_keys(directory, clock)
    new = KeyRing.load(directory)
    assert new.current_sealing_id == new.current_signing_id == name != old.current_signing_id
    assert new.open("template", sealed, b"") == b"x"
    assert new.verify("verdict", b"x", signature) == old.current_signing_id
    with pytest.raises(UnknownKey, match=name):
        old.open("template", new.seal("template", b"x", b""), b"")


def test_retired_keys_only_open_and_verify(directory: Path, clock: ManualClock) -> None:
    """A key renamed to .open, or of which only the public half is left, does no new work."""
    old = KeyRing.load(directory)
    name = old.current_signing_id
    sealed, signature = old.seal("template", b"x", b""), old.sign("verdict", b"x")
    clock.advance(1_000)
    add_keys(directory, clock)
    (directory / f"{name}.seal").rename(directory / f"{name}.open")
    (directory / f"{name}.verify").write_text(old.public_pem(name))
    (directory / f"{name}.sign").unlink()
    ring = KeyRing.load(directory)
    assert ring.open("template", sealed, b"") == b"x"
    assert ring.verify("verdict", b"x", signature) == name
    assert name not in (ring.current_sealing_id, ring.current_signing_id)


def test_a_clock_that_went_back_does_not_make_an_old_key_current(directory: Path) -> None:
    """A new key that would sort before an existing one is refused."""
    with pytest.raises(KeyUnusable, match="sorts after"):
        add_keys(directory, ManualClock())


def test_the_first_start_makes_private_files(directory: Path, clock: ManualClock) -> None:
    """The files are for their owner only, and a second start finds the same keys."""
    files = sorted(directory.iterdir())
    assert [file.suffix for file in files] == [".seal", ".sign"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    again = create_key_directory(directory, clock)
    assert again.current_signing_id == KeyRing.load(directory).current_signing_id
    assert sorted(directory.iterdir()) == files
    assert [path.name for path in directory.parent.iterdir()] == ["keys"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, clock: ManualClock) -> None:
    """The error names the directory."""
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyUnusable, match="cannot be made"):
        create_key_directory(tmp_path / "file" / "keys", clock)


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o666])
def test_keys_that_others_can_read_or_change_are_refused(directory: Path, mode: int) -> None:
    """Wrong permissions are an error with the command that heals them."""
    file = next(directory.glob("*.sign"))
    file.chmod(mode)
    with pytest.raises(KeyUnusable, match=f"{mode:04o}") as error:
        KeyRing.load(directory)
    assert f"chmod 600 {file}" in error.value.remedy


def test_a_group_may_read(directory: Path) -> None:
    """Container platforms hand secrets to an unprivileged user through his group."""
    for file in directory.iterdir():
        file.chmod(0o440)
    assert KeyRing.load(directory).current_signing_id


@pytest.mark.parametrize("suffix", ["seal", "sign"])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff\xfe", b"QUJD\n", b"A" * 5_000])
def test_broken_files_are_named(directory: Path, suffix: str, content: bytes) -> None:
    """Whatever a key file holds that is no key, the error names the file."""
    file = next(directory.glob(f"*.{suffix}"))
    file.write_bytes(content)
    with pytest.raises(KeyUnusable) as error:
        KeyRing.load(directory)
    assert str(file) in str(error.value)


def test_other_sorts_of_keys_are_refused(directory: Path) -> None:
    """An elliptic-curve key of another sort is not an Ed25519 key."""
    file = next(directory.glob("*.sign"))
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(pem)
    with pytest.raises(KeyUnusable, match="not an Ed25519 key"):
        KeyRing.load(directory)


@pytest.mark.parametrize("name", ["README.md", "notes", "key.sign", "20261124-A.sign"])
def test_strange_files_are_refused(directory: Path, name: str) -> None:
    """A file that would be silently left out might be the key that somebody relies on."""
    (directory / name).write_bytes(next(directory.glob("*.sign")).read_bytes())
    (directory / name).chmod(0o600)
    with pytest.raises(KeyUnusable):
        KeyRing.load(directory)


def test_an_id_belongs_to_one_key(directory: Path) -> None:
    """The same id in two files is refused."""
    file = next(directory.glob("*.seal"))
    twin = file.with_suffix(".open")
    twin.write_bytes(file.read_bytes())
    twin.chmod(0o600)
    with pytest.raises(KeyUnusable, match="twice"):
        KeyRing.load(directory)


def test_a_directory_that_is_absent_or_empty_is_told(tmp_path: Path) -> None:
    """Both name the remedy."""
    with pytest.raises(KeyUnusable, match="cannot be read") as absent:
        KeyRing.load(tmp_path / "absent")
    with pytest.raises(KeyUnusable, match="no key to seal") as empty:
        KeyRing.load(tmp_path)
    assert "benren keys" in absent.value.remedy
    assert "benren keys" in empty.value.remedy


def test_keys_of_the_environment() -> None:
    """Words of the environment make the same ring as files."""
    secret = base64.b64encode(b"s" * 32).decode()
    text = f"seal:20260101:{secret} open:20250101:{secret}\n sign:20260101:{secret}"
    ring = KeyRing.load(environ={"BENREN_KEYS": text})
    assert ring.open("template", ring.seal("template", b"x", b""), b"") == b"x"
    public = Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    assert ring.public_jwks() == {
        "keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "20260101", "x": x}]
    }


@pytest.mark.parametrize(
    "word", ["seal:20260101", "steal:20260101:AAAA", "seal:20260101:c2VjcmV0", "seal:20260101:!"]
)
def test_a_wrong_word_of_the_environment_is_told_without_telling_it(word: str) -> None:
    """The error gives the number of the word, never the secret."""
    with pytest.raises(KeyUnusable, match="word 1 of BENREN_KEYS") as error:
        KeyRing.load(environ={"BENREN_KEYS": word})
    assert word.rpartition(":")[2] not in str(error.value)


def test_keys_made_by_openssl_work(tmp_path: Path, clock: ManualClock) -> None:
    """The documented commands make keys that load."""
    made = {
        "20260101-a.seal": ["openssl", "rand", "-base64", "32"],
        "20260101-a.sign": ["openssl", "genpkey", "-algorithm", "ed25519"],
    }
    for name, command in made.items():
        file = tmp_path / name
        file.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
        file.chmod(0o600)
    ring = KeyRing.load(tmp_path)
    assert ring.verify("verdict", b"x", ring.sign("verdict", b"x")) == "20260101-a"


def test_the_exported_public_key_verifies_elsewhere() -> None:
    """Anybody with the PEM can check a signature: the signed bytes are documented."""
    name = RING.current_signing_id
    public = serialization.load_pem_public_key(RING.public_pem(name).encode())
    assert isinstance(public, Ed25519PublicKey)
    encoded = RING.sign("certificate", b"payload").partition(".")[2]
    raw = base64.urlsafe_b64decode(encoded + "==")
    public.verify(raw, b"benren sign v1\x00certificate\x00payload")
    with pytest.raises(UnknownKey):
        RING.public_pem("20000101")


def test_canonical_json_is_one_byte_string() -> None:
    """Order and spelling do not matter; the bytes are those of RFC 8785."""
    value = {"b": [True, None, -5], "a": "é\n", "é": {}}
    assert canonical_json(value) == '{"a":"é\\n","b":[true,null,-5],"é":{}}'.encode()
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("value", [1.0, {"a": [0.5]}, float("nan"), 2**53, {1: 2}, {"a": {3}}])
def test_canonical_json_refuses_what_is_not_exact(value: object) -> None:
    """Floats, integers that JSON numbers cannot hold, and foreign types are refused."""
    with pytest.raises(ValueError, match=r"."):
        canonical_json(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_canonical_json_reads_back(value: object) -> None:
    """Nothing is lost, and floats are allowed where asked for."""
    assert json.loads(canonical_json(value)) == value
    assert json.loads(canonical_json([0.25, value], floats=True)) == [0.25, value]
