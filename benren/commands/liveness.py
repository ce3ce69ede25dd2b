"""`benren liveness IMAGE...`: a living face, or a picture of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benren.console import complain, emit, out, rounded

if TYPE_CHECKING:
    from verifier.pipeline.profile import LivenessThresholds
    from verifier.types import Evidence

app = typer.Typer()


@app.command()
def liveness(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photographs to judge.")],
    *,
    pack: Annotated[
        str | None, typer.Option(help="Model pack (default: that of the settings).")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Tell living faces from prints and screens, one photograph at a time.

    One frame is weak evidence: in a session liveness is fused over several. An image that cannot
    be read is an error (exit code 1); the others are still judged.
    """
    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.inference import assess_files, image_limits, load_engine  # noqa: PLC0415

    settings = load_settings(Config, config, pack=pack)
    engine = load_engine(settings)
    failed = False
    for judged in assess_files(engine, images, image_limits(settings), embed=False):
        if judged.evidence is None:
            failed = True
            if judged.error is not None:
                complain(judged.error, as_json=json, about=str(judged.path))
            continue
        line = _line(judged.path, judged.evidence, engine.profile.liveness)
        if json:
            emit(line)
        else:
            score = "  -  " if line["score"] is None else f"{line['score']:.3f}"
            why = f"  ({', '.join(line['reasons'])})" if line["reasons"] else ""
            text = f"{line['decision']:<10} {score}  {judged.path}{why}"
            out().print(text, soft_wrap=True, markup=False)
    if failed:
        raise typer.Exit(1)


def _line(path: Path, evidence: Evidence, thresholds: LivenessThresholds) -> dict[str, Any]:
    from verifier.pipeline.liveness import judge  # noqa: PLC0415

    score = evidence.liveness_score
    result = judge([] if score is None else [score], thresholds)
    return {
        "image": str(path),
        "decision": result.decision.value,
        "score": rounded(result.score),
        "threshold": result.threshold,
        "reasons": [reason.value for reason in evidence.reasons],
    }
