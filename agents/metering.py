"""Metering of the node: samples, accounts for every device-millisecond, closes, signs and keeps windows."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agents import clock_source
from agents.core.clock import MeterClock
from agents.core.intervals import IntervalMaker, Moment
from agents.core.meter import STOP, ClosedWindow, Meter, OpenWindow
from agents.core.readings import DeviceSample, Health, Holding, Interval, RankUse, TaskUse
from agents.core.recovery import Lane, Piece, Vouched, pieces_of_task, replay
from agents.devices.driver import Driver, DriverError
from agents.link import NowAndThen
from agents.refusals import SpoolFull, StateUnusable
from agents.runtime import proc_tree
from agents.runtime.account import AccountLine
from agents.runtime.use import UseReader
from agents.samples import SampleFiles
from agents.signing import Chain, Sealer
from agents.spool import Spool
from suanli.evidence.samples import RawSample, encode_sample
from suanli.evidence.windows import ClockReading, SeenCheckpoint, SignedWindow

DRIVER_PATIENCE_S = 5.0  # below GAP_LEAST_MS
GAP_SAMPLES = 10
GAP_LEAST_MS = 10_000
MOST_PENDING_SEGMENTS = 100_000

_log = logging.getLogger("agents.metering")


class Tasks(Protocol):
    """What metering asks of the tasks."""

    def uses(self) -> dict[str, TaskUse]:
        """What every task has used up to now."""
        ...

    def isolation(self) -> str:
        """How far firms are kept apart now: one of `agents.core.separation`."""
        ...


@dataclass(frozen=True)
class Absence:
    """A task that ran while no agent was there."""

    holding: Holding
    reader: UseReader


@dataclass(frozen=True)
class _Pending:
    """A window that the full disk would not take yet."""

    window: ClosedWindow
    clock: ClockReading
    seen: SeenCheckpoint | None


class Metering:
    """The node's meter. Times are those of the meter's clock."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        sealer: Sealer,
        driver: Driver,
        spool: Spool,
        tasks: Tasks,
        samples: SampleFiles,
        *,
        boot_id: str,
        metering_from_ms: int,
        new_window: Callable[[], None],
        driver_patience_s: float = DRIVER_PATIENCE_S,
    ) -> None:
        self._sealer = sealer
        self._driver = driver
        self._spool = spool
        self._tasks = tasks
        self._files = samples
        self._new_window = new_window
        self._driver_patience_s = driver_patience_s
        self._maker = IntervalMaker(
            tuple(sealer.devices), sealer.simulated, knows_processes=proc_tree.is_host()
        )
        self._holdings: list[Holding] = []
        self._samples: dict[int, DeviceSample] = {}
        self._pending: list[_Pending] = []
        # One for each trouble: devices that are read again end nothing of what the disk does.
        self._saying, self._of_samples, self._of_spool = (NowAndThen(_log) for _ in range(3))
        self._sampling: asyncio.Future[Any] | None = None
        # A thread of its own: whatever all others wait for, devices are read.
        self._sampler = ThreadPoolExecutor(1, "sample")
        # Kept in the journal: a next life that had seen less than its last one would look like a log put back.
        self.seen: SeenCheckpoint | None = None
        self.samples_taken = 0
        # By device index, over the last stretch that was accounted for.
        self.utilisation_ppm: Mapping[int, int] = {}
        self._begin(boot_id, metering_from_ms)

    def _begin(self, boot_id: str, metering_from_ms: int) -> None:
        journal = self._spool.journal()
        boot_ns = clock_source.boot_ns()
        self._rebooted: list[ClosedWindow] = []
        self._cpu_before: dict[str, dict[int, int]] = {}
        if journal is None:
            # Nobody measured since the enrolment; a clock that began then would lag, and use would precede its grant.
            now_ms = max(metering_from_ms, clock_source.wall_ms())
            since_ns = max(0, boot_ns - (now_ms - metering_from_ms) * 1_000_000)
            window = OpenWindow(metering_from_ms, metering_from_ms, boot_id, since_ns, since_ns)
            self.meter = Meter(self._maker.device_indices, self._sealer.window_ms, window)
            self.clock = MeterClock(now_ms, boot_ns)
        else:
            self.seen = SeenCheckpoint(**journal["seen"]) if journal.get("seen") else None
            window = OpenWindow.from_json(journal["window"])
            self.meter = Meter(self._maker.device_indices, self._sealer.window_ms, window)
            self._cpu_before = {
                a: {int(r): c for r, c in ranks.items()} for a, ranks in journal["cpu_ms"].items()
            }
            if window.boot_id == boot_id:
                self.clock = MeterClock(journal["clock_ms"], journal["clock_boot_ns"])
            else:
                self._rebooted = self.meter.rebooted(boot_id)
                self.clock = MeterClock(max(window.last_ms, clock_source.wall_ms()), boot_ns)
        self._before = Moment(self.meter.last_ms, {}, {})

    # --- after a restart -------------------------------------------------------------------------------

    def recover(self, absences: list[Absence]) -> None:
        """Account for the time since the last life: by the shims where they did, else as unknown."""
        now_ms, _ = self.clock.read(clock_source.wall_ms(), clock_source.boot_ns())
        boot_now = clock_source.boot_ns()
        pieces: dict[Lane, list[Piece]] = {}
        uses = self._tasks.uses()
        for absence in absences:
            allocation_id = absence.holding.allocation_id
            before = self._use_before(allocation_id, absence.reader)
            lines = self._vouched(absence.reader)
            now_use = uses.get(allocation_id)
            if lines and now_use is not None and any(rank.live for rank in now_use.ranks.values()):
                lines.append(Vouched(lines[-1].at_ms, now_ms, now_use))  # its shim counts still
            for lane, each in pieces_of_task(
                self._maker, absence.holding, lines, before, self.meter.last_ms
            ).items():
                pieces.setdefault(lane, []).extend(each)
        for each in pieces.values():
            each.sort(key=lambda piece: piece.start_ms)

        def boot_at(ms: int) -> int:
            return max(0, boot_now - (now_ms - ms) * 1_000_000)

        gap_ms = now_ms - self.meter.last_ms
        closed = replay(self.meter, pieces, now_ms, boot_at, self._tasks.isolation())
        self._before = Moment(self.meter.last_ms, {}, uses)
        self._holdings = [a.holding for a in absences if a.reader.state["phase"] != "ended"]
        if gap_ms > 0:
            _log.info("accounted for %d ms in which no agent was here", gap_ms)
        self._keep([*self._rebooted, *closed])
        self._write_journal()

    def _use_before(self, allocation_id: str, reader: UseReader) -> TaskUse:
        """The task's use at the journal's last moment."""
        cpu_ms = self._cpu_before.get(allocation_id, {})
        ranks = {rank: RankUse(True, cpu, 0, 0) for rank, cpu in cpu_ms.items()}
        return TaskUse(reader.state["started_ms"], ranks)

    def _vouched(self, reader: UseReader) -> list[Vouched]:
        if reader.state["boot_id"] != self.meter.window.boot_id:
            return []  # its boot clock says nothing about ours; what it did since the journal stays unknown
        vouched: list[Vouched] = []
        before: AccountLine | None = None
        for line in reader.account():
            at_ms = self.clock.of_boot(line["boot_ns"])
            if before is not None and line["since_ms"] == before["at_ms"]:
                since_ms = vouched[-1].at_ms  # without a hole, to the millisecond
            else:
                since_ms = at_ms - (line["at_ms"] - line["since_ms"])
            vouched.append(Vouched(since_ms, at_ms, reader.use_at(line)))
            before = line
        return vouched

    # --- running ---------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The meter's clock."""
        return self.clock.of_boot(clock_source.boot_ns())

    async def first_sample(self) -> None:
        """Read the devices once, so that nothing is unknown for want of a first reading."""
        await self._sample()

    async def run(self) -> None:
        """Sample on the sampling grid until cancelled. Raises StateUnusable where evidence would be lost."""
        while True:
            sample_ms = self._sealer.sample_ms
            await asyncio.sleep((sample_ms - self.now_ms % sample_ms) / 1000)
            await self._sample()
            self.settle(sampled=True)
            self._write_journal()

    async def _sample(self) -> None:
        """Ask the driver in a thread; a tool that hangs costs readings, not the agent.

        The patience is shorter than what counts as a gap: while a driver hangs, time goes on to be accounted
        for by the processes. Once it hangs, it is only looked after from sample to sample.
        """
        patience_s = self._sealer.sample_ms / 1000
        if self._sampling is None:
            self._sampling = asyncio.get_running_loop().run_in_executor(self._sampler, self._driver.sample)
            patience_s = self._driver_patience_s
        try:
            async with asyncio.timeout(patience_s):
                samples = await asyncio.shield(self._sampling)
        except TimeoutError:
            self._samples = {}
            self._saying.say(
                f"the {self._driver.name} driver does not answer; devices are unknown until it does"
            )
            return
        except DriverError as error:
            self._samples = {}
            self._sampling = None
            self._saying.say(f"the {self._driver.name} driver cannot read the devices: {error}")
            return
        self._sampling = None
        self._saying.over()
        self._samples = {sample.index: sample for sample in samples}
        self.samples_taken += 1

    def settle(self, sampled: bool = False) -> None:
        """Account for the time since the last call, under the holdings in force."""
        boot_ns = clock_source.boot_ns()
        now_ms, jumped_from = self.clock.read(clock_source.wall_ms(), boot_ns)
        if now_ms <= self.meter.last_ms:
            return
        uses = self._tasks.uses()
        moment = Moment(now_ms, self._samples, uses)
        silent_ms = now_ms - self.meter.last_ms
        gap_ms = max(GAP_LEAST_MS, GAP_SAMPLES * self._sealer.sample_ms)
        if jumped_from is not None or silent_ms > gap_ms:
            closed = self.meter.skip(now_ms, boot_ns, self._tasks.isolation())
            self._saying.say(f"{silent_ms} ms were not measured (the host slept, or its clock was set)")
        else:
            intervals = self._maker.make(self._before, moment, self._holdings)
            self.utilisation_ppm = {
                index: max(known)
                for index, parts in intervals.items()
                if (known := [part.utilisation_ppm for part in parts if part.utilisation_ppm is not None])
            }
            raw = self._keep_samples(now_ms, intervals)
            isolation = self._tasks.isolation()
            closed = self.meter.advance(now_ms, boot_ns, intervals, isolation, sampled, raw=raw)
        self._before = moment
        self._keep(closed)

    def _keep_samples(
        self, at_ms: int, intervals: Mapping[int, Sequence[Interval]]
    ) -> Mapping[int, Sequence[bytes | None]]:
        """The lines of the raw samples at this moment, one for each interval of a device, kept on the disk."""
        lines = {
            index: [
                None
                if part.observed == "unknown"
                else encode_sample(self._raw(index, at_ms, part, self._samples.get(index)))
                for part in parts
            ]
            for index, parts in intervals.items()
        }
        try:
            self._files.append(at_ms, [line for each in lines.values() for line in each if line is not None])
            self._of_samples.over()
        except OSError as error:
            # Signed over all the same: that they are not here any more is what the node then has to say.
            self._of_samples.say(f"raw samples are not kept: {error}")
        return lines

    def _raw(self, index: int, at_ms: int, interval: Interval, reading: DeviceSample | None) -> RawSample:
        return RawSample(
            device_id=self._sealer.devices[index].device_id,
            at_ms=at_ms,
            allocation_id=interval.allocation_id,
            health="unknown" if reading is None else str(reading.health),
            live_ms=interval.live_ms,
            busy_ms=interval.busy_ms,
            cpu_ms=interval.cpu_ms,
            utilisation_ppm=interval.utilisation_ppm,
            memory_bytes=interval.memory_bytes,
            power_mw=None if reading is None else reading.power_mw,
            energy_mj=None if reading is None else reading.energy_mj,
            processes=interval.processes,
            temperature_mc=None if reading is None else reading.temperature_mc,
            links_up=None if reading is None else reading.links_up,
            link_in_bytes=None if reading is None else reading.link_in_bytes,
            link_out_bytes=None if reading is None else reading.link_out_bytes,
            ecc_corrected=None if reading is None else reading.ecc_corrected,
            ecc_uncorrected=None if reading is None else reading.ecc_uncorrected,
        )

    def see(self, head: SeenCheckpoint) -> None:
        """A log checkpoint arrived: the largest goes into the next windows, as gateways may lag behind each other."""
        if self.seen is None or head.origin != self.seen.origin or head.size >= self.seen.size:
            self.seen = head

    def hold(self, holdings: list[Holding]) -> None:
        """From now on these allocations hold devices. Call `settle` first."""
        self._holdings = holdings

    def stop(self) -> None:
        """Close the open window: the agent ends."""
        self.settle()
        self._keep(self.meter.close(STOP))
        self._write_journal()

    def health(self) -> Mapping[int, Health]:
        """Health of each device by its last reading."""
        return {index: sample.health for index, sample in self._samples.items()}

    @property
    def samples(self) -> Mapping[int, DeviceSample]:
        """Last reading of each device."""
        return self._samples

    # --- keeping ---------------------------------------------------------------------------------------

    def _keep(self, closed: list[ClosedWindow]) -> None:
        """Sign and spool; what the disk does not take now waits in memory, unsigned and in order."""
        if closed:
            reading = clock_source.clock_reading(self.clock.off_ms)
            self._pending += [_Pending(window, reading, self.seen) for window in closed]
        if not self._pending:
            return
        try:
            self._spool.append([self._signer(pending) for pending in self._pending], self._journal())
        except SpoolFull as error:
            self._of_spool.say(f"{error}; metering goes on in memory")
            self._check_pending()
            return
        self._of_spool.over()
        self._pending = []
        self._new_window()

    def _signer(self, pending: _Pending) -> Callable[[Chain], SignedWindow]:
        return lambda chain: self._sealer.seal(pending.window, chain, pending.clock, pending.seen)

    def _check_pending(self) -> None:
        kept = sum(len(t) for p in self._pending for t in p.window.tallies.values())
        if kept > MOST_PENDING_SEGMENTS:
            raise StateUnusable(
                f"the disk has taken no usage window for too long ({len(self._pending)} wait in memory); "
                "make room and start the agent again: tasks run on under their shims"
            )

    def _journal(self) -> dict[str, Any]:
        return {
            "window": self.meter.window.to_json(),
            "clock_ms": self.clock.at_ms,
            "clock_boot_ns": self.clock.boot_ns,
            "cpu_ms": {
                allocation_id: {rank: use.cpu_ms for rank, use in task.ranks.items()}
                for allocation_id, task in self._before.uses.items()
            },
            "seen": None if self.seen is None else asdict(self.seen),
        }

    def _write_journal(self) -> None:
        if self._pending:
            self._keep([])
        if self._pending:
            return  # the journal of a window must not run ahead of the windows before it
        try:
            self._spool.write_journal(self._journal())
        except SpoolFull as error:
            self._of_spool.say(f"{error}; metering goes on in memory")
