"""Which nodes a gang may use, and which of them together: what other firms have for themselves, and domains."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from scheduler.domain.gangs import Domain
from scheduler.domain.ids import FirmId
from scheduler.planner.cells import Cell
from scheduler.planner.demand import demand_of, sizes_of
from scheduler.planner.rows import Bools, Ints
from scheduler.planner.snapshot import LEVELS, Shape

Inside = frozenset[int] | None
"""Rows of a cell; None: all of them."""


def closed_rows(shape: Shape, cell: Cell) -> list[int]:
    """Rows that the job must not or should not use: they serve another firm alone, cannot do what
    it needs, or an attempt failed there."""
    closed = cell.closed_to(shape.queue.firm_id) if cell.one_firm else []
    if needs := shape.needs_on(cell.model):
        closed = [*closed, *cell.abilities.lacking(needs)]
    if shape.avoid_nodes:
        count = demand_of(shape).devices
        avoid = cell.avoided(shape.avoid_nodes, count, shape.tasks)
        closed = [*closed, *(cell.row_of[node] for node in avoid if node in cell.row_of)]
    return closed


def open_to(firm_id: FirmId, cell: Cell) -> int:
    """Devices of the cell that are open, less those of nodes that serve another firm alone."""
    return cell.open_devices - int(cell.whole[cell.closed_to(firm_id)].sum())


def required_level(shape: Shape) -> int | None:
    """The level of the network inside one of whose domains the gang must be; None: anywhere."""
    topology = shape.topology
    if topology is None or not topology.required or shape.tasks == 1 or topology.level not in LEVELS:
        return None
    return LEVELS.index(topology.level)


def preferred_level(shape: Shape) -> int | None:
    """The level of the network whose domains the gang would rather not cross; None: it does not mind."""
    topology = shape.topology
    if topology is None or topology.required or shape.tasks == 1 or topology.level not in LEVELS:
        return None
    return LEVELS.index(topology.level)


def anywhere(shape: Shape, cell: Cell) -> bool:
    """Whether a task may go to any node of the cell where its devices are."""
    if cell.one_firm or shape.avoid_nodes or in_one_group(shape):
        return False
    return not shape.needs or cell.abilities.everywhere(shape.needs_on(cell.model))


def in_one_group(shape: Shape) -> bool:
    """Whether the devices of the task must be joined by fast links."""
    topology = shape.topology
    return topology is not None and topology.required and topology.level == Domain.FAST_LINK_GROUP.value


def domains(shape: Shape, cell: Cell) -> Iterator[Inside]:
    """Sets of rows, in each of which the gang may be as a whole."""
    level = required_level(shape)
    if level is None:
        yield None
        return
    names = cell.domain[:, level]
    for name in range(int(names.max(initial=-1)) + 1):
        rows = np.flatnonzero(names == name).tolist()
        if len(rows) >= shape.tasks:
            yield frozenset(rows)


def never_seated(shapes: Sequence[Shape], places: Sequence[Sequence["InService"]]) -> Bools:
    """(shapes, places): which gangs none of the nodes of a place could seat.

    Cost: O(shapes), and what is not known of `InService`.
    """
    kinds: dict[tuple[object, ...], list[int]] = {}
    for at, shape in enumerate(shapes):
        kinds.setdefault(_kind(shape), []).append(at)
    found = np.zeros((len(shapes), len(places)), dtype=np.bool_)
    for those in kinds.values():
        asked = shapes[those[0]]
        found[those] = [not any(nodes.seat(asked) for nodes in place) for place in places]
    return found


def _kind(shape: Shape) -> tuple[object, ...]:
    """What decides on which nodes a gang could be, were all of them free: an elastic one is where its least size is."""
    bound = required_level(shape) is not None or in_one_group(shape)
    return _least(shape), shape.devices_per_node, shape.groups, shape.topology if bound else None


def _least(shape: Shape) -> int:
    """The fewest devices at which a job may run."""
    return min(shape.devices, *shape.sizes) if shape.sizes else shape.devices


class InService:
    """The nodes in service of a cell, by how many healthy devices they have, less those that `stay` as they are.

    Cost of a question: once for each kind of gang O(kinds of nodes); O(nodes) in numpy where somebody stays or the gang
    must be in one domain, in Python where fast links must join it.
    """

    def __init__(self, cell: Cell, stay: Ints | None = None) -> None:
        self._cell = cell
        self._stay = stay  # devices by row
        self._healthy: Ints | None = None  # by row
        self._seats: dict[tuple[object, ...], bool] = {}  # by kind

    def seat(self, shape: Shape) -> bool:
        """Whether they could seat a gang, at its least size, were all of them free: a node takes one task."""
        kind = _kind(shape)
        seats = self._seats.get(kind)
        if seats is None:
            seats = self._seats[kind] = self._seat(shape)
        return seats

    def _seat(self, shape: Shape) -> bool:
        least = shape._replace(devices=_least(shape)) if shape.sizes else shape
        level = required_level(shape)
        enough = np.ones(1, dtype=np.bool_)  # in which domains there are
        asked = 0
        for tasks, devices in sizes_of(least):
            asked += tasks
            enough = enough & (self._nodes_with(devices, level, joined=in_one_group(shape)) >= asked)
        return bool(enough.any())

    def _nodes_with(self, least: int, level: int | None, *, joined: bool) -> Ints:
        """How many have at least so many devices, `joined` by fast links where they have to be, in each domain of the
        level; None: anywhere.
        """
        if level is None and self._stay is None and not joined:
            return np.array([self._cell.healthy_nodes_with(least)])
        if self._healthy is None:
            parts = self._cell.parts
            self._healthy = np.array([part.on_node.healthy if part.view.usable else 0 for part in parts])
            self._healthy -= 0 if self._stay is None else self._stay
        able = self._healthy >= least
        if joined:  # whoever stays may be beside them
            able &= [
                part.layout.choose_joined(part.at_rest | part.busy, least) > 0 for part in self._cell.parts
            ]
        if level is None:
            return np.array([np.count_nonzero(able)])
        names = self._cell.domain[:, level]
        return np.bincount(names[able & (names >= 0)], minlength=int(names.max(initial=0)) + 1)


def open_rows(cell: Cell, closed: Sequence[int], inside: Inside) -> Bools | None:
    """Which rows of a domain are not closed; None: all rows of the cell."""
    if not closed and inside is None:
        return None
    rows = np.full(len(cell.parts), inside is None)
    if inside is not None:
        rows[list(inside)] = True
    rows[list(closed)] = False
    return rows


def without(rows: Sequence[int], cell: Cell, left: Bools | None) -> Bools:
    """Which rows are left once some are taken; of all rows of the cell where `left` is None."""
    still = np.ones(len(cell.parts), dtype=np.bool_) if left is None else left.copy()
    still[list(rows)] = False
    return still


class NodesWithRoom(NamedTuple):
    """Nodes with so many open devices: each number is of those of the one before it."""

    nodes: int
    able: int  # that can do what the job needs
    for_firm: int  # that the firm may use
    together: int  # the most in one domain of the network, where the job must be in one


def with_room(shape: Shape, cell: Cell, count: int) -> NodesWithRoom:
    """How many nodes have room for a task of `count` devices, and why not all of them do."""
    needs, level = shape.needs_on(cell.model), required_level(shape)
    if not needs and not cell.one_firm and level is None:
        nodes = cell.with_room(count)
        return NodesWithRoom(nodes, nodes, nodes, nodes)
    fits = np.flatnonzero(cell.whole >= count)
    able = np.setdiff1d(fits, cell.abilities.lacking(needs)) if needs else fits
    closed = cell.closed_to(shape.queue.firm_id) if cell.one_firm else []
    ours = np.setdiff1d(able, closed) if closed else able
    together = len(ours)
    if level is not None:
        names = cell.domain[ours, level]
        names = names[names >= 0]
        together = int(np.bincount(names).max()) if len(names) else 0
    return NodesWithRoom(len(fits), len(able), len(ours), together)
