"""`benren tune DATASET -o PROFILE`: thresholds for your own population, with their evidence."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from benren.console import emit, err, out
from verifier.errors import BadRequest, Conflict
from verifier.models.backend import Provider

if TYPE_CHECKING:
    from benchmarks.observe import Stage
    from benchmarks.tune import Candidate, Options, Tuning
    from verifier.pipeline.profile import ThresholdProfile

app = typer.Typer()

VERSION: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")
"""What a profile may be called; as in `verifier.pipeline.profile`."""
MAX_SHOWN: Final = 20
"""Pictures that were left out and are named on the terminal; --suspects names all."""
DEFAULT_BPCER: Final = 0.05
MAX_COMMAND: Final = 2_000
"""Characters of the command in a profile (`verifier.pipeline.provenance.Text`)."""


@app.command()
def tune(
    dataset: Annotated[
        Path, typer.Argument(help="Folder of the data set, or a TOML file that names sources.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Profile to write; its name is the version.")
    ],
    *,
    pack: Annotated[
        list[str] | None, typer.Option(help="Model pack; may be given several times.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="What the paths of a TOML file are relative to.")
    ] = None,
    target_fmr: Annotated[float, typer.Option(help="False match rate asked for.")] = 1e-4,
    target_bpcer: Annotated[
        float | None, typer.Option(help="Share of living people not called live. [default: 0.05]")
    ] = None,
    target_apcer: Annotated[
        float | None, typer.Option(help="Instead: share of the worst attack type called live.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Profile to start from: a name or a path.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="All numbers, as JSON, to write.")] = None,
    suspects: Annotated[
        Path | None,
        typer.Option(help="CSV to write: pictures left out, and pairs whose names may be wrong."),
    ] = None,
    note: Annotated[str, typer.Option(help="Words for the profile's evidence.")] = "",
    seed: Annotated[int, typer.Option(help="Decides who tunes and who is reported on.")] = 0,
    provider: Annotated[Provider, typer.Option(help="What runs the networks.")] = "cpu",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for what was measured of each picture.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep no vectors of faces on disk.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Recommend thresholds on one half of the persons, measure them on the other, write a profile.

    A false match rate that the data cannot carry is not claimed: the profile claims what they can.
    Vectors of faces are cached in the user's cache, readable by the user only.
    """
    from benchmarks.sources import load_dataset  # noqa: PLC0415 - heavy
    from benchmarks.tune import tune as run  # noqa: PLC0415
    from verifier.pipeline.profile import load_profile  # noqa: PLC0415

    outputs = Outputs(profile=output, report=report, evidence=evidence, suspects=suspects)
    outputs.check(force=force)
    packs = pack or ["open"]
    start = load_profile(base)
    command = command_of(
        dataset,
        output,
        {
            "--pack": [_named(one) for one in packs],
            "--root": root,
            "--target-fmr": target_fmr,
            "--target-bpcer": target_bpcer,
            "--target-apcer": target_apcer,
            # The default changes; what it was does not.
            "--base": _named(base or start.version),
            "--report": report,
            "--evidence": evidence,
            "--suspects": suspects,
            "--note": note or None,
            "--seed": seed,
            "--provider": provider,
        },
    )
    options = _options(
        version=_version(output),
        base=start,
        command=command,
        target_fmr=target_fmr,
        target_bpcer=target_bpcer,
        target_apcer=target_apcer,
        seed=seed,
        note=note,
        cache_folder=None if no_cache else cache or default_cache(),
    )
    read = load_dataset(dataset, root=root)
    candidates = open_candidates(packs, options.base, provider)
    with _progress() as stage:
        tuning = run(read, candidates, options, stage=stage)
    numbers = _write(tuning, outputs)
    if json:
        emit(numbers)
    else:
        _tell(tuning, output)
    _tell_problems(tuning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Files to write; all but the profile only where asked for."""

    profile: Path
    report: Path | None
    evidence: Path | None
    suspects: Path | None

    def check(self, *, force: bool) -> None:
        """Refuse before the long work what could not be written after it.

        Raises BadRequest, and Conflict where a file is there already: a version of a profile that
        verdicts name must not change its numbers.
        """
        named = (self.profile, self.report, self.evidence, self.suspects)
        paths = [path for path in named if path is not None]
        if len({path.absolute() for path in paths}) < len(paths):
            raise BadRequest("Two outputs are the same file.", remedy="Name a file for each.")
        for path in paths:
            if not path.absolute().parent.is_dir():
                raise BadRequest(f"{path} cannot be written: there is no such folder.")
            if path.is_dir():
                raise BadRequest(f"{path} is a folder.", remedy="Name a file to write.")
            if path.exists() and not force:
                raise Conflict(
                    f"{path} is there already.",
                    remedy="Choose another name (a new version), or replace it by --force.",
                )


def default_cache() -> Path:
    """Name the folder in the user's cache."""
    from verifier.models.store import cache_folder  # noqa: PLC0415

    return cache_folder() / "tune"


def open_candidates(
    packs: Sequence[str], base: ThresholdProfile, provider: Provider
) -> list[Candidate]:
    """Load the packs. Raises InstallationError, ModelError and ConfigurationError."""
    from verifier.models.installation import check_installation  # noqa: PLC0415

    check_installation()
    from benchmarks.tune import Candidate  # noqa: PLC0415
    from verifier.models.packs import load_pack  # noqa: PLC0415
    from verifier.models.runtime import Runtime  # noqa: PLC0415
    from verifier.models.store import Store  # noqa: PLC0415
    from verifier.pipeline.engine import Engine  # noqa: PLC0415

    store = Store.default()
    # One thread per inference: `observe` runs as many batches as there are processors.
    runtime = Runtime(provider, threads=1)
    loaded = [load_pack(name, store, runtime) for name in dict.fromkeys(packs)]
    return [
        Candidate(pack=one.name, engine=Engine(one, with_embedder(base, one.embedder.name)))
        for one in loaded
    ]


def with_embedder(base: ThresholdProfile, name: str) -> ThresholdProfile:
    """Give a profile that an engine accepts for the network `name`, known or not.

    Tuning never asks the engine to decide, so the threshold that is put in decides nothing.
    """
    from verifier.pipeline.profile import EmbedderThresholds, OperatingPoint  # noqa: PLC0415

    if name in base.embedders:
        return base
    point = OperatingPoint(fmr=0.5, similarity=1.0, fnmr=1.0)
    unused = EmbedderThresholds(threshold=1.0, points=(point,))
    return base.model_copy(update={"embedders": {**base.embedders, name: unused}})


def _options(*, target_bpcer: float | None, target_apcer: float | None, **values: Any) -> Options:
    """Fill in what was not given. Raises BadRequest where the targets exclude each other."""
    from benchmarks.tune import Options  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415

    if target_bpcer is None and target_apcer is None:
        target_bpcer = DEFAULT_BPCER
    today = SystemClock().stamp().utc.date().isoformat()
    return Options(made_on=today, target_bpcer=target_bpcer, target_apcer=target_apcer, **values)


def _version(output: Path) -> str:
    """Take the version from the file's name. Raises BadRequest where it cannot be one."""
    if output.suffix != ".toml" or not VERSION.match(output.stem):
        raise BadRequest(
            f"{output.name} cannot name a profile: its version is the file's name.",
            remedy="Use small letters, digits, '.', '-' and '_', and end in .toml:"
            " branch-office-2026-11.toml",
        )
    return output.stem


def command_of(dataset: Path, output: Path, options: Mapping[str, object]) -> str:
    """Write the command so that it can be repeated elsewhere: names of files, never their paths.

    Of `options` those that were given: None was not. Left out are --force, --json and those of the
    cache, which change nothing of what is found. Raises BadRequest where it is too long for a
    profile.
    """
    words = ["benren", "tune", dataset.absolute().name, "-o", output.name]
    for option, given in options.items():
        for value in given if isinstance(given, list) else [given]:
            if value is not None:
                words += [option, _word(value)]
    command = shlex.join(words)
    if len(command) > MAX_COMMAND:
        raise BadRequest(
            f"The command has {len(command)} characters; a profile keeps {MAX_COMMAND} of it.",
            remedy="Use a shorter --note.",
        )
    return command


def _word(value: object) -> str:
    """Write one value; of a path its last part."""
    if isinstance(value, Path):
        return value.absolute().name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _named(given: str) -> str:
    """Write a pack or a profile: the name, or of a path its last part."""
    kind, colon, path = given.rpartition(":")
    return kind + colon + Path(path).name


@contextmanager
def _progress() -> Iterator[Stage]:
    """Show a bar on stderr for every stage; nothing where stderr is no terminal."""
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = err()
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:

        @contextmanager
        def stage(label: str, total: int) -> Iterator[Callable[[int], None]]:
            task = progress.add_task(label, total=max(total, 1))
            yield lambda units: progress.advance(task, units)
            progress.update(task, completed=max(total, 1))

        yield stage


def _write(tuning: Tuning, outputs: Outputs) -> dict[str, Any]:
    """Write all files; give the numbers as JSON."""
    from benchmarks.profile_file import profile_of, write_profile  # noqa: PLC0415
    from benchmarks.tune_report import as_json, write_report  # noqa: PLC0415

    profile = profile_of(tuning)
    numbers = as_json(tuning, profile)
    try:
        if outputs.report is not None:
            write_report(tuning, profile, outputs.report)
        if outputs.evidence is not None:
            text = dumps(numbers, ensure_ascii=False, separators=(",", ":"))
            outputs.evidence.write_text(text + "\n", encoding="utf-8")
        if outputs.suspects is not None:
            _write_suspects(tuning, outputs.suspects)
        # Last: where the profile is, its evidence is.
        write_profile(profile, outputs.profile)
    except OSError as error:
        raise BadRequest(f"{error.filename} cannot be written: {error.strerror}.") from error
    return numbers


def _write_suspects(tuning: Tuning, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("pack", "kind", "similarity", "picture", "other_picture_or_reason"))
        writer.writerows(("", "left out", "", one.place, one.why) for one in tuning.problems)
        for study in tuning.packs:
            for one in study.suspects:
                row = (study.pack, one.kind, f"{one.similarity:.3f}", one.first, one.second)
                writer.writerow(row)


def _tell(tuning: Tuning, output: Path) -> None:
    from benchmarks.profile_file import chosen, rate, said  # noqa: PLC0415

    console = out()

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    for study in tuning.packs:
        found = study.matching
        if found is None:
            continue
        at = found.at.report
        tell(f"{study.pack}: threshold {found.threshold:.3f}, {chosen(found)}.")
        tell(
            f"  on {found.report.size.persons} other persons: FMR {rate(at.fmr)},"
            f" FNMR {rate(at.fnmr)}, FTA {rate(study.acquisition[0].fta)}"
        )
        tell(f"  {said(found)}")
    if tuning.liveness is not None:
        tell(
            f"liveness: live from {tuning.liveness.live_from:.3f}, spoof below"
            f" {tuning.liveness.spoof_below:.3f}; {tuning.liveness.why}"
        )
    tell(f"wrote {output}: name it as 'profile' in the settings.")


def _tell_problems(tuning: Tuning) -> None:
    console = err()
    for one in tuning.problems[:MAX_SHOWN]:
        console.print(f"{one.place}: {one.why}", soft_wrap=True, markup=False)
    more = len(tuning.problems) - MAX_SHOWN
    if more > 0:
        console.print(f"and {more} more; --suspects FILE lists all of them.", markup=False)
