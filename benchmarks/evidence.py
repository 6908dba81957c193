"""The evidence log and its verifier, measured: `python -m benchmarks.evidence [--json FILE]`.

Each part is a module of its own: `evidence_verify` is the auditor's side. Exit status 1 where a goal is missed.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import evidence_verify
from benchmarks.harness import show, write_json


def main(
    windows: Annotated[int, typer.Option(min=1000, help="Windows of the bundle to verify.")] = 100_000,
    devices: Annotated[int, typer.Option(min=1, help="Devices of a node.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Processes of the verifier.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows as JSON lines.")] = None,
) -> None:
    """Measure the evidence log and its verifier."""
    rows = evidence_verify.measure(windows, devices, processes)
    show(rows, Console())
    if json_file is not None:
        write_json(rows, json_file)
    raise typer.Exit(any(row.reached is False for row in rows))


if __name__ == "__main__":
    typer.run(main)
