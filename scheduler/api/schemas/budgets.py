"""Budgets of projects and firms over HTTP: amounts are decimal text in CNY."""

from typing import Annotated, Literal

from pydantic import Field

from scheduler.api.schemas.base import Decimal, In, Out, utc, utc_or_none
from scheduler.domain.budgets import cny
from scheduler.services.budgets import BudgetLine


class BudgetBody(In):
    """A budget at its address."""

    amount_cny: Annotated[Decimal, Field(description="Decimal text, at most nine places.")]
    period: Annotated[
        Literal["month", "year", "total"],
        Field(description="Counted anew with each month or year (Asia/Shanghai); total: never."),
    ] = "month"


class BudgetIn(BudgetBody):
    """What a project may spend in a period. `project` absent: what the firm may, with all of its projects."""

    firm: str
    project: str | None = None


class BudgetOut(Out):
    """A budget with what is gone of it in its present period. `left_cny` is below zero where it was lowered."""

    firm: str
    project: Annotated[str | None, Field(description="null: the firm with all of its projects.")]
    amount_cny: str
    period: Literal["month", "year", "total"]
    begins: Annotated[str | None, Field(description="Of the present period; null: from the very beginning.")]
    ends: Annotated[
        str | None, Field(description="When the spending counts from nothing again; null: never.")
    ]
    spent_cny: Annotated[
        str, Field(description="The most that can be charged for the period up to now, known at once.")
    ]
    held_cny: Annotated[
        str,
        Field(
            description="What running jobs, and those that were stopped for others, may still cost to their time "
            "limits; without one, in an hour."
        ),
    ]
    left_cny: Annotated[str, Field(description="What a job that starts now may cost.")]


class BudgetsOut(Out):
    """Budgets by firm and project."""

    budgets: list[BudgetOut]


def budget_out(line: BudgetLine) -> BudgetOut:
    """A budget for the wire."""
    money = line.money
    return BudgetOut.model_validate(
        {
            "firm": line.firm,
            "project": line.project,
            "amount_cny": cny(money.amount_nano),
            "period": money.period.value,
            "begins": utc(line.begins_ms) if line.begins_ms else None,
            "ends": utc_or_none(money.ends_ms),
            "spent_cny": cny(money.spent_nano),
            "held_cny": cny(money.held_nano),
            "left_cny": cny(money.left_nano),
        }
    )
