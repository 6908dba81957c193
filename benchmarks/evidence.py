"""The evidence log and its verifier, measured: `python -m benchmarks.evidence [--json FILE]`.

Each part is a module of its own: `evidence_wire` and `evidence_intake` are the operator's side, `evidence_verify` the
auditor's. Exit status 1 where a goal is missed.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks import evidence_intake, evidence_verify, evidence_wire
from benchmarks.harness import Row, in_a_folder, show, write_json

Part = Literal["all", "wire", "intake", "verify"]


def main(
    part: Annotated[Part, typer.Option(help="Which side to measure.")] = "all",
    taken_in: Annotated[int, typer.Option(min=100, help="Windows to take in.")] = 8_192,
    nodes: Annotated[int, typer.Option(min=1, max=1000, help="Nodes that send them over the wire.")] = 32,
    batch: Annotated[int, typer.Option(min=1, max=512, help="Windows that a node sends at once.")] = 32,
    windows: Annotated[int, typer.Option(min=1000, help="Windows of the bundle to verify.")] = 100_000,
    devices: Annotated[int, typer.Option(min=1, help="Devices of a node in the bundle.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Processes of the verifier.")] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the rows as JSON lines.", callback=in_a_folder)
    ] = None,
) -> None:
    """Measure the evidence log and its verifier."""
    rows: list[Row] = []
    if part in ("all", "wire"):
        rows += evidence_wire.measure(taken_in, nodes)
    if part in ("all", "intake"):
        rows += evidence_intake.measure(taken_in, batch)
    if part in ("all", "verify"):
        rows += evidence_verify.measure(windows, devices, processes)
    show(rows, Console())
    if json_file is not None:
        write_json(rows, json_file)
    raise typer.Exit(any(row.reached is False for row in rows))


if __name__ == "__main__":
    typer.run(main)
