"""Keeping firms apart: one user id per firm, and a real try whether that user can reach what it needs.

As root, every task runs as its firm's user. Where that user cannot reach the command or the folder, the
task is refused, unless the operator accepted to run it as the agent's own user. Without root all tasks run
as the agent's user, so the node serves one firm only, with the same exception.
"""

import hashlib
import os
import pwd
import select
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.runtime.launch import DEFAULT_PATH
from agents.runtime.spec import SpecError, TaskSpec

PROBE_PATIENCE_S = 10.0


class FirmBook(Protocol):
    """Where the users of firms are kept for good: the spool."""

    def firms(self) -> dict[str, int | None]:
        """User id by firm; None where its tasks run as the agent's user."""
        ...

    def note_firm(self, firm_id: str, uid: int | None) -> None:
        """Keep one."""
        ...


@dataclass(frozen=True)
class UidRange:
    """User ids for firms, both ends included; no account of the host may lie within."""

    first: int
    last: int


def preferred_uid(firm_id: str, uids: UidRange) -> int:
    """The same on every node, so that files on a shared folder keep their owner."""
    number = int.from_bytes(hashlib.sha256(firm_id.encode("utf-8")).digest()[:8], "big")
    return uids.first + number % (uids.last - uids.first + 1)


@dataclass(frozen=True)
class Needs:
    """What a task must be able to reach. Paths absolute; `make` is a folder to create where it is not."""

    program: str
    path_variable: str
    working_directory: str
    script: str | None
    make: str | None


def needs_of(spec: TaskSpec, working_directory: str, named_checkpoints: str | None) -> Needs:
    """From the task's description; the first argument that is a file is taken for its script."""
    script = next((a for a in spec.command[1:] if a.startswith("/") and os.path.isfile(a)), None)
    return Needs(
        program=spec.command[0],
        path_variable=spec.environment.get("PATH", DEFAULT_PATH),
        working_directory=working_directory,
        script=script,
        make=named_checkpoints,
    )


def obstacle(needs: Needs) -> str:
    """What is out of reach for the calling process, as a phrase; empty where nothing is."""
    closed = closed_folder(needs.working_directory)
    if closed or not os.access(needs.working_directory, os.X_OK):
        return f"cannot enter the working directory {needs.working_directory}{_because(closed)}"
    program = needs.program
    if "/" in program and not program.startswith("/"):
        program = os.path.join(needs.working_directory, program)
    found = shutil.which(program, path=needs.path_variable)
    if found is None:
        target = os.path.realpath(program)
        closed = closed_folder(program) or closed_folder(target)
        where = "" if "/" in program else f" in PATH {needs.path_variable}"
        return f"cannot run {program}{where}{_because(closed) or ': not found or not executable'}"
    if needs.script is not None and not os.access(needs.script, os.R_OK):
        return f"cannot read {needs.script}{_because(closed_folder(needs.script))}"
    if needs.make is not None:
        try:
            os.makedirs(needs.make, mode=0o700, exist_ok=True)
        except OSError as error:
            return f"cannot make the model checkpoint folder {needs.make}: {error.strerror}"
        if not os.access(needs.make, os.W_OK | os.X_OK):
            return f"cannot write to the model checkpoint folder {needs.make}"
    return ""


def closed_folder(path: str) -> str:
    """The first folder on the way to `path` that the caller may not cross; empty where there is none."""
    parts = path.split("/")
    for end in range(2, len(parts)):
        folder = "/".join(parts[:end])
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            return folder
    return ""


def _because(closed: str) -> str:
    return f": the folder {closed} is closed to it" if closed else ""


def as_user(uid: int, question: Callable[[], str]) -> str:
    """The answer that a process of this user gives. Needs root.

    The child makes system calls only and leaves without cleaning up, as is right after a fork of a process
    with threads. A file system that does not answer counts as an obstacle.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "cannot become that user"
        try:
            os.setgroups([uid])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            said = question()
        except OSError as error:
            said = f"{said}: {error.strerror}"
        finally:
            os.write(writing, said.encode("utf-8", "replace")[:4000])
            os._exit(0)
    os.close(writing)
    try:
        if not select.select([reading], [], [], PROBE_PATIENCE_S)[0]:
            os.kill(pid, signal.SIGKILL)
            return f"got no answer from a file system within {PROBE_PATIENCE_S:.0f} seconds"
        return os.read(reading, 4096).decode("utf-8", "replace")
    finally:
        os.close(reading)
        os.waitpid(pid, 0)


class Isolation:
    """Which user a task runs as."""

    def __init__(self, book: FirmBook, uids: UidRange, accept_none: bool, root: bool) -> None:
        self._book = book
        self._uids = uids
        self._accept_none = accept_none
        self.root = root

    def user_of(self, spec: TaskSpec) -> int | None:
        """The firm's user id, made at its first task here; None: the agent's own user. Raises SpecError."""
        firms = self._book.firms()
        if not self.root:
            others = [firm_id for firm_id in firms if firm_id != spec.firm_id]
            if others and not self._accept_none:
                raise SpecError(
                    f"this node's agent does not run as root, so the node serves one firm only, and that is "
                    f"{others[0]}; the operator can start it as root or with --accept-no-isolation"
                )
            if spec.firm_id not in firms:
                self._book.note_firm(spec.firm_id, None)
            return None
        uid = firms.get(spec.firm_id)
        if uid is None:
            uid = self._free_uid(spec.firm_id, firms)
            self._book.note_firm(spec.firm_id, uid)
        return uid

    def _free_uid(self, firm_id: str, firms: Mapping[str, int | None]) -> int:
        taken = set(firms.values())
        size = self._uids.last - self._uids.first + 1
        start = preferred_uid(firm_id, self._uids) - self._uids.first
        for step in range(size):
            uid = self._uids.first + (start + step) % size
            if uid not in taken and not _is_account(uid):
                return uid
        raise SpecError(f"every user id from {self._uids.first} to {self._uids.last} is in use on this node")

    def settle(self, uid: int | None, needs: Needs) -> int | None:
        """Try it for real: the user to run as, or None for the agent's own. Raises SpecError."""
        problem = obstacle(Needs(**{**needs.__dict__, "make": needs.make if uid is None else None}))
        if problem:
            raise SpecError(f"the task {problem}")
        if uid is None:
            return None
        problem = as_user(uid, lambda: obstacle(needs))
        if not problem:
            return uid
        if self._accept_none:
            return None
        raise SpecError(
            f"the firm's user {uid} {problem}; open it to that user, or let the operator start the agent "
            "with --accept-no-isolation"
        )


def _is_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
