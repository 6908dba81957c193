"""Keeping firms apart: one user id per firm, a view of the host of its own per task, and a real try whether
that user can reach what it needs.

As root, every task runs as its firm's user, which the control plane names, so that it is the same on every
node. Where that user cannot reach the command or the folder, the task is refused. Without root all tasks run
as the agent's user, so the node serves one firm only. An operator who accepts to have no isolation gets none,
for every task, and every window says so: a job's author can never choose the agent's user.
"""

import os
import pwd
import select
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.core import separation
from agents.runtime import private_view, volumes
from agents.runtime.launch import DEFAULT_PATH
from agents.runtime.spec import SpecError, TaskSpec
from agents.runtime.task_files import VolumeLaunch

PROBE_PATIENCE_S = 10.0
NO_OBSTACLE = "."  # every answer of a probe begins with it, so that a killed probe is not taken for one
CLOSED = "is closed to it"
LEAST_UID = 1000  # below are the host's own accounts, made or not


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
    """User ids that this node takes for firms, both ends included; no account of the host may lie within."""

    first: int
    last: int


@dataclass(frozen=True)
class Needs:
    """What a task must be able to reach. Paths absolute; `make` is a folder to create where it is not.

    An empty `program` is one of an image: nobody can look for it, or for where it shall work, on the host.
    """

    program: str
    path_variable: str
    working_directory: str
    script: str | None
    make: str | None


def needs_of(spec: TaskSpec, working_directory: str, named_checkpoints: str | None) -> Needs:
    """From the task's description; the first argument that is a file is taken for its script."""
    if spec.image:
        return Needs("", "", "", None, named_checkpoints)
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
    if not needs.program:
        return _cannot_make(needs.make)
    closed = closed_folder(needs.working_directory)
    if closed or not os.access(needs.working_directory, os.X_OK):
        return f"cannot enter the working directory {needs.working_directory}{_because(closed)}"
    program = needs.program
    if "/" in program and not program.startswith("/"):
        program = os.path.join(needs.working_directory, program)
    found = shutil.which(program, path=needs.path_variable)
    if found is None:
        if "/" not in program:
            return f"finds no program {program} in PATH {needs.path_variable}"
        closed = closed_folder(program) or closed_folder(os.path.realpath(program))
        return f"cannot run {program}{_because(closed) or ': not found or not executable'}"
    if needs.script is not None and not os.access(needs.script, os.R_OK):
        return f"cannot read {needs.script}{_because(closed_folder(needs.script))}"
    return _cannot_make(needs.make)


def _cannot_make(folder: str | None) -> str:
    if folder is None:
        return ""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        return f"cannot make the model checkpoint folder {folder}: {error.strerror}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"cannot write to the model checkpoint folder {folder}"
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
    return f": the folder {closed} {CLOSED}" if closed else ""


def as_user(
    uid: int,
    question: Callable[[], str],
    closed_nodes: Sequence[str] | None = None,
    shown: Sequence[VolumeLaunch] = (),
) -> str:
    """The answer that a process of this user gives, in the view that its tasks have. Needs root.

    The child makes system calls only and leaves without cleaning up, as is right after a fork of a process
    with threads. A file system that does not answer counts as an obstacle.
    """

    def ask() -> str:
        if closed_nodes is not None:
            private_view.enter(closed_nodes)
            volumes.place(shown)
        os.setgroups([uid])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return question()

    return in_child(ask)


def in_child(question: Callable[[], str]) -> str:
    """The answer of a forked child, which may give up what we must keep; an OSError is its sentence."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "could not be tried"
        try:
            said = question()
        except OSError as error:
            said = f"could not be tried: {error.strerror or error}"
        finally:
            os.write(writing, (NO_OBSTACLE + said).encode("utf-8", "replace")[:4000])
            os._exit(0)
    os.close(writing)
    try:
        if not select.select([reading], [], [], PROBE_PATIENCE_S)[0]:
            os.kill(pid, signal.SIGKILL)
            return f"got no answer from a file system within {PROBE_PATIENCE_S:.0f} seconds"
        answer = os.read(reading, 4096).decode("utf-8", "replace")
        return answer.removeprefix(NO_OBSTACLE) if answer else "was killed while it was tried"
    finally:
        os.close(reading)
        # One that hangs in a file system dies when that answers: nobody waits for it here.
        threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()


def why_no_private_view(closed_nodes: Sequence[str]) -> str:
    """Why this host gives tasks no view of their own; empty where it does. Tries it in a child."""

    def question() -> str:
        private_view.enter(closed_nodes)
        return ""

    return in_child(question)


class Isolation:
    """Which user a task runs as, and what is claimed of it."""

    def __init__(
        self,
        book: FirmBook,
        uids: UidRange,
        *,
        accept_none: bool,
        root: bool,
        private_view: bool = False,
        nodes_known: bool = False,
    ) -> None:
        """`private_view`: the host gives tasks one. `nodes_known`: every device's nodes are, so that the view
        closes them.
        """
        self._book = book
        self._uids = uids
        self._accept_none = accept_none
        self.root = root
        self.private_view = root and not accept_none and private_view
        self.level = separation.UID
        if accept_none or not root:
            self.level = separation.NONE
        elif self.private_view and nodes_known:
            self.level = separation.NAMESPACE

    @property
    def one_firm(self) -> bool:
        """Whether tasks of one firm only are taken."""
        return not self.root and not self._accept_none

    def firm_served(self) -> str:
        """The firm whose tasks alone are taken; empty before there is one."""
        return next(iter(self._book.firms()), "") if self.one_firm else ""

    def user_of(self, spec: TaskSpec) -> int | None:
        """The firm's user id; None: the agent's own user. Raises SpecError."""
        if self._accept_none:
            return None
        firms = self._book.firms()
        if not self.root:
            others = [firm_id for firm_id in firms if firm_id != spec.firm_id]
            if others:
                raise SpecError(
                    f"this node's agent does not run as root, so the node serves one firm only, and that is "
                    f"{others[0]}; the operator can start it as root or with --accept-no-isolation"
                )
            if spec.firm_id not in firms:
                self._book.note_firm(spec.firm_id, None)
            return None
        self._check_uid(spec)
        holder = next((firm for firm, uid in firms.items() if uid == spec.firm_uid), spec.firm_id)
        if holder != spec.firm_id:
            raise SpecError(
                f"user id {spec.firm_uid}, which the control plane names for firm {spec.firm_id}, is that of "
                f"firm {holder} on this node"
            )
        if firms.get(spec.firm_id) != spec.firm_uid:
            self._book.note_firm(spec.firm_id, spec.firm_uid)
        return spec.firm_uid

    def _check_uid(self, spec: TaskSpec) -> None:
        """A user id from the wire is not trusted: root's, or that of an account, would be somebody else's."""
        first, last = max(self._uids.first, LEAST_UID), self._uids.last
        if not first <= spec.firm_uid <= last:
            raise SpecError(
                f"the control plane names user id {spec.firm_uid} for firm {spec.firm_id}, and this node takes "
                f"{first} to {last} (--firm-uids; SUANLI_FIRM_UIDS of the control plane must lie within)"
            )
        if _is_account(spec.firm_uid):
            raise SpecError(
                f"user id {spec.firm_uid}, which the control plane names for firm {spec.firm_id}, is that of an "
                "account of this host"
            )

    def check_reach(
        self,
        uid: int | None,
        needs: Callable[[], Needs],
        closed_nodes: Sequence[str],
        shown: Sequence[VolumeLaunch] = (),
    ) -> None:
        """Try it for real, as the user that the task will be and in its view. Raises SpecError.

        Nothing is looked at as root: else a job's author could ask for the existence of anybody's files.
        """
        if uid is None:
            problem = obstacle(needs())
            if problem:
                raise SpecError(f"the task {problem}")
            return
        view = closed_nodes if self.private_view else None
        problem = as_user(uid, lambda: obstacle(needs()), view, shown)
        if problem:
            advice = "; open it to that user" if CLOSED in problem else ""
            raise SpecError(f"the firm's user {uid} {problem}{advice}")


def _is_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
