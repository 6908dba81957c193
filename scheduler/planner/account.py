"""Why a job is placed where it is: figures of the moment before its devices were taken, put into words when read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from scheduler.catalogue import Catalogue
from scheduler.domain.reasons import WhyNot
from scheduler.planner.cells import Cell
from scheduler.planner.layouts import Layout
from scheduler.planner.placement import Seat
from scheduler.planner.snapshot import NodeView, Shape


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

    def to_json(self) -> dict[str, Any]:
        """As stored in `attempts.why_here`."""
        return {
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
        cell.pool, cell.model, cell.free_devices, room, tuple(nodes), shape, tuple(refusals), catalogue
    )
