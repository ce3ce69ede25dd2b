"""Settings: what overrides what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from verifier.errors import ConfigurationError
from verifier.settings import Section, Settings, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with a port and two limits."""
    path = tmp_path / "benren.toml"
    path.write_text(
        'port = 81\npack = "edgeface"\n[limits]\nmax_body_bytes = 5000\nmax_image_bytes = 3000\n'
    )
    return path


def test_defaults_are_loopback_without_keys() -> None:
    """Out of the box the service listens on loopback and knows no API keys."""
    settings = load_settings(Settings)
    assert settings.host == "127.0.0.1"
    assert settings.api_keys == ()
    assert settings.keys == Path("benren-data/keys")


def test_flags_override_environment_overrides_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value comes from the strongest source that has it, also within sections."""
    monkeypatch.setenv("BENREN_PORT", "82")
    monkeypatch.setenv("BENREN_LIMITS__MAX_BODY_BYTES", "6000")
    settings = load_settings(Settings, file, host="::1", port=None)
    assert (settings.host, settings.port, settings.pack) == ("::1", 82, "edgeface")
    assert settings.limits.max_body_bytes == 6000
    assert settings.limits.max_image_bytes == 3000
    assert load_settings(Settings, file, port=83).port == 83


def test_api_keys_in_the_environment_are_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several lines fit into one variable."""
    monkeypatch.setenv("BENREN_API_KEYS", "a:sha256:1:x, b:sha256:2:y")
    assert load_settings(Settings).api_keys == ("a:sha256:1:x", "b:sha256:2:y")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 80", "prot: there is no such setting"),
        ("[limits]\nmax_frame = 3", "limits.max_frame: there is no such setting"),
        ("port = 70000", "port"),
        ("[batching]\nmax_batch = 0", "batching.max_batch"),
        ('provider = "tpu"', "provider"),
        ("port = [", "not TOML"),
    ],
)
def test_a_wrong_file_names_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    """Unknown keys, values out of bounds and broken TOML are refused by name."""
    path = tmp_path / "benren.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=named) as error:
        load_settings(Settings, path)
    assert str(path) in str(error.value)
    assert error.value.remedy


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that was named has to be there."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(Settings, tmp_path / "absent.toml")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """Nobody's settings are a megabyte long."""
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        load_settings(Settings, path)


def test_a_wrong_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections that are not JSON, and values that are no numbers, are refused by name."""
    monkeypatch.setenv("BENREN_LIMITS", "{")
    with pytest.raises(ConfigurationError, match="limits"):
        load_settings(Settings)
    monkeypatch.delenv("BENREN_LIMITS")
    monkeypatch.setenv("BENREN_PORT", "eighty")
    with pytest.raises(ConfigurationError, match="port"):
        load_settings(Settings)


def test_settings_do_not_change() -> None:
    """Settings are read once; nobody turns a knob later."""
    settings = load_settings(Settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_whoever_serves_adds_sections(tmp_path: Path) -> None:
    """A subclass reads its own section from the same file."""

    class Tracker(Section):
        database: str = ""

    class Serve(Settings):
        tracker: Tracker = Tracker()

    path = tmp_path / "benren.toml"
    path.write_text('port = 1\n[tracker]\ndatabase = "x"\n')
    settings = load_settings(Serve, path)
    assert (settings.port, settings.tracker.database) == (1, "x")
    with pytest.raises(ConfigurationError, match="tracker: there is no such setting"):
        load_settings(Settings, path)


def test_workers_follow_the_machine_unless_set() -> None:
    """On a CPU a worker per processor, with a GPU two, and what is set counts."""
    assert load_settings(Settings).worker_count(3) == 3
    assert load_settings(Settings, provider="cuda").worker_count(3, gpu=True) == 6
    assert load_settings(Settings).worker_count(100, gpu=True) == 64
    assert load_settings(Settings, batching={"workers": 5}).worker_count(3, gpu=True) == 5
