"""The statement: what each firm used in a period, what it costs, what a program may pay of it.

The ledger and the verifier call the same `build_statement`; everything in it follows from logged inputs. The
statement of all firms also says what the time of the installation's devices was, bucket by bucket. A firm's own is
its part of that one and says nothing of devices: a firm is not shown what others did, and could not check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from suanli.rating.balance import BalanceCollector, collect_balance
from suanli.rating.charges import Line, charge
from suanli.rating.inputs import Program, RatingInputs
from suanli.rating.intervals import Stretch
from suanli.rating.programs import evaluate_programs
from suanli.rating.usage import Usage, collect_usage

STATEMENT_SCHEMA = "suanli.statement"
FIRMS_VERSION = 1
"""Of firms alone: a firm's own statement, and what statements of all firms were before they told device time."""
DEVICES_VERSION = 2
"""Of all firms, with `device_time`."""


def build_statement(
    inputs: RatingInputs, from_ms: int, to_ms: int, firm_id: str | None = None
) -> dict[str, object]:
    """The value of `statement.json` for [from_ms, to_ms): for all firms, or for one.

    `inputs` hold exactly the entries below `inputs.log_size`. Ints and strings only; firms by id, lines by
    job, device model and price. A line without a price in force has a null price_id and charges nothing.
    """
    usage = collect_usage(inputs, from_ms, to_ms)
    balance = collect_balance(inputs, from_ms, to_ms) if firm_id is None else None
    return state_usage(usage, balance, inputs, (from_ms, to_ms), firm_id)


def state_usage(
    usage: Usage,
    balance: BalanceCollector | None,
    inputs: RatingInputs,
    period: Stretch,
    firm_id: str | None = None,
) -> dict[str, object]:
    """The value of `statement.json` over what was collected before; of `inputs`, the stretches do not matter.

    Without a balance nothing is said of device time.
    """
    charges = charge(usage)
    firms = [
        _firm_statement(inputs, firm, list(lines), charges.programs)
        for firm, lines in groupby(charges.lines, key=lambda line: line.firm_id)
        if firm_id is None or firm == firm_id
    ]
    statement = _statement(FIRMS_VERSION, period, inputs.log_size, firms)
    if balance is None:
        return statement
    return {**statement, "schema": _schema(DEVICES_VERSION), "device_time": _device_time(balance)}


def firm_part(statement: Mapping[str, Any], firm_id: str) -> dict[str, object]:
    """A firm's own statement, out of one of all firms or of the firm itself."""
    mine = [firm for firm in statement["firms"] if firm["firm_id"] == firm_id]
    period = statement["from_ms"], statement["to_ms"]
    return _statement(FIRMS_VERSION, period, statement["log_size"], mine)


def _schema(version: int) -> str:
    return f"{STATEMENT_SCHEMA}.v{version}"


def _statement(version: int, period: Stretch, log_size: int, firms: Sequence[object]) -> dict[str, object]:
    return {
        "schema": _schema(version),
        "from_ms": period[0],
        "to_ms": period[1],
        "log_size": log_size,
        "firms": firms,
    }


def _device_time(balance: BalanceCollector) -> list[dict[str, object]]:
    """By model: time in the register, and the buckets whose sum it is; whole milliseconds of whole devices."""
    return [
        {"device_model": model, "enrolled_ms": sum(times.values())}
        | {f"{name}_ms": time_ms for name, time_ms in times.items()}
        for model, buckets in sorted(balance.by_model().items())
        for times in [buckets.whole_ms()]
    ]


def _firm_statement(
    inputs: RatingInputs, firm_id: str, lines: list[Line], programs: dict[tuple[str, int], Program]
) -> dict[str, object]:
    subsidies = evaluate_programs(lines, programs)
    total_fen = sum(line.amount_fen for line in lines)
    return {
        "firm_id": firm_id,
        "name": inputs.firm_names.get(firm_id, ""),
        "lines": [line.as_json() for line in lines],
        "total_fen": total_fen,
        "subsidies": [subsidy.as_json() for subsidy in subsidies],
        "net_fen": total_fen - sum(subsidy.amount_fen for subsidy in subsidies),
    }
