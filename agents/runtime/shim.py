"""The shim of one task: starts its processes, counts what they use, ends them, keeps their exit code.

    python -m agents.runtime.shim TASK_FOLDER [READY_FD]

It belongs to nobody: an agent may die and come back and finds the same shim. It is the subreaper of all
that its processes start, so that nothing can leave the tree. It imports the standard library only, and
little of that, to be running within milliseconds. One byte on READY_FD says that state.json is there.
"""

import base64
import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable

if not __package__:  # run by path, without site packages, to start faster
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from agents.runtime import private_view, proc_tree, shim_container, spawn, task_files, volumes
from agents.runtime.account import Account
from agents.runtime.shim_terminals import Terminals
from agents.runtime.task_files import Launch, ProcessLaunch, ProcessState, Secrets, ShimState

LEFTOVER_GRACE_MS = 5_000  # what outlives the task's own processes gets no more than this
KILL_PASS_S = 0.02
SAVE_AGAIN_S = 1.0
ALREADY_STARTED = 75
WOKEN_BY = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def now_ms() -> int:
    """Wall clock, milliseconds UTC."""
    return time.time_ns() // 1_000_000


def say(sentence: str) -> None:
    """To shim.log, which the agent made our standard error; where even that fails nobody is left to tell."""
    with contextlib.suppress(OSError):
        os.write(2, sentence.encode("utf-8", "backslashreplace") + b"\n")


def exit_code_of(status: int) -> int:
    """A wait status as a shell would give it: 128 + n after signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Shim:
    """One task from its start to the end of its last process."""

    def __init__(self, folder: str, launch: Launch) -> None:
        self.folder = folder
        self.launch = launch
        self.container = launch.get("container")
        own = proc_tree.read_stat(os.getpid())
        self.state: ShimState = {
            "boot_id": proc_tree.boot_id(),
            "shim_pid": os.getpid(),
            "shim_start_ticks": own.start_ticks if own else 0,
            "phase": "running",
            "started_ms": now_ms(),
            "processes": [],
            "terminals": [],
            "ended_ms": None,
            "exit_code": None,
            "end_reason": "",
            "detail": "",
        }
        self.roots: dict[int, ProcessState] = {}
        self.terminals = Terminals(folder, launch)
        self.account = Account(os.path.join(folder, task_files.ACCOUNT), launch["account_ms"])
        self.out_of_memory_kills = proc_tree.out_of_memory_kills()
        self.deadline_ms: int | None = None  # when what still lives is killed; None: nothing is being ended
        self.leftovers_asked = False
        self.unsaved = False

    def start(self) -> None:
        """Start every process; the first that cannot be started ends the task.

        A task that was promised a view of its own does not run without it.
        """
        umask = os.umask(
            0o022
        )  # what lies in the view, its user passes through: whatever the agent's own umask is
        try:
            self._enter_view()
        except OSError as error:
            self._failed(0, spawn.NOT_EXECUTABLE, f"cannot be kept apart from others: {error.strerror}")
            return
        finally:
            os.umask(umask)
        for process in self.launch["processes"]:
            try:
                pid = self._spawn(process)
            except spawn.SpawnError as error:
                self._failed(process["local_rank"], error.exit_code, str(error))
                return
            except OSError as error:
                self._failed(
                    process["local_rank"], spawn.NOT_EXECUTABLE, f"cannot keep its output: {error.strerror}"
                )
                return
            stat = proc_tree.read_stat(pid)
            root: ProcessState = {
                "local_rank": process["local_rank"],
                "pid": pid,
                "start_ticks": stat.start_ticks if stat else 0,
                "ended_ms": None,
                "exit_code": None,
            }
            self.roots[pid] = root
            self.state["processes"].append(root)

    def _spawn(self, process: ProcessLaunch) -> int:
        if self.container is None:
            return spawn.spawn(process, self.launch["uid"], self.launch["gid"])
        # The runtime makes the job's process the task's user; it needs to be root until then.
        return spawn.spawn_runtime(
            shim_container.in_container(self.folder, self.container, process), self.launch["uid"]
        )

    def _enter_view(self) -> None:
        closed_nodes = self.launch["closed_nodes"]
        if closed_nodes is not None:
            private_view.enter(closed_nodes)
            self._name_user()
        if self.launch.get("volumes"):
            if closed_nodes is None:
                raise PermissionError(errno.EPERM, "a volume wants a view of the task's own")
            volumes.place(self.launch["volumes"])
        if self.launch.get("secrets"):
            self._take_secrets()
        if self.container is not None:
            if closed_nodes is None:
                raise PermissionError(errno.EPERM, "an image wants a view of the task's own")
            shim_container.open_bundles(self.folder, self.launch, self.container)

    def _name_user(self) -> None:
        """An image has its own list of accounts, and what runs as the agent's user has a name."""
        uid, gid = self.launch["uid"], self.launch["gid"]
        if self.container is None and uid is not None and gid is not None:
            home = self.launch["processes"][0]["environment"]["HOME"]
            private_view.name_user(task_files.USER_NAME, uid, gid, home)

    def _take_secrets(self) -> None:
        """From standard input into the processes' environment and view; nothing of them is ever on a disk."""
        with open(0, "rb") as given:
            secrets: Secrets = json.loads(given.read())
        os.open("/dev/null", os.O_RDONLY)  # is 0 now
        files = {path: base64.b64decode(value) for path, value in secrets["files"].items()}
        if files and self.launch["closed_nodes"] is None:
            raise PermissionError(errno.EPERM, "a secret's file wants a view of the task's own")
        private_view.place_secrets(files, self.launch["uid"])
        variables = {name: os.fsdecode(base64.b64decode(v)) for name, v in secrets["environment"].items()}
        if self.container is not None:
            read = tuple(self.container["read"])
            variables = {name: value for name, value in variables.items() if not name.startswith(read)}
        for process in self.launch["processes"]:
            process["environment"] = {**variables, **process["environment"]}

    def run(self) -> None:
        """Until nothing of the task is left."""
        while True:
            self._reap()
            self._look_for_stop_request()
            if self.terminals.start(self.deadline_ms is not None):
                self.save()
            tree = self._live_tree()
            self.account.due(tree, self._root_ranks(), self._live_ranks())
            if not tree:
                break
            self._press_on(tree)
            self._wait()
            if self.unsaved:
                self.save()
        self._finish()

    def save(self, durable: bool = False) -> None:
        """Show the agent what is known; where the disk is full, later."""
        try:
            self.state["terminals"] = self.terminals.states
            task_files.write_json(os.path.join(self.folder, task_files.STATE), self.state, durable)
        except OSError as error:
            self.unsaved = True
            say(f"{self.folder}: cannot write {task_files.STATE}: {error.strerror}")
        else:
            self.unsaved = False

    def _root_ranks(self) -> dict[int, int]:
        return {pid: root["local_rank"] for pid, root in self.roots.items()} | self.terminals.ranks()

    def _live_ranks(self) -> set[int]:
        return {root["local_rank"] for root in self.roots.values() if root["ended_ms"] is None}

    def _live_tree(self) -> list[proc_tree.ProcessStat]:
        return proc_tree.descendants(proc_tree.scan(), os.getpid())

    def _reap(self) -> None:
        changed = False
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self.account.reaped(pid, int((used.ru_utime + used.ru_stime) * 1000), self._root_ranks())
            root = self.roots.get(pid)
            if root is None:
                changed = self.terminals.reaped(pid, exit_code_of(status)) or changed
                continue
            root["ended_ms"] = now_ms()
            root["exit_code"] = code = exit_code_of(status)
            changed = True
            if code != 0:
                self._failed(root["local_rank"], code, self._sentence(root["local_rank"], code))
        if changed:
            self.save()

    def _sentence(self, local_rank: int, code: int) -> str:
        if code <= 128:
            return f"process {local_rank} ended with exit code {code}"
        name = signal.Signals(code - 128).name if code - 128 in signal.valid_signals() else str(code - 128)
        if code - 128 == signal.SIGKILL and self._memory_ran_out():
            return f"process {local_rank} was killed because the host's memory ran out"
        return f"process {local_rank} was ended by signal {name}"

    def _memory_ran_out(self) -> bool:
        return self.deadline_ms is None and proc_tree.out_of_memory_kills() > self.out_of_memory_kills

    def _failed(self, local_rank: int, code: int, sentence: str) -> None:
        """The first failure is the task's exit code; as torchrun does, the other processes are ended too."""
        if self.state["exit_code"] is not None:
            return
        self.state["exit_code"] = code
        if self.state["end_reason"] == "":
            out_of_memory = code == 128 + signal.SIGKILL and self._memory_ran_out()
            self.state["end_reason"] = "out_of_memory" if out_of_memory else "exited"
            self.state["detail"] = sentence if "process" in sentence else f"process {local_rank}: {sentence}"
            self._begin_end(self.launch["grace_ms"])

    def _look_for_stop_request(self) -> None:
        if self.state["end_reason"] == "" and os.path.exists(os.path.join(self.folder, task_files.STOP)):
            self._stop_requested()

    def _stop_requested(self) -> None:
        if self.state["end_reason"] == "":
            self.state["end_reason"] = "stopped"
            self._begin_end(self.launch["grace_ms"])

    def _begin_end(self, grace_ms: int) -> None:
        if self.deadline_ms is None:
            self.deadline_ms = self._clock_ms() + grace_ms
            self.state["phase"] = "stopping"
            self.save()
            for group in self._asked(self._live_tree()):
                self._signal(os.killpg, group, signal.Signals[self.launch["stop_signal"]])

    def _asked(self, tree: list[proc_tree.ProcessStat]) -> set[int]:
        """The process groups that are asked to end: those of the job's own processes, not an OCI runtime's."""
        if self.container is None:
            return {stat.group for stat in tree if stat.group in self.roots}
        return {stat.group for stat in tree if stat.parent in self.roots} - set(self.roots)

    def _press_on(self, tree: list[proc_tree.ProcessStat]) -> None:
        """Further on the way from request to kill."""
        if not self._live_ranks() and not self.leftovers_asked:
            self.leftovers_asked = True
            if self.deadline_ms is None:
                self.deadline_ms = self._clock_ms() + min(self.launch["grace_ms"], LEFTOVER_GRACE_MS)
            for stat in tree:
                self._signal(os.kill, stat.pid, signal.SIGTERM)
            for pid in self.terminals.ranks():  # a shell does not mind SIGTERM
                self._signal(os.kill, pid, signal.SIGHUP)
        if self.deadline_ms is not None and self._clock_ms() >= self.deadline_ms:
            for stat in tree:
                self._signal(os.kill, stat.pid, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], target: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was faster
            send(target, number)

    def _clock_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def _wait(self) -> None:
        seconds = self.account.seconds_to_next()
        if self.deadline_ms is not None:
            left_s = (self.deadline_ms - self._clock_ms()) / 1000
            seconds = min(seconds, max(left_s, KILL_PASS_S))
        woken = signal.sigtimedwait(WOKEN_BY, seconds)
        if woken is not None and woken.si_signo == signal.SIGTERM:
            self._stop_requested()
        self.terminals.asked = woken is not None and woken.si_signo == signal.SIGHUP

    def _finish(self) -> None:
        self.account.write(self._root_ranks(), set(), [])
        ends = [root["ended_ms"] for root in self.roots.values() if root["ended_ms"] is not None]
        self.state["phase"] = "ended"
        self.state["ended_ms"] = max(ends, default=now_ms())
        self.state["exit_code"] = self.state["exit_code"] or 0
        self.state["end_reason"] = self.state["end_reason"] or "exited"
        self.save(durable=True)
        while self.unsaved:  # an exit code is not lost to a full disk
            time.sleep(SAVE_AGAIN_S)
            self.save(durable=True)


def main(arguments: list[str]) -> int:
    """Run the task of the folder. 75: a shim has started it before."""
    folder = arguments[0]
    try:
        lock = os.open(os.path.join(folder, task_files.LOCK), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        say(f"{folder}: a shim has started this task before")
        return ALREADY_STARTED
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.getsid(0) != os.getpid():
        os.setsid()
    spawn.prctl(spawn.PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, WOKEN_BY)
    for descriptor in map(int, arguments[1:]):
        os.set_inheritable(descriptor, False)  # no process of the task gets hold of the agent's pipe
    launch = task_files.read_json(os.path.join(folder, task_files.LAUNCH))
    if launch is None:
        say(f"{folder}: there is no {task_files.LAUNCH}")
        return 2
    shim = Shim(folder, launch)
    shim.save()
    shim.start()
    shim.save()
    if len(arguments) > 1:
        os.write(int(arguments[1]), b"1")
        os.close(int(arguments[1]))
    shim.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
