"""From a tuning to a threshold profile: the model, the words of its evidence, and the TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.dataset import DatasetUnusable
from benchmarks.matching import Choice
from benchmarks.metrics import RULE_OF_THREE, least_claim, round_up
from verifier.errors import ConfigurationError
from verifier.pipeline.profile import (
    EmbedderThresholds,
    LivenessThresholds,
    OperatingPoint,
    ThresholdProfile,
    parse_profile,
)
from verifier.pipeline.provenance import (
    LivenessEvidence,
    MatchingEvidence,
    MeasuredRate,
    Provenance,
)

if TYPE_CHECKING:
    from benchmarks.matching import Level, Matching
    from benchmarks.metrics import Interval
    from benchmarks.presentation import ErrorRate, LivenessStudy
    from benchmarks.tune import PackStudy, Tuning

DIGITS: Final = 4
"""Significant digits of measured rates in a profile: more of them say nothing."""
BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+$")
HEADER: Final = """\
# Made by `benren tune` (docs/tuning.md). What each value means: verifier/pipeline/profile.py.
"""


def profile_of(tuning: Tuning) -> ThresholdProfile:
    """Put what was measured into the profile that the run started from, under its own version."""
    base = tuning.options.base
    embedders = dict(base.embedders)
    for study in tuning.packs:
        if study.matching is not None:
            embedders[study.embedder] = _embedder(study, study.matching, base)
    liveness = base.liveness
    if tuning.liveness is not None:
        liveness = LivenessThresholds(
            live_from=tuning.liveness.live_from,
            spoof_below=tuning.liveness.spoof_below,
            evidence=_liveness_evidence(tuning, tuning.liveness),
        )
    return ThresholdProfile(
        version=tuning.options.version,
        evidence=" ".join(_words(tuning)).replace("\u00a0", " "),
        provenance=Provenance(
            made_on=tuning.options.made_on,
            command=tuning.options.command,
            seed=tuning.options.seed,
            dataset=tuning.dataset,
            dataset_sha256=tuning.dataset_sha256,
            code=tuning.code,
            provider=tuning.provider,
            based_on=base.version,
        ),
        embedders=embedders,
        quality=base.quality,
        liveness=liveness,
    )


def write_profile(profile: ThresholdProfile, path: Path) -> None:
    """Write a profile that `load_profile` reads back as the same."""
    text = to_toml(profile)
    if parse_profile(text, str(path)) != profile:
        raise ConfigurationError(f"The profile {profile.version} does not survive being written.")
    path.write_text(text, encoding="utf-8")


def _embedder(study: PackStudy, found: Matching, base: ThresholdProfile) -> EmbedderThresholds:
    """Take the new threshold with its own points; a threshold that was kept keeps its points."""
    evidence = _matching_evidence(study, found)
    if found.choice is Choice.LOCATED:
        points = _points([*found.levels, found.at])
        if not points:
            raise DatasetUnusable(
                f"{said(found)} A profile must not go without a claim.",
                remedy="Add persons, each with two pictures or more.",
            )
    else:
        points = base.embedders[study.embedder].points
    return EmbedderThresholds(threshold=found.threshold, points=points, evidence=evidence)


def _points(levels: Sequence[Level]) -> tuple[OperatingPoint, ...]:
    """Keep the lowest threshold of each claim: a higher one that claims no less adds nothing."""
    points: list[OperatingPoint] = []
    for level in sorted(levels, key=lambda one: one.report.threshold):
        claimed = level.claim.claimed
        if claimed >= 1 or (points and claimed >= points[-1].fmr):
            continue
        points.append(
            OperatingPoint(
                fmr=claimed, similarity=level.report.threshold, fnmr=_bounded_fnmr(level)
            )
        )
    return tuple(points)


def _bounded_fnmr(level: Level) -> float:
    """Give the FNMR measured; where no error was seen, what that many persons bound it by."""
    measured, interval = level.report.fnmr, level.report.fnmr_interval
    if not level.report.false_non_matches and interval is not None:
        measured = interval.high
    return _short(measured if measured is not None else 1.0)


def _matching_evidence(study: PackStudy, found: Matching) -> MatchingEvidence:
    acquired = study.acquisition[0]
    return MatchingEvidence(
        model=study.models["embedder"],
        detector=study.models["detector"],
        choice=found.choice.value,
        target_fmr=found.target,
        tuning_persons=found.tuning.size.persons,
        report_persons=found.report.size.persons,
        genuine_pairs=found.report.size.genuine,
        impostor_pairs=found.report.size.impostor,
        fmr=_measured(found.at.report.fmr, found.at.report.fmr_interval),
        fmr_claimed=found.at.claim.claimed,
        fnmr=_measured(found.at.report.fnmr, found.at.report.fnmr_interval),
        fta=_short(acquired.fta),
        fte=_short(acquired.fte),
    )


def _liveness_evidence(tuning: Tuning, found: LivenessStudy) -> LivenessEvidence:
    """Tell the report side where thresholds were tuned; where they were kept, all there is."""
    shown = found.report if found.located else found.everybody
    models = tuning.packs[0].models
    claimed = [one.claim.claimed for one in shown.apcer.values() if one.claim is not None]
    return LivenessEvidence(
        models=tuple(model for role, model in models.items() if role.startswith("liveness")),
        choice=found.why,
        bona_fide=shown.bpcer.presentations,
        attacks=sum(one.presentations for one in shown.apcer.values()),
        bpcer=_measured_error(shown.bpcer),
        apcer={
            kind: rate
            for kind, one in shown.apcer.items()
            if (rate := _measured_error(one)) is not None
        },
        worst_type=shown.worst or "",
        apcer_claimed=max(claimed, default=1.0),
    )


def _measured(rate: float | None, interval: Interval | None) -> MeasuredRate:
    """Without an interval nothing is known but what was seen."""
    if rate is None:
        return MeasuredRate(measured=0.0, low=0.0, high=1.0)
    if interval is None:
        return MeasuredRate(measured=_short(rate), low=0.0, high=1.0)
    return MeasuredRate(measured=_short(rate), low=_short(interval.low), high=_short(interval.high))


def _measured_error(one: ErrorRate) -> MeasuredRate | None:
    return None if one.rate is None else _measured(one.rate, one.interval)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# --- In words -----------------------------------------------------------------------------


def said(found: Matching) -> str:
    """Say what may be claimed of the FMR, and, where the target may not, why and what instead."""
    one = found.at.claim
    persons = found.report.size.persons
    if one.carries(found.target):
        return f"An FMR of at most {rate(one.claimed)} is claimed, as the target demands."
    if one.least >= 1:
        return (
            f"{persons} persons carry no claim about the FMR: nothing is claimed of"
            f" {rate(found.target)}."
        )
    if one.least > found.target:
        need = 2 * int(-(-RULE_OF_THREE // found.target))
        return (
            f"An FMR of {rate(found.target)} cannot be claimed: {persons} persons make"
            f" {one.independent} comparisons of which no two share a person, and these carry no"
            f" less than {rate(round_up(least_claim(one.independent)))} (rule of 3; the target"
            f" would need {need} persons). Claimed is at most {rate(one.claimed)}."
        )
    return (
        f"An FMR of {rate(found.target)} cannot be claimed: the 95 % interval of what was measured"
        f" reaches higher. Claimed is at most {rate(one.claimed)}."
    )


def chosen(found: Matching) -> str:
    """Say how the threshold came about."""
    persons = found.tuning.size.persons
    if found.choice is Choice.LOCATED:
        return (
            f"the lowest with an FMR of at most {rate(found.target)} among {persons} persons who"
            " are not among those reported on"
        )
    reason = (
        f"{persons} persons cannot show where an FMR of {rate(found.target)} is reached;"
        f" {found.needed_persons} can"
    )
    if found.choice is Choice.KEPT:
        return f"kept from the profile before: {reason}"
    return f"raised: the one before exceeds the target already, though {reason}"


def rate(value: float | None) -> str:
    """Write a rate for people: 0.00086 -> 0.086 %, 0.000001 -> 1e-06; no value -> an en dash."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    # The space does not break: a lone per cent sign at a line's start reads badly.
    return f"{value * 100:.3g}\u00a0%" if value >= 1e-5 else f"{value:.2g}"


def _words(tuning: Tuning) -> Iterator[str]:
    options = tuning.options
    yield (
        f"Tuned on {tuning.dataset} ({tuning.pictures} pictures); persons on whom thresholds were"
        " chosen and persons on whom rates are reported are disjoint."
    )
    for study in tuning.packs:
        if study.matching is None:
            continue
        found = study.matching
        at = found.at.report
        yield (
            f"{study.embedder}: threshold {found.threshold:.3f}, {chosen(found)}. On"
            f" {found.report.size.persons} other persons: FMR {rate(at.fmr)}"
            f"{_between(at.fmr_interval)}, FNMR {rate(at.fnmr)}{_between(at.fnmr_interval)}."
            f" {said(found)} Set by set, FNMR and FMR there: {_sets(found)}."
        )
    if tuning.liveness is None:
        yield f"Liveness thresholds: those of {options.base.version}."
    else:
        yield f"Liveness: {tuning.liveness.why}."
    yield f"Quality limits, and networks not named here: as in {options.base.version}."
    if options.note:
        yield options.note


def _sets(found: Matching) -> str:
    return "; ".join(
        f"{one.name} ({one.size.persons} persons) {rate(one.rates.fnmr)} and {rate(one.rates.fmr)}"
        for one in found.sets
    )


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f" ({rate(interval.low)} to {rate(interval.high)})"


# --- TOML ---------------------------------------------------------------------------------


def to_toml(profile: ThresholdProfile) -> str:
    """Write a profile as TOML: tables for its parts, one line for each operating point."""
    data = profile.model_dump(mode="json", exclude_none=True)
    return HEADER + "\n".join(_table(data, ())).strip() + "\n"


def _table(data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Write plain values first, then the tables within: TOML knows no way back to a table."""
    plain = {key: value for key, value in data.items() if not isinstance(value, dict)}
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    if path and (plain or not inner):
        yield f"\n[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _table(value, (*path, key))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if not isinstance(value, list):
        raise TypeError(f"a profile holds no {type(value).__name__}")
    if all(isinstance(one, dict) for one in value):
        return "[\n" + "".join(f"  {_value(one)},\n" for one in value) + "]"
    return "[" + ", ".join(_value(one) for one in value) + "]"


def _string(text: str) -> str:
    """Write a basic string: JSON's escapes are TOML's, but for the one control character 0x7f."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if BARE_KEY.match(key) else _string(key)
