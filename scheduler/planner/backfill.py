"""Reservations: what is kept for a blocked job, so that nobody behind it overtakes it for ever.

Where time limits say when devices come free, the start is known, and shorter work may fill the hole until
then. Where they do not, a job that has waited long enough holds the nodes that are closest to having room.
"""

from bisect import insort
from dataclasses import dataclass
from math import inf

from scheduler.planner.cells import Bounds, Cell, Part
from scheduler.planner.config import PlannerConfig
from scheduler.planner.layouts import bits
from scheduler.planner.reach import Inside, closed_rows, domains
from scheduler.planner.snapshot import Shape


@dataclass(frozen=True, slots=True)
class Opening:
    """A gang's place in the future."""

    from_ms: int
    seats: tuple[tuple[int, int], ...]  # (row, mask of devices)


def earliest_opening(shape: Shape, cell: Cell, now_ms: int, config: PlannerConfig) -> Opening | None:
    """The earliest start that time limits promise or predictions expect, or None where they say nothing.

    Cost: nodes in the order of the soonest they could have room, until no later one can be sooner.
    """
    count = min(shape.devices, shape.devices_per_node)
    bounds = cell.soonest(count) if shape.whole and count else ([], [])
    if len(bounds[0]) < shape.tasks:
        return None
    closed = frozenset(closed_rows(shape, cell))
    best: Opening | None = None
    for inside in domains(shape, cell):
        some = bounds if inside is None and not closed else _some_of(bounds, closed, inside)
        opening = _soonest_of(shape, cell, some, now_ms, config)
        if opening is not None and (best is None or opening.from_ms < best.from_ms):
            best = opening
    return best


def _some_of(bounds: Bounds, closed: frozenset[int], inside: Inside) -> Bounds:
    pairs = zip(*bounds, strict=True)
    some = [(ms, row) for ms, row in pairs if row not in closed and (inside is None or row in inside)]
    return [ms for ms, _ in some], [row for _, row in some]


def _soonest_of(
    shape: Shape, cell: Cell, bounds: Bounds, now_ms: int, config: PlannerConfig
) -> Opening | None:
    count = min(shape.devices, shape.devices_per_node)
    tasks = shape.tasks
    found: list[tuple[int, int, int]] = []  # (moment, row, mask) of the soonest ones, sorted
    spent: set[int] = set()
    for ends_by_ms, row in zip(*bounds, strict=True):
        earliest_ms = now_ms if ends_by_ms <= 0 else max(int(ends_by_ms), now_ms) + config.stop_margin_ms
        if len(found) == tasks and earliest_ms >= found[-1][0]:
            break
        opening = _opening_on(cell, row, count, now_ms, config)
        if opening is None:
            spent.add(row)
        else:
            insort(found, (opening[0], row, opening[1]))
            del found[tasks:]
    cell.forget_soonest(count, spent)
    if len(found) < tasks:
        return None
    return Opening(found[-1][0], tuple((row, mask) for _, row, mask in found))


def _opening_on(
    cell: Cell, row: int, count: int, now_ms: int, config: PlannerConfig
) -> tuple[int, int] | None:
    """When the node has room for a task, and on which devices.

    Looked for once until the row changes; of a node that no cycle has touched, once until its view changes.
    """
    part = cell.parts[row]
    at_rest = row not in cell.touched
    seen: object = part if at_rest else cell.changes_of(row)
    answers = cell.openings_at_rest if at_rest else cell.openings
    known = answers.get((row, count))
    if known is None or known[0] != seen:
        known = answers[row, count] = seen, _look_for_room(part, cell.ends[row].tolist(), count)
    if known[1] is None:
        return None
    ends_ms, mask = known[1]
    return (max(ends_ms, now_ms) + config.stop_margin_ms if ends_ms else now_ms), mask


def _look_for_room(part: Part, ends: list[float], count: int) -> tuple[int, int] | None:
    """(when the last device comes free, 0 for now; mask) of the soonest legal set; None: nobody knows one."""
    coming = part.busy & ~part.reserved  # neither broken nor kept for another job
    usable = part.free
    if (usable | coming).bit_count() < count:
        return None
    mask = part.layout.choose(usable, count)
    if mask:
        return 0, mask
    at_ms: dict[float, int] = {}  # moment -> what comes free then
    for at in bits(coming):
        at_ms[ends[at]] = at_ms.get(ends[at], 0) | 1 << at
    at_ms.pop(inf, None)
    for moment in sorted(at_ms):
        usable |= at_ms[moment]
        if usable.bit_count() >= count and (mask := part.layout.choose(usable, count)):
            return max(1, int(moment)), mask
    return None


def nodes_to_hold(shape: Shape, cell: Cell) -> list[tuple[int, int]]:
    """(row, mask): the nodes with the most room for the gang, with all their healthy devices of the model.

    Held nodes only gain free devices, so the choice of the next cycle is no worse: the job comes closer to
    its start with every task that ends there. Cost: the nodes looked at, the roomiest first.
    """
    closed = frozenset(closed_rows(shape, cell))
    best: list[tuple[int, int]] = []
    for inside in domains(shape, cell):
        chosen = _roomiest_of(shape, cell, closed, inside)
        room = sum(cell.parts[row].free.bit_count() for row, _ in chosen)
        if (len(chosen), room) > (len(best), sum(cell.parts[row].free.bit_count() for row, _ in best)):
            best = chosen
    return best


def _roomiest_of(shape: Shape, cell: Cell, closed: frozenset[int], inside: Inside) -> list[tuple[int, int]]:
    count = min(shape.devices, shape.devices_per_node)
    chosen: list[tuple[int, int]] = []
    for row in cell.roomiest():
        if len(chosen) == shape.tasks:
            break
        if row in closed or (inside is not None and row not in inside):
            continue
        part = cell.parts[row]
        healthy = (part.at_rest | part.busy) & ~part.reserved
        if part.layout.choose(healthy, count):
            chosen.append((row, healthy))
    return chosen
