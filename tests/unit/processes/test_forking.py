"""Copies of a process that become programs of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.up.forking import ROOMS

# In a process of its own: there must be one thread.
_STORY = """
import json, os, signal, sys
from scheduler.up.forking import fork, load_shared

load_shared()
lock = open(sys.argv[1], "w")
inherited = os.open("/dev/null", os.O_RDONLY)
signal.signal(signal.SIGTERM, lambda *_: None)

def program():
    named = {int(one): os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")}
    print(json.dumps({
        "argv": sys.argv[1:],
        "environment": dict(os.environ),
        "lock": any(name == sys.argv0 for name in named.values()),
        "kept": inherited in named,
        "session": os.getsid(0) == os.getpid(),
        "stops": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "name": open("/proc/self/comm").read().strip(),
    }))
    sys.exit(7)

sys.argv0 = os.path.realpath(sys.argv[1])
copy = fork(program, ["gateway", "--x"], {"ONLY": "this"}, 1, (inherited,), lambda: None)
assert copy.wait(30) == 7
assert copy.poll() == 7
copy.send_signal(signal.SIGKILL)  # nothing: it has ended, and its number may be another's

def sleeps():
    signal.pause()

copy = fork(sleeps, ["ledger"], {}, None, (), lambda: None)
assert copy.poll() is None
copy.send_signal(signal.SIGKILL)
assert copy.wait(30) == -signal.SIGKILL
"""


def test_a_copy_has_its_own_arguments_environment_session_and_no_descriptors_of_ours(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STORY, tmp_path / "lock"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "argv": ["gateway", "--x"],
        "environment": {"ONLY": "this"},
        "lock": False,
        "kept": True,
        "session": True,
        "stops": True,
        "name": "gateway",
    }


def test_what_copies_share_starts_no_threads_and_loads_nothing_that_does_not_bear_forking() -> None:
    code = (
        "import sys, threading; from scheduler.up.forking import load_shared; load_shared();"
        "print(threading.active_count(), [m for m in ('grpc', 'numpy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["1", "[]\n"]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"controller"}))
def test_who_does_not_plan_loads_no_numpy(room: str) -> None:
    code = f"import sys, {ROOMS[room]}; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
