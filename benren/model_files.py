"""What `benren models` does: tell, fetch and try model files, one line or JSON object per file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from benren.console import complain, emit, err
from benren.portraits import find_portraits
from verifier.errors import BenrenError
from verifier.models import insightface
from verifier.models.insightface_folder import read_folder
from verifier.models.installation import check_installation
from verifier.models.manifest import Measured, ModelFile
from verifier.models.packs import DEFAULT_PACK, default_licences
from verifier.models.pixels import Pixels
from verifier.models.prepare.build import Upstream, prepare_file
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import Provider, Runtime
from verifier.models.store import Store
from verifier.models.weights import Weights

_COMMERCIAL: Final = {
    "yes": "commercial use allowed",
    "check": "check before commercial use",
    "no": "research only",
}


class ModelFiles:
    """The subcommands; each returns whether everything went well."""

    def __init__(self, *, as_json: bool, store: Store | None = None) -> None:
        """Print JSON Lines with `as_json`; look into `store`, by default that of this user."""
        self._as_json = as_json
        self._store = store if store is not None else Store.default()
        self._failed = False

    def tell(self, pack: str) -> bool:
        """Describe the files of `pack`, or of every pack and then those in none."""
        rows: list[dict[str, Any]] = []
        if pack.startswith(insightface.PREFIX):
            rows += self._folder_rows(pack)
        for name, files in self._chosen_packs(pack).items():
            rows += [self._row(name, file) for file in files]
        previous = None
        for row in rows:
            if row["pack"] != previous and not self._as_json:
                typer.echo(self._heading(row["pack"]))
            self._line(row, _described(row))
            previous = row["pack"]
        return True

    def pull(self, pack: str, *, accept_licence: bool, upstream: str | None) -> bool:
        """Fetch every file from the mirror or from upstream, and convert what has to be."""
        files = self._chosen(pack)
        if pack.startswith(insightface.PREFIX):
            with self._failures(pack):
                self._pull_folder(pack, accept_licence=accept_licence)
        self._fetch(files, upstream)
        return not self._failed

    def prepare(
        self, pack: str, *, upstream: str | None, provider: Provider, faces: Path | None
    ) -> bool:
        """Fetch what is missing, then rewrite every graph for `provider`, prove it and keep it."""
        check_installation()
        files = self._chosen(pack)
        self._fetch(files, upstream)
        if self._failed:
            return False
        graphs = PreparedGraphs.default(portraits=find_portraits(faces, self._store), anew=True)
        runtime = Runtime(provider, warm_up=False, graphs=graphs)
        self._each(
            pack, files, lambda weights, pixels: self._rewrite(weights, pixels, runtime, graphs)
        )
        return not self._failed

    def verify(self, pack: str, *, provider: Provider) -> bool:
        """Prove the digest of every file and run each network once."""
        check_installation()
        runtime = Runtime(provider, ladder=(1,))
        self._each(
            pack, self._chosen(pack), lambda weights, pixels: self._try(weights, pixels, runtime)
        )
        return not self._failed

    def _each(
        self, pack: str, files: Sequence[ModelFile], act: Callable[[Weights, Pixels], None]
    ) -> None:
        """Do something with every file of a pack; what is wrong with one stops no other."""
        if pack.startswith(insightface.PREFIX):
            with self._failures(pack):
                name = pack.removeprefix(insightface.PREFIX)
                content = insightface.load_folder(name, self._store, default_licences())
                act(content.detector, content.pixels)
                act(content.embedder, content.contract.pixels)
        for file in files:
            with self._failures(file.name):
                act(self._store.find(file.name), Pixels.of(file.input))

    def _fetch(self, files: Sequence[ModelFile], upstream: str | None) -> None:
        source = Upstream.chosen(upstream)
        for file in files:
            with self._failures(file.name), self._progress(file.name, None) as advance:
                one = prepare_file(self._store, file, source, progress=advance)
                self._done(file.name, "present" if one.made == "found" else one.made, one.path)

    def _rewrite(
        self, weights: Weights, pixels: Pixels, runtime: Runtime, graphs: PreparedGraphs
    ) -> None:
        before = len(graphs.proofs)
        runtime.load(weights, pixels)
        made = graphs.proofs[before:]
        for proof in made:
            record = {
                "file": weights.name,
                "status": "proven",
                "provider": proof.provider,
                "deviation": proof.deviation,
                "tolerance": proof.tolerance,
                "on": proof.on,
            }
            self._line(record, f"{weights.name}: rewritten for {proof.provider}, {proof.told()}")
        if not made:
            self._line(
                {"file": weights.name, "status": "unchanged", "provider": runtime.provider},
                f"{weights.name}: runs as it is on {runtime.provider}",
            )

    def _try(self, weights: Weights, pixels: Pixels, runtime: Runtime) -> None:
        network = runtime.load(weights, pixels)
        if network.open_sizes:  # a detector: not run by the loading
            network.warm_up()
        self._line(
            {
                "file": weights.name,
                "status": "works",
                "path": str(weights.path),
                "sha256": weights.sha256,
                "provider": network.provider,
            },
            f"{weights.name}: works on {network.provider}, {weights.sha256[:12]}, {weights.path}",
        )

    def _pull_folder(self, pack: str, *, accept_licence: bool) -> None:
        content, accepted = insightface.pull_folder(
            pack.removeprefix(insightface.PREFIX),
            self._store,
            default_licences(),
            accept_licence=accept_licence,
        )
        self._line(
            {
                "file": pack,
                "status": "accepted",
                "path": str(content.folder),
                "terms": accepted.terms,
                "accepted_by": accepted.accepted_by,
                "accepted_at": accepted.accepted_at.isoformat(),
                "files": content.digests,
            },
            f"{pack}: {', '.join(content.digests)} in {content.folder}; accepted by"
            f" {accepted.accepted_by} on {accepted.accepted_at:%Y-%m-%d}: {accepted.terms}",
        )

    def _chosen(self, pack: str) -> tuple[ModelFile, ...]:
        """List the files of a pack, or the one file of that name; anything else is wrong usage.

        An InsightFace pack borrows the liveness and mesh files of the default pack.
        """
        manifest = self._store.manifest
        if pack.startswith(insightface.PREFIX):
            files = manifest.members(DEFAULT_PACK)
            return tuple(file for file in files if file.role not in {"detector", "embedder"})
        if pack in manifest.packs:
            return manifest.members(pack)
        if pack in manifest.files:
            return (manifest.file(pack),)
        raise typer.BadParameter(
            f"There is no pack or file {pack!r}. Packs: {', '.join(manifest.packs)},"
            f" insightface:<name or folder>. Files: {', '.join(manifest.files)}."
        )

    def _chosen_packs(self, pack: str) -> dict[str, tuple[ModelFile, ...]]:
        """Map the wanted packs to their files; files of no pack come last under no name."""
        manifest = self._store.manifest
        if pack:
            return {"" if pack in manifest.files else pack: self._chosen(pack)}
        packs = {name: manifest.members(name) for name in manifest.packs}
        packed = {file.name for files in packs.values() for file in files}
        rest = (file for file in manifest.files.values() if file.name not in packed)
        return {**packs, "": tuple(rest)}

    def _row(self, pack: str, file: ModelFile) -> dict[str, Any]:
        path = self._store.locate(file.name)
        measured = file.measured
        return {
            "pack": pack or None,
            "file": file.name,
            "role": file.role,
            "licence": file.licence,
            "commercial": file.commercial,
            "terms": file.terms,
            "size": file.size,
            "sha256": file.sha256,
            "path": None if path is None else str(path),
            "pullable": self._store.can_fetch(file.name),
            "measured": measured and measured.model_dump(exclude_none=True, mode="json"),
        }

    def _folder_rows(self, pack: str) -> list[dict[str, Any]]:
        """Describe the two files that an InsightFace folder brings."""
        folder = insightface.require_folder(pack.removeprefix(insightface.PREFIX), self._store)
        content = read_folder(folder, self._store.manifest)
        terms = insightface.terms_of(folder)
        return [
            {
                "pack": pack,
                "file": weights.name,
                "role": role,
                "licence": "InsightFace model terms",
                "commercial": "no" if terms == insightface.TERMS else "check",
                "terms": terms,
                "size": len(weights.content),
                "sha256": weights.sha256,
                "path": str(weights.path),
                "pullable": False,
                "measured": None,
            }
            for role, weights in (("detector", content.detector), ("embedder", content.embedder))
        ]

    def _heading(self, pack: str | None) -> str:
        if pack is None:
            return "(in no pack)"
        entry = self._store.manifest.packs.get(pack)
        return f"{pack}: {insightface.TERMS if entry is None else entry.summary}"

    def _done(self, name: str, status: str, path: object) -> None:
        self._line({"file": name, "status": status, "path": str(path)}, f"{name}: {status}, {path}")

    def _line(self, record: dict[str, Any], text: str) -> None:
        if self._as_json:
            emit(record)
        else:
            typer.echo(text)

    @contextmanager
    def _failures(self, file: str) -> Iterator[None]:
        """Tell what is wrong with one file and go on with the next."""
        try:
            yield
        except BenrenError as error:
            self._failed = True
            complain(error, as_json=self._as_json, about=file)
            if self._as_json:
                emit({"file": file, "status": error.code})

    @contextmanager
    def _progress(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar on standard error once bytes arrive."""
        console = err()
        columns = TextColumn("{task.description}"), BarColumn()
        bar = Progress(
            *columns,
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            disable=self._as_json or not console.is_terminal,
            transient=True,
        )
        task = bar.add_task(name, total=size)

        def advance(done: int) -> None:
            bar.start()
            bar.update(task, completed=done)

        try:
            yield advance
        finally:
            bar.stop()


def _described(row: dict[str, Any]) -> str:
    """Say in short lines what a file is, what it may be used for, and where it lies."""
    facts = [row["role"], f"{row['size'] / 1e6:.1f} MB"]
    if row["measured"] is not None:
        facts += _measurements(Measured.model_validate(row["measured"]))
    where = row["path"] or ("not here; it can be pulled" if row["pullable"] else "missing")
    licence = f"{row['licence']}, {_COMMERCIAL[row['commercial']]}"
    return f"  {row['file']}\n    {', '.join(facts)}\n    {licence}\n    {where}"


def _measurements(measured: Measured) -> list[str]:
    found = [] if measured.ms is None else [f"{measured.ms:g} ms"]
    found += [f"FNMR {point.fnmr:.1%} at FMR {point.fmr:g}" for point in measured.operating_points]
    if measured.apcer_worst is not None and measured.bpcer is not None:
        found.append(f"APCER {measured.apcer_worst:.1%} at BPCER {measured.bpcer:.0%}")
    return found
