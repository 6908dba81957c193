"""Training jobs with profiles by device model: how long a step takes, how many steps there are (Sia's columns)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scheduler.simulator.traces.kinds import Kind
from scheduler.simulator.traces.tables import BadTrace, read_rows


class TunedJob(NamedTuple):
    """One row: a model, and the number of devices and the batch size that its owner chose."""

    arrival_s: float
    application: str
    devices: int
    batch: int


def read_tuned_jobs(path: Path) -> list[TunedJob]:
    """Jobs by arrival, then content. Raises BadTrace."""
    jobs = [
        TunedJob(
            row.number("time"),
            row.text("application"),
            row.integer("num_replicas", low=1, high=1 << 16),
            row.integer("batch_size", low=1),
        )
        for row in read_rows(path, Kind.TUNED_JOBS.value)
    ]
    if not jobs:
        raise BadTrace(f"{path}: no jobs")
    return sorted(jobs)


class Profile:
    """One application's measurements in a folder. Tables are read when they are asked for, and kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._placements: dict[str, Mapping[str, Sequence[tuple[float, float, float]]]] = {}

    def iterations(self, batch: int, epochs: int) -> float:
        """Steps until the last of so many epochs is over. Raises BadTrace."""
        path = self._folder / f"validation-{batch}.csv"
        rows = [row.number("iteration") for row in read_rows(path, ("iteration",))]
        if len(rows) < epochs:
            raise BadTrace(f"{path}: {len(rows)} epochs, wanted {epochs}")
        return rows[epochs - 1]

    def step_s(self, model: str, devices: int, per_node: int, batch: int) -> float | None:
        """Seconds of one step on whole nodes first; None where nothing was measured.

        A share of the batch above the largest that was measured is done in several passes, of which only the
        last one synchronises; between measured sizes linear interpolation.
        """
        measured = self._placed(model).get(placement(devices, per_node))
        if not measured:
            return None
        share = batch / devices
        largest = measured[-1][0]
        passes = -(-share // largest)
        sizes, steps, syncs = (np.array(column) for column in zip(*measured, strict=True))
        local = share / passes
        step_s = float(np.interp(local, sizes, steps))
        sync_s = float(np.interp(local, sizes, syncs))
        return step_s + (passes - 1) * max(step_s - sync_s, 0.0)

    def _placed(self, model: str) -> Mapping[str, Sequence[tuple[float, float, float]]]:
        known = self._placements.get(model)
        if known is None:
            path = self._folder / f"placements-{model}.csv"
            columns = ("placement", "local_bsz", "step_time", "sync_time")
            found: dict[str, list[tuple[float, float, float]]] = {}
            for row in read_rows(path, columns):
                sizes = (row.number("local_bsz"), row.number("step_time"), row.number("sync_time"))
                found.setdefault(row.text("placement"), []).append(sizes)
            known = self._placements[model] = {name: sorted(rows) for name, rows in found.items()}
        return known


def placement(devices: int, per_node: int) -> str:
    """Devices on each node, the fewest first, as the tables name it: 12 on nodes of 8 are `48`."""
    whole, rest = divmod(devices, per_node)
    return (str(rest) if rest else "") + str(per_node) * whole
