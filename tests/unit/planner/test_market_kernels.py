"""A market shares out alike as plain Python and as machine code, and as it always has."""

import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, random, sys
import numpy as np
from scheduler import machine_code
from scheduler.planner import market_kernels
from scheduler.planner.assignment import assign

if sys.argv[1] == "compiled":
    import numba

    machine_code.compile_all()
    code, (types,) = market_kernels.share_out, machine_code._made[-1].signatures

    def checked(*arguments):  # what was made ahead is what is called
        assert tuple(map(numba.typeof, arguments)) == types
        return code(*arguments)

    market_kernels.share_out = checked
WORTH = {
    "whole": lambda draw: float(draw.randint(-1, 4)),
    "tenths": lambda draw: draw.randint(0, 10) / 10,
    "any": lambda draw: draw.random(),
    "one": lambda draw: 1.0,
    "nothing": lambda draw: 0.0,
}
draw = random.Random(7)
for kind, worth in WORTH.items():
    answers, placed = hashlib.sha256(), 0
    for _ in range(120):
        jobs, models = draw.choice([1, 2, 5, 20, 60]), draw.choice([1, 2, 3, 5])
        sizes = draw.choice([[1], [1, 2, 4, 8], [1, 1, 8, 512], [3, 5]])
        most = draw.choice([0, 4, 40, 400])
        devices = np.array([draw.choice(sizes) for _ in range(jobs)], dtype=float)
        rows = [[worth(draw) for _ in range(models)] for _ in range(jobs)]
        values = np.array(rows, order=draw.choice("CF")) * (devices[:, None] if draw.random() < 0.5 else 1)
        capacity = np.array([draw.randint(0, most) for _ in range(models)], dtype=float)
        before = capacity.copy()
        chosen = assign(values, devices, capacity)
        assert (capacity == before).all()
        answers.update(chosen.astype(np.int64).tobytes())
        placed += int((chosen >= 0).sum())
    print(kind, placed, answers.hexdigest()[:16])
"""
# Kind of values, jobs that have a place, digest of all places. Whoever changes them measures what it does to plans.
ALWAYS = [
    "whole 766 0851a65aed4ba7ab",
    "tenths 940 42d7d72f95684da2",
    "any 857 60d30e9962c16d95",
    "one 902 ab5f8ba2da1685a8",
    "nothing 0 ff06713eb3d8091b",
]


def answers(how: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


def test_jobs_are_shared_out_as_they_always_were() -> None:
    assert answers("plain") == ALWAYS


@pytest.mark.timeout(400)  # the first run on a machine compiles
def test_machine_code_shares_out_like_plain_python() -> None:
    assert answers("compiled") == ALWAYS
