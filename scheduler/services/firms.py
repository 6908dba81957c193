"""Firms, and the queues, models and prices that a caller can choose from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.configuration_reading import shown_quota
from scheduler.storage.tables import FirmRow, PriceVersionRow, ProgramVersionRow, ProjectRow, QueueRow


@dataclass(frozen=True, slots=True)
class FirmRecord:
    """A firm with its projects."""

    firm_id: str
    name: str
    title: str
    projects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A queue with its pools and quota."""

    firm: str
    name: str
    pools: tuple[str, ...]
    nominal: Mapping[str, int]
    weight: int
    cohort: str | None


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """A price version. A later version of the model supersedes it from its own beginning on."""

    price_id: str
    device_model: str
    price_nano_cny: int  # per device-hour
    effective_from_ms: int
    in_force: bool


@dataclass(frozen=True, slots=True)
class ProgramRecord:
    """A version of a subsidy program; `rules` as they are rated by."""

    rules: Mapping[str, Any]
    effective_from_ms: int
    in_force: bool


async def firm_name(session: AsyncSession, firm_id: str | None) -> str | None:
    """The short name of a firm; None for those who belong to none."""
    if firm_id is None:
        return None
    return await session.scalar(select(FirmRow.name).where(FirmRow.firm_id == firm_id))


async def firm_names(session: AsyncSession, firm_ids: Collection[str]) -> dict[str, str]:
    """The short names of firms by their ids."""
    rows = await session.execute(select(FirmRow.firm_id, FirmRow.name).where(FirmRow.firm_id.in_(firm_ids)))
    return {row.firm_id: row.name for row in rows}


async def list_firms(session: AsyncSession, principal: Principal) -> Sequence[FirmRecord]:
    """All firms; for a firm's people their own."""
    authorise(principal, Action.READ_CATALOGUE)
    firms = select(FirmRow).order_by(FirmRow.name)
    projects = select(ProjectRow).order_by(ProjectRow.name)
    if principal.firm_id is not None:
        firms = firms.where(FirmRow.firm_id == principal.firm_id)
        projects = projects.where(ProjectRow.firm_id == principal.firm_id)
    names: dict[str, list[str]] = {}
    for project in await session.scalars(projects):
        names.setdefault(project.firm_id, []).append(project.name)
    return [
        FirmRecord(row.firm_id, row.name, row.title, tuple(names.get(row.firm_id, ())))
        for row in await session.scalars(firms)
    ]


async def list_queues(session: AsyncSession, principal: Principal) -> Sequence[QueueRecord]:
    """All queues; for a firm's people their own."""
    authorise(principal, Action.READ_CATALOGUE)
    query = (
        select(QueueRow, FirmRow.name)
        .join(FirmRow, FirmRow.firm_id == QueueRow.firm_id)
        .order_by(FirmRow.name, QueueRow.name)
    )
    if principal.firm_id is not None:
        query = query.where(QueueRow.firm_id == principal.firm_id)
    return [
        QueueRecord(firm, row.name, tuple(row.pools), shown_quota(row.nominal), row.weight, row.cohort)
        for row, firm in await session.execute(query)
    ]


async def list_prices(session: AsyncSession, principal: Principal, now_ms: int) -> Sequence[PriceRecord]:
    """Every price version, past and future: prices are public to everybody who is billed or pays."""
    authorise(principal, Action.READ_CATALOGUE)
    rows = list(
        await session.scalars(
            select(PriceVersionRow).order_by(PriceVersionRow.device_model, PriceVersionRow.effective_from_ms)
        )
    )
    newest = {row.device_model: row.price_id for row in rows if row.effective_from_ms <= now_ms}
    return [
        PriceRecord(
            row.price_id,
            row.device_model,
            row.price_nano_cny,
            row.effective_from_ms,
            newest.get(row.device_model) == row.price_id,
        )
        for row in rows
    ]


async def list_programs(session: AsyncSession, principal: Principal, now_ms: int) -> Sequence[ProgramRecord]:
    """Every version of every program, by id and version: who is supported may know by which rules.

    In force is the highest version that has begun, as it is rated (`suanli.rating.prices.programs_at`).
    """
    authorise(principal, Action.READ_CATALOGUE)
    rows = list(
        await session.scalars(
            select(ProgramVersionRow).order_by(ProgramVersionRow.program_id, ProgramVersionRow.version)
        )
    )
    newest = {row.program_id: row.version for row in rows if row.effective_from_ms <= now_ms}
    return [
        ProgramRecord(row.rules, row.effective_from_ms, newest.get(row.program_id) == row.version)
        for row in rows
    ]
