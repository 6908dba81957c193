"""The API under load: durable submissions, reads, and what a kill of everything leaves.

`python -m benchmarks.api [--nodes 1000] [--nodes 10000] [--seconds 10] [--json FILE]`. One API process, the
controller draining what is submitted, PostgreSQL with fsync, all of `scheduler up` and the load generator on this
machine. The rate of `/healthz` in the same run says what the machine gives: compare shares of it, not seconds.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from benchmarks.harness import Row, show, write_json
from benchmarks.http_load import Load, Loaded, request, run
from benchmarks.installation import JOB, Installation, installation, start, until_serving

BENCHMARK = "api"
CONNECTIONS = (1, 4, 16, 64)
ACKNOWLEDGED = 2_000
SLURM = "Slurm 26.05 REST 115-180/s at 1,000 nodes (measured by us on such a machine)"
SLURM_LOST = "Slurm: 785 of 2,000 lost, 1.4 s with 10,000 jobs (measured by us)"


def rates(case: str, what: str, loaded: Loaded, calibration: float, goal: float | None) -> list[Row]:
    """The rows of one load. Raises RuntimeError when anything was refused."""
    if loaded.refusals:
        raise RuntimeError(f"{case}: {what}: refused: {loaded.refusals}")
    peer = SLURM if what.startswith("submissions") else None
    return [
        Row(BENCHMARK, case, what, loaded.rate, "/s", "higher", peer, goal),
        Row(BENCHMARK, case, f"{what}, share of /healthz", 100 * loaded.rate / calibration, "%", "higher"),
        Row(BENCHMARK, case, f"{what}, p50", loaded.p50_ms, "ms"),
        Row(BENCHMARK, case, f"{what}, p99", loaded.p99_ms, "ms", goal=25.0 if goal == 2_000 else None),
    ]


def measure(house: Installation, nodes: int, seconds: float) -> list[Row]:
    """Submissions at each number of connections, then reads of what they left."""
    host, port = house.address
    key = house.researcher_key
    case = f"{nodes} nodes"
    healthz = run(Load(host, port, 16, (request("GET", "/healthz", ""),), seconds / 2))
    found = [Row(BENCHMARK, case, "calibration: /healthz, 16 connections", healthz.rate, "/s", "higher")]
    submit = request("POST", "/v1/jobs", key, JOB)
    with house.database() as connection:
        for connections in CONNECTIONS:
            loaded = run(Load(host, port, connections, (submit,), seconds))
            goal = 2_000.0 if connections == 16 else None
            found += rates(case, f"submissions, {connections} connections", loaded, healthz.rate, goal)
        left_s = house.until_inbox_is_empty(connection, 600)
        found.append(Row(BENCHMARK, case, "controller behind after the load", left_s, "s"))
        ids = [row[0] for row in connection.execute("SELECT job_id FROM jobs ORDER BY random() LIMIT 500")]
    gets = tuple(request("GET", f"/v1/jobs/{job_id}", key) for job_id in ids)
    found += rates(
        case, "GET of a job, 16 connections", run(Load(host, port, 16, gets, seconds)), healthz.rate, 2_000
    )
    page = (request("GET", "/v1/jobs?limit=100", key),)
    found += rates(
        case, "page of 100 jobs, 8 connections", run(Load(host, port, 8, page, seconds)), healthz.rate, 500
    )
    rss = psutil.Process(house.pid_of("api")).memory_info().rss
    found.append(Row(BENCHMARK, case, "RSS of the api process after it", rss / (1 << 20), "MiB"))
    return found


def kill_everything(house: Installation) -> list[Row]:
    """SIGKILL to every process, PostgreSQL's too, right after the last acknowledgement; then start again."""
    host, port = house.address
    submit = request("POST", "/v1/jobs", house.researcher_key, JOB)
    loaded = run(Load(host, port, 16, (submit,), 600, ACKNOWLEDGED))
    top = psutil.Process(house.process.pid)
    # The parent first, so that it starts nothing again and stops nothing in order.
    for process in [top, *top.children(recursive=True)]:
        process.kill()
    house.process.wait()
    acknowledged = {json.loads(body)["job_id"] for body in loaded.bodies}
    begun_s = time.monotonic()
    house.process = start(house.folder)
    house.url = until_serving(house.folder, house.process)
    serving_s = time.monotonic() - begun_s
    with house.database() as connection:
        there = {row[0] for row in connection.execute("SELECT job_id FROM jobs")}
        states = connection.execute("SELECT count(*) FROM jobs").fetchone()
    jobs = int(states[0]) if states else 0
    case = f"kill -9 of everything, {jobs} jobs"
    lost = len(acknowledged - there)
    return [
        Row(
            BENCHMARK,
            case,
            f"of {len(acknowledged)} acknowledged, lost",
            lost,
            "jobs",
            "lower",
            SLURM_LOST,
            0,
        ),
        Row(BENCHMARK, case, "restart to serving", serving_s, "s"),
    ]


def main(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes; may repeat.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 10.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here.")] = None,
) -> None:
    """Measure the API."""
    console = Console()
    found: list[Row] = []
    for size in nodes or [1_000, 10_000]:
        with installation(size) as house:
            found += measure(house, size, seconds)
            found += kill_everything(house)
    show(found, console)
    if json_file is not None:
        write_json(found, json_file)
    if any(row.reached is False for row in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
