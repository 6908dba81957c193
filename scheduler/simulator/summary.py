"""What a run came to: waits, completion times, use of the devices, fairness, lost work, money."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.reasons import Reason
from scheduler.simulator.jobs import JobRecord
from scheduler.simulator.world import World

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds over all jobs: mean, median, 99th percentile (numpy's linear quantile), longest."""

    mean_s: float
    p50_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class FirmSummary:
    """One firm's part."""

    jobs: int
    jct: Spread
    wait: Spread
    slowdown: float  # mean of completion time / run time on its fastest model
    device_hours: float
    cost_cny: float
    unfinished: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One run."""

    jobs: int
    unfinished: int  # never paid for, or never started for another reason
    jct: Spread
    wait: Spread
    makespan_s: float
    utilisation: float  # share of the devices' time that was held
    fragmentation: float  # share of the idle device-time, while jobs waited, on nodes partly in use
    stops: Mapping[str, int]  # by cause
    lost_share: float  # of the held device-time: work done twice
    lost_to: Mapping[str, float]  # the same by the cause of the stops
    overhead_share: float  # of the held device-time: starts after the first
    domestic_share: float  # of the held compute
    cost_cny: float
    announced: int  # jobs that were told an interval for their start
    coverage: float | None  # share of them that started inside it
    decisions: int
    decision_p50_ms: float
    decision_p99_ms: float
    never_start: Mapping[str, int] = field(
        default_factory=dict
    )  # of the unfinished: by why, where it is not money
    firms: Mapping[str, FirmSummary] = field(default_factory=dict)


def summarise(world: World, prices_nano_cny: Mapping[str, int] | None = None) -> Summary:
    """The figures of the wanted jobs of a run. Prices: nano CNY for a device-hour, by model."""
    prices = dict(prices_nano_cny or {})
    wanted = [world.records[job_id] for job_id in world.records if job_id in world.wanted]
    done = [record for record in wanted if record.finish_ms is not None]
    held = sum(sum(record.held_device_ms.values()) for record in wanted) or 1
    lost = [record.lost_to for record in wanted]
    causes = sorted({cause for of_one in lost for cause in of_one})
    lost_to = {cause: sum(of_one.get(cause, 0) for of_one in lost) / held for cause in causes}
    overhead = sum(record.overhead_device_ms for record in wanted)
    measured = world.measured
    decisions_ms = np.array(measured.decision_s or [0.0]) * 1000
    told = [record for record in wanted if record.announced and record.first_start_ms is not None]
    firms: dict[str, list[JobRecord]] = {}
    for record in wanted:
        firms.setdefault(record.work.shape.queue.firm_id, []).append(record)
    ends = [record.finish_ms for record in done if record.finish_ms is not None]
    return Summary(
        jobs=len(wanted),
        unfinished=len(wanted) - len(done),
        jct=spread(record.jct_ms for record in done),
        wait=spread(record.wait_ms for record in wanted),
        makespan_s=(max(ends, default=0) - min((r.work.arrival_ms for r in wanted), default=0)) / 1000,
        utilisation=measured.held / measured.capacity if measured.capacity else 0.0,
        fragmentation=measured.fragmented / measured.idle_while_waiting
        if measured.idle_while_waiting
        else 0.0,
        stops=dict(measured.stops),
        lost_share=sum(lost_to.values()),
        lost_to=lost_to,
        overhead_share=overhead / held,
        domestic_share=_domestic_share(world, wanted),
        cost_cny=sum(_cost_cny(record, prices) for record in wanted),
        announced=len(told),
        coverage=np.mean([_kept(record) for record in told]).item() if told else None,
        decisions=len(measured.decision_s),
        decision_p50_ms=float(np.quantile(decisions_ms, 0.5)),
        decision_p99_ms=float(np.quantile(decisions_ms, 0.99)),
        never_start=_never_start(world),
        firms={name: _firm(records, prices) for name, records in sorted(firms.items())},
    )


def spread(values_ms: Iterable[int | None]) -> Spread:
    """Of milliseconds; what is not known yet is left out."""
    seconds = np.array([value for value in values_ms if value is not None], dtype=float) / 1000
    if not len(seconds):
        return Spread(0.0, 0.0, 0.0, 0.0)
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return Spread(float(seconds.mean()), float(p50), float(p99), float(seconds.max()))


def _firm(records: Sequence[JobRecord], prices: Mapping[str, int]) -> FirmSummary:
    done = [record for record in records if record.jct_ms is not None]
    slowdowns = [
        (record.jct_ms or 0) / 1000 / max(record.work.steps / record.work.fastest, 1e-3) for record in done
    ]
    return FirmSummary(
        jobs=len(records),
        jct=spread(record.jct_ms for record in records),
        wait=spread(record.wait_ms for record in records),
        slowdown=float(np.mean(slowdowns)) if slowdowns else 0.0,
        device_hours=sum(sum(record.held_device_ms.values()) for record in records) / HOUR_MS,
        cost_cny=sum(_cost_cny(record, prices) for record in records),
        unfinished=len(records) - len(done),
    )


def _never_start(world: World) -> dict[str, int]:
    """Wanted jobs that were left waiting, by the first of the planner's reasons; without those that money keeps."""
    left: Counter[str] = Counter()
    for item in world.last_report.classes if world.last_report else ():
        if all(why.reason is not Reason.BUDGET_EXHAUSTED for why in item.reasons):
            for job in item.jobs:
                waits = job.job_id in world.wanted and world.records[job.job_id].finish_ms is None
                left[item.reasons[0].reason.value] += waits
    return {reason: number for reason, number in sorted(left.items()) if number}


def _kept(record: JobRecord) -> bool:
    told, began_ms = record.announced, record.first_start_ms
    return told is not None and began_ms is not None and told.low_ms <= began_ms <= told.high_ms


def _cost_cny(record: JobRecord, prices: Mapping[str, int]) -> float:
    return sum(paid * prices.get(model, 0) / HOUR_MS for model, paid in record.paid_device_ms.items()) / 1e9


def _domestic_share(world: World, records: Sequence[JobRecord]) -> float:
    catalogue = world.cluster.catalogue
    total = domestic = 0
    for record in records:
        for key, held in record.held_device_ms.items():
            model = catalogue.get(key)
            speed = (model.fp16_gflops if model else 0) or WHOLE_PPM
            total += held * speed
            domestic += held * speed if model is not None and model.domestic else 0
    return domestic / total if total else 0.0
