"""What `benren serve` is told: the verifier's settings, and what the tracker adds to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from verifier.settings import Settings, load_settings

__all__ = ["Config", "load_settings"]

VERIFIER_KEY = "BENREN_VERIFIER_KEY"
"""Environment: the API key with which a tracker of its own calls the verifier."""
TURN_SECRET = "BENREN_TURN_SECRET"  # noqa: S105 - the name of a variable, no secret
"""Environment: the secret shared with the TURN server, for passwords that are over soon."""


WEBHOOK_SECRETS = "BENREN_WEBHOOK_SECRETS"
"""Environment: `NAME=whsec_...` words; two of one name while they change over."""


class Webhook(BaseModel):
    """A receiver of events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=32)
    url: str = Field(min_length=1, max_length=2_048)
    types: tuple[str, ...] = Field(default=("*",), min_length=1, max_length=50)
    """Which events: names of types, `*` stands for anything."""
    allow_private: bool = False
    """Whether it may be on this machine or in a private network."""


class Config(Settings):
    """Settings of the whole: TOML file, then environment (``BENREN_``), then flags."""

    only: Literal["both", "verifier", "tracker"] = "both"
    """Which services run in this process."""
    verifier_url: str = Field(default="", pattern=r"^(https?://\S+)?$", max_length=2_048)
    """Where the verifier answers; for `only = "tracker"`."""
    database_url: str = Field(default="", max_length=2_048)
    """SQLAlchemy address; empty: a SQLite file in the data directory."""
    learner_keys_url: str = Field(default="", max_length=2_048)
    """SQLAlchemy address of the learners' keys; empty: a SQLite file of their own in the data
    directory. Back it up apart from the database, and keep those backups short."""
    policies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("foshan-2021",), min_length=1, max_length=100
    )
    """Programme policies in force: names of policies that come along, or paths of files."""
    courses: Annotated[tuple[str, ...], NoDecode] = Field(default=(), max_length=100)
    """Catalogues of the programmes' lessons: paths of files. They replace those that come along."""
    consent_texts: Path | None = None
    """A folder with your own consent text: `VERSION.zh.txt` and `VERSION.en.txt`."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(default=(), max_length=100)
    """Addresses of reverse proxies whose `X-Forwarded-For` is believed: guesses at sign-in codes
    are counted by the learner's address."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s?#]+)?$", max_length=1_024)
    """Where people reach the pages, such as `https://hours.example`; in QR codes of certificates.
    Empty: this machine's own address."""
    certificate_font: Path | None = None
    """A TrueType file with Chinese characters, embedded in certificates; none: referenced."""

    heads_file: Path | None = None
    """Signed heads of the ledger are appended here, for others to copy and keep."""
    webhooks: tuple[Webhook, ...] = Field(default=(), max_length=20)
    """Receivers of events; their secrets are no settings: `benren outbox secret`."""

    @field_validator("policies", "courses", "trusted_proxies", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @property
    def check_url(self) -> str:
        """Where anybody checks a certificate; its number follows."""
        return f"{(self.public_url or f'http://127.0.0.1:{self.port}').rstrip('/')}/check/"

    @property
    def database(self) -> str:
        """The database's address."""
        return self.database_url or f"sqlite:///{self.sqlite_file}"

    @property
    def learner_keys(self) -> str:
        """The address of the learners' keys."""
        file = self.data_directory.absolute() / "learner-keys.sqlite3"
        return self.learner_keys_url or f"sqlite:///{file}"

    @property
    def sqlite_file(self) -> Path:
        """The file of the embedded database."""
        return self.data_directory.absolute() / "benren.sqlite3"
