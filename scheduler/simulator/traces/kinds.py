"""Which tables a folder of traces holds: recognised by their columns, never by their names."""

from collections.abc import Iterator
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path

from scheduler.simulator.traces.tables import BadTrace, read_header


class Kind(Enum):
    """A kind of table, with the columns that tell it."""

    PODS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
    NODES = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
    FLEET = ("node_name", "gpu_model", "gpu_capacity_num", "cpu_num")
    TOPOLOGY = ("ip", "DSW", "PSW", "ASW")
    RATES = ("source", "accelerator", "job_type", "scale_factor", "steps_per_s")
    STEP_JOBS = ("job_id", "job_type", "scale_factor", "total_steps", "arrival_s")
    JOBS_BY_ARRIVAL = ("job_id", "arrival_s", "duration_s", "num_gpus")
    JOBS_BY_SUBMISSION = ("job_id", "submit_s", "duration_s", "num_gpus")
    FIRM_NODES = ("vc", "nodes", "gpus_per_node")
    TUNED_JOBS = ("name", "time", "application", "num_replicas", "batch_size")


def find_tables(folder: Path, kind: Kind, pattern: str = "*") -> list[Path]:
    """The tables of a kind below a folder whose path inside it fits the pattern, in the order of their paths.

    Raises BadTrace when there is none.
    """
    if not folder.is_dir():
        raise BadTrace(f"{folder}: no such folder of traces")
    wanted = set(kind.value)
    found = [
        path
        for path in _tables(folder)
        if fnmatch(str(path.relative_to(folder)), pattern) and wanted <= set(read_header(path))
    ]
    if not found:
        columns = ", ".join(kind.value)
        raise BadTrace(f"{folder}: no table that fits {pattern} and has the columns {columns}")
    return found


def _tables(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.name.endswith((".csv", ".csv.gz")) and path.is_file():
            yield path
