"""What the product promised itself, against what a run measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.memory import SLOPE_KB
from benchmarks.peers import AUTO, BF16
from benchmarks.timing import Json

MB_OF_WORKER: Final = 600.0
KEPT_PP: Final = 0.5
"""Percentage points of FNMR that savings and rewritten graphs may cost, by the 95 % interval."""
UNMEASURED: Final = "not measured"
NOT_RUN: Final = "not run"
"""Of what another command or another machine measures: it is said, where others are left out."""
NOT_ESTABLISHED: Final = "not established"
"""What binds, where nothing that was measured tells; and of a target whose limit lies within the
error of what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row."""

    what: str
    wanted: str
    measured: str
    met: bool | None
    """None where there is nothing to meet, where it was not measured, and where the error of what
    was measured leaves it open."""
    open: bool = False
    """Whether that error does."""
    binds: str = ""
    """What keeps it from being better, where it was missed and what was measured tells."""

    @property
    def state(self) -> str:
        """Give met, missed, not established, stated, not measured or not run."""
        for without in (UNMEASURED, NOT_RUN):
            if self.measured.startswith(without):
                return without
        if self.open:
            return NOT_ESTABLISHED
        return "stated" if self.met is None else "met" if self.met else "missed"


def targets(sections: Mapping[str, Json]) -> list[Json]:
    """Hold every target against the run's sections."""
    rows = [*_peers(sections), *_roofline(sections), *_scaling(sections), *_service(sections)]
    rows += [*_kept(sections), *_memory(sections), *_gpu(sections), *_agreement(sections)]
    return [_to_json(row) for row in rows]


def _to_json(row: Target) -> Json:
    told = asdict(row) | {"state": row.state}
    if row.state == "missed" and not row.binds:
        told["binds"] = NOT_ESTABLISHED
    return told


def within(low: float, high: float, limit: float) -> bool | None:
    """Tell whether a value keeps to `limit`; None where the limit lies within its interval."""
    if low <= limit < high:
        return None
    return high <= limit


def values_of(section: Json | None) -> dict[str, float]:
    """Give the values of a section's metrics by name; empty where it did not run."""
    return {metric["name"]: metric["value"] for metric in section["metrics"]} if section else {}


def _unmeasured(what: str, wanted: str) -> Target:
    return Target(what=what, wanted=wanted, measured=UNMEASURED, met=None)


def _peers(sections: Mapping[str, Json]) -> list[Target]:
    values = values_of(sections.get("peers"))
    rows = []
    for ours, peer, words, least in (
        ("edgeface", "insightface", "insightface's FaceAnalysis with the same embedder", 4.0),
        ("open", "opencv", "OpenCV's FaceDetectorYN + cv2.dnn with the same embedder", 4.0),
        ("open", "insightface", "insightface's FaceAnalysis, with the default pack", None),
    ):
        what = f"whole check, VGA JPEG, one core, over {words}"
        wanted = f"≥ {least:g} ×" if least else "state it"
        found = {
            mode: values[name]
            for mode in ("", f".{AUTO}", f".{BF16}")
            if (name := f"speedup.{ours}{mode}_over_{peer}") in values
        }
        if not found:
            rows.append(_unmeasured(what, wanted))
            continue
        # The provider of the run is judged; the best of several would flatter itself.
        judged = next(iter(found))
        provider = sections["peers"]["detail"]["provider"]
        theirs = values[f"check.{peer}.wall_ms"]
        met = None if least is None else found[judged] >= least
        rows.append(
            Target(
                what=what,
                wanted=wanted,
                measured=_told_speedup(values, ours, judged, peer, found, provider=provider),
                met=met,
                binds=_what_binds(sections, ours, theirs / least) if least and not met else "",
            )
        )
    return rows


def _told_speedup(
    values: Mapping[str, float],
    ours: str,
    judged: str,
    peer: str,
    found: Mapping[str, float],
    *,
    provider: str,
) -> str:
    """Tell the ratio of the provider that is judged, and beside it those of others and batches."""
    single, theirs = values[f"check.{ours}{judged}.wall_ms"], values[f"check.{peer}.wall_ms"]
    told = [f"{single:.1f} against {theirs:.1f} ms"]
    together = values.get(f"speedup.{ours}{judged}.batch8_over_{peer}")
    if together is not None:
        told.append(f"{together:.2f} × in batches of 8")
    told += [
        f"{ratio:.2f} × with {mode.removeprefix('.')}"
        for mode, ratio in found.items()
        if mode != judged
    ]
    return f"{found[judged]:.2f} × with {judged.removeprefix('.') or provider} ({'; '.join(told)})"


def _what_binds(sections: Mapping[str, Json], pack: str, needed_ms: float) -> str:
    words = f"{needed_ms:.1f} ms would be needed"
    roofline = sections.get("roofline")
    if roofline is None or pack not in roofline["detail"]["packs"]:
        return f"{words}; what binds is {NOT_ESTABLISHED}"
    detail = roofline["detail"]["packs"][pack]
    return (
        f"{words}; the networks alone take {detail['networks_ms']:.1f} of"
        f" {detail['whole_ms']:.1f} ms, at the core's peak it would be {detail['floor_ms']:.1f} ms"
    )


def _roofline(sections: Mapping[str, Json]) -> list[Target]:
    values = values_of(sections.get("roofline"))
    share, saved = "share of the core's measured fp32 peak", "FLOPs saved at a learner's rates"
    if not values:
        return [_unmeasured(share, "state it"), _unmeasured(saved, "state it")]
    networks = sections["roofline"]["detail"]["networks"]
    slowest = networks[0] if networks else None
    binds = (
        f"{slowest['network']} takes the most time, at {slowest['share_of_peak']:.0%} of the peak"
        if slowest
        else ""
    )
    return [
        Target(
            what=share,
            wanted="state it",
            measured=f"{values['roofline.networks_share']:.0%} within the networks,"
            f" {values['roofline.check_share']:.0%} of a whole check, of"
            f" {values['roofline.peak_gflops']:.0f} GFLOP/s",
            met=None,
            binds=binds,
        ),
        Target(
            what=saved,
            wanted="state it",
            measured=f"{values['roofline.saved_by_small_looks']:.0%} by small looks, which are not"
            f" exact, {values['roofline.saved_by_skipping']:.0%} by what is known of the sample"
            " before",
            met=None,
        ),
    ]


TWO_WORKERS: Final = 1.85


def _scaling(sections: Mapping[str, Json]) -> list[Target]:
    values = values_of(sections.get("throughput"))
    what, wanted = "two workers on two cores over one", "≥ 1.85 ×"
    single = values.get("scaling.threads.batch1")
    if single is None:
        return [_unmeasured(what, wanted)]
    others = ", ".join(
        f"{words} {values[name]:.2f}"
        for name, words in (
            ("scaling.threads.batch8", "threads in batches of 8"),
            ("scaling.processes.batch1", "processes"),
        )
        if name in values
    )
    return [
        Target(
            what=what,
            wanted=wanted,
            measured=f"{single:.2f} × (threads; {others})",
            met=single >= TWO_WORKERS,
            binds="" if single >= TWO_WORKERS else _scaling_binds(values),
        )
    ]


def _scaling_binds(values: Mapping[str, float]) -> str:
    """Say what two threads lack, by what two processes on the same cores reach."""
    processes = values.get("scaling.processes.batch1")
    if processes is None:
        return NOT_ESTABLISHED
    if processes >= TWO_WORKERS:
        return (
            f"what threads share and processes do not, as the interpreter's lock: processes reach"
            f" {processes:.2f} ×"
        )
    return (
        f"what two cores share, or whatever else ran: processes, which share no interpreter, reach"
        f" {processes:.2f} × only"
    )


def _service(sections: Mapping[str, Json]) -> list[Target]:
    values = values_of(sections.get("service"))
    rows = (
        ("HTTP service over bare engine, 32 clients", "≥ 85 %"),
        ("99th percentile over the median, 32 clients", "≤ 4 ×"),
    )
    if not values:
        return [_unmeasured(*row) for row in rows]
    detail = sections["service"]["detail"]
    share, tail = values["service.over_bare"], values["service.p99_over_p50"]
    return [
        Target(
            what=rows[0][0],
            wanted=rows[0][1],
            measured=f"{share:.0%} (the load generator had"
            f" {detail['generator_share']:.1%} of the processors)",
            met=share >= 0.85,
            binds="" if share >= 0.85 else _service_binds(detail),
        ),
        Target(
            what=rows[1][0],
            wanted=rows[1][1],
            measured=f"{tail:.2f} × ({detail['latency_ms']['p99']:.0f} over"
            f" {detail['latency_ms']['p50']:.0f} ms)",
            met=tail <= 4,
        ),
    ]


def _service_binds(detail: Json) -> str:
    """Say what the service lacks, by what the generator takes and by processor time."""
    without = detail.get("over_bare_without_generator")
    if without is not None and without >= 0.85:
        return f"the load generator on the same processors: without its share {without:.0%}"
    if not detail.get("service_cores") or not detail.get("bare"):
        return NOT_ESTABLISHED
    bare = max(detail["bare"], key=lambda row: float(row["per_s"]))
    bare_ms = 1_000 * bare["workers"] / bare["per_s"]
    ours_ms = 1_000 * detail["service_cores"] / detail["per_s"]
    if ours_ms <= bare_ms:
        return (
            f"not processor time ({ours_ms:.1f} ms for a verification, {bare_ms:.1f} ms for a bare"
            " check): the service was waiting"
        )
    return (
        f"processor time: {ours_ms:.1f} ms for a verification, {bare_ms:.1f} ms for a bare check in"
        f" batches of {bare['batch']}"
    )


def _kept(sections: Mapping[str, Json]) -> list[Target]:
    """Judge what `benchmarks.kept` found, where its result was handed in."""
    what = "accuracy kept, against full-resolution detection and original graphs"
    wanted = f"95 % interval of the FNMR's difference ≤ +{KEPT_PP:g} points"
    section = sections.get("kept")
    if section is None:
        command = "python -m benchmarks.kept --faces DIR > FILE; benren bench --kept FILE"
        return [Target(what=what, wanted=wanted, measured=f"{NOT_RUN}: {command}", met=None)]
    found = section["detail"]
    low, high = found["interval_pp"]
    ours, full = found["fnmr"]
    met = within(low, high, KEPT_PP)
    alone, needed = found["failed_alone"], found["needed_persons"]
    return [
        Target(
            what=what,
            wanted=wanted,
            measured=f"{found['difference_pp']:+.2f} points ({low:+.2f} to {high:+.2f}; FNMR"
            f" {ours:.2%} against {full:.2%}, {found['persons']} persons, {found['worse']} of them"
            f" worse; photographs lost {alone[0]} against {alone[1]}; pack {found['pack']} on"
            f" {found['provider']})",
            met=met,
            open=met is None,
            binds=f"persons: {needed} would be needed for ± {KEPT_PP:g} points"
            if met is None
            else "",
        )
    ]


def _memory(sections: Mapping[str, Json]) -> list[Target]:
    """Judge the long run, where its result was handed in, else what the run itself measured."""
    section = sections.get("long_memory") or sections.get("memory")
    wanted = f"≤ {MB_OF_WORKER:.0f} MB, slope zero (≤ {SLOPE_KB:.0f} kB per 1 000)"
    if section is None:
        return [_unmeasured("memory of a worker", wanted)]
    detail = section["detail"]
    slope, error = detail["slope_kb_per_1000"], detail["slope_error_kb_per_1000"]
    level = within(slope - 2 * error, slope + 2 * error, SLOPE_KB)
    large = detail["after_mb"] > MB_OF_WORKER
    binds = [f"it is {detail['after_mb']:.0f} MB"] if large else []
    if level is None:
        binds.append("checks: the limit of the slope lies within two standard errors")
    elif not level:
        binds.append(f"it grows by more than {SLOPE_KB:.0f} kB per 1 000")
    met = False if large or level is False else level
    return [
        Target(
            what=f"memory of a worker after {detail['checks']} checks, and its slope",
            wanted=wanted,
            measured=f"{detail['after_mb']:.0f} MB, slope {slope:+.1f} ± {error:.1f} kB per 1 000"
            f" checks; pack {detail['pack']}",
            met=met,
            open=met is None,
            binds="; ".join(binds),
        )
    ]


def _gpu(sections: Mapping[str, Json]) -> list[Target]:
    """Judge a run on CUDA; a run on a CPU says nothing of a GPU."""
    rows = (
        ("CUDA: whole checks from decoded VGA frames", "≥ 8 000 / s"),
        ("CUDA: 99th percentile at half load", "≤ 20 ms"),
    )
    half = sections.get("half_load")
    if half is None or half["detail"]["provider"] != "cuda":
        return [Target(what=w, wanted=t, measured=NOT_RUN, met=None) for w, t in rows]
    detail = half["detail"]
    most, p99 = detail["most_per_s"], detail["latency_ms"]["p99"]
    return [
        Target(
            what=rows[0][0],
            wanted=rows[0][1],
            # What serves is one process with one batcher: cells of worker processes do not count.
            measured=f"{most:,.0f} / s through the batcher ({detail['workers']} workers, batches of"
            f" up to {detail['max_batch']})",
            met=most >= 8_000,
        ),
        Target(
            what=rows[1][0],
            wanted=rows[1][1],
            measured=f"{p99:.1f} ms at {detail['offered_per_s']:,.0f} / s",
            met=p99 <= 20,
        ),
    ]


def _agreement(sections: Mapping[str, Json]) -> list[Target]:
    """Judge two providers' results against the stated tolerances."""
    wanted = "equal verdicts, values within tolerance"
    section = sections.get("agreement")
    of_cuda = Target(
        what="CUDA: results against the CPU's", wanted=wanted, measured=NOT_RUN, met=None
    )
    if section is None:
        return [of_cuda]
    detail = section["detail"]
    ours, other = detail["providers"]
    beyond = [one for one in detail["differences"] if not one["held"]]
    told = [
        f"{one['words']} {one['greatest']:.2g} of {one['most']:g} {one['unit']}".rstrip()
        for one in detail["differences"]
    ]
    row = Target(
        what=f"results of {ours} against those of {other}",
        wanted=wanted,
        measured=f"{detail['unequal']} of {detail['frames']} frames judged otherwise; at most"
        f" {', '.join(told)}",
        met=detail["equal"],
        binds=", ".join(one["words"] for one in beyond),
    )
    return [row] if {ours, other} == {"cuda", "cpu"} else [row, of_cuda]
