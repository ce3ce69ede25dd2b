"""From the name of a pack to networks that run: which class takes which file is known here only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from verifier.errors import ModelError
from verifier.models import insightface
from verifier.models.detector import Detector, Scrfd, YuNet
from verifier.models.embedder import CONTRACTS as EMBEDDER_CONTRACTS
from verifier.models.embedder import Embedder
from verifier.models.landmarks import FaceMesh
from verifier.models.licences import Licences
from verifier.models.liveness import CONTRACTS as LIVENESS_CONTRACTS
from verifier.models.liveness import LivenessNetwork
from verifier.models.pixels import Pixels
from verifier.models.store import cache_folder

if TYPE_CHECKING:
    from verifier.models.manifest import ModelFile, PackEntry
    from verifier.models.runtime import Network, Runtime
    from verifier.models.store import Store

DEFAULT_PACK: Final = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Everything that looks at faces, loaded; safe to share between threads."""

    name: str
    detector: Detector
    embedder: Embedder
    liveness: tuple[LivenessNetwork, ...]
    """Their scores are fused; never empty."""
    mesh: FaceMesh | None
    models: Mapping[str, str]
    """Role -> ``name@sha256``; roles are detector, embedder, liveness_1.., mesh, iris."""
    licences: Mapping[str, str]
    """Role -> the terms of its weights."""
    providers: Mapping[str, str]
    """Role -> what runs it, as its engine calls it (with ``auto`` not the same for all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """One network and the terms of its weights."""

    network: Network
    terms: str
    contract: str = ""


def load_pack(
    name: str, store: Store, runtime: Runtime, *, licences: Licences | None = None
) -> Pack:
    """Load the pack `name`: ``open``, ``edgeface`` or ``insightface:<name or folder>``.

    An InsightFace pack brings detector and embedder; liveness and mesh are those of ``open``.
    Raises `ModelMissing`, `ModelAltered`, `LicenceNotAccepted`, `ProviderUnavailable`,
    `InferenceFailed`, `ModelError`; each names the file and the remedy. Never downloads.
    """
    if name.startswith(insightface.PREFIX):
        return _load_insightface(name, store, runtime, licences or default_licences())
    entry = store.manifest.pack(name)
    loaded = _load_entry(entry, store, runtime)
    detector = _detector(loaded["detector"])
    contract = EMBEDDER_CONTRACTS[_known(loaded["embedder"], EMBEDDER_CONTRACTS)]
    return _assembled(name, detector, Embedder(loaded["embedder"].network, contract), loaded)


def default_licences() -> Licences:
    """Keep acceptances where this user's cache is."""
    return Licences(cache_folder() / "licences")


def _load_insightface(name: str, store: Store, runtime: Runtime, licences: Licences) -> Pack:
    folder_name = name.removeprefix(insightface.PREFIX)
    content = insightface.load_folder(folder_name, store, licences)
    terms = insightface.terms_of(content.folder)
    detector = runtime.load(content.detector, content.pixels)
    embedder = runtime.load(content.embedder, content.contract.pixels)
    loaded = {
        "detector": _Loaded(network=detector, terms=terms),
        "embedder": _Loaded(network=embedder, terms=terms),
    }
    others = _load_entry(store.manifest.pack(DEFAULT_PACK), store, runtime, only_rest=True)
    mean, divisor = content.scaling
    return _assembled(
        name,
        Scrfd(detector, sides=content.sides, mean=mean, divisor=divisor),
        Embedder(embedder, content.contract),
        loaded | others,
    )


def _load_entry(
    entry: PackEntry, store: Store, runtime: Runtime, *, only_rest: bool = False
) -> dict[str, _Loaded]:
    """Load the files of `entry` by role; with `only_rest` all but detector and embedder."""
    wanted = {} if only_rest else {"detector": entry.detector, "embedder": entry.embedder}
    wanted |= {f"liveness_{i}": name for i, name in enumerate(entry.liveness, start=1)}
    wanted |= {
        role: name
        for role, name in (("mesh", entry.mesh), ("iris", entry.iris))
        if name is not None
    }
    # All digests first: what is missing or altered is told before anything is warmed up.
    weights = {role: store.find(name) for role, name in wanted.items()}
    return {
        role: _Loaded(
            network=runtime.load(found, Pixels.of(store.manifest.file(found.name).input)),
            terms=_terms(store.manifest.file(found.name)),
            contract=store.manifest.file(found.name).contract,
        )
        for role, found in weights.items()
    }


def _assembled(
    name: str, detector: Detector, embedder: Embedder, loaded: Mapping[str, _Loaded]
) -> Pack:
    mesh, iris = loaded.get("mesh"), loaded.get("iris")
    return Pack(
        name=name,
        detector=detector,
        embedder=embedder,
        liveness=tuple(
            LivenessNetwork(one.network, LIVENESS_CONTRACTS[_known(one, LIVENESS_CONTRACTS)])
            for role, one in loaded.items()
            if role.startswith("liveness_")
        ),
        mesh=None
        if mesh is None
        else FaceMesh(mesh.network, None if iris is None else iris.network),
        models=MappingProxyType({role: one.network.id for role, one in loaded.items()}),
        licences=MappingProxyType({role: one.terms for role, one in loaded.items()}),
        providers=MappingProxyType({role: one.network.provider for role, one in loaded.items()}),
    )


def _detector(loaded: _Loaded) -> Detector:
    if _known(loaded, {"yunet": YuNet, "scrfd": Scrfd}) == "yunet":
        return YuNet(loaded.network)
    side = loaded.network.input_shape[2]
    return Scrfd(loaded.network, sides=None if side is None else (side,))


def _known(loaded: _Loaded, contracts: Mapping[str, object]) -> str:
    if loaded.contract not in contracts:
        raise ModelError(
            f"{loaded.network.name} has the contract {loaded.contract!r}, which does not exist.",
            remedy=f"Choose of {', '.join(contracts)} in the manifest.",
        )
    return loaded.contract


def _terms(file: ModelFile) -> str:
    return f"{file.licence}. {file.terms}"
