"""What the name of a fact must be, by what was signed of it. PURE.

A name is no part of what the tree commits to, and whatever waits under the name of a logged fact is dropped: a name
that comes from outside the database is therefore held against the record. Those who leave facts make the names; this
is the other side of it.
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

_ACTS_OF_NEW_IDS = frozenset(
    {"configuration_applied", "node_cordoned", "node_uncordoned", "secret_set", "secret_deleted"}
)


def allocation_fact(allocation_id: str, event: str) -> str:
    """The name of an event of an allocation."""
    return f"allocation/{allocation_id}/{event}"


def is_name_of(fact: str, record: Record, body: bytes) -> bool:
    """Whether a record, whose exact bytes are `body`, can have been left under the name `fact`."""
    if isinstance(record, AdministrativeAct):
        return re.fullmatch(_act_pattern(record), fact) is not None
    if isinstance(record, DeviceCalendar):
        return re.fullmatch(f"calendar/{re.escape(record.node_id)}/{_MADE_UP}", fact) is not None
    return fact in _names(record, body)


def has_new_id(record: Record) -> bool:
    """Whether its name has an id that the record does not have: no two records can have such a name."""
    if isinstance(record, AdministrativeAct):
        return record.act in _ACTS_OF_NEW_IDS
    return isinstance(record, DeviceCalendar)


def _names(record: Record, body: bytes) -> tuple[str, ...]:  # noqa: PLR0911 - one for each kind of record
    match record:
        case OperatorKeys():
            return ("operator_keys",)
        case KeyEvent():
            return (f"key/{record.key_id}/{record.event}",)
        case DeviceEvent():
            return (f"device/{record.device.device_id}/{record.event}",)
        case AllocationEvent():
            return (allocation_fact(record.allocation_id, record.event),)
        case PriceVersion():
            return (f"price/{record.price_id}",)
        case ProgramVersion():
            return (f"program/{record.program_id}/{record.version}",)
        case Firm():  # the first of a firm, and one for each new title
            return (f"firm/{record.firm_id}", f"firm/{record.firm_id}/{record.at_ms}")
        case FirmKey():
            return (f"firm_key/{record.key_id}/{record.event}",)
        case JobReceipt():
            return (f"receipt/{sha256(body).hexdigest()}",)
        case Statement():
            return (f"statement/{record.firm_id}/{record.from_ms}/{record.to_ms}",)
    return ()


def _act_pattern(record: AdministrativeAct) -> str:
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
