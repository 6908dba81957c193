"""A process of the control plane as a copy of this one, which has loaded what they all load.

Loading it anew takes each of them about as long as the rest of its start, and memory that copies share.
Only for the first start: who is started again later may come from newer files, and is a program of its own.
"""

import gc
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

_SHARED: Final = (
    "scheduler.storage.engine",
    "scheduler.storage.pokes",
    "scheduler.storage.tables",
    "scheduler.domain.authorise",
    "scheduler.wiring",
    "suanli.evidence.records",
)
# What each of them loads beside that.
ROOMS: Final[Mapping[str, str]] = {
    "api": "scheduler.api.server",
    "controller": "scheduler.controller.loop",
    "gateway": "scheduler.rpc.server",
    "ledger": "scheduler.ledger.loop",
}
_WAIT_S: Final = 0.02
Program = Callable[[], None]  # reads its arguments and its environment as if it had been started


def load_shared() -> None:
    """Load what every process of the control plane loads, and nothing that starts threads. Cheap the second time."""
    gc.disable()  # it would walk all that is loaded, again and again, and find nothing
    for name in _SHARED:
        import_module(name)
    import_module("scheduler.catalogue").load_catalogue()
    gc.freeze()  # so that copies share these pages: the collector writes into what it looks at
    gc.enable()


class Gate:
    """Copies load their rooms before it and wait until it is opened: that takes as long as a database that recovers.

    It opens twice: for who faces people, and, once that serves, for the others, whose start would take its processor.
    Who has no processor of its own, in the order of ROOMS, loads its room then, too.
    """

    def __init__(self) -> None:
        self._pipes = (os.pipe(), os.pipe())
        self._at_once = list(ROOMS.values())[: len(os.sched_getaffinity(0))]

    def open(self, *, first: bool) -> None:
        """Let those go on who are first, or the others."""
        for end in self._pipes[not first]:
            os.close(end)

    def arrive(self, room: str | None, *, first: bool) -> None:
        """In the copy. Whoever made it ends it, should the gate never open."""
        for _, write in self._pipes:
            os.close(write)
        opened = self._pipes[not first][0]
        if room not in self._at_once:
            os.read(opened, 1)  # the end of the pipe: nobody writes
        if room is not None:
            gc.disable()  # until it serves: what is loaded now stays
            import_module(room)
        os.read(opened, 1)


class Copy:
    """A forked process, as far as `subprocess.Popen` is used of one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same when it has ended. Raises subprocess.TimeoutExpired."""
        until_s = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if until_s is not None and timeout is not None and time.monotonic() > until_s:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_WAIT_S)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing for one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def fork(
    program: Program,
    arguments: list[str],
    environment: Mapping[str, str],
    output: int | None,
    keep: Collection[int],
    before: Callable[[], None],
) -> Copy:
    """The program with these arguments in a session of its own, with these descriptors and no others.

    `output`: a descriptor for what it writes, else it writes where we do. `before` runs in it first.
    There must be one thread.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(program, arguments, environment, output, keep, before)
    return Copy(pid)


def run_copy(
    program: Program,
    arguments: list[str],
    environment: Mapping[str, str],
    output: int,
    before: Callable[[], None],
) -> int:
    """Such a process until it has ended; its exit status. It is killed where we are interrupted."""
    copy = fork(program, arguments, environment, output, (), before)
    try:
        return copy.wait()
    except BaseException:
        copy.send_signal(signal.SIGKILL)
        copy.wait()
        raise


def _become(
    program: Program,
    arguments: list[str],
    environment: Mapping[str, str],
    output: int | None,
    keep: Collection[int],
    before: Callable[[], None],
) -> NoReturn:
    """In the copy. Nothing of what it was a copy of is ever returned to."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        before()
        _leave_descriptors(output, keep)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [sys.argv[0], *arguments]
        with suppress(OSError):  # how `top` calls it; its command line stays ours
            Path("/proc/self/comm").write_text(arguments[0], encoding="utf-8")
        program()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the outermost frame of a process
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _leave_descriptors(output: int | None, keep: Collection[int]) -> None:
    """Ours are replaced rather than closed: objects that still know their numbers may close them later."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor > 2 and descriptor not in keep:
            try:
                os.dup2(nothing, descriptor, inheritable=False)
            except OSError:  # that of the listing itself
                continue
