"""The threshold profile: every number that decides, in one versioned file with its evidence."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from verifier.errors import ConfigurationError
from verifier.pipeline.provenance import LivenessEvidence, MatchingEvidence, Provenance

DEFAULT_PROFILE = "supplied-2026-11-30"
"""The profile that ships with the product and is used where none is named."""

Share = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(gt=-1, le=1)]
Degrees = Annotated[float, Field(gt=0, le=180)]
Positive = Annotated[float, Field(gt=0)]
Grey = Annotated[float, Field(ge=0, le=255)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


class OperatingPoint(_Table):
    """One measured point: at or above `similarity` the false match rate is at most `fmr`."""

    fmr: Annotated[float, Field(gt=0, lt=1)]
    similarity: Cosine
    fnmr: Share
    """False non-match rate measured there; where the data only bound it, the bound."""


class EmbedderThresholds(_Table):
    """Where an embedding network decides, and what is known of its errors."""

    threshold: Cosine
    """Cosine similarity at or above which two faces are the same person's."""
    points: Annotated[tuple[OperatingPoint, ...], Field(min_length=1)]
    """Rising in similarity, falling in FMR."""
    evidence: MatchingEvidence | None = None
    """What was measured; None where only words tell."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        pairs = list(zip(self.points, self.points[1:], strict=False))
        if not all(a.similarity < b.similarity and a.fmr > b.fmr for a, b in pairs):
            raise ValueError("points must rise in similarity and fall in fmr")
        if self.threshold < self.points[0].similarity:
            raise ValueError("threshold lies below every measured point: its FMR is unknown")
        return self

    def fmr_at(self, similarity: float) -> float:
        """Give the smallest false match rate that the data carry at `similarity`; 1 below all."""
        return min((p.fmr for p in self.points if p.similarity <= similarity), default=1.0)


class QualityLimits(_Table):
    """One level of quality. All values are native measures of :class:`verifier.types.Quality`."""

    min_sharpness: Positive
    min_illumination: Grey
    max_illumination: Grey
    min_uniformity: Share
    max_yaw_deg: Degrees
    max_pitch_deg: Degrees
    min_inter_eye_px: Positive
    min_visible: Share
    """Share of the detector's box that lies inside the picture."""
    min_side_margin: float
    """Distance of the outermost landmark from the left or right border, in face sizes."""
    min_end_margin: float
    """The same from the upper or lower border."""
    min_detector_score: Share
    min_eye_structure: Positive
    min_mouth_structure: Positive
    """Contrast of the eyes and of the mouth over the contrast of the face: covers are plain."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_illumination >= self.max_illumination:
            raise ValueError("min_illumination must lie below max_illumination")
        return self


class QualityLevels(_Table):
    """Three levels of the same measures."""

    probe: QualityLimits
    """Below it a frame is no evidence."""
    enrolment: QualityLimits
    """Below it a photograph is refused as a template."""
    ideal: QualityLimits
    """From here on the unified score is 1; at the probe's level it is 0."""
    bystander_share: Share
    """At enrolment, further faces smaller than this share of the largest are background."""


class LivenessThresholds(_Table):
    """How the fused score of the liveness networks reads."""

    live_from: Share
    """At or above: live."""
    spoof_below: Share
    """Below: a presentation attack. Between the two: undecided."""
    evidence: LivenessEvidence | None = None
    """What was measured; None where only words tell."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.spoof_below > self.live_from:
            raise ValueError("spoof_below must not lie above live_from")
        return self


class ThresholdProfile(_Table):
    """Thresholds and limits under one version, which every verdict names."""

    version: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    evidence: Annotated[str, Field(min_length=1)]
    """On what data the numbers stand, in words."""
    provenance: Provenance | None = None
    """How it was made; None where it was written by hand."""
    embedders: Annotated[dict[str, EmbedderThresholds], Field(min_length=1)]
    """By the name of the embedding network's file, without its suffix."""
    quality: QualityLevels
    liveness: LivenessThresholds

    def for_embedder(self, name: str) -> EmbedderThresholds:
        """Give the thresholds of an embedding network, or raise ConfigurationError."""
        found = self.embedders.get(name)
        if found is None:
            raise ConfigurationError(
                f"Profile {self.version} has no threshold for the embedder {name}; it knows"
                f" {', '.join(sorted(self.embedders))}.",
                remedy="Measure one on your own data with 'benren tune', and name that profile.",
            )
        return found


def load_profile(name_or_path: str | Path | None = None) -> ThresholdProfile:
    """Load a built-in profile by name, or any other by the path of its TOML file.

    None means the default. Raises :class:`verifier.errors.ConfigurationError`.
    """
    if name_or_path is None:
        return _built_in(DEFAULT_PROFILE)
    path = Path(name_or_path)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The threshold profile {path} cannot be read: {error}.",
                remedy="Name a TOML file, or a built-in profile.",
            ) from error
        return parse_profile(text, str(path))
    return _built_in(str(name_or_path))


def parse_profile(text: str, source: str) -> ThresholdProfile:
    """Read and check a profile; `source` is named in errors. Raises ConfigurationError."""
    try:
        return ThresholdProfile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"The threshold profile {source} is not TOML: {error}.", remedy="Correct the file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "profile"
        raise ConfigurationError(
            f"The threshold profile {source} is wrong at {where}: {first['msg']}.",
            remedy="Correct the file; verifier/pipeline/profile.py says what each value means.",
        ) from error


def built_in_profiles() -> tuple[str, ...]:
    """Name the profiles that ship with the product."""
    folder = resources.files("verifier.pipeline") / "profiles"
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def _built_in(name: str) -> ThresholdProfile:
    if name not in built_in_profiles():
        raise ConfigurationError(
            f"There is no built-in threshold profile {name!r}.",
            remedy=f"Built in: {', '.join(built_in_profiles())}; or give the path of a .toml file.",
        )
    file = resources.files("verifier.pipeline") / "profiles" / f"{name}.toml"
    profile = parse_profile(file.read_text(encoding="utf-8"), name)
    if profile.version != name:
        raise ConfigurationError(
            f"The built-in profile {name} calls itself {profile.version}.",
            remedy="Install the product again.",
        )
    return profile
