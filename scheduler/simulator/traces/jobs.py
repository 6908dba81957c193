"""Jobs of fixed size and run time: when they came, how long they ran, how many devices, whose they were."""

from pathlib import Path
from typing import NamedTuple

from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.tables import BadTrace, TableRow, read_each, read_header


class TraceJob(NamedTuple):
    """One row."""

    arrival_s: float
    run_s: float
    devices: int
    firm: str  # empty where the table names none


def read_jobs(path: Path) -> list[TraceJob]:
    """Jobs by arrival, then content. Raises BadTrace."""
    by_submission = "submit_s" in read_header(path)
    kind = Kind.JOBS_BY_SUBMISSION if by_submission else Kind.JOBS_BY_ARRIVAL
    arrival = "submit_s" if by_submission else "arrival_s"

    def job(row: TableRow) -> TraceJob:
        return TraceJob(
            row.number(arrival),
            row.number("duration_s"),
            row.integer("num_gpus", low=1, high=1 << 20),
            row.name("vc", ""),
        )

    jobs = read_each(path, kind.value, job, once="job_id", want="each job once")
    if not jobs:
        raise BadTrace(f"{path}: no jobs")
    return sorted(jobs)


def read_firm_nodes(path: Path) -> dict[str, tuple[int, int]]:
    """(nodes, devices on each) by firm, in the order of the table. Raises BadTrace."""

    def firm(row: TableRow) -> tuple[str, tuple[int, int]]:
        return row.text("vc"), (row.integer("nodes", low=1), row.integer("gpus_per_node", low=1))

    firms = read_each(path, Kind.FIRM_NODES.value, firm, once="vc", want="each firm once")
    if not firms:
        raise BadTrace(f"{path}: no firms")
    return dict(firms)


def tables_of_jobs(traces: Path, pattern: str = "*") -> list[Path]:
    """Every table of such jobs."""
    found: list[Path] = []
    for kind in (Kind.JOBS_BY_ARRIVAL, Kind.JOBS_BY_SUBMISSION):
        try:
            found += find_tables(traces, kind, pattern)
        except BadTrace:
            continue
    if not found:
        raise BadTrace(f"{traces}: no table of jobs that fits {pattern}")
    return found
