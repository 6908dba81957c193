"""What pytest-timeout's alarm leaves open, so that a test that waits for ever fails and the next one runs.

Loaded by pyproject.toml. What no alarm can interrupt is ended by a clock of C, with its whole process, a little later.
"""

import faulthandler
import os
import signal
import sys
from collections.abc import Generator
from typing import Any

import pytest
from pytest_timeout import Settings

CLEAN_UP_S = 90.0  # a shared cluster ends one process after the other
AGAIN_S = 20.0
STILL_S = 180.0  # beyond a test's own limit: time for the alarm to be heard
EXIT_S = 60.0

_OUTPUT = pytest.StashKey[int]()
_LOST_WORKER = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Faulthandler's one clock is ours: pytest's use of it ends with the first failure."""
    faulthandler.enable()
    config.stash[_OUTPUT] = os.dup(sys.stderr.fileno())  # before output is captured
    # Its handlers wait in C, with the interpreter's lock, for its threads before each fork, and run on in the child.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Who waits outside Python hears no alarm: its process ends, and says where all its threads are."""
    own = item.get_closest_marker("timeout")
    config = item.config
    limit_s = float((own.args[0] if own else config.getoption("timeout") or config.getini("timeout")) or 0)
    if limit_s:  # 0: somebody looks at it with a debugger
        faulthandler.dump_traceback_later(limit_s + STILL_S, exit=True, file=config.stash[_OUTPUT])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Of pytest-xdist: a worker is gone; why, where it did not end by itself."""
    if error is not None:
        node.config.stash[_LOST_WORKER] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Status 3 where a worker was lost, not 1: it is not only tests that failed, others were not run."""
    if session.config.stash.get(_LOST_WORKER, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under CI, name a failure when it happens: a run that is cut short never comes to its summary."""
    if report.failed and os.environ.get("CI") == "true" and "PYTEST_XDIST_WORKER" not in os.environ:
        said = report.longreprtext.strip().splitlines()[-1:]
        sys.stderr.write(f"\n{report.when} of {report.nodeid} failed: {''.join(said)}\n")


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer() -> Generator[None, object, object]:
    """The alarm rings again until it is heard: an event loop keeps what is raised in one of its tasks for itself."""
    made = yield
    first_s, _ = signal.getitimer(signal.ITIMER_REAL)
    if first_s:
        signal.setitimer(signal.ITIMER_REAL, first_s, AGAIN_S)
    return made


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """The alarm is for tests: what pytest then says of them must not be cut short."""
    try:
        return (yield)
    except BaseException:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise


pytest_runtest_call = pytest_runtest_setup


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """The alarm is taken back when a test fails, for a debugger's sake; its clean-up needs one more than any other."""
    hook = item.config.hook
    hook.pytest_timeout_set_timer(item=item, settings=Settings(CLEAN_UP_S, "signal", False, False))
    try:
        return (yield)
    finally:
        hook.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """The interpreter waits for threads at its end: after a while it ends all the same, and says where they are."""
    faulthandler.dump_traceback_later(EXIT_S, exit=True, file=sys.__stderr__)
