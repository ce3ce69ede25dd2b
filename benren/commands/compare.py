"""`benren compare REFERENCE PROBE...`: the same person or another, photograph by photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benren.console import complain, emit, out, rounded

if TYPE_CHECKING:
    from verifier.pipeline.engine import Engine
    from verifier.pipeline.intake import Limits
    from verifier.types import Vector, Verdict

app = typer.Typer()


@app.command()
def compare(
    reference: Annotated[Path, typer.Argument(help="Photograph of the known person.")],
    probes: Annotated[list[Path], typer.Argument(metavar="PROBE...", help="Photographs to judge.")],
    *,
    pack: Annotated[
        str | None, typer.Option(help="Model pack (default: that of the settings).")
    ] = None,
    require_live: Annotated[
        bool,
        typer.Option("--require-live", help="A probe that is not live is no match."),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Compare a reference with probes: similarity, threshold and decision for each.

    Liveness is told but does not decide, since photographs are seldom alive; --require-live makes
    it decide. A probe that cannot be read is an error (exit code 1); the others are still judged.
    """
    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.inference import assess_files, image_limits, load_engine  # noqa: PLC0415

    settings = load_settings(Config, config, pack=pack)
    engine = load_engine(settings)
    limits = image_limits(settings)
    vector = _reference(engine, reference, limits)
    failed = False
    for judged in assess_files(engine, probes, limits, reference=vector):
        if judged.evidence is None:
            failed = True
            if judged.error is not None:
                complain(judged.error, as_json=json, about=str(judged.path))
            continue
        verdict = engine.judge([judged.evidence], vector, require_liveness=require_live)
        line = _line(reference, judged.path, verdict)
        if json:
            emit(line)
        else:
            _tell(line)
    if failed:
        raise typer.Exit(1)


def _reference(engine: Engine, path: Path, limits: Limits) -> Vector:
    """Embed the reference. Raises ImageError or TemplateRefused with the reasons."""
    from benren.inference import read_frame  # noqa: PLC0415
    from verifier.pipeline.templates import embedding_of  # noqa: PLC0415

    return embedding_of(engine.enrol(read_frame(path, limits), strict=False))


def _line(reference: Path, probe: Path, verdict: Verdict) -> dict[str, Any]:
    quality = verdict.quality
    return {
        "reference": str(reference),
        "probe": str(probe),
        "decision": verdict.decision.value,
        "reasons": [reason.value for reason in verdict.reasons],
        "similarity": rounded(verdict.similarity),
        "threshold": verdict.threshold,
        "fmr_at_threshold": verdict.fmr_at_threshold,
        "liveness": {
            "score": rounded(verdict.liveness.score),
            "threshold": verdict.liveness.threshold,
            "decision": verdict.liveness.decision.value,
        },
        "quality": quality.by_ofiq_name() if quality is not None else {},
    }


def _tell(line: dict[str, Any]) -> None:
    similarity = "  -  " if line["similarity"] is None else f"{line['similarity']:5.3f}"
    reasons = f"  ({', '.join(line['reasons'])})" if line["reasons"] else ""
    out().print(
        f"{line['decision']:<11} {similarity} / {line['threshold']:.3f}  "
        f"{line['liveness']['decision']:<9}  {line['probe']}{reasons}",
        soft_wrap=True,
        markup=False,
    )
