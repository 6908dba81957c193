"""The names of facts, by what is signed of them. PURE.

A fact is logged once under its name, and whatever else waits under that name is dropped. A name is no part of what the
tree commits to: one that comes from outside the database is held against the record.
"""

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


def act_fact(act: str, subject: str, new_id: str | None = None) -> str:
    """The name of an administrative act. Of what can be done to a subject again it has a `new_id` too: nothing else has
    it, and nobody can tell it before. Raises ValueError where it is missing, KeyError for an act that is none.
    """
    first, last = subject.partition(" ")[0], subject.rpartition(" ")[2]
    if act in _AGAIN:
        if not new_id:
            raise ValueError(f"{act} needs a new id to be called by")
        return _AGAIN[act].format(subject=subject, new_id=new_id)
    return _ONCE[act].format(subject=subject, first=first, last=last)


_AGAIN = {
    "configuration_applied": "configuration/{new_id}",
    "node_cordoned": "cordon/{new_id}",
    "node_uncordoned": "cordon/{new_id}",
    "secret_set": "secret/{subject}/{new_id}",
    "secret_deleted": "secret/{subject}/{new_id}",
}
_ONCE = {
    "principal_created": "principal/{last}/created",
    "principal_disabled": "principal/{subject}/disabled",
    "api_key_created": "api_key/{first}/created",
    "api_key_revoked": "api_key/{subject}/revoked",
    "join_token_created": "join_token/{first}/created",
    PERIOD_CLOSED: PERIOD_CLOSED + "/{subject}",
}


def calendar_fact(node_id: str, new_id: str) -> str:
    """The name of what is planned for a node from a moment on."""
    return f"calendar/{node_id}/{new_id}"


def is_name_of(fact: str, record: Record, body: bytes) -> bool:
    """Whether a record, whose exact bytes are `body`, can have been left under the name `fact`."""
    last = fact.rpartition("/")[2]  # where a name has an id that the record does not have
    match record:
        case AdministrativeAct():
            return bool(last) and fact == act_fact(record.act, record.subject, last)
        case DeviceCalendar():
            return bool(last) and fact == calendar_fact(record.node_id, last)
        case JobReceipt():
            return fact == receipt_fact(body)
        case Firm():
            return fact in (fact_of(record), retitled_fact(record))
        case _:
            return fact == fact_of(record)


def has_new_id(record: Record) -> bool:
    """Whether its name has an id that the record does not have: no two records can have such a name."""
    return isinstance(record, DeviceCalendar) or (
        isinstance(record, AdministrativeAct) and record.act in _AGAIN
    )
