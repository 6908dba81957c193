"""Budgets of firms and projects: what may be spent in a period. Amounts in nano CNY, whole numbers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from scheduler.domain.ids import FirmId
from scheduler.domain.time import month_begin_ms, next_month_ms, year_begin_ms

WHOLE_FIRM = ""  # in the place of a project: the budget of the firm, of which every project of it is a part


class BudgetPeriod(StrEnum):
    """When the spending is counted from nothing again: with the month or the year of the bills, or never."""

    MONTH = "month"
    YEAR = "year"
    TOTAL = "total"

    def begin_ms(self, now_ms: int) -> int:
        """From when what is spent counts."""
        if self is BudgetPeriod.MONTH:
            return month_begin_ms(now_ms)
        return year_begin_ms(now_ms) if self is BudgetPeriod.YEAR else 0

    def end_ms(self, now_ms: int) -> int | None:
        """When the next period begins; None: never."""
        if self is BudgetPeriod.MONTH:
            return next_month_ms(now_ms)
        return next_month_ms(year_begin_ms(now_ms), 12) if self is BudgetPeriod.YEAR else None


class BudgetKey(NamedTuple):
    """Whose budget."""

    firm_id: FirmId
    project: str  # WHOLE_FIRM: the firm's own


@dataclass(frozen=True, slots=True)
class ProjectBudget:
    """What a project, or a firm with all of its projects, may spend."""

    key: BudgetKey
    amount_nano: int
    period: BudgetPeriod
    firm: str = ""  # its name, for people


def budget_keys(firm_id: FirmId, project: str) -> tuple[BudgetKey, BudgetKey]:
    """Whose budgets a job of the project spends: the project's and the firm's."""
    return BudgetKey(firm_id, project), BudgetKey(firm_id, WHOLE_FIRM)


def cny(nano: int) -> str:
    """`12.50` of nano-CNY, exact, with at least two decimal places."""
    if nano < 0:
        return f"-{cny(-nano)}"
    whole, part = divmod(nano, 10**9)
    return f"{whole}.{f'{part:09d}'.rstrip('0').ljust(2, '0')}"
