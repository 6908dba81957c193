"""How many devices of each model in each pool come free when, counted, as the running jobs are predicted to end."""

import heapq
from collections.abc import Iterable, Mapping
from itertools import product
from math import inf

from scheduler.domain.devices import WHOLE_PPM
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import Snapshot

UNKNOWN_RUN_MS = 3_600_000.0  # run time of a job of which nobody knows anything


class Room:
    """How many devices of each model in each pool come free when, from now."""

    def __init__(self, snapshot: Snapshot, estimates: Estimates) -> None:
        # (pool, model) -> heap of (ms from now, devices)
        self._ends: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self.devices = 0.0
        for view in snapshot.nodes:
            for model, on_node in view.by_model.items():
                if view.usable:
                    self.devices += on_node.healthy
                    free = sum(device.room_ppm for device in on_node.devices) / WHOLE_PPM
                    if free:
                        self._ends.setdefault((view.pool, model), []).append((0.0, free))
        for running in snapshot.running:
            left_ms = estimates.left_of(running)
            devices = running.devices * running.shape.share_ppm / WHOLE_PPM
            end = (UNKNOWN_RUN_MS if left_ms is None else left_ms, devices)
            self._ends.setdefault((running.pool, running.model), []).append(end)
        for ends in self._ends.values():
            heapq.heapify(ends)

    def earliest(
        self, pools: Iterable[str], run_ms: Mapping[str, float], asked: float, before_ms: float = inf
    ) -> float | None:
        """Of the start with the earliest end on these models in one of these pools, if that end is before a moment;
        its devices are taken until then."""
        best: tuple[float, float, tuple[str, str]] | None = None  # (end, start, where)
        for where in product(pools, run_ms):
            start_ms = self._start(where, asked)
            if start_ms is not None and (best is None or start_ms + run_ms[where[1]] < best[0]):
                best = (start_ms + run_ms[where[1]], start_ms, where)
        if best is None or best[0] >= before_ms:
            return None
        end_ms, start_ms, where = best
        ends, need = self._ends[where], asked
        while need > 1e-9:
            at_ms, devices = heapq.heappop(ends)
            if devices > need:
                heapq.heappush(ends, (at_ms, devices - need))
            need -= devices
        heapq.heappush(ends, (end_ms, asked))
        return start_ms

    def _start(self, where: tuple[str, str], asked: float) -> float | None:
        """When so many are free together; changes nothing."""
        ends = self._ends.get(where, [])
        if not ends:
            return None
        if ends[0][1] >= asked:
            return ends[0][0]
        taken: list[tuple[float, float]] = []
        free = 0.0
        while ends and free < asked - 1e-9:
            taken.append(heapq.heappop(ends))
            free += taken[-1][1]
        for end in taken:
            heapq.heappush(ends, end)
        return taken[-1][0] if free >= asked - 1e-9 else None
