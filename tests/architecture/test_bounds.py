"""A run of tests ends, whatever waits in it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT

CONFTEST = """
from tests import bounds
bounds.CLEAN_UP_S = bounds.AGAIN_S = 0.3
bounds.STILL_S = 1
"""
ENDS_SOON = CONFTEST + "bounds.EXIT_S = 1\n"
# Each of them waits for ever where pytest-timeout alone stands guard.
TESTS = """
import asyncio, threading, time
import pytest

@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

def test_a_test_that_fails_takes_the_alarm_from_its_clean_up(stuck):
    raise AssertionError

def test_another_task_of_the_loop_is_struck_by_the_alarm():
    async def busy():
        until_s = time.monotonic() + 0.7
        while time.monotonic() < until_s:
            pass

    async def wait():
        working = asyncio.create_task(busy())
        await asyncio.Event().wait()

    asyncio.run(wait())

def test_a_thread_outlives_the_run():
    threading.Thread(target=threading.Event().wait).start()
"""


# No alarm comes through, and no other thread: the lock of the interpreter is held.
STANDS_STILL = """
import ctypes

def test_a_lock_outside_python():
    c, lock = ctypes.PyDLL(None), (ctypes.c_char * 64)()
    c.pthread_mutex_lock(lock)
    c.pthread_mutex_lock(lock)
"""


def run(folder: Path, conftest: str, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_waiting.py").write_text(tests)
    plugins = [word for name in ("pytest_timeout", "tests.bounds") for word in ("-p", name)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments, "--timeout=0.5", "-q", "-c", "/dev/null",
         "--rootdir", folder, folder / "test_waiting.py"],
        cwd=ROOT, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_what_waits_for_ever_is_cut_short(tmp_path: Path) -> None:
    done = run(tmp_path, ENDS_SOON, TESTS)
    assert "2 failed, 1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "Timeout (0:00:01)!" in done.stderr


def test_a_worker_that_stands_still_ends_the_run_and_says_where(tmp_path: Path) -> None:
    done = run(tmp_path, CONFTEST, STANDS_STILL, "-p", "xdist.plugin", "-n", "1", "--max-worker-restart", "0")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "in test_a_lock_outside_python" in done.stderr
