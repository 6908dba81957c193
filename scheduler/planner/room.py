"""How many devices of each model in each pool come free when, counted, as the running jobs are predicted to end."""

from bisect import insort
from collections.abc import Iterable, Mapping
from itertools import product
from math import inf

from scheduler.domain.devices import WHOLE_PPM
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import Snapshot

UNKNOWN_RUN_MS = 3_600_000.0  # run time of a job of which nobody knows anything
_NOTHING = 1e-9  # of a device


class Room:
    """How many devices of each model in each pool come free when, from now."""

    def __init__(self, snapshot: Snapshot, estimates: Estimates) -> None:
        # (pool, model) -> (ms from now, devices), the soonest first
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
            ends.sort()

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
        ends, need, gone = self._ends[where], asked, 0
        while need > _NOTHING:
            at_ms, devices = ends[gone]
            if devices > need:
                ends[gone] = (at_ms, devices - need)
                break
            need -= devices
            gone += 1
        del ends[:gone]
        insort(ends, (end_ms, asked))
        return start_ms

    def _start(self, where: tuple[str, str], asked: float) -> float | None:
        """When so many are free together; changes nothing."""
        free = 0.0
        for at_ms, devices in self._ends.get(where, ()):
            free += devices
            if free >= asked - _NOTHING:
                return at_ms
        return None
