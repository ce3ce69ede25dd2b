"""`benren models list|pull|verify`: which weights there are, where they lie, and if they work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from verifier.errors import BenrenError
from verifier.models import insightface
from verifier.models.insightface_folder import read_folder
from verifier.models.installation import check_installation
from verifier.models.manifest import Measured, ModelFile
from verifier.models.packs import DEFAULT_PACK, default_licences
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.models.weights import Weights

app = typer.Typer(help="Which weights there are, where they lie, and if they work.")

PackArgument = Annotated[
    str,
    typer.Argument(
        metavar="[PACK]",
        help="A pack (open, edgeface, insightface:<name or folder>) or one file of the manifest.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]

_COMMERCIAL: Final = {
    "yes": "commercial use allowed",
    "check": "check before commercial use",
    "no": "research only",
}


@app.command("list")
def list_models(
    pack: Annotated[str, typer.Argument(metavar="[PACK]", help="Only this pack.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show packs with their files, licences, measured error rates and milliseconds."""
    out = _Report(as_json)
    with out.failures():
        store = Store.default()
        rows = _folder_rows(store, pack) if pack.startswith(insightface.PREFIX) else []
        rows += [
            _file_row(store, name, file)
            for name, files in _chosen_packs(store, pack).items()
            for file in files
        ]
    previous = None
    for row in rows:
        if row["pack"] != previous and not as_json:
            print(_heading(store, row["pack"]))
        out.line(row, _described(row))
        previous = row["pack"]


@app.command()
def pull(
    pack: PackArgument = DEFAULT_PACK,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Accept the terms of InsightFace's weights, once."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download what is missing of a pack; every file is proven by its digest."""
    out = _Report(as_json)
    with out.failures():
        store = Store.default()
    if pack.startswith(insightface.PREFIX):
        with out.failures(file=pack):
            _pull_insightface(pack, store, accept_licence=accept_licence, out=out)
    for file in _chosen(store, pack):
        with out.failures(file=file.name), _progress(file, shown=not as_json) as progress:
            pulled = store.pull(file.name, progress=progress)
            done = "downloaded" if pulled.downloaded else "present"
            out.line(
                {"file": file.name, "status": done, "path": str(pulled.path)},
                f"{file.name}: {done}, {pulled.path}",
            )
    out.finish()


@app.command()
def verify(
    pack: PackArgument = DEFAULT_PACK,
    provider: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Where to run the networks.")
    ] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Hash every file of a pack and run each network once."""
    out = _Report(as_json)
    with out.failures():
        check_installation()
        store = Store.default()
        runtime = Runtime(provider, ladder=(1,))
    if pack.startswith(insightface.PREFIX):
        with out.failures(file=pack):
            content = insightface.load_folder(
                pack.removeprefix(insightface.PREFIX), store, default_licences()
            )
            for weights in (content.detector, content.embedder):
                _verify(weights, runtime, out)
    for file in _chosen(store, pack):
        with out.failures(file=file.name):
            _verify(store.find(file.name), runtime, out)
    out.finish()


def _verify(weights: Weights, runtime: Runtime, out: _Report) -> None:
    network = runtime.load(weights)
    out.line(
        {
            "file": weights.name,
            "status": "works",
            "path": str(weights.path),
            "sha256": weights.sha256,
            "provider": network.provider,
        },
        f"{weights.name}: works on {network.provider}, {weights.sha256[:12]}, {weights.path}",
    )


def _pull_insightface(pack: str, store: Store, *, accept_licence: bool, out: _Report) -> None:
    content, accepted = insightface.pull_folder(
        pack.removeprefix(insightface.PREFIX),
        store,
        default_licences(),
        accept_licence=accept_licence,
    )
    out.line(
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


def _chosen(store: Store, pack: str) -> tuple[ModelFile, ...]:
    """List the files of a pack, or the one file of that name; anything else is wrong usage.

    An InsightFace pack borrows the liveness and mesh files of the default pack.
    """
    if pack.startswith(insightface.PREFIX):
        files = store.manifest.members(DEFAULT_PACK)
        return tuple(file for file in files if file.role not in {"detector", "embedder"})
    if pack in store.manifest.packs:
        return store.manifest.members(pack)
    if pack in store.manifest.files:
        return (store.manifest.file(pack),)
    raise typer.BadParameter(
        f"There is no pack or file {pack!r}. Packs: {', '.join(store.manifest.packs)},"
        f" insightface:<name or folder>. Files: {', '.join(store.manifest.files)}."
    )


def _chosen_packs(store: Store, pack: str) -> dict[str, tuple[ModelFile, ...]]:
    """Map the wanted packs to their files; files of no pack come last under no name."""
    if pack:
        return {"" if pack in store.manifest.files else pack: _chosen(store, pack)}
    packs = {name: store.manifest.members(name) for name in store.manifest.packs}
    packed = {file.name for files in packs.values() for file in files}
    rest = (file for file in store.manifest.files.values() if file.name not in packed)
    return {**packs, "": tuple(rest)}


def _file_row(store: Store, pack: str, file: ModelFile) -> dict[str, Any]:
    path = store.locate(file.name)
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
        "pullable": store.source_of(file.name) is not None,
        "measured": None
        if file.measured is None
        else file.measured.model_dump(exclude_none=True, mode="json"),
    }


def _folder_rows(store: Store, pack: str) -> list[dict[str, Any]]:
    """Describe the two files that an InsightFace folder brings."""
    folder = insightface.require_folder(pack.removeprefix(insightface.PREFIX), store)
    content = read_folder(folder, store.manifest)
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


def _heading(store: Store, pack: str | None) -> str:
    if pack is None:
        return "(one by one)"
    if pack in store.manifest.packs:
        return f"{pack}: {store.manifest.pack(pack).summary}"
    return f"{pack}: {insightface.TERMS}"


def _described(row: dict[str, Any]) -> str:
    """Say in three short lines what a file is, what it may be used for, and where it lies."""
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


@contextmanager
def _progress(file: ModelFile, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error once bytes arrive."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        disable=not shown or not console.is_terminal,
        transient=True,
    )
    task = bar.add_task(file.name, total=file.size)

    def advance(done: int) -> None:
        bar.start()
        bar.update(task, completed=done)

    try:
        yield advance
    finally:
        bar.stop()


class _Report:
    """Lines for people or JSON Lines, and whether anything failed."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.failed = False

    def line(self, record: dict[str, Any], text: str) -> None:
        """Print `record` as JSON, or `text`."""
        print(json.dumps(record, ensure_ascii=False) if self._as_json else text)

    @contextmanager
    def failures(self, *, file: str | None = None) -> Iterator[None]:
        """Report an error; about one `file` the command goes on, else it ends here with 1."""
        try:
            yield
        except BenrenError as error:
            self.failed = True
            record = {"status": error.code, "detail": error.detail, "remedy": error.remedy}
            if self._as_json:
                print(json.dumps({"file": file, **record}, ensure_ascii=False))
            else:
                typer.echo(f"{file}: {error}" if file is not None else str(error), err=True)
            if file is None:
                raise typer.Exit(1) from error

    def finish(self) -> None:
        """End with 1 where anything failed."""
        if self.failed:
            raise typer.Exit(1)
