"""Tune: from a data set and packs to thresholds, with the evidence that they stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.acquisition import Acquisition, Item, acquisition, cleaned
from benchmarks.dataset import Dataset, Problem, Role, dataset_digest
from benchmarks.matching import Bootstrap, Choice, Matching, gallery_of, study_matching
from benchmarks.observe import observe
from benchmarks.presentation import ErrorRate, LivenessStudy, measure_iapar, study_liveness
from benchmarks.resampling import REPLICATES
from benchmarks.similarity import most_alike
from benchmarks.source_digest import code_version
from verifier.errors import BadRequest, ConfigurationError

if TYPE_CHECKING:
    from benchmarks.observe import Measured, Stage
    from verifier.pipeline.profile import ThresholdProfile

SUSPECTS: Final = 50
"""Pairs that are listed for the operator's eyes, of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    version: str
    """Of the profile that is made."""
    base: ThresholdProfile
    """From it comes all that is not measured."""
    command: str
    made_on: str
    """Date in UTC, YYYY-MM-DD."""
    target_fmr: float = 1e-4
    target_bpcer: float | None = 0.05
    target_apcer: float | None = None
    """Exactly one of the two."""
    seed: int = 0
    replicates: int = REPLICATES
    cache_folder: Path | None = None
    note: str = ""
    """Words of the operator, put into the profile's evidence."""

    def __post_init__(self) -> None:
        """Refuse targets that are no rates. Raises BadRequest."""
        if (self.target_bpcer is None) == (self.target_apcer is None):
            raise BadRequest("Give one target for liveness: --target-bpcer or --target-apcer.")
        for name, value, low in (
            ("--target-fmr", self.target_fmr, 1e-9),
            ("--target-bpcer", self.target_bpcer, 1e-6),
            ("--target-apcer", self.target_apcer, 1e-6),
        ):
            if value is not None and not low <= value <= 0.5:
                raise BadRequest(f"{name} is {value:g}; give a rate from {low:g} to 0.5.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pack that is tuned."""

    pack: str
    engine: Measured

    @property
    def embedder(self) -> str:
        """Name of its embedding network in profiles."""
        return self.engine.models["embedder"].partition("@")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Two pictures whose similarity does not fit their names: perhaps the names are wrong."""

    kind: str
    """`impostor` or `genuine`, by the names."""
    similarity: float
    first: str
    second: str
    """Places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackStudy:
    """Everything measured with one pack."""

    pack: str
    embedder: str
    models: Mapping[str, str]
    providers: Mapping[str, str]
    """Role -> what ran it."""
    acquisition: tuple[Acquisition, ...]
    matching: Matching | None
    """None where the data set has no identities."""
    iapar: Mapping[str, ErrorRate]
    """Attack type -> attacks accepted as their victim; empty where no victim is known."""
    suspects: tuple[Suspect, ...]
    """Never in a report: they name pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The result of a run."""

    options: Options
    dataset: str
    dataset_sha256: str
    code: str
    packs: tuple[PackStudy, ...]
    liveness: LivenessStudy | None
    """None where the data set has no presentations."""
    problems: tuple[Problem, ...]
    """Pictures that were left out; with their places, so never in a report."""
    pictures: int
    """Those that were kept, of all roles."""

    @property
    def provider(self) -> str:
        """What ran the networks: one name, or all of them where there were several."""
        return ", ".join(sorted({name for one in self.packs for name in one.providers.values()}))


@contextmanager
def silent(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show no progress."""
    yield lambda _units: None


def tune(
    dataset: Dataset,
    candidates: Sequence[Candidate],
    options: Options,
    *,
    stage: Stage = silent,
) -> Tuning:
    """Measure every candidate on the data set, and recommend. Raises DatasetUnusable."""
    _check_liveness_networks(candidates)
    bootstrap = Bootstrap(seed=options.seed, stage=stage, replicates=options.replicates)
    studies: list[PackStudy] = []
    liveness: LivenessStudy | None = None
    items: list[Item] = []
    problems: list[Problem] = []
    for candidate in candidates:
        seen = observe(
            candidate.engine, dataset.pictures, cache_folder=options.cache_folder, stage=stage
        )
        items, problems = cleaned(dataset, dataset.pictures, seen)
        if not studies:
            liveness = study_liveness(
                items,
                target_bpcer=options.target_bpcer,
                target_apcer=options.target_apcer,
                before=options.base.liveness,
                bootstrap=bootstrap,
            )
        studies.append(
            _study(candidate, dataset, items, liveness, options=options, bootstrap=bootstrap)
        )
    return Tuning(
        options=options,
        dataset=dataset.name,
        dataset_sha256=dataset_digest(
            ((item.picture, item.seen.digest) for item in items), dataset.pair_lists
        ),
        code=code_version(),
        packs=tuple(studies),
        liveness=liveness,
        problems=(*dataset.problems, *problems),
        pictures=len(items),
    )


def _study(
    candidate: Candidate,
    dataset: Dataset,
    items: Sequence[Item],
    liveness: LivenessStudy | None,
    *,
    options: Options,
    bootstrap: Bootstrap,
) -> PackStudy:
    matching = None
    if any(item.picture.role is Role.IDENTITY for item in items):
        matching = study_matching(
            items,
            dataset.pair_lists,
            target=options.target_fmr,
            before=options.base.embedders.get(candidate.embedder),
            bootstrap=bootstrap,
        )
    iapar: dict[str, ErrorRate] = {}
    if matching is not None and liveness is not None:
        iapar = measure_iapar(
            items,
            similarity_from=matching.threshold,
            live_from=liveness.live_from,
            # Raised is chosen by the tuning side as well.
            located=liveness.located or matching.choice is not Choice.KEPT,
            bootstrap=bootstrap,
        )
    return PackStudy(
        pack=candidate.pack,
        embedder=candidate.embedder,
        models=candidate.engine.models,
        providers=candidate.engine.providers,
        acquisition=tuple(acquisition(items)),
        matching=matching,
        iapar=iapar,
        suspects=tuple(_suspects(items)),
    )


def _suspects(items: Sequence[Item]) -> Iterator[Suspect]:
    compared = [one for one in items if one.comparable and one.picture.role is Role.IDENTITY]
    if not compared:
        return
    found = most_alike(gallery_of(compared), SUSPECTS)
    for kind, rows in (("impostor", found.impostor), ("genuine", found.genuine)):
        for similarity, first, second in rows:
            yield Suspect(
                kind=kind,
                similarity=similarity,
                first=compared[first].picture.place,
                second=compared[second].picture.place,
            )


def _check_liveness_networks(candidates: Sequence[Candidate]) -> None:
    """Refuse packs with different liveness networks: a profile has one pair of thresholds."""
    sets = {
        tuple(sorted(v for k, v in one.engine.models.items() if k.startswith("liveness")))
        for one in candidates
    }
    if len(sets) != 1:
        raise ConfigurationError(
            "The packs have different liveness networks; one profile cannot serve them together.",
            remedy="Tune them one by one, each into a profile of its own.",
        )
