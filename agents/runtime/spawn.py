"""Starting one process of a task by hand: fork, own process group, other user, exec. Standard library only.

Done by hand instead of by `subprocess` because the shim must start in milliseconds and because the order
of the steps in the child is the point: limits while still privileged, then the user, then the folder.
"""

import ctypes
import fcntl
import os
import resource
import signal
import sys
import termios

from agents.runtime.task_files import ProcessLaunch

PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
OOM_SCORE = b"500"  # the kernel takes a task before it takes the agent or a shim
NOT_FOUND = 127
NOT_EXECUTABLE = 126

_libc = ctypes.CDLL(None, use_errno=True)


class SpawnError(Exception):
    """A process could not be started; `exit_code` is what a shell would give."""

    def __init__(self, exit_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def spawn_in_terminal(process: ProcessLaunch, terminal: int, uid: int | None, gid: int | None) -> int:
    """Start the process as the leader of a session with this terminal; its pid once its program has replaced us.

    Raises SpawnError with a sentence for the researcher.
    """
    return _spawn(process, [terminal] * 3, uid, gid, terminal=True)


def spawn(process: ProcessLaunch, uid: int | None, gid: int | None) -> int:
    """Start the process and return its pid once its program has replaced us.

    Raises SpawnError with a sentence for the researcher where it could not be started, OSError where its
    output files could not be opened (full disk, ...).
    """
    return _spawn_into_files(process, uid, gid, owner=(uid, gid))


def spawn_runtime(process: ProcessLaunch, owner: int | None) -> int:
    """As `spawn`, but as ourselves; the output files are the user's whom the process will start."""
    return _spawn_into_files(process, None, None, owner=(owner, owner))


def _spawn_into_files(
    process: ProcessLaunch, uid: int | None, gid: int | None, owner: tuple[int | None, int | None]
) -> int:
    opened = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]
    try:
        opened += [_open_output(process[stream], *owner) for stream in ("stdout", "stderr")]
        return _spawn(process, opened, uid, gid, terminal=False)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _spawn(
    process: ProcessLaunch, descriptors: list[int], uid: int | None, gid: int | None, *, terminal: bool
) -> int:
    """`descriptors` become 0, 1 and 2."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(process, descriptors, uid, gid, writing, terminal)  # never returns
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()  # ends by itself when exec closes the other end
    if not said:
        return pid
    os.waitpid(pid, 0)
    code, _, sentence = said.decode("utf-8", "replace").partition(" ")
    raise SpawnError(int(code), sentence)


def _open_output(path: str, uid: int | None, gid: int | None) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if uid is not None and gid is not None:
        os.fchown(descriptor, uid, gid)  # so that a job may open its own /dev/stdout
    return descriptor


def _child(
    process: ProcessLaunch,
    descriptors: list[int],
    uid: int | None,
    gid: int | None,
    failed: int,
    terminal: bool,
) -> None:
    step = "start the process"
    code = NOT_EXECUTABLE
    program = process["command"][0]
    try:
        if terminal:
            os.setsid()
            fcntl.ioctl(descriptors[0], termios.TIOCSCTTY, 0)
        else:
            os.setpgid(0, 0)
        for target, source in enumerate(descriptors):
            os.dup2(source, target, inheritable=True)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(OOM_SCORE)
        os.umask(0o022)
        if uid is not None and gid is not None:
            step = f"become user {uid}"
            os.setgroups([gid])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        step = f"enter the working directory {process['working_directory']}"
        os.chdir(process["working_directory"])
        step = f"run {program}"
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvpe(program, process["command"], process["environment"])  # noqa: S606 - what a job asks for
    except FileNotFoundError as error:
        code = NOT_FOUND if step.startswith("run ") else NOT_EXECUTABLE
        os.write(failed, f"{code} cannot {step}: {error.strerror}".encode())
    except (OSError, ValueError) as error:
        os.write(failed, f"{code} cannot {step}: {getattr(error, 'strerror', None) or error}".encode())
    finally:
        sys.stderr.flush()
        os._exit(code)
