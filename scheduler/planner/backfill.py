"""Reservations: what is kept for a blocked job, so that nobody behind it overtakes it for ever.

Where time limits say when devices come free, the start is known, and shorter work may fill the hole until
then. Where they do not, a job that has waited long enough holds the nodes that are closest to having room.
"""

from bisect import insort
from dataclasses import dataclass
from math import inf

from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
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
    bounds = cell.soonest(count) if shape.whole and count else []
    if len(bounds) < shape.tasks:
        return None
    closed = frozenset(closed_rows(shape, cell))
    best: Opening | None = None
    for inside in domains(shape, cell):
        rows = bounds
        if closed or inside is not None:
            rows = [
                (ms, row) for ms, row in bounds if row not in closed and (inside is None or row in inside)
            ]
        opening = _soonest_of(shape, cell, rows, now_ms, config)
        if opening is not None and (best is None or opening.from_ms < best.from_ms):
            best = opening
    return best


def _soonest_of(
    shape: Shape, cell: Cell, bounds: list[tuple[float, int]], now_ms: int, config: PlannerConfig
) -> Opening | None:
    count = min(shape.devices, shape.devices_per_node)
    found: list[tuple[int, int, int]] = []  # (moment, row, mask) of the soonest ones, sorted
    spent: set[int] = set()
    for ends_by_ms, row in bounds:
        earliest_ms = now_ms if ends_by_ms <= 0 else max(int(ends_by_ms), now_ms) + config.stop_margin_ms
        if len(found) == shape.tasks and earliest_ms >= found[-1][0]:
            break
        opening = _opening_on(cell, row, count, now_ms, config)
        if opening is None:
            spent.add(row)
        else:
            insort(found, (opening[0], row, opening[1]))
            del found[shape.tasks :]
    cell.forget_soonest(count, spent)
    if len(found) < shape.tasks:
        return None
    return Opening(found[-1][0], tuple((row, mask) for _, row, mask in found))


def _opening_on(
    cell: Cell, row: int, count: int, now_ms: int, config: PlannerConfig
) -> tuple[int, int] | None:
    """When the node has room for a task, and on which devices. Looked for once until the row changes."""
    changed = int(cell.changed[row])
    known = cell.openings.get((row, count))
    if known is None or known[0] != changed:
        known = changed, _look_for_room(cell, row, count, now_ms, config)
        cell.openings[row, count] = known
    return known[1]


def _look_for_room(
    cell: Cell, row: int, count: int, now_ms: int, config: PlannerConfig
) -> tuple[int, int] | None:
    part = cell.parts[row]
    at_ms: list[tuple[int, int]] = []  # (moment, bit)
    ends = cell.ends[row].tolist()
    for at, device in enumerate(part.on_node.devices):
        bit = 1 << at
        if part.free & bit:
            at_ms.append((now_ms, bit))
        elif device.free or device.faulty or part.reserved & bit or ends[at] == inf:
            continue  # kept for another job, taken in this cycle, broken, or nobody knows
        else:
            at_ms.append((max(int(ends[at]), now_ms) + config.stop_margin_ms, bit))
    if len(at_ms) < count:
        return None
    at_ms.sort()
    for moment in sorted({moment for moment, _ in at_ms[count - 1 :]}):
        mask = part.layout.choose(sum(bit for at, bit in at_ms if at <= moment), count)
        if mask:
            return moment, mask
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
        healthy = sum(1 << at for at, device in enumerate(part.on_node.devices) if not device.faulty)
        healthy &= ~part.reserved
        if part.layout.choose(healthy, count):
            chosen.append((row, healthy))
    return chosen
