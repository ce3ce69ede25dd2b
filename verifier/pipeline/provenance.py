"""Where the numbers of a threshold profile come from: measured, claimed, and on what. No names.

`benren tune` writes these tables. Rates are fractions under their standard names (ISO/IEC 19795-1
and 30107-3); intervals hold with 95 %, by a bootstrap over persons. They are evidence for readers:
no decision is made by them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=2_000)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(_Table):
    """How a profile was made."""

    made_on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """UTC."""
    command: Text
    seed: int
    """It decides who is on which side of the split, and what the bootstrap draws."""
    dataset: Text
    dataset_sha256: Digest
    """Over the digests of all pictures and whose they are."""
    code: Text
    """State of the code that turned pictures into numbers."""
    provider: Text | None = None
    """What ran the networks, as its engine calls it; not told by profiles of before that."""
    based_on: Text
    """Version of the profile from which all that was not measured was taken."""


class MeasuredRate(_Table):
    """An error rate and what it stands on."""

    measured: Share
    low: Share
    high: Share
    """The 95 % interval."""


class MatchingEvidence(_Table):
    """What was measured of an embedding network, on persons who had no say in the threshold."""

    model: Text
    detector: Text
    choice: Text
    """How the threshold came about: `located`, `kept` or `raised`."""
    target_fmr: Share
    tuning_persons: Count
    report_persons: Count
    genuine_pairs: Count
    impostor_pairs: Count
    """Pairs of pictures of the report side."""
    fmr: MeasuredRate
    fmr_claimed: Share
    """At most; never below three over the number of comparisons that share no person."""
    fnmr: MeasuredRate
    fta: Share
    """Share of pictures that could not be compared."""
    fte: Share
    """Share of persons without a picture fit to be a template."""


class LivenessEvidence(_Table):
    """What was measured of the liveness networks on single pictures."""

    models: Annotated[tuple[Text, ...], Field(min_length=1)]
    choice: Text
    """How the thresholds came about, in words."""
    bona_fide: Count
    attacks: Count
    """Pictures."""
    bpcer: MeasuredRate | None = None
    apcer: dict[str, MeasuredRate] = {}
    """By attack type."""
    worst_type: str = ""
    apcer_claimed: Share = 1.0
    """Of the worst type, at most."""
