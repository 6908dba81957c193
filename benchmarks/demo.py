"""The demo's cluster, measured: how soon a job speaks, and what the control plane occupies.

`python -m benchmarks.demo [--jobs N] [--json FILE] [--demo-wall]`. The cluster is idle but for the one job:
a job is submitted when the one before has ended. Exit status 1 where a goal is missed.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from benchmarks import memory
from benchmarks.demo_cluster import RunningCluster, demo_cluster
from benchmarks.harness import Row, in_a_folder, quantile, show, write_json

ROOT = Path(__file__).resolve().parents[1]
MEMORY_GOAL_MIB = 700.0
SETTLE_S = 5.0  # caches fill and start-up garbage goes, before anything counts as "at rest"
ANSWER_TIMEOUT_S = 60.0
RESEARCHER = "li.wei"  # of examples/demo/site.yaml
JOB = {
    "name": "echo",
    "project": "research",
    "kind": "interactive",
    "gang": {"devices": 1},
    "variants": [{"model": "ascend-910b3", "command": ["/bin/sh", "-c", "echo ready"]}],
}


class JobFailed(Exception):
    """A measured job did not do what it should; the figures would mean nothing."""


def first_line_s(client: httpx.Client) -> float:
    """Seconds from sending a job to reading the first line of its output; returns when the job has ended."""
    begun = time.perf_counter()
    answer = client.post("/v1/jobs", json=JOB)
    answer.raise_for_status()
    job_id = answer.json()["job_id"]
    heard_s = None
    with client.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as output:
        output.raise_for_status()
        for line in output.iter_lines():
            if heard_s is None and line and "ready" in json.loads(line).get("text", ""):
                heard_s = time.perf_counter() - begun
    if heard_s is None:
        raise JobFailed(f"job {job_id} ended without its line: {client.get(f'/v1/jobs/{job_id}').json()}")
    _until_ended(client, job_id)
    return heard_s


def _until_ended(client: httpx.Client, job_id: str) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        state = client.get(f"/v1/jobs/{job_id}").json()["state"]
        if state == "succeeded":
            return
        if state in {"failed", "cancelled"}:
            raise JobFailed(f"job {job_id} {state}")
        time.sleep(0.02)
    raise JobFailed(f"job {job_id} did not end within {ANSWER_TIMEOUT_S:.0f} s")


def latency_rows(running: RunningCluster, jobs: int) -> list[Row]:
    """Submit job after job; the first one warms the connections and is not counted."""
    key = running.people.operator.create_api_key(RESEARCHER)["api_key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=running.cluster.api, headers=headers, timeout=ANSWER_TIMEOUT_S) as client:
        first_line_s(client)
        measured_ms = [first_line_s(client) * 1000 for _ in range(jobs)]
    case = f"{jobs} x echo, idle cluster"
    return [
        Row("demo", case, f"submit to first line, {name}", value, "ms")
        for name, value in (
            ("p50", quantile(measured_ms, 0.5)),
            ("p99", quantile(measured_ms, 0.99)),
        )
    ]


def memory_rows(running: RunningCluster, case: str) -> list[Row]:
    """PSS of `up`'s processes, each and in sum, and of an agent."""
    processes = running.cluster.processes.running
    of_up = memory.tree(processes["control-plane"].pid)
    total_mib = sum(one.pss_bytes for one in of_up) / memory.MIB
    rows = [Row("demo", case, "PSS of up, all processes", total_mib, "MiB", goal=MEMORY_GOAL_MIB)]
    for one in of_up:
        name = one.name if one.processes == 1 else f"{one.name} ({one.processes})"
        rows.append(Row("demo", case, f"PSS of {name}", one.pss_bytes / memory.MIB, "MiB"))
    agent = memory.tree(processes["ascend-01"].pid)
    agent_mib = sum(one.pss_bytes for one in agent) / memory.MIB
    return [*rows, Row("demo", case, "PSS of an agent, 8 devices", agent_mib, "MiB")]


def demo_wall_s() -> float:
    """Seconds of a whole `suanli demo`, PyTorch being there already. Raises JobFailed."""
    begun = time.perf_counter()
    command = [str(Path(sys.executable).parent / "suanli"), "demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise JobFailed(f"the demo ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-400:]}")
    return time.perf_counter() - begun


def main(
    jobs: Annotated[int, typer.Option(help="How many jobs to measure.", min=1)] = 50,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the rows here.", callback=in_a_folder)
    ] = None,
    demo_wall: Annotated[bool, typer.Option("--demo-wall", help="Also time a whole `suanli demo`.")] = False,
) -> None:
    """Measure the demo's cluster."""
    console = Console()
    rows = []
    with demo_cluster() as running:
        time.sleep(SETTLE_S)
        rows += memory_rows(running, "at rest")
        rows += latency_rows(running, jobs)
        rows += memory_rows(running, f"after {jobs} jobs")
    if demo_wall:
        rows.append(Row("demo", "installed", "suanli demo, wall", demo_wall_s(), "s"))
    show(rows, console)
    if json_file is not None:
        write_json(rows, json_file)
    raise typer.Exit(1 if any(row.reached is False for row in rows) else 0)


if __name__ == "__main__":
    typer.run(main)
