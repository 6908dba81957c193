"""From two moments' readings to what each device did between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agents.core.hardware import told_between
from agents.core.readings import UNKNOWN, WHOLE_PPM, DeviceSample, Health, Holding, Interval, RankUse, TaskUse

PPM = 1_000_000


@dataclass(frozen=True)
class Moment:
    """Everything read at one time: devices by index, tasks by allocation."""

    at_ms: int
    samples: Mapping[int, DeviceSample]
    uses: Mapping[str, TaskUse]


def ranks_of_device(position: int, devices: int, processes: int) -> tuple[int, ...]:
    """Local ranks bound to the device at `position` of a task's devices.

    With no more processes than devices, rank r has the devices d with d*P//D == r; with more processes
    than devices, several ranks share one device in the same order.
    """
    if processes <= devices:
        return (position * processes // devices,)
    return tuple(r for r in range(processes) if r * devices // processes == position)


def devices_of_rank(rank: int, devices: int, processes: int) -> int:
    """How many devices are bound to a local rank."""
    return sum(rank in ranks_of_device(position, devices, processes) for position in range(devices))


def live_ms(start_ms: int, end_ms: int, earlier: TaskUse, use: TaskUse, ranks: Sequence[int]) -> int:
    """Milliseconds of [start, end) in which at least one of the ranks' processes lived.

    `earlier` is what was read at the start, `use` what was read at the end.
    """
    if use.started_ms is None:
        return 0
    ends = [_end_of(earlier.ranks.get(r), use.ranks[r], start_ms, end_ms) for r in ranks if r in use.ranks]
    return max(0, min(end_ms, max(ends, default=start_ms)) - max(start_ms, use.started_ms))


def _end_of(earlier: RankUse | None, rank: RankUse, start_ms: int, end_ms: int) -> int:
    if rank.live:
        return end_ms
    if rank.ended_ms is not None:
        return rank.ended_ms
    # Gone, and nobody has written down when. Not there at the start either: its shim died with it.
    gone_before = earlier is not None and not earlier.live
    return start_ms if gone_before else end_ms


@dataclass(frozen=True)
class IntervalMaker:
    """How intervals of this node are made.

    `simulated`: there is no device to ask, so busy time is the CPU time of the bound processes and memory
    their resident memory, split evenly where one process is bound to several devices. `knows_processes`: the numbers
    by which a device tells processes are those by which this agent knows them.
    """

    device_indices: tuple[int, ...]
    simulated: bool
    knows_processes: bool = False

    def make(
        self, before: Moment, after: Moment, holdings: Sequence[Holding], measured_by: str = "agent"
    ) -> dict[int, tuple[Interval, ...]]:
        """The intervals of every device by index: one for each allocation that holds a part of it, and one for
        the rest, if there is any. Under `shim` what no allocation held is unknown.
        """
        held: dict[int, list[tuple[Holding, int]]] = {}
        for holding in holdings:
            for position, index in enumerate(holding.devices):
                held.setdefault(index, []).append((holding, position))
        made = {}
        for index in self.device_indices:
            parts = held.get(index, [])
            intervals = [self._in_use(index, h, p, before, after, measured_by) for h, p in parts]
            rest_ppm = WHOLE_PPM - sum(holding.share_ppm for holding, _ in parts)
            if rest_ppm > 0 and measured_by == "shim":
                intervals.append(replace(UNKNOWN, share_ppm=rest_ppm))
            elif rest_ppm > 0:
                intervals.append(_part(self._free(index, before, after), rest_ppm))
            made[index] = tuple(intervals)
        return made

    def _free(self, index: int, before: Moment, after: Moment) -> Interval:
        sample = after.samples.get(index)
        if sample is None:
            return UNKNOWN
        energy_mj, method = _energy(before.samples.get(index), sample, after.at_ms - before.at_ms)
        return Interval(
            observed="faulty" if sample.health is Health.FAULTY else "free",
            utilisation_ppm=sample.utilisation_ppm,
            memory_bytes=sample.memory_bytes,
            processes=len(sample.processes or ()),
            energy_mj=energy_mj,
            energy_method=method,
            hardware=told_between(before.samples.get(index), sample),
        )

    def _in_use(
        self, index: int, holding: Holding, position: int, before: Moment, after: Moment, measured_by: str
    ) -> Interval:
        length_ms = after.at_ms - before.at_ms
        use = after.uses.get(holding.allocation_id, TaskUse())
        earlier = before.uses.get(holding.allocation_id, TaskUse())
        ranks = ranks_of_device(position, len(holding.devices), holding.processes)
        lived_ms = live_ms(before.at_ms, after.at_ms, earlier, use, ranks)
        cpu_ms = sum(_cpu_delta(use.ranks.get(r), earlier.ranks.get(r)) for r in ranks)
        processes = sum(use.ranks[r].processes for r in ranks if r in use.ranks)
        sample = after.samples.get(index) if measured_by == "agent" else None
        energy_mj, method = _energy(before.samples.get(index), sample, length_ms)
        if self.simulated:
            memory_bytes: int | None = sum(
                use.ranks[r].memory_bytes // devices_of_rank(r, len(holding.devices), holding.processes)
                for r in ranks
                if r in use.ranks
            )
            busy_ms = min(cpu_ms, lived_ms)
            utilisation_ppm: int | None = busy_ms * PPM // lived_ms if lived_ms else 0
        else:
            pids = frozenset().union(*(use.ranks[r].pids for r in ranks if r in use.ranks))
            memory_bytes, utilisation_ppm, on_device = self._told(sample, holding.share_ppm, pids)
            busy_ms = min((utilisation_ppm or 0) * length_ms // PPM, lived_ms)
            processes = max(processes, on_device)
        interval = Interval(
            observed="in_use",
            allocation_id=holding.allocation_id,
            measured_by=measured_by,
            live_ms=lived_ms,
            busy_ms=busy_ms,
            cpu_ms=cpu_ms,
            utilisation_ppm=utilisation_ppm,
            memory_bytes=memory_bytes,
            processes=processes,
            energy_mj=energy_mj,
            energy_method=method,
            hardware=told_between(before.samples.get(index), sample),
        )
        return _part(interval, holding.share_ppm, memory_bytes)

    def _told(
        self, sample: DeviceSample | None, share_ppm: int, pids: frozenset[int]
    ) -> tuple[int | None, int | None, int]:
        """Memory, utilisation and processes that a device tells of an allocation whose processes are `pids`.

        Of a part, memory is that of its own processes. No device tells reliably how busy each process keeps it
        (NVML counts clients of the Multi-Process Service as their server): a part is as busy as the whole, unless
        none of its processes is there, and then it is not.
        """
        if sample is None:
            return None, None, 0
        if share_ppm == WHOLE_PPM:
            return sample.memory_bytes, sample.utilisation_ppm, len(sample.processes or ())
        if sample.processes is None or not self.knows_processes:
            return None, sample.utilisation_ppm, 0
        own = [held for pid, held in sample.processes.items() if pid in pids]
        known = [held for held in own if held is not None]
        memory_bytes = sum(known) if len(known) == len(own) else None
        return memory_bytes, sample.utilisation_ppm if own else 0, len(own)


def _part(interval: Interval, share_ppm: int, memory_bytes: int | None = None) -> Interval:
    """An interval of a part of a device. Its energy is divided by shares; nobody can tell how its memory is divided
    that no process has, and how busy it was is told of the allocations alone. Its power and what went over its links
    would tell of the neighbours.
    """
    if share_ppm == WHOLE_PPM:
        return interval
    energy_mj = interval.energy_mj
    return replace(
        interval,
        share_ppm=share_ppm,
        memory_bytes=memory_bytes,
        utilisation_ppm=interval.utilisation_ppm if interval.observed == "in_use" else None,
        energy_mj=None if energy_mj is None else energy_mj * share_ppm // WHOLE_PPM,
        processes=interval.processes if interval.observed == "in_use" else 0,
        hardware=replace(interval.hardware, power_mean_mw=None, link_in_bytes=None, link_out_bytes=None),
    )


def _cpu_delta(after: RankUse | None, before: RankUse | None) -> int:
    if after is None:
        return 0
    return max(0, after.cpu_ms - (before.cpu_ms if before else 0))


def _energy(
    before: DeviceSample | None, after: DeviceSample | None, length_ms: int
) -> tuple[int | None, str]:
    """Millijoules of the interval: from the device's counter where it has one, else power times time."""
    if after is None:
        return None, "none"
    counted = before.energy_mj if before is not None else None
    # A counter that fell began anew when the vendor's driver was loaded anew.
    if after.energy_mj is not None and counted is not None and after.energy_mj >= counted:
        return after.energy_mj - counted, "counter"
    if after.power_mw is not None:
        return after.power_mw * length_ms // 1000, "integrated"
    return None, "none"
