"""The names of facts, by what is signed of them. PURE.

A fact is logged once under its name, and whatever else waits under that name is dropped. A name is no part of what the
tree commits to: one that comes from outside the database is held against the record.
"""

import re
from hashlib import sha256

from suanli.evidence.calendar import DeviceCalendar
from suanli.evidence.receipts import FirmKey, JobReceipt
from suanli.evidence.records import (
    PERIOD_CLOSED,
    AdministrativeAct,
    AllocationEvent,
    DeviceEvent,
    Firm,
    KeyEvent,
    OperatorKeys,
    PriceVersion,
    ProgramVersion,
    Record,
)
from suanli.evidence.statement_entry import Statement

_MADE_UP = r"[^/]+"
"""An id that was new with the fact: nothing else has it, and nobody can tell it before."""

Named = (
    OperatorKeys
    | KeyEvent
    | DeviceEvent
    | AllocationEvent
    | PriceVersion
    | ProgramVersion
    | Firm
    | FirmKey
    | Statement
)
"""Records that say themselves what their fact is called."""


def allocation_fact(allocation_id: str, event: str) -> str:
    """The name of an event of an allocation."""
    return f"allocation/{allocation_id}/{event}"


def fact_of(record: Named) -> str:  # noqa: PLR0911 - one for each kind of record
    """The name of its fact; of a firm that of the first, before which no other title was."""
    match record:
        case OperatorKeys():
            return "operator_keys"
        case KeyEvent():
            return f"key/{record.key_id}/{record.event}"
        case DeviceEvent():
            return f"device/{record.device.device_id}/{record.event}"
        case AllocationEvent():
            return allocation_fact(record.allocation_id, record.event)
        case PriceVersion():
            return f"price/{record.price_id}"
        case ProgramVersion():
            return f"program/{record.program_id}/{record.version}"
        case Firm():
            return f"firm/{record.firm_id}"
        case FirmKey():
            return f"firm_key/{record.key_id}/{record.event}"
        case Statement():
            return f"statement/{record.firm_id}/{record.from_ms}/{record.to_ms}"


def retitled_fact(firm: Firm) -> str:
    """The name of a firm's new title: a fact beside the first one."""
    return f"{fact_of(firm)}/{firm.at_ms}"


def receipt_fact(body: bytes) -> str:
    """The name of a receipt with these bytes."""
    return f"receipt/{sha256(body).hexdigest()}"


def is_name_of(fact: str, record: Record, body: bytes) -> bool:
    """Whether a record, whose exact bytes are `body`, can have been left under the name `fact`."""
    match record:
        case AdministrativeAct() | DeviceCalendar():
            return re.fullmatch(_pattern(record), fact) is not None
        case JobReceipt():
            return fact == receipt_fact(body)
        case Firm():
            return fact in (fact_of(record), retitled_fact(record))
        case _:
            return fact == fact_of(record)


def has_new_id(record: Record) -> bool:
    """Whether its name has an id that the record does not have: no two records can have such a name."""
    return isinstance(record, AdministrativeAct | DeviceCalendar) and _MADE_UP in _pattern(record)


def _pattern(record: AdministrativeAct | DeviceCalendar) -> str:
    if isinstance(record, DeviceCalendar):
        return f"calendar/{re.escape(record.node_id)}/{_MADE_UP}"
    first, last = re.escape(record.subject.partition(" ")[0]), re.escape(record.subject.rpartition(" ")[2])
    whole = re.escape(record.subject)
    patterns = {
        "configuration_applied": f"configuration/{_MADE_UP}",
        "principal_created": f"principal/{last}/created",
        "principal_disabled": f"principal/{whole}/disabled",
        "api_key_created": f"api_key/{first}/created",
        "api_key_revoked": f"api_key/{whole}/revoked",
        "join_token_created": f"join_token/{first}/created",
        "node_cordoned": f"cordon/{_MADE_UP}",
        "node_uncordoned": f"cordon/{_MADE_UP}",
        "secret_set": f"secret/{whole}/{_MADE_UP}",
        "secret_deleted": f"secret/{whole}/{_MADE_UP}",
        PERIOD_CLOSED: f"{PERIOD_CLOSED}/{whole}",
    }
    return patterns[record.act]
