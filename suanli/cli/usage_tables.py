"""Usage and balance as tables: hours and CNY for people; exact fractions are in the JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suanli.cli.moments import BILLING_CLOCK, billing_time, hours
from suanli.cli.output import print_fields, print_table, say
from suanli.cli.session import label_of, short_id
from suanli.sentences.words import word

if TYPE_CHECKING:
    from decimal import Decimal

BUCKETS = ("allocated", "idle", "reserved", "maintenance", "faulty", "unknown")


def cny(fen: int) -> str:
    """`1,234.56` of whole fen, exact."""
    sign = "-" if fen < 0 else ""
    whole, part = divmod(abs(fen), 100)
    return f"{sign}{whole:,}.{part:02d}"


def fen_of(amount_cny: str, *, up: bool = False) -> str:
    """`1,234.56` of exact decimal text in CNY, to the fen below it, or above it."""
    return f"{_to_fen(amount_cny, up=up):,}"


def _to_fen(amount_cny: str, *, up: bool = False) -> Decimal:
    from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

    return Decimal(amount_cny).quantize(Decimal("0.01"), ROUND_CEILING if up else ROUND_FLOOR)


def about(amount_cny: str) -> str:
    """The same to the fen below, and `<0.01` of what is less than one but not nothing."""
    text = fen_of(amount_cny)
    return "<0.01" if text == "0.00" and amount_cny.strip("-0.") else text


def print_budgets(budgets: Sequence[Mapping[str, Any]], *, empty: str = "") -> None:
    """What projects and firms may spend, with what is gone of it, to the fen."""
    print_table(
        ["BUDGET OF", "PERIOD", "CNY", "SPENT", "HELD", "LEFT", f"UNTIL, {BILLING_CLOCK}"],
        [_budget_row(budget) for budget in budgets],
        right=(2, 3, 4, 5),
        empty=empty,
    )
    if budgets:
        say(
            "\nSpent: the most that can be charged so far. Held: what running jobs, and those that were stopped "
            "for others, may still cost."
        )


def _budget_row(budget: Mapping[str, Any]) -> list[object]:
    """What is held is shown as what spent and left leave over, so that the three are the budget to the fen."""
    amount, left = _to_fen(budget["amount_cny"]), _to_fen(budget["left_cny"])
    spent = _to_fen(budget["spent_cny"], up=True)
    return [
        owner_of(budget),
        word(budget["period"]),
        f"{amount:,}",
        f"{spent:,}",
        f"{max(amount - spent - left, _to_fen('0')):,}",
        f"{left:,}",
        billing_time(budget["ends"]) if budget["ends"] else "",
    ]


def owner_of(budget: Mapping[str, Any]) -> str:
    """`yunhe`, or `yunhe/research`."""
    return f"{budget['firm']}/{budget['project']}" if budget["project"] else str(budget["firm"])


def _period(answer: Mapping[str, Any]) -> str:
    period = f"{billing_time(answer['from'])} to {billing_time(answer['to'])}, {BILLING_CLOCK}"
    return f"{period}; evidence log of {answer['log_size']} entries"


def print_usage(answer: Mapping[str, Any]) -> None:
    """One table a firm: lines by job and device model, then subsidies and sums."""
    say(_period(answer))
    if not answer["firms"]:
        say("No usage.")
    for firm in answer["firms"]:
        say("")
        say(str(firm["name"]))
        print_table(
            ["JOB", "NAME", "DEVICE MODEL", "HELD", "BILLED", "LIVE", "WORKED", "CNY"],
            [_line_row(line) for line in firm["lines"]],
            right=(3, 4, 5, 6, 7),
            empty="No usage.",
        )
        print_fields(_sums(firm))
    if any(line["price_id"] is None for firm in answer["firms"] for line in firm["lines"]):
        say("\nUsage without a price in force costs nothing.")
    if answer.get("budgets"):
        say("")
        print_budgets(answer["budgets"])
    say("\nDevice-hours. Held: given to the job; billed: in use; live: with a process; worked: busy.")


def _line_row(line: Mapping[str, Any]) -> list[object]:
    return [
        short_id(line["job_id"]),
        label_of(line.get("job_name") or "", line.get("array_index")),
        line["device_model"] + (" (simulated)" if line.get("simulated") else ""),
        hours(line["held_ms"]),
        hours(line["billable_ms"]),
        hours(line["live_ms"]),
        hours(line["worked_ms"]),
        "no price" if line["price_id"] is None else cny(line["amount_fen"]),
    ]


def _sums(firm: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    yield "Total", word("{number} CNY", number=cny(firm["total_fen"]))
    for subsidy in firm["subsidies"]:
        program = f"{subsidy['program_id']} v{subsidy['version']}"
        yield program, word("{number} CNY", number=cny(-subsidy["amount_fen"]))
    yield "Net", word("{number} CNY", number=cny(firm["net_fen"]))


def print_balance(answer: Mapping[str, Any]) -> None:
    """Where device time went: one row a device model, and the sum."""
    say(_period(answer))
    by_model: dict[str, dict[str, int]] = {}
    counts: dict[str, int] = {}
    for device in answer["devices"]:
        sums = by_model.setdefault(device["device_model"], dict.fromkeys(("enrolled", *BUCKETS), 0))
        counts[device["device_model"]] = counts.get(device["device_model"], 0) + 1
        for name in sums:
            sums[name] += device[f"{name}_ms"]
    rows: list[list[object]] = [
        [model, counts[model], *(hours(value) for value in sums.values())]
        for model, sums in sorted(by_model.items())
    ]
    if len(rows) > 1:
        total = [sum(sums[name] for sums in by_model.values()) for name in ("enrolled", *BUCKETS)]
        rows.append(["all", sum(counts.values()), *(hours(value) for value in total)])
    columns = ["DEVICE MODEL", "DEVICES", "ENROLLED", *(bucket.upper() for bucket in BUCKETS)]
    print_table(columns, rows, right=range(1, len(columns)), empty="No devices.")
    say("\nDevice-hours. Every device-second is in exactly one bucket; unknown is never billed.")
