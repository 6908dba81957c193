"""The live cluster as it is now, for questions of what would be if: read in one moment, and nothing is written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.ids import FirmId
from scheduler.machine import ClusterState
from scheduler.machine.messages import BudgetSpent, ConfigurationChanged
from scheduler.planner import Hole
from scheduler.planner.garbage import uncollected
from scheduler.storage.cluster import load_state
from scheduler.storage.cluster_rows import hole_noun
from scheduler.storage.tables import FirmRow, ProjectRow

_CALENDAR = text("SELECT * FROM calendar WHERE until_ms > :at_ms AND until_ms > from_ms")


@dataclass(frozen=True, slots=True)
class Present:
    """What the controller would load if it started now."""

    at_ms: int
    state: ClusterState
    configured: ConfigurationChanged  # what `state` was configured with; of budgets what was spent up to now
    firms: Mapping[FirmId, str]  # names
    calendar: Mapping[str, Hole]  # what is open or to come, by name
    projects: Mapping[FirmId, Collection[str]] = field(default_factory=dict)


async def read_present(session: AsyncSession, catalogue: Catalogue, now_ms: int) -> Present:
    """Everything that is not finished. Cost: as a start of the controller, O(what is live).

    The session has to show one moment (`Database.snapshot`). What lies in the controller's inbox is not taken yet.
    """
    with uncollected():
        state = await load_state(session, catalogue, now_ms)
    at_ms = max(now_ms, state.began_ms)
    names = await session.execute(select(FirmRow.firm_id, FirmRow.name))
    planned = await session.execute(_CALENDAR, {"at_ms": at_ms})
    projects: dict[FirmId, list[str]] = {}
    for row in await session.execute(select(ProjectRow.firm_id, ProjectRow.name).order_by(ProjectRow.name)):
        projects.setdefault(FirmId(row.firm_id), []).append(row.name)
    return Present(
        at_ms,
        state,
        configured_of(state, at_ms),
        {FirmId(firm.firm_id): firm.name for firm in names},
        {hole.name: hole_noun(hole) for hole in planned},
        projects,
    )


def configured_of(state: ClusterState, at_ms: int) -> ConfigurationChanged:
    """What a state was configured with, as it would be told again."""
    spent = state.spending.spent(state.prices, at_ms)
    return ConfigurationChanged(
        pools=state.pools,
        queues=tuple(state.queues.values()),
        cohorts=tuple(state.cohorts.values()),
        calendar=state.calendar,
        prices=state.prices,
        places=state.places,
        budgets=tuple(BudgetSpent(budget, spent[budget.key]) for budget in state.spending.budgets),
    )
