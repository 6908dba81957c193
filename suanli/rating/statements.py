"""The statement: what each firm used in a period, what it costs, what a program may pay of it.

The ledger and the verifier call the same `build_statement`; everything in it follows from logged inputs.
"""

from __future__ import annotations

from itertools import groupby

from suanli.rating.charges import Line, charge
from suanli.rating.inputs import Program, RatingInputs
from suanli.rating.intervals import Stretch
from suanli.rating.programs import evaluate_programs
from suanli.rating.usage import Usage, collect_usage

STATEMENT_SCHEMA = "suanli.statement.v1"


def build_statement(
    inputs: RatingInputs, from_ms: int, to_ms: int, firm_id: str | None = None
) -> dict[str, object]:
    """The value of `statement.json` for [from_ms, to_ms): for all firms, or for one.

    `inputs` hold exactly the entries below `inputs.log_size`. Ints and strings only; firms by id, lines by
    job, device model and price. A line without a price in force has a null price_id and charges nothing.
    """
    return state_usage(collect_usage(inputs, from_ms, to_ms), inputs, (from_ms, to_ms), firm_id)


def state_usage(
    usage: Usage, inputs: RatingInputs, period: Stretch, firm_id: str | None = None
) -> dict[str, object]:
    """The value of `statement.json` over usage collected before; of `inputs`, the stretches do not matter."""
    charges = charge(usage)
    firms = [
        _firm_statement(inputs, firm, list(lines), charges.programs)
        for firm, lines in groupby(charges.lines, key=lambda line: line.firm_id)
        if firm_id is None or firm == firm_id
    ]
    return {
        "schema": STATEMENT_SCHEMA,
        "from_ms": period[0],
        "to_ms": period[1],
        "log_size": inputs.log_size,
        "firms": firms,
    }


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
