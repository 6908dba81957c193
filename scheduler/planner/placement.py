"""Where a gang goes: the smallest domain that holds it, there the nodes that lose least, ranks along the wires."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.planner.cells import Cell
from scheduler.planner.demand import Demand, demand_of, sizes_of
from scheduler.planner.fleet import Fleet
from scheduler.planner.layouts import NO_FIT
from scheduler.planner.lending import latest_end_ms, lent_seats
from scheduler.planner.reach import closed_rows, in_one_group, required_level
from scheduler.planner.rows import Floats
from scheduler.planner.scores import Scores
from scheduler.planner.snapshot import LEVELS, Shape
from scheduler.planner.spreading import spread, tightest

Rows = NDArray[np.intp]
_NARROW_FIRST = tuple(range(len(LEVELS)))[::-1]


class Seat(NamedTuple):
    """Devices for one task: a row of a cell and a mask of its devices."""

    row: int
    mask: int
    demand: Demand


class Found(NamedTuple):
    """Seats for a whole gang, in rank order, and what they cost the rest."""

    seats: list[Seat]
    loss: float


def find_seats(shape: Shape, fleet: Fleet, cell: Cell, ends_ms: int | None) -> Found | None:
    """A seat for each task, on different nodes, or None: all or nothing. Changes nothing.

    `ends_ms` is when the job has surely ended, by its time limit, so that it may use devices which are held
    for somebody from later on. Cost: one pass over the cell's scores, and the rows that changed.
    """
    if shape.whole and shape.devices > cell.open_devices and not cell.held_rows:
        return None
    if shape.groups:
        whole, found = shape.whole, None
        if not whole or _has_room(shape, cell):
            found = _find_groups(shape, fleet, cell)
    else:
        _, demand, scores, nodes, anywhere = fleet.asked(shape)
        whole, found = nodes > 0, None
        if not nodes or cell.with_room(demand.devices) >= nodes:
            if anywhere and not cell.one_firm:
                found = _find_anywhere(cell, demand, scores)
            else:
                found = _find_open(shape, fleet, cell, demand, scores)
    if found is None and whole and cell.held_rows:
        early = _among_held(shape, cell, ends_ms)
        return None if early is None else Found(early, 0.0)
    return found


def _find_anywhere(cell: Cell, demand: Demand, scores: Scores) -> Found | None:
    """For one task, with what is kept for nobody."""
    row, loss = scores.least(cell)
    return None if row < 0 else Found([Seat(row, scores.mask(cell, row), demand)], loss)


def _find_open(shape: Shape, fleet: Fleet, cell: Cell, demand: Demand, scores: Scores) -> Found | None:
    """With what is kept for nobody, on nodes that the job may use."""
    score = scores.of(cell)
    closed = closed_rows(shape, cell)
    if closed:
        score = score.copy()
        score[closed] = NO_FIT
    if in_one_group(shape):
        seat = _in_one_group(cell, score, demand)
        return None if seat is None else Found([seat], float(score[seat.row]))
    if shape.tasks == 1:
        row = int(score.argmin()) if len(score) else -1
        if row < 0 or score[row] >= NO_FIT:
            return None
        return Found([Seat(row, scores.mask(cell, row), demand)], float(score[row]))
    rows = _rows_for(shape, cell, score)
    if rows is None:
        return None
    seats = [Seat(row, scores.mask(cell, row), demand) for row in rows]
    whole = _with_rest(shape, fleet, cell, seats)
    return None if whole is None else Found(whole, float(score[rows].sum()))


def _has_room(shape: Shape, cell: Cell) -> bool:
    """Whether as many nodes have as many open devices as tasks of several sizes need: one each."""
    tasks = 0
    for number, size in sizes_of(shape):
        tasks += number
        if cell.with_room(size) < tasks:
            return False
    return True


def _find_groups(shape: Shape, fleet: Fleet, cell: Cell) -> Found | None:
    """Tasks of several sizes, each on a node of its own, in the smallest domain that holds them all.

    Cost: the rows of the cell for each group, once for each domain that is tried.
    """
    closed = closed_rows(shape, cell)
    scores: dict[int, Floats] = {}
    for _, devices in shape.groups:
        score = fleet.scores(demand_of(shape, devices)).of(cell).copy()
        score[closed] = NO_FIT
        scores[devices] = score
    required = required_level(shape)
    for level in _NARROW_FIRST:
        if level != required and level not in cell.wiring.levels:
            continue
        names = _domains_of(cell, np.arange(len(cell.parts)), level, required)
        inside = [names == name for name in range(int(names.max(initial=-1)) + 1)]
        for rows in sorted(inside, key=np.count_nonzero):
            found = _seat_groups(shape, fleet, cell, scores, rows)
            if found is not None:
                return found
        if level == required:
            return None
    return _seat_groups(shape, fleet, cell, scores, np.ones(len(cell.parts), dtype=bool))


def _seat_groups(
    shape: Shape, fleet: Fleet, cell: Cell, scores: dict[int, Floats], inside: NDArray[np.bool_]
) -> Found | None:
    """The groups with the most devices a task first: where they fit, the others do too."""
    open_ = inside.copy()
    chosen: dict[int, list[int]] = {}
    loss = 0.0
    for number in sorted(range(len(shape.groups)), key=lambda number: -shape.groups[number][1]):
        tasks, devices = shape.groups[number]
        score = scores[devices]
        rows = np.flatnonzero(open_ & (score < NO_FIT))
        if len(rows) < tasks:
            return None
        rows = rows[np.argsort(score[rows], kind="stable")[:tasks]]
        open_[rows] = False
        loss += float(score[rows].sum())
        chosen[number] = _in_wire_order(cell, rows)
    seats = []
    for number, (_, devices) in enumerate(shape.groups):
        demand = demand_of(shape, devices)
        masks = fleet.scores(demand)
        seats += [Seat(row, masks.mask(cell, row), demand) for row in chosen[number]]
    return Found(seats, loss)


def _in_one_group(cell: Cell, score: Floats, demand: Demand) -> Seat | None:
    """The cheapest row with a legal set of devices that fast links join. Cost: rows until one has it."""
    for row in np.argsort(score, kind="stable").tolist():
        if score[row] >= NO_FIT:
            break
        part = cell.parts[row]
        mask = part.layout.choose_joined(part.free, demand.devices)
        if mask:
            return Seat(row, mask, demand)
    return None


def _rows_for(shape: Shape, cell: Cell, score: Floats) -> list[int] | None:
    """Rows for all tasks of a gang in rank order; for an uneven gang for all but the last."""
    tasks = _whole_tasks(shape)
    fits = np.flatnonzero(score < NO_FIT)
    if len(fits) < tasks:
        return None
    required = required_level(shape)
    for level in _NARROW_FIRST:
        if level != required and level not in cell.wiring.levels:
            continue
        names = _domains_of(cell, fits, level, required)
        if names.max(initial=-1) >= 0:
            inside = _tightest_domain(cell, fits, names, score, tasks, level)
            if inside is not None:
                return _in_wire_order(cell, _cheapest_inside(cell, inside, score, tasks, level))
        if level == required:
            return None  # also where nobody said how the nodes hang together at this level
    return _in_wire_order(cell, _cheapest_inside(cell, fits, score, tasks, -1))


def _domains_of(cell: Cell, rows: Rows, level: int, required: int | None) -> NDArray[np.int64]:
    """In which domain of a level each row is, -1 where nobody said; of those inside one that is required."""
    names: NDArray[np.int64] = cell.domain[rows, level]
    if required is None or required == level:
        return names
    wider = cell.domain[rows, required]  # of some it may not be known, and a narrow one may be cut by it
    _, inside = np.unique(wider * len(cell.parts) + names, return_inverse=True)
    return np.where((wider < 0) | (names < 0), -1, inside)


def _tightest_domain(
    cell: Cell, fits: Rows, names: NDArray[np.int64], score: Floats, tasks: int, level: int
) -> Rows | None:
    """The rows of a domain that holds the gang and where it costs others the least room, ties by the score there."""
    counts = np.bincount(names[names >= 0])
    enough = np.flatnonzero(counts >= tasks)
    if not len(enough):
        return None
    least = enough[tightest(counts[enough], tasks, cell.wiring.largest(level))]
    best = min(least.tolist(), key=lambda name: float(np.sort(score[fits[names == name]])[:tasks].sum()))
    inside: Rows = fits[names == best]
    return inside


def _cheapest_inside(cell: Cell, rows: Rows, score: Floats, tasks: int, level: int) -> Rows:
    """Rows for the gang inside a domain, over as few of the next narrower domains as possible."""
    for narrower in reversed(cell.wiring.levels):
        if narrower > level:
            names = cell.domain[rows, narrower]
            if names.max(initial=-1) >= 0:
                return _over_few(cell, rows, names, score, tasks, narrower)
    if len(rows) == tasks:
        return rows
    # Of equal ones neighbours on the wires: below one spine, where those of a leaf hang on several.
    return rows[np.lexsort((cell.wiring.along[rows], score[rows]))[:tasks]]


def _over_few(
    cell: Cell, rows: Rows, names: NDArray[np.int64], score: Floats, tasks: int, level: int
) -> Rows:
    """Over as few domains of a level as possible; nodes of which it is not known come last."""
    inside = _tightest_domain(cell, rows, names, score, tasks, level)
    if inside is not None:
        return _cheapest_inside(cell, inside, score, tasks, level)
    known = names >= 0
    free = np.bincount(names[known])
    nameless = rows[~known]
    left = max(0, tasks - int(free.sum()))
    chosen = [nameless[np.argsort(score[nameless], kind="stable")[:left]]]
    mean_score = np.bincount(names[known], score[rows[known]]) / np.maximum(free, 1)
    cheapest_first = np.argsort(mean_score, kind="stable")
    taken = spread(free[cheapest_first], tasks - left, cell.wiring.largest(level))
    for name, count in zip(cheapest_first.tolist(), taken.tolist(), strict=True):
        if count:
            chosen.append(_cheapest_inside(cell, rows[names == name], score, count, level))
    return np.concatenate(chosen)


def _in_wire_order(cell: Cell, rows: Rows) -> list[int]:
    """Ranks follow the domains from the widest to the narrowest, then the position, then the order of enrolment."""
    wired: list[int] = rows[np.argsort(cell.wiring.along[rows])].tolist()
    return wired


def _whole_tasks(shape: Shape) -> int:
    """Tasks with as many devices as fit on a node: of an uneven gang all but the last."""
    return max(1, shape.devices // shape.devices_per_node) if shape.devices else 1


def _rest(shape: Shape) -> int:
    """Devices of the last task of an uneven gang, 0 for an even one."""
    return shape.devices % shape.devices_per_node if shape.devices else 0


def _with_rest(shape: Shape, fleet: Fleet, cell: Cell, seats: list[Seat]) -> list[Seat] | None:
    rest = _rest(shape)
    if not rest:
        return seats
    demand = demand_of(shape, rest)
    scores = fleet.scores(demand)
    score = scores.of(cell).copy()
    score[[seat.row for seat in seats]] = NO_FIT
    row = int(score.argmin())
    return [*seats, Seat(row, scores.mask(cell, row), demand)] if score[row] < NO_FIT else None


def _among_held(shape: Shape, cell: Cell, ends_ms: int | None) -> list[Seat] | None:
    """With devices that are kept for later, where the job is done before they are needed."""
    lent = lent_seats(shape, cell, ends_ms) if cell.lends(ends_ms, shape.queue) else None
    if lent is None:
        return None
    seats: list[Seat] = []
    for tasks, devices in shape.groups or sizes_of(shape):  # in the order of the ranks
        those, demand = lent[devices], demand_of(shape, devices)
        mine, lent[devices] = dict(those[:tasks]), those[tasks:]
        wired = _in_wire_order(cell, np.array(list(mine), dtype=np.intp))
        seats += [Seat(row, mine[row], demand) for row in wired]
    return seats


def latest_start_end_ms(shape: Shape, cell: Cell) -> float | None:
    """By when a job that was refused must have ended to find its seats all the same; None: that does not help."""
    if not shape.whole or not shape.devices:
        return None
    return latest_end_ms(shape, cell)
