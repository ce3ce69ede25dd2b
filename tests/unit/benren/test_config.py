"""Settings of the whole: defaults, the environment, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benren.config import Config, load_settings
from verifier.errors import ConfigurationError


def test_defaults_are_one_process_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any setting both services run on loopback, on SQLite, under the Foshan policy."""
    monkeypatch.delenv("BENREN_DATA_DIRECTORY", raising=False)
    config = load_settings(Config)
    assert (config.only, config.host, config.policies) == ("both", "127.0.0.1", ("foshan-2021",))
    assert config.database == f"sqlite:///{Path.cwd()}/benren-data/benren.sqlite3"


def test_environment_fills_and_flags_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of policies come separated by blanks or commas; a flag goes before the environment."""
    monkeypatch.setenv("BENREN_POLICIES", "demo, foshan-2021")
    monkeypatch.setenv("BENREN_ONLY", "tracker")
    monkeypatch.setenv("BENREN_DATABASE_URL", "postgresql://benren@db/benren")
    config = load_settings(Config, only="verifier", data_directory=tmp_path)
    assert config.policies == ("demo", "foshan-2021")
    assert config.only == "verifier"
    assert config.database == "postgresql://benren@db/benren"


@pytest.mark.parametrize(
    "flags", [{"only": "neither"}, {"verifier_url": "ftp://x"}, {"policies": ()}, {"colour": "red"}]
)
def test_nonsense_is_refused_by_name(flags: dict[str, object]) -> None:
    """A value that cannot be meant, and a setting that does not exist, name themselves."""
    with pytest.raises(ConfigurationError, match=next(iter(flags))):
        load_settings(Config, **flags)
