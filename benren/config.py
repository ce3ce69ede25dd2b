"""What `benren serve` is told: the verifier's settings, and what the tracker adds to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from verifier.settings import Settings, load_settings

__all__ = ["Config", "load_settings"]

VERIFIER_KEY = "BENREN_VERIFIER_KEY"
"""Environment: the API key with which a tracker of its own calls the verifier."""


class Config(Settings):
    """Settings of the whole: TOML file, then environment (``BENREN_``), then flags."""

    only: Literal["both", "verifier", "tracker"] = "both"
    """Which services run in this process."""
    verifier_url: str = Field(default="", pattern=r"^(https?://\S+)?$", max_length=2_048)
    """Where the verifier answers; for `only = "tracker"`."""
    database_url: str = Field(default="", max_length=2_048)
    """SQLAlchemy address; empty: a SQLite file in the data directory."""
    policies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("foshan-2021",), min_length=1, max_length=100
    )
    """Programme policies in force: names of policies that come along, or paths of files."""

    @field_validator("policies", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @property
    def database(self) -> str:
        """The database's address."""
        return self.database_url or f"sqlite:///{self.sqlite_file}"

    @property
    def sqlite_file(self) -> Path:
        """The file of the embedded database."""
        return self.data_directory.absolute() / "benren.sqlite3"
