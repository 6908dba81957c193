"""What would be if: the live queue, planned once as it is and once under each proposed change.

The planner, its configuration and the way from the machine's state to a snapshot are those of the controller. Nothing
is carried out: the state is read for this question and thrown away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from scheduler import machine_code
from scheduler.domain.budgets import ProjectBudget
from scheduler.domain.ids import FirmId, NodeId
from scheduler.domain.queues import Queue, QueueKey
from scheduler.machine import take_snapshot
from scheduler.machine.configuration import configure, prices_at
from scheduler.machine.messages import BudgetSpent, PriceFrom
from scheduler.planner import Hole, PlannerConfig, Snapshot
from scheduler.planner.comparison import Prospect
from scheduler.planner.cycle import plan
from scheduler.planner.next_cycle import carried_out
from scheduler.planner.snapshot import NodeView
from scheduler.services.present import Present
from scheduler.simulator.cluster import NodeSpec, view_of
from scheduler.simulator.situations import BASE, Situation, changed
from scheduler.storage.budgets import spent_of

# The controller bounds a cycle and plans again at once; here one cycle has to say all that starts.
MOST_PLACEMENTS = 100_000


@dataclass(frozen=True, slots=True)
class _Names:
    """What firms and nodes are called: by their ids, or the other way round."""

    firms: Mapping[FirmId, FirmId]
    nodes: Mapping[NodeId, NodeId]

    @classmethod
    def of(cls, present: Present) -> "_Names":
        """From ids, as the database has them, to names, as change files do."""
        return cls(
            {firm_id: FirmId(name) for firm_id, name in present.firms.items()},
            {node_id: NodeId(node.node.name) for node_id, node in present.state.nodes.items()},
        )

    def reversed(self) -> "_Names":
        return _Names(
            {name: firm_id for firm_id, name in self.firms.items()},
            {name: node_id for node_id, name in self.nodes.items()},
        )

    def key(self, key: QueueKey) -> QueueKey:
        return key._replace(firm_id=self.firms[key.firm_id])

    def queues(self, queues: Iterable[Queue]) -> tuple[Queue, ...]:
        return tuple(replace(queue, key=self.key(queue.key)) for queue in queues)

    def budget(self, budget: ProjectBudget) -> ProjectBudget:
        return replace(budget, key=budget.key._replace(firm_id=self.firms[budget.key.firm_id]))

    def budgets(self, items: Iterable[BudgetSpent]) -> tuple[BudgetSpent, ...]:
        return tuple(replace(item, budget=self.budget(item.budget)) for item in items)

    def hole(self, hole: Hole) -> Hole:
        """Nodes that are gone keep what they go by."""
        nodes = frozenset(self.nodes.get(node, node) for node in hole.nodes)
        return replace(hole, nodes=nodes, queue=None if hole.queue is None else self.key(hole.queue))


async def situations_of(
    session: AsyncSession, present: Present, config: PlannerConfig, changes: Sequence[Path]
) -> list[Situation]:
    """The present, then the present with each change. Raises Invalid for a file that cannot be."""
    base = as_it_is(present, config)
    return [base, *[await _spent(session, present, base, changed(base, path)) for path in changes]]


def as_it_is(present: Present, config: PlannerConfig) -> Situation:
    """The installation as change files speak of it: firms and nodes by name."""
    state, configured, names = present.state, present.configured, _Names.of(present)
    return Situation(
        BASE,
        state.catalogue,
        tuple(
            NodeSpec(
                node.node.name,
                node.node.devices[0].model if node.node.devices else "",
                len(node.node.devices),
                node.node.pool,
            )
            for node in state.nodes_in_order()
        ),
        names.queues(configured.queues),
        configured.cohorts,
        dict(prices_at(state, present.at_ms)),
        profile=config.profile,
        moves=config.moves,
        budgets=names.budgets(configured.budgets),
        calendar={name: names.hole(hole) for name, hole in present.calendar.items()},
        origin_ms=present.at_ms,
        projects={present.firms[firm]: known for firm, known in present.projects.items()},
    )


async def _spent(session: AsyncSession, present: Present, base: Situation, wanted: Situation) -> Situation:
    """The situation with what was really spent of budgets that are new, or have another period."""
    names = _Names.of(present)
    known = {(item.budget.key, item.budget.period) for item in base.budgets}
    new = [
        names.reversed().budget(item.budget)
        for item in wanted.budgets
        if (item.budget.key, item.budget.period) not in known
    ]
    found = names.budgets(await spent_of(session, new, present.at_ms))
    spent = {item.budget.key: item.spent for item in found}
    budgets = (replace(item, spent=spent.get(item.budget.key, item.spent)) for item in wanted.budgets)
    return replace(wanted, budgets=tuple(budgets))


def prospect_of(present: Present, base: Situation, wanted: Situation, config: PlannerConfig) -> Prospect:
    """What the planner makes of a situation now. It configures the state of `present` anew: one at a time."""
    snapshot = snapshot_of(present, base, wanted)
    config = replace(config, profile=wanted.profile, moves=wanted.moves, max_placements=MOST_PLACEMENTS)
    machine_code.want(len(snapshot.nodes))
    found = Prospect(snapshot, *plan(snapshot, present.at_ms, config))
    if not found.stops:
        return found
    after = carried_out(snapshot, found.plan, present.at_ms)
    return replace(found, then=Prospect(after, *plan(after, present.at_ms, config)))


def snapshot_of(present: Present, base: Situation, wanted: Situation) -> Snapshot:
    """What the planner would see in a situation: the present, configured as it says, with its new nodes."""
    ids, at_ms, configured = _Names.of(present).reversed(), present.at_ms, present.configured
    holes = map(ids.hole, wanted.calendar.values())
    new = [
        PriceFrom(model, at_ms, nano)
        for model, nano in wanted.prices_nano_cny.items()
        if base.prices_nano_cny.get(model) != nano
    ]
    told = replace(
        configured,
        queues=ids.queues(wanted.queues),
        cohorts=wanted.cohorts,
        calendar=tuple(sorted(holes, key=lambda hole: (hole.from_ms, hole.until_ms))),
        prices=tuple(sorted([*configured.prices, *new], key=lambda price: (price.model, price.from_ms))),
        budgets=ids.budgets(wanted.budgets),
    )
    configure(present.state, told, at_ms)
    snapshot = take_snapshot(present.state, at_ms)
    added = [_like(view_of(spec), snapshot.nodes) for spec in wanted.nodes[len(base.nodes) :]]
    return replace(snapshot, catalogue=wanted.catalogue, nodes=(*snapshot.nodes, *added))


def _like(view: NodeView, there: Sequence[NodeView]) -> NodeView:
    """A new node can do what any node here can do, and keeps firms apart where all of them do."""
    features = frozenset(feature for node in there for feature in node.features)
    return replace(view, features=features, isolates=all(node.isolates for node in there))
