"""Jobs as amounts of work with measured speeds on several device models (Gavel's columns)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from scheduler.simulator.traces.kinds import Kind
from scheduler.simulator.traces.tables import BadTrace, TableRow, read_each, read_rows

_MOST_NAMED = 20  # models in a refusal
Rates = Mapping[tuple[str, int], Mapping[str, float]]  # (job type, devices) -> steps per second by model


class StepJob(NamedTuple):
    """One row."""

    job_id: int
    job_type: str
    devices: int
    steps: float
    arrival_s: float


def read_step_jobs(path: Path) -> list[StepJob]:
    """Jobs in the order of the table. Raises BadTrace."""

    def job(row: TableRow) -> StepJob:
        return StepJob(
            row.integer("job_id"),
            row.text("job_type"),
            row.integer("scale_factor", low=1, high=1 << 16),
            row.number("total_steps", low=1),
            row.number("arrival_s"),
        )

    jobs = read_each(path, Kind.STEP_JOBS.value, job, once="job_id", want="each job once")
    if not jobs:
        raise BadTrace(f"{path}: no jobs")
    return jobs


def read_rates(path: Path, source: str, models: tuple[str, ...]) -> Rates:
    """Measured alone, from the table's rows of a source. Raises BadTrace where there are none."""
    rates: dict[tuple[str, int], dict[str, float]] = {}
    others: set[str] = set()
    for row in read_rows(path, Kind.RATES.value):
        if row.text("source") != source:
            continue
        if row.text("accelerator") not in models:
            others.add(row.text("accelerator"))
            continue
        key = (row.text("job_type"), row.integer("scale_factor", low=1))
        rates.setdefault(key, {})[row.text("accelerator")] = row.number("steps_per_s")
    if not rates and not others:
        raise BadTrace(f"{path}: no rates of {source}")
    if not rates:
        theirs, ours = (", ".join(sorted(names)[:_MOST_NAMED]) for names in (others, models))
        raise BadTrace(f"{path}: its rates are for {theirs}, and the cluster has {ours}: none of them")
    return rates
