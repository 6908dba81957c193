"""What is expected on the nodes of a cell: rows that will differ from what their views say, and how."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scheduler.planner.layouts import bits
from scheduler.planner.parts import NEVER, Part
from scheduler.planner.rows import EVERYBODY, firm_number
from scheduler.planner.snapshot import ModelOnNode, NodeView
from scheduler.planner.turnover import Changes


@dataclass(slots=True)
class Expected:
    """What is expected of a cell's nodes, other than before."""

    as_before: list[int] = field(default_factory=list)  # rows that first go back to what their views say
    whole: list[tuple[int, Changes]] = field(
        default_factory=list
    )  # rows where whole devices change hands alone
    anew: list[tuple[NodeView, ModelOnNode]] = field(
        default_factory=list
    )  # nodes as they will be, any others


@dataclass(slots=True)
class Exchange:
    """Whole devices that come free or are taken, as places in arrays of all devices, and what is left of the hosts."""

    freed: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)  # of those that are taken, ms
    firms: list[int] = field(default_factory=list)  # of those, by whom
    parts: list[Part] = field(default_factory=list)  # after that, one a row, as the next two
    cpu: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, nodes: Iterable[tuple[int, Changes]], parts: Sequence[Part], width: int) -> "Exchange":
        """On some rows. `parts` are those of all, `width` the devices that a row of an array has."""
        made = cls()
        for row, changes in nodes:
            made._add(parts[row], row * width, changes)
        return made

    def _add(self, old: Part, begin: int, changes: Changes) -> None:
        free, busy, cpu, memory = old.free, old.busy, 0, 0
        for device_ids, (shape, sign, ends_by_ms, _) in changes:
            mask = old.mask_of(device_ids)
            places = [begin + at for at in bits(mask)]
            cpu += sign * shape.cpu_milli
            memory += sign * shape.memory_bytes
            if sign > 0:
                free, busy = free | mask, busy & ~mask
                self.freed += places
                continue
            end = NEVER if ends_by_ms is None else float(ends_by_ms)
            self.taken += places
            self.ends += [end if free >> at & 1 else NEVER for at in bits(mask)]
            firm = EVERYBODY if old.view.isolates else firm_number(shape.queue.firm_id)
            self.firms += [firm] * len(places)
            free, busy = free & ~mask, busy | mask
        self.parts.append(old.later(free, busy))
        self.cpu.append(cpu)
        self.memory.append(memory)
