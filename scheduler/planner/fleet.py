"""All free capacity: the cells of an installation, kept up to date from snapshot to snapshot."""

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import is_not

from scheduler.catalogue import Catalogue
from scheduler.domain.ids import FirmId, NodeId
from scheduler.planner.cells import Cell
from scheduler.planner.demand import USUAL_MIX, Demand, Mix, demand_of
from scheduler.planner.expected import Expected
from scheduler.planner.layouts import States
from scheduler.planner.reach import InService
from scheduler.planner.rows import Clock, Ints, Rows
from scheduler.planner.scores import Scores, Weighing
from scheduler.planner.snapshot import ModelOnNode, NodeView, Shape
from scheduler.planner.turnover import Turnover, node_after

_MOST_SHAPES = 100_000  # that are remembered; then it begins anew
_MOST_SCORES = 1 << 24  # so do what demands cost, once they are so many numbers: 256 MiB


class Fleet:
    """Cells by (pool, model). Views that are the same objects as last time cost one comparison each."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._views: list[NodeView] = []
        self._numbers: dict[NodeId, int] = {}  # of the views
        self._expected: Turnover = {}
        self._cells: dict[tuple[str, str], Cell] = {}
        self._models: dict[str, list[str]] = {}  # pool -> models in it, by name
        self._mix: Mix = USUAL_MIX
        self._weighing: Weighing | None = None
        self._scores: dict[Demand, Scores] = {}
        # By the shape's identity, which is quicker than its fields.
        self._asked: dict[int, tuple[Shape, Demand, Scores, int, bool]] = {}
        self._in_service: dict[Cell, InService] = {}
        self._states = States()
        self._rows = Rows.empty(0, 0)
        self.clock = Clock()

    def sync(self, nodes: Sequence[NodeView]) -> None:
        """Takes over the nodes as they are now; what a cycle has taken or held is forgotten, and what was expected.

        Cost: one comparison a node, and the devices of nodes that changed or that the last cycle touched.
        """
        self._in_service = {}
        if len(nodes) != len(self._views):
            self._rebuild(nodes)
            return
        self._expected = {}
        for cell in self._cells.values():
            cell.forget_cycle()
            cell.forget_expected()
        changed: dict[tuple[str, str], list[tuple[NodeView, ModelOnNode]]] = {}
        for at in compress(range(len(nodes)), map(is_not, nodes, self._views)):
            view = nodes[at]
            if not _same_frame(view, self._views[at]):
                self._rebuild(nodes)
                return
            self._views[at] = view
            for model, on_node in view.by_model.items():
                changed.setdefault((view.pool, model), []).append((view, on_node))
        for place, views in changed.items():
            self._cells[place].replace(views)

    def expect(self, turnover: Turnover) -> None:
        """What is free is what would be after that, until `sync`; what a cycle has taken or held is forgotten.

        Cost: one comparison a node on which anything happens, and the nodes on which something else was expected.
        """
        for cell in self._cells.values():
            cell.forget_cycle()
        before, self._expected = self._expected, turnover
        others = [node_id for node_id, changes in turnover.items() if before.get(node_id) != changes]
        others += [node_id for node_id in before if node_id not in turnover]
        news: dict[Cell, Expected] = {cell: Expected() for cell in self._cells.values()} if others else {}
        for node_id in others:
            at = self._numbers.get(node_id)
            if at is None:
                continue
            view, changes = self._views[at], turnover.get(node_id, ())
            cells = [self._cells[view.pool, model] for model in view.by_model]
            if node_id in before:
                for cell in cells:
                    news[cell].as_before.append(cell.row_of[node_id])
            if not changes:
                continue
            whole = len(cells) == 1 and view.usable and not view.one_firm
            if whole and all(change.whole for _, change in changes):
                news[cells[0]].whole.append((cells[0].row_of[node_id], changes))
                continue
            after = node_after(view, changes)
            for cell in cells:
                news[cell].anew.append((after, after.by_model[cell.model]))
        for cell, expected in news.items():
            cell.expect(expected)

    def weigh(self, mix: Mix) -> None:
        """Sets the typical demands; scores are worked out anew where they changed."""
        if mix != self._mix:
            self._mix = mix
            self._weigh_anew()

    def _weigh_anew(self) -> None:
        self._weighing = None
        self._scores = {}
        self._asked = {}

    def cells(self) -> list[Cell]:
        """All cells."""
        return list(self._cells.values())

    def get(self, pool: str, model: str) -> Cell | None:
        """The cell, or None where the pool has no such device."""
        return self._cells.get((pool, model))

    def models_in(self, pool: str) -> list[str]:
        """Models of a pool, by name."""
        return self._models.get(pool, [])

    def could_seat(self, shape: Shape, pools: Iterable[str], model: str) -> bool:
        """Whether the nodes in service of any of the pools could seat a gang, were all of them free."""
        return any(nodes.seat(shape) for nodes in self.in_service(pools, model))

    def in_service(self, pools: Iterable[str], model: str) -> list[InService]:
        """The nodes in service of those pools that have the model."""
        found = []
        for pool in pools:
            cell = self._cells.get((pool, model))
            if cell is not None:
                nodes = self._in_service.get(cell)
                if nodes is None:
                    nodes = self._in_service[cell] = InService(cell)
                found.append(nodes)
        return found

    def scores(self, demand: Demand) -> Scores:
        """What a demand costs on each row."""
        scores = self._scores.get(demand)
        if scores is None:
            if len(self._scores) * len(self._rows.cpu) >= _MOST_SCORES:
                self._scores, self._asked = {}, {}
            if self._weighing is None:
                self._weighing = Weighing(self._mix, self._devices(), self._states, len(self._rows.cpu))
            scores = Scores(demand, self._weighing, self._rows, len(self._cells), self._states, self.clock)
            self._scores[demand] = scores
        return scores

    def asked(self, shape: Shape) -> tuple[Shape, Demand, Scores, int, bool]:
        """Of a shape what a task asks for, what that costs on each row, how many nodes need so many open devices (0:
        parts are asked for), and whether the job is one task that any node may have that serves no firm alone.
        """
        known = self._asked.get(id(shape))
        if known is None or known[0] is not shape:
            if len(self._asked) > _MOST_SHAPES:
                self._asked = {}
            demand = demand_of(shape)
            nodes = max(1, shape.devices // shape.devices_per_node) if demand.whole else 0
            anywhere = shape.tasks == 1 and not (shape.avoid_nodes or shape.needs or shape.topology)
            known = self._asked[id(shape)] = shape, demand, self.scores(demand), nodes, anywhere
        return known

    def lightest(self, stretches: Ints, demand: Demand) -> tuple[Cell, int, float] | None:
        """The cell and row where least is lost, and the loss; None where the demand fits nowhere.

        `stretches` are those of cells, one below the other.
        """
        scores = self.scores(demand)
        row = scores.lightest(stretches)
        if row < 0:
            return None
        cell = next(cell for cell in self._cells.values() if cell.begin <= row < cell.begin + len(cell.parts))
        return cell, row - cell.begin, float(scores.score[row])

    def _devices(self) -> dict[str, int]:
        devices: dict[str, int] = {}
        for (_, model), cell in self._cells.items():
            devices[model] = devices.get(model, 0) + sum(
                n * count for n, count in cell.nodes_by_devices.items()
            )
        return devices

    def take(self, cell: Cell, row: int, mask: int, demand: Demand, firm_id: FirmId) -> None:
        """Gives a firm's task its devices and its part of the host."""
        cell.take(row, mask, demand)
        if row in cell.one_firm:
            view = cell.parts[row].view
            for model in view.by_model:
                other = self._cells[view.pool, model]
                other.serve(other.row_of[view.node_id], firm_id)
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
        members: dict[tuple[str, str], list[NodeView]] = {}
        for view in nodes:
            for model in view.by_model:
                members.setdefault((view.pool, model), []).append(view)
        width = max((len(on.devices) for view in nodes for on in view.by_model.values()), default=0)
        self._views = list(nodes)
        self._numbers = {view.node_id: number for number, view in enumerate(nodes)}
        self._expected = {}
        self._rows = Rows.empty(sum(len(views) for views in members.values()), width)
        self._cells = {}
        self._models = {}
        self._weigh_anew()
        numbers = {model: number for number, model in enumerate(dict.fromkeys(model for _, model in members))}
        begin = 0
        for (pool, model), views in members.items():
            rows = self._rows.stretch(begin, begin + len(views))
            rows.model[:] = numbers[model]
            cell = Cell(
                pool,
                model,
                self.catalogue.shape(model),
                rows,
                (len(self._cells), begin),
                self._states,
                self.clock,
            )
            cell.lay_out([(view, view.by_model[model]) for view in views])
            self._cells[pool, model] = cell
            self._models.setdefault(pool, []).append(model)
            begin += len(views)
        for models in self._models.values():
            models.sort()


def _same_frame(view: NodeView, old: NodeView) -> bool:
    """Whether it is the same node with as many devices of the same models in the same pool."""
    if view.node_id != old.node_id or view.pool != old.pool or view.by_model.keys() != old.by_model.keys():
        return False
    return all(len(on.devices) == len(old.by_model[model].devices) for model, on in view.by_model.items())
