"""Reads statement.json strictly: what the operator claims that a period came to.

Its numbers are compared with a re-rating; numerators and denominators of exact charges may exceed 64 bits,
which is the one place in all formats where integers may.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import Fields, parse
from suanli.rating.balance import Buckets
from suanli.rating.statements import DEVICES_VERSION, STATEMENT_SCHEMA

STATEMENT_LIMIT_BYTES = 1 << 30
_FIRMS_LIMIT = 100_000
_LINES_LIMIT = 10_000_000
_MODELS_LIMIT = 100_000
_BIG = 10**60
_FEN_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class ClaimedFirm:
    """One firm's part: lines by (job, device model, price), subsidies by (program, version), and sums."""

    name: str
    lines: dict[str, dict[str, object]]
    charges: dict[str, Fraction]
    subsidies: dict[str, dict[str, object]]
    total_fen: int
    net_fen: int


@dataclass(frozen=True, slots=True)
class ClaimedStatement:
    """A statement taken apart; keys are made so that two statements can be compared entry by entry."""

    from_ms: int
    to_ms: int
    log_size: int
    firms: dict[str, ClaimedFirm]
    device_time: dict[str, dict[str, int]] | None = None
    """By device model, milliseconds by bucket; None where the statement is of firms alone."""


def parse_statement(data: bytes) -> ClaimedStatement:
    """The statement in `data`. Raises EvidenceError naming the field."""
    return read_statement(parse(data, "statement", STATEMENT_LIMIT_BYTES))


def read_statement(value: object) -> ClaimedStatement:
    """The statement in a JSON value, such as `build_statement` gives. Raises EvidenceError."""
    fields = Fields(value, "statement")
    version = fields.version(STATEMENT_SCHEMA, DEVICES_VERSION)
    from_ms, to_ms = fields.integer("from_ms"), fields.integer("to_ms")
    log_size = fields.integer("log_size")
    firms: dict[str, ClaimedFirm] = {}
    for item in fields.objects("firms", _FIRMS_LIMIT):
        firm_id = item.text("firm_id", 64)
        if firm_id in firms:
            raise EvidenceError(f"{item.path}.firm_id", firm_id, "each firm once")
        firms[firm_id] = _read_firm(item)
    device_time = _read_device_time(fields) if version == DEVICES_VERSION else None
    fields.done()
    return ClaimedStatement(from_ms, to_ms, log_size, firms, device_time)


def _read_device_time(fields: Fields) -> dict[str, dict[str, int]]:
    times: dict[str, dict[str, int]] = {}
    for item in fields.objects("device_time", _MODELS_LIMIT):
        model = item.text("device_model", 128)
        if model in times:
            raise EvidenceError(f"{item.path}.device_model", model, "each model once")
        names = ("enrolled_ms", *(f"{name}_ms" for name in Buckets.__slots__))
        times[model] = {name: item.integer(name) for name in names}
        item.done()
    return times


def _read_firm(fields: Fields) -> ClaimedFirm:
    lines: dict[str, dict[str, object]] = {}
    charges: dict[str, Fraction] = {}
    for item in fields.objects("lines", _LINES_LIMIT):
        key, line = _read_line(item)
        if key in lines:
            raise EvidenceError(item.path, key, "each job, device model and price once")
        lines[key] = line
        charges[key] = Fraction(str(line["charge"]))
    subsidies: dict[str, dict[str, object]] = {}
    for item in fields.objects("subsidies", 100_000):
        key = f"{item.text('program_id', 64)} v{item.integer('version', 1)}"
        if key in subsidies:
            raise EvidenceError(item.path, key, "each program version once")
        subsidies[key] = {
            "base_fen": item.integer("base_fen", 0, _FEN_LIMIT),
            "amount_fen": item.integer("amount_fen", 0, _FEN_LIMIT),
        }
        item.done()
    firm = ClaimedFirm(
        name=fields.text("name", 256, empty=True),
        lines=lines,
        charges=charges,
        subsidies=subsidies,
        total_fen=fields.integer("total_fen", 0, _FEN_LIMIT),
        net_fen=fields.integer("net_fen", -_FEN_LIMIT, _FEN_LIMIT),
    )
    fields.done()
    return firm


def _read_line(fields: Fields) -> tuple[str, dict[str, object]]:
    job_id, model = fields.text("job_id", 64), fields.text("device_model", 128)
    price_id = fields.optional_text("price_id", 64)
    line: dict[str, object] = {"requested_ms": fields.optional_integer("requested_ms")}
    for name in ("held_ms", "billable_ms", "live_ms", "worked_ms"):
        line[name] = fields.integer(name)
    exact = fields.nested("charge")
    num, den = exact.integer("num", 0, _BIG), exact.integer("den", 1, _BIG)
    exact.done()
    # As text, so that 2/4 is not the 1/2 that the rule of lowest terms asks for.
    line["charge"] = f"{num}/{den}"
    line["amount_fen"] = fields.integer("amount_fen", 0, _FEN_LIMIT)
    fields.done()
    return f"job {job_id}, {model}, price {price_id}", line
