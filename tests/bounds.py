"""What pytest-timeout's alarm leaves open, so that a test that waits for ever fails and the next one runs.

Loaded by pyproject.toml. What no alarm can interrupt is ended by the clock in conftest.py, with its whole process,
a little later.
"""

import faulthandler
import signal
import sys
from collections.abc import Generator

import pytest
from pytest_timeout import Settings

CLEAN_UP_S = 90.0  # a shared cluster ends one process after the other
AGAIN_S = 20.0
EXIT_S = 60.0


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
