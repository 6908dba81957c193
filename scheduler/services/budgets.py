"""Budgets of projects and firms: applied from a file, set and removed one by one, shown with what is gone of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise, may_see_firm
from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, budget_keys, cny
from scheduler.domain.configuration_reading import BudgetEntry, budget_of
from scheduler.domain.errors import Conflict, FieldProblem, Invalid, NotFound
from scheduler.domain.ids import FirmId
from scheduler.domain.reading import Reader
from scheduler.domain.suggestions import one_of
from scheduler.machine.messages import BudgetSpent, PriceFrom
from scheduler.machine.spending import money_of
from scheduler.planner.snapshot import Money
from scheduler.services.administration import note_act
from scheduler.services.application import (
    CREATED,
    UNCHANGED,
    Application,
    Document,
    Judge,
    lock_configuration,
)
from scheduler.services.firms import list_prices
from scheduler.storage import inbox
from scheduler.storage.budgets import load_budgets, load_held
from scheduler.storage.tables import BudgetRow, FirmRow, ProjectRow


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget in its present period. `project` None: of the firm with all of its projects."""

    firm: str
    project: str | None
    money: Money
    begins_ms: int

    def document(self) -> Document:
        """What is configured of it."""
        return _document(self.money.amount_nano, self.money.period)


def _document(amount_nano: int, period: str) -> Document:
    return {"amount_cny": cny(amount_nano), "period": str(period)}


# --- Applying -------------------------------------------------------------------------------------------------


async def apply_budgets(run: Application, budgets: Sequence[BudgetEntry]) -> None:
    """Writes the budgets of the file. Firms and projects may come with the same file."""
    firms = {row.name: row.firm_id for row in await run.session.execute(_FIRMS)}
    for number, entry in enumerate(budgets):
        firm_id = firms.get(entry.firm)
        if firm_id is None:
            run.refuse(f"budgets[{number}].firm", entry.firm, one_of(entry.firm, sorted(firms)))
            continue
        known = await _projects(run.session, firm_id)
        if entry.project is not None and entry.project not in known:
            run.refuse(f"budgets[{number}].project", entry.project, one_of(entry.project, known))
            continue
        await _write(run, firm_id, entry)


async def _write(run: Application, firm_id: str, entry: BudgetEntry) -> None:
    key = (firm_id, entry.project or WHOLE_FIRM)
    was, now = await _configured(run.session, key), _document(entry.amount_nano, entry.period)
    if run.note("budget", _name(entry.firm, entry.project), was, now):
        values = {"amount_nano_cny": entry.amount_nano, "period": entry.period.value}
        statement = upsert(BudgetRow).values(firm_id=key[0], project=key[1], **values)
        await run.session.execute(
            statement.on_conflict_do_update(
                index_elements=[BudgetRow.firm_id, BudgetRow.project], set_=values
            )
        )


async def _configured(session: AsyncSession, key: tuple[str, str]) -> Document | None:
    row = await session.get(BudgetRow, key)
    return None if row is None else _document(row.amount_nano_cny, row.period)


def _name(firm: str, project: str | None) -> str:
    return firm if project is None else f"{firm}/{project}"


_FIRMS = select(FirmRow.name, FirmRow.firm_id)


# --- One by one -----------------------------------------------------------------------------------------------


async def set_budget(
    run: Application, principal: Principal, firm: str, project: str | None, value: object, judge: Judge
) -> tuple[BudgetLine, bool]:
    """Set what a project (None: the firm) may spend, as `value` says; whether there was none before.

    A firm's administrator sets those of the own firm's projects, an operator all. Raises Forbidden, NotFound,
    Invalid with the fields of the value, and what the judge raises.
    """
    firm_id = await _owner(run.session, principal, firm, project)
    reader = Reader(value)
    entry = budget_of(reader, firm, project)
    reader.finish()
    await lock_configuration(run.session)
    key = (firm_id, project or WHOLE_FIRM)
    judge(await _configured(run.session, key))
    await _write(run, firm_id, entry)
    if run.problems:
        raise Invalid(run.problems)
    outcome = run.changes[-1].outcome
    if outcome != UNCHANGED:
        said = f"budget {_name(firm, project)} {cny(entry.amount_nano)} CNY {entry.period.value}"
        await _tell(run, principal, said)
    lines = await _lines(run.session, principal, firm_id, run.now_ms)
    return lines[BudgetKey(FirmId(key[0]), key[1])], outcome == CREATED


async def remove_budget(
    run: Application, principal: Principal, firm: str, project: str | None, judge: Judge
) -> None:
    """From now on the project (None: the firm) may spend any amount.

    Raises Forbidden, NotFound, and what the judge raises.
    """
    firm_id = await _owner(run.session, principal, firm, project)
    await lock_configuration(run.session)
    row, key = BudgetRow, (firm_id, project or WHOLE_FIRM)
    now = await _configured(run.session, key)
    if now is None:
        raise NotFound(f"{_name(firm, project)} has no budget")
    judge(now)
    await run.session.execute(delete(row).where(row.firm_id == key[0], row.project == key[1]))
    await _tell(run, principal, f"budget {_name(firm, project)} removed")


async def _owner(session: AsyncSession, principal: Principal, firm: str, project: str | None) -> str:
    """The firm's id, where the caller may know of it and set the budget."""
    authorise(principal, Action.SET_FIRM_BUDGET if project is None else Action.SET_BUDGET)
    firm_id = await _visible_firm(session, principal, firm)
    known = await _projects(session, firm_id)
    if project is not None and project not in known:
        wrong = FieldProblem("project", project, one_of(project, known))
        raise NotFound(f"the firm {firm} has no project {project}", wrong=wrong)
    return firm_id


async def _projects(session: AsyncSession, firm_id: str) -> list[str]:
    named = select(ProjectRow.name).where(ProjectRow.firm_id == firm_id).order_by(ProjectRow.name)
    return list(await session.scalars(named))


async def _visible_firm(session: AsyncSession, principal: Principal, firm: str) -> str:
    rows = await session.execute(_FIRMS.order_by(FirmRow.name))
    known = {row.name: row.firm_id for row in rows if may_see_firm(principal, row.firm_id)}
    if firm not in known:
        wrong = FieldProblem("firm", firm, one_of(firm, list(known)))
        raise NotFound(f"there is no firm {firm}", wrong=wrong)
    return str(known[firm])


async def _tell(run: Application, principal: Principal, said: str) -> None:
    new_id = run.ids.new(run.now_ms)
    await note_act(run.session, principal, "configuration_applied", said[:128], run.now_ms, new_id)
    await inbox.put(run.session, "ConfigurationChanged", {})


# --- Showing --------------------------------------------------------------------------------------------------


async def read_budget(
    session: AsyncSession, principal: Principal, firm: str, project: str | None, now_ms: int
) -> BudgetLine:
    """The budget of a project (None: of the firm). Raises Forbidden, NotFound."""
    authorise(principal, Action.READ_USAGE)
    firm_id = await _visible_firm(session, principal, firm)
    lines = await _lines(session, principal, firm_id, now_ms)
    line = lines.get(BudgetKey(FirmId(firm_id), project or WHOLE_FIRM))
    if line is None:
        raise NotFound(f"{_name(firm, project)} has no budget")
    return line


async def list_budgets(session: AsyncSession, principal: Principal, now_ms: int) -> Sequence[BudgetLine]:
    """Every budget with what is spent and held of it; a firm's people see those of their own firm."""
    authorise(principal, Action.READ_USAGE)
    lines = await _lines(session, principal, principal.firm_id, now_ms)
    return sorted(lines.values(), key=lambda line: (line.firm, line.project or WHOLE_FIRM))


async def paying_budgets(
    session: AsyncSession, principal: Principal, firm_id: str, project: str, now_ms: int
) -> dict[BudgetKey, BudgetLine]:
    """Those that a job of the project spends. Who asks for more of them does so one after the other: they stay locked
    until the transaction ends.
    """
    row, keys = BudgetRow, budget_keys(FirmId(firm_id), project)
    of_it = (row.firm_id == firm_id, row.project.in_([key.project for key in keys]))
    in_one_order = select(row.project).where(*of_it).order_by(row.project).with_for_update()
    if not list(await session.scalars(in_one_order)):
        return {}
    lines = await _lines(session, principal, firm_id, now_ms)
    return {key: lines[key] for key in keys if key in lines}


def require_left(before: Mapping[BudgetKey, BudgetLine], after: Mapping[BudgetKey, BudgetLine]) -> None:
    """Raises Conflict where more is held of a budget than before, and more than there was left.

    A budget that was set in between is none of `before`: it counts from the next change on.
    """
    for key, line in after.items():
        if key not in before:
            continue
        more = line.money.held_nano - before[key].money.held_nano
        if more > 0 and line.money.left_nano < 0:
            left = cny(before[key].money.left_nano)
            raise Conflict(
                f"the budget of {_name(line.firm, line.project)} has {left} CNY left, and with such a time limit the "
                f"job may cost {cny(more)} CNY more: choose a shorter one, or have the budget raised",
                {"left_cny": left, "more_cny": cny(more)},
            )


async def _lines(
    session: AsyncSession, principal: Principal, firm_id: str | None, now_ms: int
) -> dict[BudgetKey, BudgetLine]:
    found = await load_budgets(session, now_ms, firm_id)
    if not found:
        return {}
    versions = await list_prices(session, principal, now_ms)
    prices = [PriceFrom(one.device_model, one.effective_from_ms, one.price_nano_cny) for one in versions]
    held = await load_held(session, [item.budget for item in found], prices, now_ms)
    return {item.budget.key: _line(item, held[item.budget.key], now_ms) for item in found}


def _line(item: BudgetSpent, held_nano: int, now_ms: int) -> BudgetLine:
    budget = item.budget
    return BudgetLine(
        firm=budget.firm,
        project=None if budget.key.project == WHOLE_FIRM else budget.key.project,
        money=money_of(budget, item.spent, held_nano, now_ms),
        begins_ms=budget.period.begin_ms(now_ms),
    )
