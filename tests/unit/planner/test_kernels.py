"""The inner loop gives the same answers as plain Python and as machine code."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from scheduler import machine_code

SCRIPT = """
import random, sys
from scheduler import machine_code
from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import PlannerConfig, Shape, kernels
from scheduler.planner.placer import Placer
from scheduler.simulator.cluster import NodeSpec, VirtualCluster

if sys.argv[1] == "compiled":
    import numba

    machine_code.compile_all()
    code, (types,) = kernels.lightest, machine_code._made[0].signatures

    def checked(*arguments):  # what was made ahead is what planning calls
        assert tuple(map(numba.typeof, arguments)) == types
        return code(*arguments)

    kernels.lightest = checked
random.seed(7)
queue = QueueKey(FirmId("firm"), "default")
models = ("ascend-910b3", "ascend-910a")
specs = [
    NodeSpec(f"n{n}", models[n % 2], 8, "pool", random.choice([16_000, 64_000]), 1 << 37, fast_link_group=4)
    for n in range(24)
]
placer = Placer(VirtualCluster(load_catalogue(), specs, [Queue(queue, ("pool",))]).snapshot(), PlannerConfig())
for n in range(160):
    devices = random.choice([0, 1, 1, 1, 2, 4, 8])
    shape = Shape(
        queue, Priority.NORMAL, devices, max(1, devices), models,
        share_ppm=random.choice([250_000, 400_000, 1_000_000]) if devices == 1 else 1_000_000,
        cpu_milli=random.choice([0, 1_000, 3_000]), memory_bytes=random.choice([0, 1 << 32]),
    )
    placed = placer.place(shape, JobId(f"job-{n}"))
    print(placed and [(task.node_id, task.device_ids) for task in placed.tasks])
"""
COMPILE = """
import resource, signal, sys
from pathlib import Path
from scheduler import machine_code

if sys.argv[2] == "full":  # no file can be written, as on a full disk
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
machine_code.compile_all(Path(sys.argv[1]))
print(machine_code.compiled(), *machine_code._made[0].stats.cache_hits.values())
"""


def placements(how: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


@pytest.mark.timeout(400)  # the first run on a machine compiles
def test_machine_code_places_like_plain_python() -> None:
    plain = placements("plain")
    assert len(plain) == 160
    assert sum(line != "None" for line in plain) > 60
    assert placements("compiled") == plain


def compiled_in(folder: Path, disk: str) -> str:
    """What a process says whose user can write neither the source's folder nor a cache folder."""
    environment = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    command = [sys.executable, "-c", COMPILE, str(folder), disk]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return run.stdout.strip()


def test_a_process_that_may_not_make_code_goes_on_in_python() -> None:
    # As systemd's MemoryDenyWriteExecute: PR_SET_MDWE, Linux 6.3.
    script = """
import ctypes, sys, time
from scheduler import machine_code
from scheduler.controller.compiling import Compiling
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("too old")
compiling = Compiling(None)
compiling.want(100, plans_wait=True)
while not compiling.may_plan:
    time.sleep(0.01)
print(machine_code.compiled())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if "too old" in run.stderr:
        pytest.skip("the kernel cannot forbid it")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "False"), run.stderr
    assert "compiling_kernels" in run.stdout
    assert "kernels_not_compiled" in run.stdout


@pytest.mark.timeout(400)
def test_machine_code_is_kept_in_the_data_folder_where_no_other_place_is_left(tmp_path: Path) -> None:
    assert compiled_in(tmp_path / "code", "roomy") == "True"
    assert compiled_in(tmp_path / "code", "full") == "True 1"


@pytest.mark.timeout(400)
def test_machine_code_is_made_where_it_cannot_be_kept(tmp_path: Path) -> None:
    assert compiled_in(tmp_path / "code", "full") == "True"


@pytest.fixture
def small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[machine_code._Source]:
    """A function that is compiled in a moment, and kept in the test's own folder."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    numba.config.reload_config()
    file = tmp_path / "small.py"
    file.write_text("def twice(number):\n    return 2 * number\n")
    spec = importlib.util.spec_from_file_location("small", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield machine_code._Source(module, (module.twice,), {"twice": lambda: (1,)}, False)
    monkeypatch.undo()
    numba.config.reload_config()


def was_kept(source: machine_code._Source) -> bool:
    """Whether a process that begins now finds what it needs."""
    (made,) = machine_code._make_and_keep([source], None)
    assert made(21) == 42
    return bool(made.stats.cache_hits)


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("broken", [b"", b"no pickle", None], ids=["empty", "random", "halved"])
def test_machine_code_that_cannot_be_read_is_made_once_more_and_kept(
    small_source: machine_code._Source, tmp_path: Path, kind: str, broken: bytes | None
) -> None:
    assert not was_kept(small_source)
    assert was_kept(small_source)
    (file,) = (tmp_path / "kept").rglob(f"*.{kind}")
    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2] if broken is None else broken)
    assert not was_kept(small_source)
    assert was_kept(small_source)
