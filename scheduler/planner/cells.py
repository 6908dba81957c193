"""Free capacity in arrays: one `Cell` for each pool and device model, a row in it for each usable node.

A change touches one row and sets the moment of its last change. Whoever keeps something derived from rows (the
scores of a demand) works out only what is older than that, so that the work follows what changed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.catalogue import ShapeRule
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId, NodeId
from scheduler.domain.queues import QueueKey
from scheduler.planner.abilities import Abilities
from scheduler.planner.demand import Demand
from scheduler.planner.expected import Exchange, Expected
from scheduler.planner.layouts import Layout, States, bits, layout_of
from scheduler.planner.network import Wiring
from scheduler.planner.parts import NEVER, NO_DEVICE, Held, Part, in_numbers, part_of
from scheduler.planner.rows import EVERYBODY, Clock, Ints, Rows, firm_number
from scheduler.planner.snapshot import ModelOnNode, NodeView
from scheduler.planner.turnover import Changes

_OUT_OF_SERVICE = -1.0
_MOST_DERIVED = 512


class Cell:
    """Every node of one pool that has one model."""

    def __init__(
        self,
        pool: str,
        model: str,
        rule: ShapeRule,
        rows: Rows,
        place: tuple[int, int],
        states: States,
        clock: Clock,
    ) -> None:
        """`rows` are the cell's own; `place` is its number in the fleet, and where its rows begin there."""
        self.pool = pool
        self.model = model
        self.rule = rule
        number, self.begin = place
        self.number = number
        self.stretch = np.array([[number, self.begin, self.begin + len(rows.cpu)]], dtype=np.int64)
        # How many nodes have so many devices: all of them, and the healthy ones of usable nodes.
        self.nodes_by_devices: Counter[int] = Counter()
        self.nodes_by_healthy: Counter[int] = Counter()
        self.open_devices = 0
        self.free_devices = 0  # open or held
        self.parts: list[Part] = []
        self._layouts: dict[tuple[tuple[int, int], ...], Layout] = {}
        self.held_rows: set[int] = set()
        self.held_until_ms = -1  # the latest moment from which something held is needed
        self._held_for: set[QueueKey | None] = set()
        self.touched: set[int] = set()  # rows that a cycle changed: their views know nothing of it
        self.row_of: dict[NodeId, int] = {}
        self.one_firm: dict[
            int, FirmId | None
        ] = {}  # rows of nodes that take tasks of one firm, and of which
        self.abilities = Abilities()
        self.changed_at = 0  # by the clock
        self.states = states
        self._clock = clock
        # What others work out of the rows and keep up to date.
        self._rooms: list[int] | None = None  # nodes by number of open devices; None: to be counted
        self.derived: dict[tuple[object, ...], Any] = {}
        size, devices = rows.ppm.shape
        self.ppm, self.device_bytes, self.firm = rows.ppm, rows.device_bytes, rows.firm
        self.cpu, self.memory = rows.cpu, rows.memory
        self.penalty, self.state, self.changed = rows.penalty, rows.state, rows.changed
        self.wiring = Wiring(size)
        self.domain = self.wiring.domain
        self.whole = np.zeros(size, dtype=np.int64)  # number of wholly free devices
        self._whole_or_held = np.zeros(size, dtype=np.int64)  # the same, as if nothing were held
        # When each device is free, ms: 0 now, inf nobody knows, or it is kept for somebody; and when that changed
        # last, by a clock of its own: what is kept of busy devices leaves the rest as it is.
        self.ends = np.full((size, devices), NEVER)
        self.ends_changed = np.zeros(size, dtype=np.int64)
        self.ends_clock = 0
        # Rows as their views have them, to go back to after a cycle.
        self._now = (
            self.ppm, self.device_bytes, self.ends, self.firm, self.cpu, self.memory, self.whole, self.state
        )  # fmt: skip
        self._at_rest = tuple(column.copy() for column in self._now)
        # The same, with the parts, before anything was expected.
        self._before: tuple[tuple[NDArray[Any], ...], list[Part]] | None = None
        self._unlike: set[int] = set()  # rows of which something else is expected

    def lay_out(self, nodes: Sequence[tuple[NodeView, ModelOnNode]]) -> None:
        """Takes all nodes of the cell in. Cost: O(devices)."""
        for row, (view, on_node) in enumerate(nodes):
            self.parts.append(self._part(view, on_node))
            self.row_of[view.node_id] = row
        self.nodes_by_devices.update([len(on_node.devices) for _, on_node in nodes])
        self._fill(list(range(len(nodes))), slice(None))

    def replace(self, nodes: Sequence[tuple[NodeView, ModelOnNode]]) -> None:
        """Nodes changed, and have as many devices as before. Cost: their devices."""
        rows = [self.row_of[view.node_id] for view, _ in nodes]
        for row, (view, on_node) in zip(rows, nodes, strict=True):
            old = self.parts[row]
            if old.view.usable:
                self.nodes_by_healthy[old.on_node.healthy] -= 1
            self.parts[row] = self._part(view, on_node)
        self._fill(rows, rows)

    def expect(self, expected: Expected) -> None:
        """Rows as they would be once tasks have left and come. Cost: those rows; the first time a copy of all."""
        if not (expected.as_before or expected.whole or expected.anew):
            return
        if self._before is None:
            self._before = tuple(column.copy() for column in self._at_rest), self.parts.copy()
        if expected.as_before:
            self._go_back(expected.as_before, *self._before)
        if expected.whole:
            self._exchange(expected.whole)
        if expected.anew:
            self.replace(expected.anew)
        self._unlike.update(row for row, _ in expected.whole)
        self._unlike.update(self.row_of[view.node_id] for view, _ in expected.anew)

    def forget_expected(self) -> None:
        """Rows are as they were before anything was expected of them. Cost: to copy them."""
        if self._before is not None and self._unlike:
            self._go_back(sorted(self._unlike), *self._before)
        self._before = None
        self._unlike.clear()

    def _go_back(self, rows: list[int], columns: Sequence[NDArray[Any]], parts: Sequence[Part]) -> None:
        *_, whole, _ = columns
        self._count(rows, whole[rows])
        for now, before in zip(self._now, columns, strict=True):
            now[rows] = before[rows]
        for row in rows:
            self.parts[row] = parts[row]
        for row in self.one_firm.keys() & rows if self.one_firm else ():
            self.one_firm[row] = parts[row].view.firm_id
        self._rest(rows)

    def _exchange(self, nodes: Sequence[tuple[int, Changes]]) -> None:
        rows = [row for row, _ in nodes]
        made = Exchange.of(nodes, self.parts, self.ppm.shape[1])
        for column, free, taken in (
            (self.ppm, WHOLE_PPM, 0),
            (self.firm, EVERYBODY, made.firms),
            (self.ends, 0.0, made.ends),
        ):
            column.reshape(-1)[made.freed] = free
            column.reshape(-1)[made.taken] = taken
        self.cpu[rows] += made.cpu
        self.memory[rows] += made.memory
        for row, part in zip(rows, made.parts, strict=True):
            self.parts[row] = part
        self._note_free(rows, made.parts)
        self._rest(rows)

    def forget_cycle(self) -> None:
        """Rows that a cycle took from or held are as their views say. Cost: those rows."""
        if len(self.derived) > _MOST_DERIVED:
            self.derived.clear()
        if not self.touched:
            return
        rows = sorted(self.touched)
        for kept, now in zip(self._at_rest, self._now, strict=True):
            now[rows] = kept[rows]
        for row in rows:
            part = self.parts[row]
            free = part.at_rest.bit_count()
            self.open_devices += free - part.free.bit_count()
            self.free_devices += free - (part.free | part.kept if part.held else part.free).bit_count()
            part.free, part.reserved = part.at_rest, 0
            if part.held:
                part.held = []
            if row in self.one_firm:
                self.one_firm[row] = part.view.firm_id
        self._whole_or_held[rows] = self.whole[rows]
        self._rooms = None
        self._tick(rows)
        self.touched.clear()
        self.held_rows.clear()
        self.held_until_ms = -1
        self._held_for.clear()

    def _part(self, view: NodeView, on_node: ModelOnNode) -> Part:
        frame = tuple([(device.number, device.group) for device in on_node.devices])
        layout = self._layouts.get(frame)
        if layout is None:
            layout = self._layouts[frame] = layout_of(self.rule, frame)
        return part_of(view, on_node, layout)

    def _fill(self, rows: list[int], at: list[int] | slice) -> None:
        """Takes over what the views of these rows say; `at` are the same for numpy. Cost: their devices."""
        parts = [self.parts[row] for row in rows]
        views = [part.view for part in parts]
        for row, view in zip(rows, views, strict=True):
            self.abilities.note(row, view.features)
            if view.one_firm:
                self.one_firm[row] = view.firm_id
            elif row in self.one_firm:
                del self.one_firm[row]
        self.nodes_by_healthy.update([part.on_node.healthy for part in parts if part.view.usable])
        self._fill_devices(at, parts)
        self.cpu[at] = [_left(view.left_cpu_milli) if view.usable else _OUT_OF_SERVICE for view in views]
        self.memory[at] = [_left(view.left_memory_bytes) for view in views]
        self.penalty[at] = [float(view.suspect) for view in views]
        self.wiring.hang(at, views)
        self._rest(at)

    def _rest(self, at: list[int] | slice) -> None:
        """The rows are what they will be again after a cycle."""
        self._tick(at)
        for kept, now in zip(self._at_rest, self._now, strict=True):
            kept[at] = now[at]

    def _fill_devices(self, at: list[int] | slice, parts: Sequence[Part]) -> None:
        width = self.ppm.shape[1]
        numbers: list[tuple[int, float, int, float]] = []
        for part in parts:
            devices = part.on_node.devices
            numbers += map(in_numbers, devices)
            if len(devices) < width:
                numbers += [NO_DEVICE] * (width - len(devices))
        if numbers:
            columns = (self.ppm, self.device_bytes, self.firm, self.ends)
            for column, values in zip(columns, zip(*numbers, strict=True), strict=True):
                column[at] = np.array(values).reshape(len(parts), width)
        self._note_free(at, parts)

    def _note_free(self, at: list[int] | slice, parts: Sequence[Part]) -> None:
        self._count(at, [part.free.bit_count() for part in parts])
        self.state[at] = [self.states.number(part.layout, part.free, part.degraded) for part in parts]

    def _count(self, at: list[int] | slice, whole: Sequence[int] | Ints) -> None:
        """On rows so many devices are open, and none are held."""
        opened = int(np.sum(whole)) - int(self.whole[at].sum())
        self.open_devices += opened
        self.free_devices += opened
        self.whole[at] = self._whole_or_held[at] = whole
        self._rooms = None

    def take(self, row: int, mask: int, demand: Demand) -> None:
        """Gives devices to a task: from what is open, else from what is held. Cost: the row's devices."""
        part = self.parts[row]
        if mask:
            if demand.ppm >= WHOLE_PPM:
                self._shut(part, row, mask)
                for held in part.held:
                    held.mask &= ~mask
            else:
                at = mask.bit_length() - 1
                self.ppm[row, at] -= demand.ppm
                self.device_bytes[row, at] -= demand.device_bytes
                if not part.view.isolates:
                    self.firm[row, at] = firm_number(demand.firm)
                if part.free & mask:
                    part.free &= ~mask
                    self.open_devices -= 1
                    self.free_devices -= 1
                    self.ends[row, at] = NEVER
        if demand.cpu_milli or demand.memory_bytes:
            self._host(row, -demand.cpu_milli, -demand.memory_bytes)
        self._touch(row)

    def give_back(self, row: int, mask: int, demand: Demand) -> None:
        """A task that was taken for is gone."""
        part = self.parts[row]
        columns = part.columns(mask)
        self.ppm[row, columns] += demand.ppm
        if demand.device_bytes:
            self.device_bytes[row, columns] += demand.device_bytes
        if mask and (demand.ppm >= WHOLE_PPM or self.ppm[row, columns] >= WHOLE_PPM):  # of a part: one device
            self.firm[row, columns] = EVERYBODY
            self.ends[row, columns] = 0.0
            part.free |= mask
            self.open_devices += mask.bit_count()
            self.free_devices += mask.bit_count()
        self._host(row, demand.cpu_milli, demand.memory_bytes)
        self._touch(row)

    def hold(
        self, seats: Iterable[tuple[int, int]], from_ms: int | None, queue: QueueKey | None = None
    ) -> None:
        """Keeps (row, devices) for a later start: free ones are no longer open, the others are remembered.

        Free ones that are kept already are kept for both: who uses them must be allowed to by each.
        """
        opened: list[int] = []  # rows of which less is open than before
        rows: list[int] = []
        full: list[int] = []  # rows of which all devices are kept
        for row, mask in seats:
            rows.append(row)
            part = self.parts[row]
            part.reserved |= mask
            columns = part.columns(mask)
            if isinstance(columns, slice):
                full.append(row)
            else:
                self.ends[row, columns] = NEVER
            kept = part.free & mask
            free = kept | (part.kept & mask if part.held else 0)  # who kept some before binds as well
            if free:
                part.held.append(Held(from_ms, free, queue))
            if kept:
                self.held_rows.add(row)
                self._shut(part, row, kept)
                self.free_devices += kept.bit_count()
            open_parts = mask & ~kept & (~part.busy | part.shared)
            if open_parts:
                self.ppm[row, part.columns(open_parts)] = 0
            if kept or open_parts:
                self._note_devices(row)
                opened.append(row)
        self.ends[full] = NEVER
        self.touched.update(rows)
        if opened:
            self.held_until_ms = max(self.held_until_ms, -1 if from_ms is None else from_ms)
            self._held_for.add(queue)
            self._tick(opened)
        self._tick_ends(rows)

    def lends(self, ends_ms: int | None, queue: QueueKey) -> bool:
        """Whether anything that is held may be used by a job of a queue that has ended by `ends_ms`."""
        return self.holds_for(queue) or (ends_ms is not None and ends_ms <= self.held_until_ms)

    def holds_for(self, queue: QueueKey) -> bool:
        """Whether anything is held that a queue may use at any time."""
        return queue in self._held_for

    def _shut(self, part: Part, row: int, mask: int) -> None:
        """Whole devices are no longer open."""
        self.open_devices -= (part.free & mask).bit_count()
        part.free &= ~mask
        self.free_devices -= mask.bit_count()
        columns = part.columns(mask)
        self.ppm[row, columns] = 0
        self.ends[row, columns] = NEVER

    def closed_to(self, firm_id: FirmId) -> list[int]:
        """Rows of nodes that serve another firm alone."""
        return [row for row, firm in self.one_firm.items() if firm is not None and firm != firm_id]

    def serve(self, row: int, firm_id: FirmId) -> None:
        """A task of a firm comes to the node."""
        if row in self.one_firm:
            self.one_firm[row] = firm_id
            self.touched.add(row)
            self._tick(row)

    def change_host(self, row: int, cpu_milli: int, memory_bytes: int) -> None:
        """A task on other devices of the node takes from the host, or gives back."""
        self._host(row, cpu_milli, memory_bytes)
        self._touch(row)

    def _host(self, row: int, cpu_milli: int, memory_bytes: int) -> None:
        if cpu_milli:
            self.cpu[row] += cpu_milli
        if memory_bytes:
            self.memory[row] += memory_bytes

    def _touch(self, row: int) -> None:
        self.touched.add(row)
        self._note_devices(row)
        self._tick(row)

    def _note_devices(self, row: int) -> None:
        part = self.parts[row]
        free = part.free.bit_count()
        if self._rooms is not None:
            self._rooms[self.whole.item(row)] -= 1
            self._rooms[free] += 1
        self.whole[row] = free
        self._whole_or_held[row] = (part.free | part.kept).bit_count() if part.held else free
        self.state[row] = self.states.number(part.layout, part.free, part.degraded)

    def _tick(self, rows: int | list[int] | slice) -> None:
        """The rows are not what they were."""
        self._clock.now += 1
        self.changed_at = self.changed[rows] = self._clock.now
        self._tick_ends(rows)

    def _tick_ends(self, rows: int | list[int] | slice) -> None:
        """Nor is when their devices come free."""
        self.ends_clock += 1
        self.ends_changed[rows] = self.ends_clock

    def ends_at_rest(self, row: int, at: int) -> float:
        """When a device is free, ms, whatever a cycle has taken or held; inf where nobody knows."""
        return float(self._at_rest[2][row, at])

    # --- what reasons and reservations ask ---------------------------------------------------------------

    def expect_ends(self, ends: Iterable[tuple[int, int, float]]) -> None:
        """Predictions (row, devices, ms), where no time limit says when these come free. Forgotten with the cycle."""
        places = [(row, at, ms) for row, mask, ms in ends for at in bits(mask & ~self.parts[row].reserved)]
        if places:
            rows, columns, moments = map(list, zip(*places, strict=True))
            np.minimum.at(self.ends, (rows, columns), moments)
            self.touched.update(rows)
            self._tick_ends(rows)

    def roomiest(self) -> Sequence[int]:
        """Rows: most open devices first; of equals those not suspected, with most of parts, then of the host.

        What nodes are called decides between none but those with all of that in common.
        """
        room = (-self.memory, -self.cpu, -self.ppm.sum(axis=1), self.penalty, -self.whole)
        rows: list[int] = np.lexsort(room).tolist()
        return rows

    def with_room(self, least: int) -> int:
        """How many nodes have at least so many open devices."""
        if self._rooms is None:
            self._rooms = np.bincount(self.whole, minlength=self.ppm.shape[1] + 1).tolist()
        return sum(self._rooms[least:])

    def with_room_counting_held(self, least: int) -> int:
        """The same, as if nothing were held for anybody."""
        return int(np.count_nonzero(self._whole_or_held >= least))

    def nodes_with(self, least: int) -> int:
        """How many nodes have at least so many devices."""
        return _at_least(self.nodes_by_devices, least)

    def healthy_nodes_with(self, least: int) -> int:
        """How many nodes have at least so many devices that are healthy."""
        return _at_least(self.nodes_by_healthy, least)

    def avoided(self, nodes: frozenset[NodeId], count: int, tasks: int) -> frozenset[NodeId]:
        """The nodes that a gang should avoid; none when it could otherwise never start."""
        if nodes and self.healthy_nodes_with(count) - len(nodes) < tasks:
            return frozenset()
        return nodes


def _at_least(histogram: Mapping[int, int], least: int) -> int:
    return sum(nodes for devices, nodes in histogram.items() if devices >= least)


def _left(amount: int | None) -> float:
    return np.inf if amount is None else amount
