"""Settings: a TOML file, overridden by the environment (``BENREN_``), overridden by flags.

Every value is bounded and unknown keys are refused. Secrets have no place here: keys come from
`key_directory` or ``BENREN_KEYS``, and of API keys only hashes are configured. Nested values are
written with two underscores in the environment: ``BENREN_LIMITS__MAX_FRAMES=4``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from verifier.errors import ConfigurationError

_MIB: Final = 1024 * 1024
_MAX_FILE_BYTES: Final = _MIB


class Section(BaseModel):
    """A part of the settings: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Section):
    """What a request may bring."""

    max_image_bytes: int = Field(default=8 * _MIB, ge=1_024, le=64 * _MIB)
    """Of one encoded image."""
    max_image_pixels: int = Field(default=25_000_000, ge=10_000, le=100_000_000)
    """Of one image, told by its header before it is decoded."""
    max_body_bytes: int = Field(default=32 * _MIB, ge=1_024, le=512 * _MIB)
    """Of one request."""
    max_held_bytes: int = Field(default=512 * _MIB, ge=1_024, le=16 * 1024 * _MIB)
    """Of the bodies of all requests that are being answered."""
    body_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """For a body to arrive."""


class Batching(Section):
    """How inference is shared between requests."""

    workers: int = Field(default=0, ge=0, le=64)
    """Batches that run at a time; 0: as many as the machine has processors (twice as many where a
    GPU runs the networks: half of them wait for it while the others decode and prepare)."""
    lanes: int = Field(default=2, ge=1, le=16)
    """Threads that talk to a GPU, where one runs the networks; they gather what the workers ask
    into batches of up to 32."""
    max_batch: int = Field(default=8, ge=1, le=256)
    """Frames that one worker takes at a time."""
    window_ms: float = Field(default=2.0, ge=0, le=1_000)
    """How long a batch that is not full waits for more, where no other worker is free."""
    max_pending: int = Field(default=256, ge=16, le=100_000)
    """Images that wait or run; more are turned away with 503."""
    max_pending_bytes: int = Field(default=1024 * _MIB, ge=_MIB, le=64 * 1024 * _MIB)
    """Their bytes, decoded."""
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    """A request (of `verify:batch`, an item) is answered within this time, over all its steps, or
    503; readiness fails where a batch runs for longer."""
    drain_s: float = Field(default=10.0, ge=0, le=300)
    """How long a stopping service lets waiting requests finish."""


class Savings(Section):
    """What is not computed because the answer is known already (`verifier.pipeline.savings`)."""

    small_looks: bool = True
    """Detect small and place landmarks in close looks; else look at 640 px."""
    small_first: bool = True
    """Spare the large look where the small one plainly shows one face."""
    track: bool = True
    """Verify the boxes of a stream's last sample by a small look alone."""
    duplicates: bool = True
    """Take over the faces of a near duplicate; compute equal frames of one batch once."""
    glances: bool = True
    """Presence on a small copy; exact landmarks only where they are needed."""
    early_exit: bool = True
    """Do not embed, nor judge for liveness, a face that can be no evidence."""


class IceServerSetting(Section):
    """A STUN or TURN server."""

    urls: tuple[str, ...] = Field(min_length=1, max_length=8)
    """Such as ``stun:stun.example.org`` or ``turn:turn.example.org:3478?transport=tcp``."""
    username: str | None = Field(default=None, max_length=256)
    """For TURN; without it (and with BENREN_TURN_SECRET) one is made for each learner."""
    credential: str | None = Field(default=None, max_length=256)

    @field_validator("urls")
    @classmethod
    def _known(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not url.startswith(("stun:", "stuns:", "turn:", "turns:")) or len(url) > 256:
                raise ValueError("addresses begin with stun:, turn: or turns:")
        return urls


class WebRtc(Section):
    """Frames over WebRTC."""

    enabled: bool = True
    """Without it devices use WebSockets and uploads."""
    ice_servers: tuple[IceServerSetting, ...] = Field(default=(), max_length=8)
    """What devices use to find a way to the verifier."""
    turn_life_s: int = Field(default=43_200, ge=60, le=604_800)
    """Life of the TURN passwords that are made from BENREN_TURN_SECRET: a day's lessons."""
    relay_here: bool = False
    """Whether the verifier uses the servers too: only where it cannot be reached directly."""


class Settings(BaseSettings):
    """What the verifier and whoever serves it are told. Subclass it to add sections."""

    model_config = SettingsConfigDict(
        env_prefix="BENREN_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
    )

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    """Address to listen on; anything but loopback needs API keys."""
    port: int = Field(default=8_000, ge=0, le=65_535)
    """0: any free port."""
    pack: str = Field(default="open", min_length=1, max_length=4_096)
    """Model pack: `open`, `edgeface` or `insightface:NAME`."""
    provider: Literal["cpu", "openvino", "cuda", "openvino-bf16", "cuda-fp16", "auto"] = "cpu"
    """What runs the networks; what is asked for runs, or start-up fails. `auto` measures."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads within one inference on a CPU; several workers with one thread each are faster."""
    gpu_memory_mb: int = Field(default=0, ge=0, le=1_048_576)
    """Largest GPU arena of one network in MiB; 0: no limit. Refused where no GPU can run."""
    profile: str = Field(default="", max_length=4_096)
    """Threshold profile: a name or a path; empty: the pack's own."""
    data_directory: Path = Path("benren-data")
    """Where the embedded set-up keeps what it has to keep."""
    key_directory: Path | None = None
    """Key files; default: `keys` in the data directory."""
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(default=(), max_length=1_000)
    """Lines that `benren keys new` printed; in the environment separated by blanks or commas."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    limits: Limits = Limits()
    batching: Batching = Batching()
    savings: Savings = Savings()
    webrtc: WebRtc = WebRtc()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @property
    def keys(self) -> Path:
        """Where the key files are."""
        return self.key_directory or self.data_directory / "keys"

    def worker_count(self, processors: int, *, gpu: bool = False) -> int:
        """How many batches run at a time on a machine that grants so many processors.

        `gpu`: whether one runs any of the networks, be it asked for or chosen by `auto`.
        """
        if self.batching.workers:
            return self.batching.workers
        return max(1, min(2 * processors if gpu else processors, 64))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take flags before environment before file; no other source."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - pydantic gives this
        flags = dict(init_settings.init_kwargs)
        table = flags.pop(_FROM_FILE, {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=flags),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=table),
        )


_FROM_FILE: Final = "_benren_file"
_S = TypeVar("_S", bound=Settings)


def load_settings(kind: type[_S], file: Path | None = None, **flags: Any) -> _S:
    """Read settings of a kind; flags that are None were not given. Raises ConfigurationError."""
    given = {name: value for name, value in flags.items() if value is not None}
    table = _read(file) if file is not None else {}
    try:
        return kind(**{_FROM_FILE: table, **given})
    except ValidationError as error:
        raise ConfigurationError(
            "The settings are wrong: " + "; ".join(_told(item) for item in error.errors()[:10]),
            remedy=f"Correct {file}, the environment (BENREN_...) or the flags."
            if file
            else "Correct the environment (BENREN_...) or the flags.",
        ) from error
    except SettingsError as error:
        raise ConfigurationError(
            f"The environment is wrong: {error}.", remedy="Correct the BENREN_ variable it names."
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigurationError(f"The settings file {file} is larger than 1 MiB.")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The settings file {file} cannot be read: {error.strerror}.",
            remedy="Give the path of a readable TOML file.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The settings file {file} is not TOML: {error}.", remedy="Correct the line it names."
        ) from error


def _told(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    return f"{name}: {item['msg']}"
