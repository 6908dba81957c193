"""Carries out what the machine asks for: prepares, launches, stops and forgets tasks, and watches them."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path

from agents import outputs
from agents.content import Content
from agents.core.messages import (
    Adopted,
    CancelPrepare,
    Forget,
    Instruction,
    Launch,
    Launched,
    LaunchFailed,
    Message,
    Prepare,
    Prepared,
    PrepareFailed,
    Preparing,
    Release,
    StepReported,
    Stop,
    Stopping,
)
from agents.core.readings import TaskUse
from agents.core.separation import NONE, UID, weakest
from agents.core.tasks import EndReason, Phase
from agents.ending import end_of
from agents.launcher import Launcher
from agents.live_task import FetchRefused, Live, process_ids
from agents.log_upload import LogUpload
from agents.preparing import prepare_beside
from agents.refusals import SpoolFull
from agents.results import Results
from agents.runtime import process, task_files
from agents.runtime.file_watch import IN_CLOSE_WRITE, IN_CREATE, IN_MODIFY, IN_MOVED_TO, FileWatch
from agents.runtime.image_names import ImageError
from agents.runtime.prepare import Preparer, read_spec, remove_or_say
from agents.runtime.spec import SpecError, TaskSpec
from agents.runtime.step_report import parse_step_report
from agents.runtime.task_files import ShimState
from agents.runtime.use import UseReader
from agents.spool import Spool
from agents.stores import Say, StoreRefused
from agents.workers import Workers

FORGOTTEN = "forgotten"
STEP_REPORT_GAP_S = 0.5

_log = logging.getLogger("agents.tasks")


class TaskRunner:
    """The tasks on this host. `tell` takes every message to the machine."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        tasks: Path,
        preparer: Preparer,
        launcher: Launcher,
        spool: Spool,
        logs: LogUpload,
        results: Results,
        content: Content,
        *,
        fetch: Callable[[str], Awaitable[TaskSpec]],
        tell: Callable[[Message], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._tasks = tasks
        self._preparer = preparer
        self._launcher = launcher
        self._spool = spool
        self._logs = logs
        self._results = results
        self._content = content
        self._fetch = fetch
        self._tell = tell
        self._now_ms = now_ms
        self._watch = FileWatch()
        self._workers = Workers()
        self.live: dict[str, Live] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        logs.delivered = results.delivered = self._remove_if_forgotten

    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do it; what comes of it is told later. Once the agent ends, nothing more is begun."""
        match instruction:
            case Prepare() | Launch() if self._closing:
                _log.info("task %s is not begun: the agent ends", instruction.allocation_id)
            case Prepare(allocation_id):
                self._start(allocation_id, self._prepare(allocation_id))
            case CancelPrepare(allocation_id):
                self._cancel(allocation_id)
            case Launch():
                self._start(instruction.allocation_id, self._launch(instruction))
            case Stop(allocation_id, reason):
                self._stop(allocation_id, reason)
            case Release(allocation_id):
                self._release(allocation_id)
            case Forget(allocation_id):
                self._forget(allocation_id)

    def _start(self, allocation_id: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=allocation_id)
        self._work[allocation_id] = task
        task.add_done_callback(lambda done: self._worked(allocation_id, done))

    def _worked(self, allocation_id: str, done: asyncio.Task[None]) -> None:
        if self._work.get(allocation_id) is done:
            del self._work[allocation_id]
        if done.cancelled():
            # Told from here: work cancelled before its first step cannot. A later phase is not moved by it.
            self._tell(PrepareFailed(allocation_id, self._now_ms(), "stopped before it was prepared"))
        elif (error := done.exception()) is not None:
            _log.error("task %s: %s", allocation_id, error, exc_info=error)
            sentence = f"the node's agent failed: {type(error).__name__}"
            # Whichever fits the task's phase counts; the machine ignores the other.
            self._tell(PrepareFailed(allocation_id, self._now_ms(), sentence))
            self._tell(LaunchFailed(allocation_id, self._now_ms(), sentence))

    # --- prepare ---------------------------------------------------------------------------------------

    async def _prepare(self, allocation_id: str) -> None:
        try:
            spec = await self._fetch(allocation_id)
            say = self._say(allocation_id)
            preparation = await prepare_beside(self._workers, self._preparer, spec, self._content, say)
        except StoreRefused as error:
            reason = EndReason.STORE_REFUSED
            self._tell(PrepareFailed(allocation_id, self._now_ms(), str(error), reason))
        except (SpecError, FetchRefused) as error:
            reason = EndReason.IMAGE_FAILED if isinstance(error, ImageError) else EndReason.PREPARE_FAILED
            self._tell(PrepareFailed(allocation_id, self._now_ms(), str(error), reason))
        except SpoolFull as error:
            sentence = f"the node cannot keep its records: {error}"
            self._tell(PrepareFailed(allocation_id, self._now_ms(), sentence))
        except OSError as error:
            sentence = f"the node cannot prepare the task: {error.strerror}"
            self._tell(PrepareFailed(allocation_id, self._now_ms(), sentence))
        else:
            # What opened registry and stores is not needed any more.
            preparation.spec = spec.without_keys()
            self.live[allocation_id] = Live(
                preparation.spec, preparation.folder, preparation.uid, preparation.isolation, preparation
            )
            digest = preparation.image.digest if preparation.image else ""
            self._tell(Prepared(allocation_id, spec.devices, preparation.port, spec.share_ppm, digest))

    def _say(self, allocation_id: str) -> Say:
        """Tells, from whatever thread, how far files on their way are."""
        loop = asyncio.get_running_loop()

        def say(sentence: str) -> None:
            loop.call_soon_threadsafe(self._tell, Preparing(allocation_id, sentence))

        return say

    def _cancel(self, allocation_id: str) -> None:
        work = self._work.get(allocation_id)
        if work is not None:
            work.cancel()

    def _release(self, allocation_id: str) -> None:
        live = self.live.get(allocation_id)
        if live is not None and live.preparation is not None:
            live.preparation.release()

    # --- launch ----------------------------------------------------------------------------------------

    async def _launch(self, instruction: Launch) -> None:
        allocation_id = instruction.allocation_id
        live = self.live[allocation_id]
        if live.preparation is None:
            raise RuntimeError(f"allocation {allocation_id} was to be launched without having been prepared")
        try:
            self._spool.note_launch(allocation_id, self._now_ms())
            launch = self._launcher.launch_file(live.preparation, instruction)
            live.shim, live.state = await process.launch(live.preparation, launch)
        except (SpoolFull, process.LaunchError) as error:
            live.preparation.release()
            await self._launcher.clear(live.folder, process.read_state(live.folder))
            self._tell(LaunchFailed(allocation_id, self._now_ms(), str(error)))
            return
        live.use = UseReader(live.folder, live.state)
        self._tell(self._launched(live, live.state))
        self._look_after(live, live.state)

    def _launched(self, live: Live, state: ShimState) -> Launched:
        return Launched(live.spec.allocation_id, state["started_ms"], process_ids(state))

    def _look_after(self, live: Live, state: ShimState) -> None:
        """Watch the shim, the state, the step report and the output of a running task."""
        allocation_id = live.spec.allocation_id
        self._logs.follow(allocation_id, live.folder / task_files.OUTPUT, live.spec.processes)
        try:
            live.pidfd = os.pidfd_open(state["shim_pid"])
        except ProcessLookupError:
            self._start(allocation_id, self._shim_ended(live))
            return
        asyncio.get_running_loop().add_reader(live.pidfd, self._shim_gone, allocation_id)
        if not process.shim_lives(state):  # another process had its pid before we held on to it
            self._shim_gone(allocation_id)
            return
        live.watches = [
            self._watch.add(live.folder, IN_MOVED_TO, lambda: self._state_changed(allocation_id)),
            self._watch.add(
                live.folder / task_files.REPORT,
                IN_MOVED_TO | IN_CLOSE_WRITE,
                lambda: self._step_soon(allocation_id),
            ),
            self._watch.add(
                live.folder / task_files.OUTPUT, IN_MODIFY | IN_CREATE, lambda: self._logs.poke(allocation_id)
            ),
        ]
        self._state_changed(allocation_id)
        self._step_soon(allocation_id)
        self._logs.poke(allocation_id)

    def look(self) -> None:
        """Look at every running task, for the case that a change went unnoticed."""
        for allocation_id, live in list(self.live.items()):
            if live.pidfd is not None:
                self._state_changed(allocation_id)
                self._step_soon(allocation_id)
        self._logs.poke_all()

    def _state_changed(self, allocation_id: str) -> None:
        live = self.live.get(allocation_id)
        if live is None or (state := process.read_state(live.folder)) is None:
            return
        live.state = state
        if live.use is not None:
            live.use.state = state
        if state["phase"] == "stopping":
            self._tell(Stopping(allocation_id))

    def _step_soon(self, allocation_id: str) -> None:
        live = self.live.get(allocation_id)
        if live is not None and live.step_timer is None:
            self._read_step(live)
            later = asyncio.get_running_loop().call_later
            live.step_timer = later(STEP_REPORT_GAP_S, self._step_again, live)

    def _step_again(self, live: Live) -> None:
        live.step_timer = None
        self._read_step(live)

    def _read_step(self, live: Live) -> None:
        report = parse_step_report(process.read_step_report(live.folder))
        if report is not None:
            self._tell(StepReported(live.spec.allocation_id, report))

    # --- end -------------------------------------------------------------------------------------------

    def _stop(self, allocation_id: str, reason: str) -> None:
        live = self.live[allocation_id]
        live.stop_moving.set()
        if live.state is not None:
            process.request_stop(live.folder, live.state, reason)

    def _shim_gone(self, allocation_id: str) -> None:
        live = self.live[allocation_id]
        if live.pidfd is not None:
            asyncio.get_running_loop().remove_reader(live.pidfd)
            os.close(live.pidfd)
            live.pidfd = None
            live.over.set()
            self._start(allocation_id, self._shim_ended(live))

    async def _shim_ended(self, live: Live) -> None:
        """Exit code and reason are the shim's word; a shim without a word was lost, and its task with it."""
        if live.shim is not None:
            await asyncio.to_thread(live.shim.wait)
        if live.step_timer is not None:
            live.step_timer.cancel()
        self._read_step(live)
        for token in live.watches:
            self._watch.remove(token)
        live.watches = []
        state = process.read_state(live.folder)
        if state is None or state["phase"] != "ended":
            await self._launcher.clear(live.folder, state)
        live.state = state
        if live.use is not None and state is not None:
            live.use.state = state
        # In a thread: it may read megabytes, and metering must not wait.
        ended = await asyncio.to_thread(end_of, live, state, self._now_ms())
        say = self._say(live.spec.allocation_id)
        self._tell(await outputs.settle(live, ended, self._fetch, say, self._workers))
        self._logs.ended(live.spec.allocation_id)
        self._results.collect(live)

    def _forget(self, allocation_id: str) -> None:
        live = self.live.pop(allocation_id, None)
        folder = self._tasks / allocation_id if live is None else live.folder
        if live is not None and live.step_timer is not None:
            live.step_timer.cancel()
        if folder.is_dir():
            with suppress(OSError):  # full disk: found again, and forgotten again, after a restart
                (folder / FORGOTTEN).touch()
            self._remove_if_forgotten(allocation_id)

    def _remove_if_forgotten(self, allocation_id: str) -> None:
        folder = self._tasks / allocation_id
        needed = self._logs.follows(allocation_id) or self._results.follows(allocation_id)
        if (folder / FORGOTTEN).exists() and not needed:
            # In a thread: a job may leave millions of files, and metering must not wait for them.
            threading.Thread(target=remove_or_say, args=(self._preparer, folder), daemon=True).start()

    # --- after a restart -------------------------------------------------------------------------------

    def adopt(self) -> list[Live]:
        """Find again what an earlier life of the agent had started, and tell of it."""
        adopted = []
        for folder in sorted(self._tasks.iterdir()):
            state = process.settled_state(folder)
            if state is None and not (folder / task_files.LOCK).exists():
                continue  # never launched: prepared again if it is still wanted, else swept away
            kept = read_spec(folder)
            if kept is None:
                _log.warning("the task folder %s has lost its description; it is left alone", folder)
                continue
            isolation = kept.get("isolation", NONE if kept["uid"] is None else UID)
            live = Live(TaskSpec.from_json(kept["spec"]), folder, kept["uid"], isolation, state=state)
            live.image_digest = kept.get("image_digest", "")
            if (folder / FORGOTTEN).exists():
                self._deliver(live)
                continue
            live.use = UseReader(folder, state) if state is not None else None
            self.live[live.spec.allocation_id] = live
            adopted.append(live)
        return adopted

    def sweep(self, wanted: Iterable[str]) -> None:
        """Remove what was prepared, never launched, and is not wanted any more."""
        kept = {*wanted, *self.live}
        for folder in self._tasks.iterdir():
            unlaunched = not (folder / task_files.LOCK).exists()
            if folder.name not in kept and unlaunched and not self._logs.follows(folder.name):
                self._preparer.remove(folder)

    def _deliver(self, live: Live) -> None:
        """What an ended task had printed, and what it left, goes on its way to the gateway."""
        self._logs.follow(live.spec.allocation_id, live.folder / task_files.OUTPUT, live.spec.processes)
        self._logs.ended(live.spec.allocation_id)
        outputs.take_up(live, end_of(live, live.state, self._now_ms()))
        self._results.collect(live)

    def resume(self, adopted: Iterable[Live]) -> None:
        """Tell the machine of adopted tasks and look after those that run."""
        for live in adopted:
            state = live.state
            allocation_id = live.spec.allocation_id
            running = state is not None and (state["phase"] != "ended" or self._still_writes(live, state))
            phase = Phase.STOPPING if state is not None and state["phase"] == "stopping" else Phase.RUNNING
            ended = None if running else end_of(live, state, self._now_ms())
            self._tell(
                Adopted(
                    allocation_id=allocation_id,
                    phase=phase if ended is None else Phase.ENDED,
                    devices=live.spec.devices,
                    rendezvous_port=0,
                    started_ms=state["started_ms"] if state else 0,
                    process_ids=process_ids(state) if state is not None and ended is None else (),
                    ended_ms=ended.ended_ms if ended else 0,
                    exit_code=ended.exit_code if ended else None,
                    end_reason=ended.end_reason if ended else None,
                    detail=ended.detail if ended else "",
                    log_pattern=ended.log_pattern if ended else None,
                    share_ppm=live.spec.share_ppm,
                    image_digest=live.image_digest,
                )
            )
            if ended is None and state is not None:
                self._look_after(live, state)
            else:
                self._deliver(live)

    def _still_writes(self, live: Live, state: ShimState) -> bool:
        """It has ended well, and an earlier life of the agent was to write its outputs before telling so."""
        ended = end_of(live, state, self._now_ms())
        return outputs.ended_well(ended) and bool(outputs.due(live, ended))

    # --- what metering asks ----------------------------------------------------------------------------

    def uses(self) -> dict[str, TaskUse]:
        """What every task has used up to now."""
        readers = {a: live.use for a, live in self.live.items() if live.use is not None}
        return UseReader.read_all(readers)

    def isolation(self) -> str:
        """The weakest that holds for any task that is here; without one, what the next would get."""
        return weakest(self._preparer.isolation.level, (live.isolation for live in self.live.values()))

    async def close(self, stop_tasks: bool) -> None:
        """Leave tasks to their shims, or end them first."""
        self._closing = True  # the control stream goes on for a while, and may still bring orders
        if stop_tasks:
            await self._end_all()
        for work in list(self._work.values()):
            work.cancel()
        await asyncio.gather(*self._work.values(), return_exceptions=True)
        for live in self.live.values():
            if live.pidfd is not None:
                asyncio.get_running_loop().remove_reader(live.pidfd)
                os.close(live.pidfd)
            if live.step_timer is not None:
                live.step_timer.cancel()
            if live.preparation is not None:
                live.preparation.release()
        self._watch.close()

    async def _end_all(self) -> None:
        """Ask every task to end, and wait for it."""
        for allocation_id in self._work.keys() - self.live.keys():
            self._cancel(allocation_id)  # still being prepared: that may take hours
        asked: set[str] = set()
        # What is being started now has a process only later: look until there is neither.
        while self._work or any(live.pidfd is not None for live in self.live.values()):
            for allocation_id, live in self.live.items():
                if live.pidfd is not None and live.state is not None and allocation_id not in asked:
                    asked.add(allocation_id)
                    process.request_stop(live.folder, live.state, "agent_stopped")
            await asyncio.sleep(0.02)
