"""Two plans for the same waiting jobs side by side: which jobs start, who stops for them, when the others start.

Both come from the planner as it is: one of the present, one of the present with a change. What they are compared by is
what every job is told anyway (`Report.starts`).
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from math import inf
from typing import NamedTuple

import numpy as np

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.reasons import Reason
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.plan import JobPlacement, Plan, Stop, StopCause
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot

NOTICED = 0.02  # a firm wins or loses by what changes by more, as a part of what it had
_GOES_ON = (StopCause.MOVE, StopCause.GROW)  # who is stopped for these starts elsewhere at once


class Fate(StrEnum):
    """What a cycle makes of a waiting job."""

    STARTS = "starts"  # now
    ROOM_IS_MADE = "room_is_made"  # running work stops for it, and it starts when that has ended
    WAITS = "waits"


class Outlook(NamedTuple):
    """One waiting job after a cycle."""

    shape: Shape
    fate: Fate
    wait_ms: int | None  # until it is expected to start; None: nobody knows when
    placement: JobPlacement | None = None  # of one that starts
    why: ClassReport | None = None  # of one that does not

    @property
    def later_ms(self) -> float:
        """The wait as a number: for ever where nobody knows."""
        return inf if self.wait_ms is None else self.wait_ms


@dataclass(frozen=True, slots=True)
class FirmOutlook:
    """What a cycle makes of a firm. Waits are of all jobs that waited before it, those that start now at nothing."""

    jobs: int  # that waited
    starts: int
    room_is_made: int
    untold: int  # of which nobody knows when they start
    running: int  # jobs that ran before it
    stopped: int  # of these, to make room for others
    median_wait_ms: int | None  # None: nobody waits, or nobody knows
    p90_wait_ms: int | None
    devices: float  # when what stops has stopped and what starts has started
    paid_ppm: Mapping[str, int]  # of these, by model, what is paid for: millionths of a device
    nano_cny_per_hour: int  # what that costs, at the prices of the snapshot


@dataclass(frozen=True)
class Prospect:
    """A snapshot with what the planner makes of it."""

    snapshot: Snapshot
    plan: Plan
    report: Report
    then: "Prospect | None" = None  # the cycle after it, had everybody stopped and started at once

    @cached_property
    def outlooks(self) -> Mapping[JobId, Outlook]:
        """Of every job that waits. Cost: all waiting jobs, and the told starts' own."""
        shapes = {job.job_id: item.shape for item in self.snapshot.classes for job in item.jobs}
        found = {one.job_id: Outlook(shapes[one.job_id], Fate.STARTS, 0, one) for one in self.plan.placements}
        for why in self.report.classes:
            for job in why.jobs:
                fate = Fate.ROOM_IS_MADE if job.job_id in self._room else Fate.WAITS
                told = self.report.starts(job.job_id)
                wait_ms = None if told is None else told.expected_ms - self.report.at_ms
                found[job.job_id] = Outlook(why.shape, fate, wait_ms, None, why)
        return found

    @cached_property
    def _room(self) -> Mapping[JobId, Counter[str]]:
        """Devices that come free by their model, by the job for which others make room."""
        room: dict[JobId, Counter[str]] = {}
        for stop, job in stopped_jobs(self):
            if stop.for_job is not None:
                room.setdefault(stop.for_job, Counter())[job.model] += job.devices
        return room

    @property
    def stops(self) -> list[Stop]:
        """Running jobs that are stopped, and do not just go on elsewhere."""
        return [stop for stop in self.plan.stops if stop.cause not in _GOES_ON]

    @cached_property
    def whole(self) -> FirmOutlook:
        """Of all firms together."""
        held = self._held().values()
        paid = sum((paid for _, paid in held), Counter[str]())
        devices = sum(devices for devices, _ in held)
        return self._outlook(
            self.outlooks.values(), len(self.snapshot.running), len(self.stops), devices, paid
        )

    @cached_property
    def firms(self) -> Mapping[FirmId, FirmOutlook]:
        """Of every firm with jobs that wait or run."""
        outlooks: dict[FirmId, list[Outlook]] = {}
        for outlook in self.outlooks.values():
            outlooks.setdefault(outlook.shape.queue.firm_id, []).append(outlook)
        running = Counter(job.shape.queue.firm_id for job in self.snapshot.running)
        stopped = Counter(job.shape.queue.firm_id for _, job in stopped_jobs(self))
        held = self._held()
        return {
            firm: self._outlook(
                outlooks.get(firm, []), running[firm], stopped[firm], *held.get(firm, (0.0, Counter[str]()))
            )
            for firm in sorted(outlooks.keys() | running.keys())
        }

    def _held(self) -> dict[FirmId, tuple[float, Counter[str]]]:
        """(devices, what is paid for by model in millionths) by firm when the plan has been carried out."""
        gone = {stop.job_id for stop in self.stops}
        taken = [
            (job.shape, job.model, job.devices)
            for job in self.snapshot.running
            if not job.stopping and job.job_id not in gone
        ]
        for job_id, outlook in self.outlooks.items():
            if outlook.placement is not None:
                devices = sum(len(task.device_ids) for task in outlook.placement.tasks)
                taken.append((outlook.shape, outlook.placement.device_model, devices))
            elif outlook.fate is Fate.ROOM_IS_MADE:
                # On the model of which most comes free for it; the first that it names where only quota does.
                model = max(outlook.shape.models, key=self._room[job_id].__getitem__)
                taken.append((outlook.shape, model, outlook.shape.devices))
        held: dict[FirmId, tuple[float, Counter[str]]] = {}
        for shape, model, devices in taken:
            had, paid = held.get(shape.queue.firm_id, (0.0, Counter[str]()))
            paid[model] += max(devices - shape.spares * shape.devices_per_node, 0) * shape.share_ppm
            held[shape.queue.firm_id] = had + devices * shape.share_ppm / WHOLE_PPM, paid
        return held

    def _outlook(
        self,
        outlooks: Collection[Outlook],
        running: int,
        stopped: int,
        devices: float,
        paid_ppm: Mapping[str, int],
    ) -> FirmOutlook:
        nano = sum(ppm * self.snapshot.prices.get(model, 0) for model, ppm in paid_ppm.items()) // WHOLE_PPM
        return replace(
            _waiting(outlooks), running=running, stopped=stopped, devices=devices, paid_ppm=dict(paid_ppm),
            nano_cny_per_hour=nano,
        )  # fmt: skip


def _waiting(outlooks: Collection[Outlook]) -> FirmOutlook:
    """Of what waits alone."""
    fates = [outlook.fate for outlook in outlooks]
    waits = [outlook.wait_ms for outlook in outlooks if outlook.wait_ms is not None]
    median, p90 = map(round, np.quantile(waits, (0.5, 0.9))) if waits else (None, None)
    return FirmOutlook(
        jobs=len(fates),
        starts=fates.count(Fate.STARTS),
        room_is_made=fates.count(Fate.ROOM_IS_MADE),
        untold=len(fates) - len(waits),
        running=0,
        stopped=0,
        median_wait_ms=median,
        p90_wait_ms=p90,
        devices=0.0,
        paid_ppm={},
        nano_cny_per_hour=0,
    )


NOBODY = _waiting(())  # a firm that neither waits nor runs


@dataclass(frozen=True, slots=True)
class FirmChange:
    """A firm under a change against the present."""

    firm: FirmId
    wait_change_ms: (
        float  # of its jobs that are told a start in both, on average: less than nothing is sooner
    )
    known_change: int  # how many more jobs are told when they start
    devices_change: float
    cost_change: float  # of what it holds after the change, against the prices before: 0.1 is a tenth more
    verdict: str  # wins, loses, mixed, same


def firm_changes(before: Prospect, after: Prospect) -> list[FirmChange]:
    """Every firm that waits or runs. Cost: all waiting jobs."""
    changes: dict[FirmId, list[float]] = {}
    for job_id, was in before.outlooks.items():
        now = after.outlooks.get(job_id)
        if now is not None and was.wait_ms is not None and now.wait_ms is not None:
            changes.setdefault(was.shape.queue.firm_id, []).append(now.wait_ms - was.wait_ms)
    return [
        firm_change(
            firm,
            changes.get(firm, []),
            before.firms.get(firm, NOBODY),
            after.firms.get(firm, NOBODY),
            _dearer(after.firms.get(firm, NOBODY).paid_ppm, before.snapshot.prices, after.snapshot.prices),
        )
        for firm in sorted(before.firms.keys() | after.firms.keys())
    ]


def firm_change(
    firm: FirmId,
    changes_ms: Sequence[float],
    was: FirmOutlook,
    now: FirmOutlook,
    cost: float = 0.0,
) -> FirmChange:
    """`changes_ms`: by how much later each job that is told a start in both is told it; `cost`: see `cost_change`."""
    wait_ms = sum(changes_ms) / len(changes_ms) if changes_ms else 0.0
    known = was.untold - now.untold
    devices = now.devices - was.devices
    started = now.starts + now.room_is_made - was.starts - was.room_is_made
    better = (
        part(-wait_ms, max(was.median_wait_ms or 0, MINUTE_MS)),
        part(known, was.jobs),
        part(devices, was.devices),
        part(started, was.jobs),
        part(was.stopped - now.stopped, was.running),
        -cost,
    )
    return FirmChange(firm, wait_ms, known, devices, cost, word_of(better))


def _dearer(paid_ppm: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """By which part prices make these devices dearer: that a firm now has more of a dear model does not count."""
    known = {model: ppm for model, ppm in paid_ppm.items() if model in before and model in after}
    was = sum(ppm * before[model] for model, ppm in known.items())
    return sum(ppm * after[model] for model, ppm in known.items()) / was - 1 if was else 0.0


def part(change: float, of: float) -> float:
    """A change of what was there; of nothing, a change is any number of times that."""
    return change / max(of, 1e-9)


def word_of(better: Iterable[float]) -> str:
    """wins, loses, mixed, same: by the parts by which what counts is better, below nothing where it is worse."""
    signs = {one > 0 for one in better if abs(one) > NOTICED}
    return "mixed" if len(signs) == 2 else "same" if not signs else "wins" if True in signs else "loses"


class JobChange(NamedTuple):
    """A waiting job of which the change makes something else."""

    job_id: JobId
    before: Outlook
    after: Outlook


def most_changed(before: Prospect, after: Prospect, most: int) -> list[JobChange]:
    """Who starts in one of them alone (or has room made for him), then whose told start moves most, then who waits for
    other reasons."""

    def rank(change: JobChange) -> tuple[bool, float, float]:
        was, now = change.before, change.after
        differs = was.fate is not now.fate
        moved = 0.0 if was.later_ms == now.later_ms else abs(now.later_ms - was.later_ms)
        return differs, moved, was.shape.devices

    found = (
        JobChange(job_id, was, now)
        for job_id, was in before.outlooks.items()
        if (now := after.outlooks.get(job_id)) is not None
        and (_differs(was, now) or _reasons(was) != _reasons(now))
    )
    return heapq.nlargest(most, found, key=rank)


def _reasons(outlook: Outlook) -> set[tuple[Reason, str | None, str | None]]:
    """Why it waits, and where. Amounts, which sentences name, differ with every change of a quota."""
    reasons = () if outlook.why is None else outlook.why.reasons
    return {(why.reason, why.pool, why.device_model) for why in reasons}


def _differs(was: Outlook, now: Outlook) -> bool:
    """Whether somebody who reads both would say so: as with firms, a little sooner or later is the same."""
    if was.fate is not now.fate or was.wait_ms is None or now.wait_ms is None:
        return was.fate is not now.fate or was.wait_ms != now.wait_ms
    return part(abs(now.wait_ms - was.wait_ms), max(was.wait_ms, MINUTE_MS)) > NOTICED


def stopped_jobs(prospect: Prospect) -> list[tuple[Stop, RunningJob]]:
    """Who is stopped, with the job as it runs."""
    running = {job.job_id: job for job in prospect.snapshot.running}
    return [(stop, running[stop.job_id]) for stop in prospect.stops]
