"""`python -m benchmarks.planner --case B1 [--case …] [--traces DIR] [--json FILE] [--part SHARE]`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.harness import Row, in_a_folder, show, write_json
from benchmarks.planner.cases import CASES
from benchmarks.planner.settings import Settings
from scheduler.simulator.traces.tables import BadTrace

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SUANLI_SHARED") or ROOT.parent / "shared")
TRACES = SHARED / "traces"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    case: Annotated[
        list[str] | None, typer.Option(help=f"Which case: {', '.join(CASES)}. Again for more; none: all.")
    ] = None,
    traces: Annotated[Path, typer.Option(help="Folder of traces, laid out like the default one.")] = TRACES,
    json: Annotated[
        Path | None, typer.Option(help="Write the rows there, one JSON object a line.", callback=in_a_folder)
    ] = None,
    part: Annotated[
        float,
        typer.Option(min=0.0001, max=1.0, help="Of each case's seeds, steps or jobs, for a quick look."),
    ] = 1.0,
) -> None:
    """Judges the planner on published traces: ours, the peer's run here, the published figure and the goal."""
    console = Console()
    chosen = [name.upper() for name in case or list(CASES)]
    for name in chosen:
        if name not in CASES:
            raise typer.BadParameter(f"{name!r}: wanted one of {', '.join(CASES)}", param_hint="--case")
    rows: list[Row] = []
    settings = Settings(traces, part=part)
    try:
        for name in chosen:
            for row in CASES[name](settings):
                rows.append(row)
                if json is not None:  # a case that is cut leaves what it measured
                    write_json(rows, json)
    except BadTrace as error:
        raise typer.BadParameter(str(error), param_hint="--traces") from None
    finally:
        if rows:  # also of a run that is interrupted
            show(rows, console)


if __name__ == "__main__":
    app()
