"""Bodies of `statement` entries: what a period was closed with, one entry for each firm.

Version 1 tells the firm's sums and the digest of its statement.json; version 2 also what the time was that it held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanli.evidence.entries import STATEMENT
from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import Fields
from suanli.rating.held import HeldTime

STATEMENT_VERSION = 2
_MODELS_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Statement:
    """What one firm owes for a period that was closed at `log_size`: everything below it counts, nothing above.

    `sha256` is over the bytes of the firm's statement.json; the sums in fen are those that it holds. `held` says, by
    device model, what the time was that the firm held devices; None where an entry of version 1 does not tell.
    """

    firm_id: str
    from_ms: int
    to_ms: int
    log_size: int
    sha256: str
    total_fen: int
    net_fen: int
    at_ms: int
    held: tuple[HeldTime, ...] | None = None


def held_as_json(held: Sequence[HeldTime] | None) -> dict[str, object]:
    """What a body holds of them, with the schema that it then has."""
    if held is None:
        return {}
    models = [{name: getattr(of, name) for name in HeldTime.__slots__} for of in held]
    return {"held": models, "schema": f"suanli.{STATEMENT}.v{STATEMENT_VERSION}"}


def read_statement_entry(fields: Fields) -> Statement:
    """The body in `fields`. Raises EvidenceError."""
    version = fields.version(f"suanli.{STATEMENT}", STATEMENT_VERSION)
    statement = Statement(
        firm_id=fields.text("firm_id", 64),
        from_ms=fields.integer("from_ms"),
        to_ms=fields.integer("to_ms"),
        log_size=fields.integer("log_size", 1),
        sha256=fields.hex("sha256", 32),
        total_fen=fields.integer("total_fen"),
        net_fen=fields.integer("net_fen", -(2**62)),
        at_ms=fields.integer("at_ms"),
        held=_read_held(fields) if version == STATEMENT_VERSION else None,
    )
    if statement.to_ms <= statement.from_ms:
        raise EvidenceError("statement.to_ms", statement.to_ms, f"more than from_ms {statement.from_ms}")
    return statement


def _read_held(fields: Fields) -> tuple[HeldTime, ...]:
    held: list[HeldTime] = []
    for item in fields.objects("held", _MODELS_LIMIT):
        model = item.text("device_model", 128)
        if held and model <= held[-1].device_model:
            raise EvidenceError(
                f"{item.path}.device_model", model, "each model once, in the order of their names"
            )
        held.append(HeldTime(model, *(item.integer(name) for name in HeldTime.__slots__[1:])))
        item.done()
    return tuple(held)
