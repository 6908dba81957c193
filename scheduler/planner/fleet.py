"""All free capacity: the cells of an installation, kept up to date from snapshot to snapshot."""

from collections.abc import Sequence

from scheduler.catalogue import Catalogue
from scheduler.planner.cells import Cell
from scheduler.planner.demand import USUAL_MIX, Demand, Mix
from scheduler.planner.scores import Scores, Weighing
from scheduler.planner.snapshot import NodeView

# Notes of changes that are kept for those who catch up; longer than this, everybody begins anew.
_LONGEST_LOG = 1 << 16


class Fleet:
    """Cells by (pool, model). Views that are the same objects as last time cost one comparison each."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._views: list[NodeView] = []
        self._members: dict[tuple[str, str], list[int]] = {}
        self._cells: dict[tuple[str, str], Cell] = {}
        self._models: dict[str, list[str]] = {}  # pool -> models in it, by name
        self._mix: Mix = USUAL_MIX
        self._weighings: dict[str, Weighing] = {}
        self._scores: dict[tuple[str, str], dict[Demand, Scores]] = {}

    def sync(self, nodes: Sequence[NodeView]) -> None:
        """Takes over the nodes as they are now; what a cycle has taken or held is forgotten.

        Cost: one comparison a node, and the devices of nodes that changed or that the last cycle touched.
        """
        if len(nodes) != len(self._views):
            self._rebuild(nodes)
            return
        for cell in self._cells.values():
            for row in sorted(cell.touched):
                view = cell.parts[row].view
                cell.replace(view, view.by_model[cell.model])
            cell.touched.clear()
        anew: set[tuple[str, str]] = set()
        for at, view in enumerate(nodes):
            old = self._views[at]
            if view is not old:
                if not _same_frame(view, old):
                    self._rebuild(nodes)
                    return
                self._views[at] = view
                self._change(view, old, anew)
        for key in anew:
            self._lay_out(key)
        for key, cell in self._cells.items():
            if len(cell.log) > _LONGEST_LOG:
                cell.log.clear()
                self._scores[key] = {}

    def _change(self, view: NodeView, old: NodeView, anew: set[tuple[str, str]]) -> None:
        """Takes one changed node over, or notes the cells that have to be laid out anew."""
        for model, on_node in view.by_model.items():
            key = (view.pool, model)
            if view.usable and old.usable and len(on_node.devices) == len(old.by_model[model].devices):
                self._cells[key].replace(view, on_node)
            elif view.usable or old.usable:
                anew.add(key)

    def weigh(self, mix: Mix) -> None:
        """Sets the typical demands; scores are worked out anew where they changed."""
        if mix != self._mix:
            self._mix = mix
            self._weighings = {}
            self._scores = {key: {} for key in self._cells}

    def cells(self) -> list[Cell]:
        """All cells."""
        return list(self._cells.values())

    def get(self, pool: str, model: str) -> Cell | None:
        """The cell, or None where the pool has no such device."""
        return self._cells.get((pool, model))

    def models_in(self, pool: str) -> list[str]:
        """Models of a pool, by name."""
        return self._models.get(pool, [])

    def scores(self, cell: Cell, demand: Demand) -> Scores:
        """What a demand costs on each row of a cell."""
        of_cell = self._scores[cell.pool, cell.model]
        scores = of_cell.get(demand)
        if scores is None:
            weighing = self._weighings.get(cell.model)
            if weighing is None:
                weighing = Weighing(self._mix, cell.model, self._devices())
                self._weighings[cell.model] = weighing
            scores = of_cell[demand] = Scores(cell, demand, weighing)
        return scores

    def _devices(self) -> dict[str, int]:
        devices: dict[str, int] = {}
        for (_, model), cell in self._cells.items():
            devices[model] = devices.get(model, 0) + sum(
                n * count for n, count in cell.nodes_by_devices.items()
            )
        return devices

    def take(self, cell: Cell, row: int, mask: int, demand: Demand) -> None:
        """Gives a task its devices and its part of the host."""
        cell.take(row, mask, demand)
        if demand.cpu_milli or demand.memory_bytes:
            self._siblings(cell, row, -demand.cpu_milli, -demand.memory_bytes)

    def give_back(self, cell: Cell, row: int, mask: int, demand: Demand) -> None:
        """Takes them back."""
        cell.give_back(row, mask, demand)
        if demand.cpu_milli or demand.memory_bytes:
            self._siblings(cell, row, demand.cpu_milli, demand.memory_bytes)

    def _siblings(self, cell: Cell, row: int, cpu_milli: int, memory_bytes: int) -> None:
        """Other models on the same node share its host."""
        view = cell.parts[row].view
        if len(view.by_model) == 1:
            return
        for model in view.by_model:
            if model != cell.model:
                other = self._cells[view.pool, model]
                other.change_host(other.row_of[view.node_id], cpu_milli, memory_bytes)

    def _rebuild(self, nodes: Sequence[NodeView]) -> None:
        self._views = list(nodes)
        self._members = {}
        self._cells = {}
        self._models = {}
        for at, view in enumerate(nodes):
            for model in view.by_model:
                self._members.setdefault((view.pool, model), []).append(at)
        for key in self._members:
            self._models.setdefault(key[0], []).append(key[1])
            self._lay_out(key)
        for models in self._models.values():
            models.sort()
        self._weighings = {}

    def _lay_out(self, key: tuple[str, str]) -> None:
        pool, model = key
        cell = self._cells[key] = Cell(pool, model, self.catalogue.shape(model))
        views = [self._views[at] for at in self._members[key]]
        cell.lay_out([(view, view.by_model[model]) for view in views])
        self._scores[key] = {}


def _same_frame(view: NodeView, old: NodeView) -> bool:
    """Whether it is the same node with the same models in the same pool."""
    return (
        view.node_id == old.node_id and view.pool == old.pool and view.by_model.keys() == old.by_model.keys()
    )
