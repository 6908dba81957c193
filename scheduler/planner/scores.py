"""What a placement costs the rest: the loss of room for typical demands, the smallest first.

The room of a node is what typical demands, each alone, could still use of it: copies x devices, weighted by
frequency, bounded by devices, host processors and memory; less what of partly used devices will probably
stay empty. It is kept in a few arrays a row; a placement is worth the room that it leaves. This follows the
idea of fragmentation gradient descent (Weng et al., USENIX ATC 2023), which counts a device as lost for a
demand that does not fit; counting copies also sees the remainder after the last copy and scarce host cores.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from scheduler.domain.devices import WHOLE_PPM
from scheduler.planner import kernels
from scheduler.planner.cells import Cell
from scheduler.planner.demand import Demand, Mix
from scheduler.planner.kernels import GRAIN, GRID, Asked, Losses, Tables, Typical, Weighed
from scheduler.planner.layouts import NO_FIT, States
from scheduler.planner.patterns import best_use
from scheduler.planner.rows import Clock, Floats, Ints, Rows, firm_number

_WASTE = 2.0
# How much the copies count beside whether the demand fits at all.
_COPIES = 0.4
# What a typical demand counts falls with the number of devices that it may use to this power.
_SCARCITY = 1.0
# How much demands for whole devices count beside shares: what is wholly free mostly stays so by itself.
_WHOLE = 0.1
_MUCH = 1e9  # copies, where nothing is asked


class Weighing:
    """A mix in arrays, and the room that every row has for it."""

    def __init__(self, mix: Mix, devices: Mapping[str, int], states: States, rows: int) -> None:
        """`devices` says how many devices of each model there are: what may use few counts for more."""
        self._states = states
        total = 0.0
        weights: dict[Demand, Floats] = {}
        for item in mix:
            models = [n for n, name in enumerate(devices) if item.models is None or name in item.models]
            number = sum(
                count for name, count in devices.items() if item.models is None or name in item.models
            )
            weight_of_one = item.weight / max(number, 1) ** _SCARCITY
            weights.setdefault(item.demand, np.zeros(len(devices)))[models] += weight_of_one
            total += weight_of_one
        demands = sorted(weights, key=lambda demand: demand.whole)
        shares = [demand for demand in demands if not demand.whole]
        wholes = demands[len(shares) :]
        weight = np.zeros((max(len(devices), 1), len(demands)))
        for number, demand in enumerate(demands):
            counts = _WHOLE if demand.whole and shares else 1.0
            weight[: len(devices), number] = counts * weights[demand] / (total or 1.0)
        grains = np.arange(GRID + 1)[:, None] * GRAIN
        sizes = np.array([demand.ppm for demand in shares], dtype=np.int64)
        self._weighed: Weighed | None = None
        self._typical = Typical(
            shares=len(shares),
            pieces=(grains // sizes).astype(np.float64) if shares else np.zeros((GRID + 1, 0)),
            useful=grains * (grains >= sizes) / WHOLE_PPM if shares else np.zeros((GRID + 1, 0)),
            column=np.array(states.columns([d.devices for d in wholes]), dtype=np.int64),
            devices=np.array([float(d.devices) for d in wholes]),
            per_cpu=np.array([1.0 / d.cpu_milli if d.cpu_milli else _MUCH for d in demands]),
            per_memory=np.array([1.0 / d.memory_bytes if d.memory_bytes else _MUCH for d in demands]),
            for_copies=weight * _COPIES * np.array([d.asked_ppm / WHOLE_PPM for d in demands]),
            for_fit=weight * (1 - _COPIES),
            of_host=any(d.cpu_milli or d.memory_bytes for d in demands),
            waste=_WASTE
            * _expected_waste(tuple((i.demand.ppm, i.weight) for i in mix if i.demand.devices == 1)),
        )
        self._room = kernels.room_for(rows, len(demands))

    def weighed(self) -> Weighed:
        """For the kernels. What free sets hold is added to while nodes change, in arrays that are made anew."""
        states = self._states
        if self._weighed is None or self._weighed.tables.copies is not states.copies:
            tables = Tables(states.copies, states.left, states.cost, states.whole)
            self._weighed = Weighed(self._room, self._typical, tables)
        return self._weighed


class Scores:
    """For every row of a fleet the loss of placing one demand there, and on which devices."""

    def __init__(
        self, demand: Demand, weighing: Weighing, rows: Rows, cells: int, states: States, clock: Clock
    ) -> None:
        self._weighing = weighing
        self._rows = rows
        self._states = states
        self._clock = clock
        whole = demand.ppm >= WHOLE_PPM
        self._asked = Asked(
            demand.devices,
            states.columns([demand.devices])[0] if whole and demand.devices else 0,
            demand.ppm,
            float(demand.device_bytes),
            float(demand.cpu_milli),
            float(demand.memory_bytes),
            firm_number(demand.firm),
        )
        number = len(rows.cpu)
        self._losses = Losses(
            np.full(cells, -1, dtype=np.int64), np.full(number, NO_FIT), np.zeros(number, dtype=np.int64)
        )
        self.score = self._losses.score

    def of(self, cell: Cell) -> Floats:
        """What the demand costs on each row of a cell, as of now."""
        if self._losses.seen[cell.number] < cell.changed_at:
            self.lightest(cell.stretch)
        return self.score[cell.begin : cell.begin + len(cell.parts)]

    def least(self, cell: Cell) -> tuple[int, float]:
        """The row of a cell where least is lost, and the loss; -1 where the demand fits nowhere."""
        if self._losses.seen[cell.number] < cell.changed_at:
            row = self.lightest(cell.stretch)
        else:
            row = cell.begin + int(self.score[cell.begin : cell.begin + len(cell.parts)].argmin())
        loss = float(self.score[row])
        return (row - cell.begin, loss) if row >= 0 and loss < NO_FIT else (-1, loss)

    def lightest(self, stretches: Ints) -> int:
        """The row in some cells where least is lost, -1 where the demand fits nowhere.

        `stretches`: number, begin and end of each cell.
        """
        return kernels.lightest(
            stretches, self._clock.now, self._asked, self._rows, self._weighing.weighed(), self._losses
        )

    def mask(self, cell: Cell, row: int) -> int:
        """The devices that the demand would take on a row of a cell where it fits."""
        asked = self._asked
        if not asked.devices:
            return 0
        row += cell.begin
        if asked.ppm < WHOLE_PPM:
            at = int(self._losses.device[row])
            if at >= 0:
                return 1 << at
        return self._states.chosen(int(self._rows.state[row]), asked.column)


@lru_cache(maxsize=64)  # how often each is asked for changes with what waits
def _expected_waste(shares: tuple[tuple[int, float], ...]) -> Floats:
    """What of a device with so much room (in grains) is lost, in devices, when the best use is made of it.

    What fits into the room is worth what it would cost on whole devices, shared with what goes best with it.
    """
    asked: dict[int, float] = {}
    for ppm, weight in shares:
        grains = min(GRID, -(-ppm // GRAIN))
        asked[grains] = asked.get(grains, 0.0) + weight
    asked.pop(GRID, None)
    if not asked:
        return np.zeros(GRID + 1)
    waste: Floats = np.arange(GRID + 1) / GRID - best_use(tuple(sorted(asked.items())), GRID)
    return waste


__all__ = ["NO_FIT", "Scores", "Weighing"]
