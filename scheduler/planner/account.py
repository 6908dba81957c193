"""Why a job is placed where it is: figures of the moment before its devices were taken, put into words when read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scheduler.catalogue import Catalogue
from scheduler.domain.reasons import WhyNot
from scheduler.planner.cells import Cell
from scheduler.planner.layouts import Layout
from scheduler.planner.placement import Seat
from scheduler.planner.reach import preferred_level, required_level
from scheduler.planner.snapshot import LEVELS, NodeView, Shape


class Network(NamedTuple):
    """Over which domains a gang is that would be in one."""

    level: str  # of LEVELS
    domains: tuple[str, ...]  # by name; nodes of which nobody said are left out
    most_in_one: int  # for so many of its tasks one domain had room

    def to_json(self) -> dict[str, Any]:
        """As stored in `attempts.why_here`."""
        return {
            "level": self.level,
            "domains": list(self.domains),
            "most_tasks_in_one": self.most_in_one,
        }


class Account(NamedTuple):
    """What was known of the devices of a model in a pool, and of those that a gang took. Stored with the attempt."""

    pool: str
    model: str
    free_devices: int
    nodes_with_room: int
    nodes: tuple[
        tuple[NodeView, Layout, int, int], ...
    ]  # by rank: its devices, what it took, free before (masks)
    shape: Shape
    refusals: tuple[WhyNot, ...]  # what kept it from models that it would rather have
    catalogue: Catalogue
    network: Network | None = None

    def to_json(self) -> dict[str, Any]:
        """As stored in `attempts.why_here`."""
        network = {} if self.network is None else {"network": self.network.to_json()}
        return {
            **network,
            "pool": self.pool,
            "device_model": self.model,
            "free_devices": self.free_devices,
            "nodes_with_room": self.nodes_with_room,
            "nodes": [
                {
                    "node": view.name,
                    "rank": rank,
                    "devices": list(layout.numbers(taken)),
                    "free_before": free.bit_count(),
                    "fast_link_groups": layout.groups(taken),
                }
                for rank, (view, layout, taken, free) in enumerate(self.nodes)
            ],
            "model_choice": {
                "fp16_gflops": self.catalogue.fp16_gflops(self.model) or None,
                "variants": list(self.shape.models),
                "preferred_but_not_possible": [refusal.to_json() for refusal in self.refusals],
            },
        }


def account_of(
    shape: Shape, cell: Cell, seats: Sequence[Seat], refusals: Sequence[WhyNot], catalogue: Catalogue
) -> Account:
    """The account of a placement whose devices are not taken yet."""
    count = min(shape.devices, shape.devices_per_node)
    kept, nodes, parts = 0, [], cell.parts
    for row, mask, _ in seats:
        part = parts[row]
        free = part.free
        if part.held:  # kept for it: they count as room for it, though they are open to nobody
            free |= part.kept
            kept += part.free.bit_count() < count <= free.bit_count()
        nodes.append((part.view, part.layout, mask, free))
    room = cell.with_room(count) + kept
    return Account(
        cell.pool,
        cell.model,
        cell.free_devices,
        room,
        tuple(nodes),
        shape,
        tuple(refusals),
        catalogue,
        _network_of(shape, cell, [seat.row for seat in seats]),
    )


def _network_of(shape: Shape, cell: Cell, rows: Sequence[int]) -> Network | None:
    """Of a gang that asks for one domain, or would rather be in one. Cost: the nodes of the cell."""
    level = preferred_level(shape)
    level = required_level(shape) if level is None else level
    if level is None:
        return None
    names = {cell.parts[row].view.domains[level] for row in rows} - {None}
    fits = cell.whole >= min(shape.devices, shape.devices_per_node)
    fits[list(rows)] = True
    numbers = cell.domain[fits, level]
    most = np.bincount(numbers[numbers >= 0]).max(initial=0)
    return Network(LEVELS[level], tuple(sorted(filter(None, names))), min(int(most), shape.tasks))
