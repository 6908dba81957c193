"""First come first served, and EASY backfill: rigid jobs on equal nodes, without preemption.

A job of at most one node's devices takes them on one node, the fullest that has room; a larger one takes
whole nodes and the remainder on one. EASY reserves nodes for the head of the queue at the earliest moment at
which they are surely free; a later job may start when it ends before that moment or leaves those nodes room.
"""

import heapq
from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class RigidJob(NamedTuple):
    """A job whose size and run time are fixed."""

    arrival_s: float
    run_s: float
    devices: int
    believed_s: float  # what the scheduler is told of its run time


class Outcome(NamedTuple):
    """When each job started and ended, by its number."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]


class _Running(NamedTuple):
    believed_end_s: float
    number: int
    nodes: tuple[int, ...]
    taken: tuple[int, ...]


def simulate(jobs: Sequence[RigidJob], nodes: int, per_node: int, *, backfill: bool) -> Outcome:
    """Runs every job. Cost: for each event the waiting jobs, where the head is blocked and devices are free."""
    queue = _Queue(nodes, per_node, backfill)
    order = sorted(range(len(jobs)), key=lambda n: (jobs[n].arrival_s, n))
    start_s = np.full(len(jobs), np.nan)
    end_s = np.full(len(jobs), np.nan)
    ends: list[tuple[float, int, _Running]] = []
    at = 0
    while at < len(order) or ends:
        arrives_s = jobs[order[at]].arrival_s if at < len(order) else np.inf
        now_s = min(arrives_s, ends[0][0] if ends else np.inf)
        while ends and ends[0][0] <= now_s:
            queue.free(heapq.heappop(ends)[2])
        while at < len(order) and jobs[order[at]].arrival_s <= now_s:
            queue.waiting.append((order[at], jobs[order[at]]))
            at += 1
        for number, running in queue.start(now_s):
            start_s[number] = now_s
            end_s[number] = now_s + jobs[number].run_s
            heapq.heappush(ends, (end_s[number], number, running))
    return Outcome(start_s, end_s)


class _Queue:
    def __init__(self, nodes: int, per_node: int, backfill: bool) -> None:
        self.waiting: list[tuple[int, RigidJob]] = []
        self._per_node = per_node
        self._backfill = backfill
        self._open: Ints = np.full(nodes, per_node, dtype=np.int64)
        self._running: list[_Running] = []  # by believed end

    def free(self, running: _Running) -> None:
        """Its devices are free."""
        self._open[list(running.nodes)] += running.taken
        self._running.remove(running)

    def start(self, now_s: float) -> list[tuple[int, _Running]]:
        """Everything that may start now."""
        started = []
        while self.waiting:
            number, job = self.waiting[0]
            seats = self._seats(job.devices, self._open)
            if seats is None:
                break
            del self.waiting[0]
            started.append((number, self._take(number, job, seats, now_s)))
        if self.waiting and self._backfill and self._open.any():
            started += self._fill(now_s)
        return started

    def _fill(self, now_s: float) -> list[tuple[int, _Running]]:
        """Starts what does not delay the head."""
        shadow_s, reserved = self._reservation(self.waiting[0][1].devices, now_s)
        spare = self._open - reserved  # on nodes that the head will want: what is left beside it
        started = []
        left = []
        for item in self.waiting[1:]:
            number, job = item
            short = now_s + job.believed_s <= shadow_s
            seats = self._seats(job.devices, self._open if short else np.minimum(spare, self._open))
            if seats is None:
                left.append(item)
                continue
            running = self._take(number, job, seats, now_s)
            if not short:  # a short one gives back in time what it takes of the reserved nodes
                spare[list(running.nodes)] -= running.taken
            started.append((number, running))
        self.waiting[1:] = left
        return started

    def _reservation(self, devices: int, now_s: float) -> tuple[float, Ints]:
        """The earliest moment at which the head surely starts, and what it takes there of each node."""
        open_then = self._open.copy()
        for running in self._running:
            open_then[list(running.nodes)] += running.taken
            seats = self._seats(devices, open_then)
            if seats is not None:
                reserved = np.zeros_like(open_then)
                reserved[list(seats[0])] = seats[1]
                beyond = open_then - self._open  # what comes free there until then is used first
                return max(running.believed_end_s, now_s), np.maximum(reserved - beyond, 0)
        raise ValueError(f"a job of {devices} devices can never start here")

    def _take(
        self, number: int, job: RigidJob, seats: tuple[tuple[int, ...], tuple[int, ...]], now_s: float
    ) -> _Running:
        nodes, taken = seats
        self._open[list(nodes)] -= taken
        running = _Running(now_s + job.believed_s, number, nodes, taken)
        insort(self._running, running)
        return running

    def _seats(self, devices: int, open_now: Ints) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        whole, rest = divmod(devices, self._per_node)
        nodes: list[int] = []
        taken: list[int] = []
        if whole:
            empty = np.flatnonzero(open_now >= self._per_node)
            if len(empty) < whole:
                return None
            nodes = [int(n) for n in empty[:whole]]
            taken = [self._per_node] * whole
        if rest:
            room = np.where(open_now >= rest, open_now, self._per_node + 1)
            room[nodes] = self._per_node + 1
            best = int(np.argmin(room))
            if room[best] > self._per_node:
                return None
            nodes.append(best)
            taken.append(rest)
        return tuple(nodes), tuple(taken)
