"""The API under load: durable submissions, reads, and what a kill of everything leaves.

`python -m benchmarks.api [--nodes 1000] [--nodes 10000] [--part load] [--seconds 6] [--quick] [--json FILE]`: within
ten minutes on a quiet machine of two cores, `--quick` within two, a part of one size within three. One API
process, the controller draining what is submitted, PostgreSQL with fsync, all of `scheduler up` and the load
generator on this machine. The rate of `/healthz` in the same run says what the machine gives: compare shares of it,
not seconds. CPU of each process is counted by itself.
"""

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psutil
import psycopg
import typer
from rich.console import Console

from benchmarks.api_followers import measure_followers
from benchmarks.cpu import cpu_s
from benchmarks.harness import Row, in_a_folder, show, write_json
from benchmarks.http_load import Load, request, run
from benchmarks.installation import JOB, START_TIMEOUT_S, Installation, installation, start, until_serving
from scheduler.api.pagination import encode_cursor
from suanli.client import Client, Unreachable

BENCHMARK = "api"
CONNECTIONS = (1, 4, 16, 64)
ACKNOWLEDGED = 2_000
PAGED_JOBS = 10_000
JOBS_BEFORE = 1_000  # that wait already
RESTARTS = ((10_000, 2.0), (100_000, 10.0))
SLURM = "Slurm 26.05 REST 115-180/s at 1,000 nodes (measured by us on such a machine)"
SLURM_LOST = "Slurm: 785 of 2,000 lost, 1.4 s with 10,000 jobs (measured by us)"


class Part(StrEnum):
    """What can be measured by itself."""

    LOAD = "load"
    FOLLOWERS = "followers"
    KILL = "kill"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Bench:
    """An installation under one load after the other."""

    house: Installation
    case: str
    calibration: float  # /healthz, answers a second

    def rates(self, what: str, load: Load, goal: float | None, p99_goal_ms: float | None = None) -> list[Row]:
        """The rows of one load. Raises RuntimeError when anything was refused."""
        before = cpu_s(self.house.process.pid)
        loaded = run(load)
        after = cpu_s(self.house.process.pid)
        if loaded.refusals:
            raise RuntimeError(f"{self.case}: {what}: refused: {loaded.refusals}")
        peer = SLURM if what.startswith("submissions") else None
        used_s = {name: used_s - before.get(name, 0.0) for name, used_s in after.items()}
        used_s["load generator"] = loaded.cpu_s
        share = 100 * loaded.rate / self.calibration
        return [
            Row(BENCHMARK, self.case, what, loaded.rate, "/s", "higher", peer, goal),
            Row(BENCHMARK, self.case, f"{what}, share of /healthz", share, "%", "higher"),
            Row(BENCHMARK, self.case, f"{what}, p50", loaded.p50_ms, "ms"),
            Row(BENCHMARK, self.case, f"{what}, p99", loaded.p99_ms, "ms", goal=p99_goal_ms),
            *(
                Row(BENCHMARK, self.case, f"{what}, CPU of {name}", 1e6 * used / loaded.answers, "us/answer")
                for name, used in used_s.items()
            ),
        ]


def measure(house: Installation, nodes: int, seconds: float) -> list[Row]:
    """Submissions at each number of connections, then reads of what they left."""
    host, port = house.address
    key = house.researcher_key
    case = f"{nodes} nodes"
    healthz = run(Load(host, port, 16, (request("GET", "/healthz", ""),), seconds / 2))
    bench = Bench(house, case, healthz.rate)
    found = [Row(BENCHMARK, case, "calibration: /healthz, 16 connections", healthz.rate, "/s", "higher")]
    submit = submissions(key)
    with house.database() as connection:
        # What is configured and enrolled is read at the first question of a process, and is no figure of a load.
        run(Load(host, port, 1, submit, 10, 5))
        # Nor is a database that has never held anything: PostgreSQL plans for a handful of rows until it counts again.
        house.until_inbox_is_empty(connection, 60)
        house.fill(connection, JOBS_BEFORE)
        for connections in CONNECTIONS:
            load = Load(host, port, connections, submit, seconds)
            goal, p99_goal_ms = (2_000.0, 25.0) if connections == 16 else (None, None)
            found += bench.rates(f"submissions, {connections} connections", load, goal, p99_goal_ms)
        left_s = house.until_inbox_is_empty(connection, 600)
        found.append(Row(BENCHMARK, case, "controller behind after the load", left_s, "s"))
        ids = [row[0] for row in connection.execute("SELECT job_id FROM jobs ORDER BY random() LIMIT 500")]
    gets = tuple(request("GET", f"/v1/jobs/{job_id}", key) for job_id in ids)
    found += bench.rates("GET of a job, 16 connections", Load(host, port, 16, gets, seconds), 2_000)
    with house.database() as connection:
        cursors = until_there_are(house, connection, PAGED_JOBS)
    api = psutil.Process(house.pid_of("api"))
    pages = tuple(request("GET", f"/v1/jobs?limit=100{cursor}", key) for cursor in cursors)
    cold = run(Load(host, port, 1, pages, 60, len(pages)))
    found.append(
        Row(BENCHMARK, case, f"{PAGED_JOBS} jobs by pages of 100, never asked for before", cold.seconds, "s")
    )
    rss_before = api.memory_info().rss
    again = Load(host, port, 8, pages, seconds)
    found += bench.rates("page of 100 of 10,000 jobs, 8 connections", again, 500, 50.0)
    grown = (api.memory_info().rss - rss_before) / (1 << 20)
    found.append(
        Row(BENCHMARK, case, "memory that the api process grew by over these pages", grown, "MiB", goal=16)
    )
    rss = psutil.Process(house.pid_of("api")).memory_info().rss
    found.append(Row(BENCHMARK, case, "RSS of the api process after it", rss / (1 << 20), "MiB"))
    return found


def submissions(key: str) -> tuple[str, ...]:
    """Jobs that are alike and not the same, as programs submit them."""
    (variant,) = JOB["variants"]
    return tuple(
        request(
            "POST",
            "/v1/jobs",
            key,
            {
                **JOB,
                "name": f"tune-{number}",
                "variants": [
                    {**variant, "command": [*variant["command"][:-1], f"torchrun train.py --seed {number}"]}
                ],
            },
        )
        for number in range(1_000)
    )


def until_there_are(house: Installation, connection: psycopg.Connection, jobs: int) -> list[str]:
    """Fill up to so many jobs, as they lie there when they wait; returns the cursor parameter of each page of 100."""
    house.fill(connection, jobs)
    rows = connection.execute(
        "SELECT submitted_ms, job_id FROM jobs ORDER BY submitted_ms DESC, job_id DESC LIMIT %s", (jobs,)
    ).fetchall()
    return ["", *(f"&cursor={encode_cursor((at_ms, job_id))}" for at_ms, job_id in rows[99:-1:100])]


def kill_everything(house: Installation) -> list[Row]:
    """SIGKILL to every process, PostgreSQL's too, right after the last acknowledgement; then start again."""
    host, port = house.address
    loaded = run(Load(host, port, 16, submissions(house.researcher_key), 600, ACKNOWLEDGED))
    acknowledged = {json.loads(body)["job_id"] for body in loaded.bodies}
    serving_s, leading_s, jobs = restart(house)
    with house.database() as connection:
        there = {row[0] for row in connection.execute("SELECT job_id FROM jobs")}
    case = f"kill -9 of everything, {jobs} jobs"
    lost = len(acknowledged - there)
    what = f"of {len(acknowledged)} acknowledged, lost"
    return [
        Row(BENCHMARK, case, what, lost, "jobs", "lower", SLURM_LOST, 0),
        Row(BENCHMARK, case, "restart to serving", serving_s, "s"),
        Row(BENCHMARK, case, "restart to the first job taken by the controller", leading_s, "s"),
    ]


def restart_with(house: Installation, jobs: int, goal_s: float) -> list[Row]:
    """The same with so many jobs that wait."""
    with house.database() as connection, Client(house.url, house.researcher_key) as client:
        client.submit(JOB)  # the one that is copied
        house.until_inbox_is_empty(connection, 300)
        house.fill(connection, jobs)
    serving_s, leading_s, there = restart(house)
    case = f"kill -9 of everything, {there} jobs"
    return [
        Row(BENCHMARK, case, "restart to serving", serving_s, "s", "lower", SLURM_LOST, goal_s),
        Row(BENCHMARK, case, "restart to the first job taken by the controller", leading_s, "s"),
    ]


def restart(house: Installation) -> tuple[float, float, int]:
    """Kill and start; seconds until a job is acknowledged and until the controller has taken it, and the jobs there.

    The address is that of before, as people know it: who submits asks again until somebody answers.
    """
    with Client(house.url, house.researcher_key, pause=lambda _: time.sleep(0.01)) as client:
        client.whoami()  # what a program loads with its first request is not the server's
        house.kill()
        begun_s = time.monotonic()
        house.process = start(house.folder, house.address[1])
        while True:
            try:
                client.submit(JOB)
                break
            except Unreachable:
                if time.monotonic() - begun_s > START_TIMEOUT_S:
                    raise
    serving_s = time.monotonic() - begun_s
    until_serving(house.folder, house.process)
    with house.database() as connection:
        house.until_inbox_is_empty(connection, 300)
        leading_s = time.monotonic() - begun_s
        row = connection.execute("SELECT count(*) FROM jobs").fetchone()
    return serving_s, leading_s, int(row[0]) if row else 0


def main(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes; may repeat.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 6.0,
    part: Annotated[list[Part] | None, typer.Option(help="Only this; may repeat.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="1,000 nodes, two seconds a load, no restarts.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the rows here.", callback=in_a_folder)
    ] = None,
) -> None:
    """Measure the API."""
    console = Console()
    found: list[Row] = []

    def note(rows: list[Row]) -> None:
        """What was measured is told at once, and kept whatever comes after it."""
        found.extend(rows)
        show(rows, console)
        if json_file is not None:
            write_json(found, json_file)

    sizes = nodes or ([1_000] if quick else [1_000, 10_000])
    parts = set(part or (Part if not quick else (Part.LOAD, Part.FOLLOWERS)))
    for size in sizes if parts - {Part.RESTART} else ():
        with installation(size) as house:
            if Part.LOAD in parts:
                note(measure(house, size, 2.0 if quick else seconds))
            if Part.FOLLOWERS in parts:
                note(measure_followers(house, size))
            if Part.KILL in parts:
                note(kill_everything(house))
    if Part.RESTART in parts:
        with installation(sizes[0]) as house:
            for jobs, goal_s in RESTARTS:
                note(restart_with(house, jobs, goal_s))
    if any(row.reached is False for row in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
