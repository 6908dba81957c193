"""How long an auditor waits: verifying a large bundle, and what it takes of memory.

The bundle is made first, which takes longer than verifying it. Measured with `suanli verify` itself, as a
process of its own with the processes that it starts.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import psutil

from benchmarks.evidence_bundle import LargeBundle
from benchmarks.harness import Row
from suanli.evidence.policy import format_policy

GOAL_S_PER_MILLION = 90.0
NODES = 1000
LOOK_S = 0.2
MIB = 1 << 20


class VerifyFailed(Exception):
    """The honest bundle was not verified; its time would mean nothing."""


def measure(windows: int, devices: int, processes: int) -> list[Row]:
    """Rows for a bundle of `windows`, and for one of a tenth of it, as memory should be the same."""
    rows: list[Row] = []
    for count in (max(windows // 10, 1), windows):
        folder = Path(mkdtemp(prefix="suanli-bundle-"))
        try:
            rows += _measure(folder, count, devices, processes)
        finally:
            shutil.rmtree(folder)
    return rows


def _measure(folder: Path, windows: int, devices: int, processes: int) -> list[Row]:
    nodes = min(NODES, windows)
    rounds = windows // nodes
    bundle = LargeBundle(folder / "bundle", nodes, rounds, devices)
    bundle.write()
    (folder / "policy").write_text(format_policy(bundle.policy()), "utf-8")
    size_bytes = sum(file.stat().st_size for file in (folder / "bundle").rglob("*") if file.is_file())
    command = [sys.executable, "-m", "suanli.cli", "verify", str(folder / "bundle")]
    command += ["--policy", str(folder / "policy"), "--processes", str(processes), "--json"]
    case = f"{nodes * rounds:,} windows, {devices} devices each, {processes} processes"
    goal_s = GOAL_S_PER_MILLION * nodes * rounds / 1_000_000 if devices == 1 else None
    rows = [Row("evidence", case, "bundle", size_bytes / MIB, "MiB")]
    for option in ([], ["--every-signature"]):
        rows += _run([*command, *option], " ".join([case, *option]), nodes * rounds, goal_s)
    return rows


def _run(command: list[str], case: str, windows: int, goal_s: float | None) -> list[Row]:
    begun, cpu_begun_s = time.perf_counter(), _children_cpu_s()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak_bytes = 0
    while child.poll() is None:
        peak_bytes = max(peak_bytes, _memory(child.pid))
        time.sleep(LOOK_S)
    wall_s, cpu_s = time.perf_counter() - begun, _children_cpu_s() - cpu_begun_s
    verdict = json.loads(child.stdout.read() if child.stdout else b"")
    if child.returncode != 0:
        raise VerifyFailed(verdict)
    return [
        Row("evidence", case, "verify, wall", wall_s, "s", goal=goal_s),
        Row("evidence", case, "verify, CPU of all processes", cpu_s, "s"),
        Row("evidence", case, "verify, CPU per window", cpu_s / windows * 1e6, "µs"),
        Row("evidence", case, "verify, peak PSS of all processes", peak_bytes / MIB, "MiB"),
    ]


def _children_cpu_s() -> float:
    """CPU time of all processes that have ended, theirs included: steadier than the wall on a busy machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _memory(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total
