"""The engine of this process, and photographs from files through it, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.errors import BenrenError, ImageTooLarge, ImageUnreadable

if TYPE_CHECKING:
    from benren.config import Config
    from verifier.pipeline.engine import Engine
    from verifier.pipeline.intake import Limits
    from verifier.types import Evidence, Frame, Vector

BATCH = 8
"""Photographs of one batch: beyond that a CPU loses (DESIGN, facts measured)."""


def load_engine(config: Config) -> Engine:
    """Give the engine of `load_inference`."""
    return load_inference(config)[0]


def load_inference(config: Config) -> tuple[Engine, str]:
    """Check the installation, prove and load the pack, read the thresholds.

    Gives the engine and the name of the execution provider that runs it.

    Raises InstallationError, ModelError and ConfigurationError, each with its remedy.
    """
    from verifier.models.installation import check_installation  # noqa: PLC0415 - heavy

    check_installation()
    from verifier.models.packs import load_pack  # noqa: PLC0415
    from verifier.models.runtime import Runtime  # noqa: PLC0415
    from verifier.models.store import Store  # noqa: PLC0415
    from verifier.pipeline.engine import Engine  # noqa: PLC0415
    from verifier.pipeline.profile import load_profile  # noqa: PLC0415
    from verifier.pipeline.savings import Savings  # noqa: PLC0415

    runtime = Runtime(
        config.provider,
        threads=config.threads,
        memory_limit_mb=config.gpu_memory_mb or None,
        lanes=config.batching.lanes,
    )
    profile = load_profile(config.profile or None)
    savings = Savings(**config.savings.model_dump())
    pack = load_pack(config.pack, Store.default(), runtime)
    return Engine(pack, profile, savings), runtime.provider


def image_limits(config: Config) -> Limits:
    """Give the limits of the settings to the intake."""
    from verifier.pipeline.intake import Limits  # noqa: PLC0415

    return Limits(
        max_bytes=config.limits.max_image_bytes, max_pixels=config.limits.max_image_pixels
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A photograph and what the engine says of it, or why it says nothing."""

    path: Path
    evidence: Evidence | None
    error: BenrenError | None


def read_frame(path: Path, limits: Limits) -> Frame:
    """Decode a photograph from a file. Raises ImageError, also where there is no file."""
    from verifier.pipeline.intake import decode  # noqa: PLC0415

    try:
        with path.open("rb") as stream:
            data = stream.read(limits.max_bytes + 1)
    except OSError as error:
        raise ImageUnreadable(
            f"{path} cannot be read: {error.strerror}.", remedy="Give the path of a picture."
        ) from error
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"{path} has more than {limits.max_bytes} bytes.", remedy="Scale the picture down."
        )
    return decode(data, limits)


def assess_files(
    engine: Engine,
    paths: Sequence[Path],
    limits: Limits,
    *,
    reference: Vector | None = None,
    embed: bool = True,
    workers: int | None = None,
) -> Iterator[Judged]:
    """Assess photographs in order, `BATCH` at a time on as many threads as there are processors.

    An unreadable file gets its error; the others go on. At most a few batches are held.
    """
    from verifier.models.processors import available_processors  # noqa: PLC0415

    threads = workers or available_processors()
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]

    def assess(batch: Sequence[Path]) -> list[Judged]:
        return _assess_batch(engine, batch, limits, reference, embed=embed)

    with ThreadPoolExecutor(threads, thread_name_prefix="photographs") as pool:
        ahead = 2 * threads
        running = [pool.submit(assess, batch) for batch in batches[:ahead]]
        for number in range(len(batches)):
            yield from running[number].result()
            if number + ahead < len(batches):
                running.append(pool.submit(assess, batches[number + ahead]))


def _assess_batch(
    engine: Engine, paths: Sequence[Path], limits: Limits, reference: Vector | None, *, embed: bool
) -> list[Judged]:
    frames: list[Frame] = []
    errors: dict[int, BenrenError] = {}
    for number, path in enumerate(paths):
        try:
            frames.append(read_frame(path, limits))
        except BenrenError as error:
            errors[number] = error
    evidence = iter(
        engine.assess(frames, references=[reference] * len(frames), embed=embed) if frames else ()
    )
    return [
        Judged(path=path, evidence=None, error=errors[number])
        if number in errors
        else Judged(path=path, evidence=next(evidence), error=None)
        for number, path in enumerate(paths)
    ]
