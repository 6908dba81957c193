"""Bodies of log entries other than usage windows: what operator, controller and firms state and sign.

Each is a frozen dataclass with `encode_record` and `parse_record` as its two ways; reading refuses unknown
keys and values out of range. Times are milliseconds of UTC; money is nano-CNY in prices and fen in caps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suanli.evidence.calendar import CALENDAR, DeviceCalendar, read_calendar
from suanli.evidence.entries import (
    ADMINISTRATIVE_ACT,
    ALLOCATION_EVENT,
    DEVICE_EVENT,
    FIRM,
    FIRM_KEY,
    JOB_RECEIPT,
    KEY_EVENT,
    OPERATOR_KEYS,
    PRICE_VERSION,
    PROGRAM_VERSION,
    STATEMENT,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DEVICE_VERSION, DeviceIdentity, read_device
from suanli.evidence.keys import KEY_ID_BYTES, PUBLIC_KEY_BYTES, key_id
from suanli.evidence.receipts import FirmKey, JobReceipt, read_firm_key, read_receipt
from suanli.evidence.statement_entry import Statement, held_as_json, read_statement_entry
from suanli.evidence.strict_json import Fields, encode, parse_object
from suanli.evidence.windows import GRID_MS, WHOLE_PPM

PERIOD_CLOSED = "period_closed"
"""The act of closing a period; its subject is FROM_MS/TO_MS."""
ROUNDING = "half_away_from_zero/fen/line"
PRICE_UNITS = frozenset({"device_hour"})
KEY_EVENTS = frozenset({"added", "revoked"})
DEVICE_EVENTS = frozenset({"enrolled", "retired"})
ALLOCATION_EVENTS = frozenset({"granted", "started", "ended"})
USAGE_MEASURES = frozenset({"allocated", "live", "busy"})
RATE_MEANINGS = frozenset({"exact", "ceiling"})
ADMINISTRATIVE_ACTS = frozenset(
    {
        "configuration_applied",
        "principal_created",
        "principal_disabled",
        "api_key_created",
        "api_key_revoked",
        "join_token_created",
        "node_cordoned",
        "node_uncordoned",
        "secret_set",
        "secret_deleted",
        PERIOD_CLOSED,
    }
)
# "machine": the administrator at the machine itself, before there is an operator or when its key is lost.
ACTOR_ROLES = frozenset({"researcher", "firm_administrator", "operator", "auditor", "machine"})
DEVICES_PER_ALLOCATION = 4096
_BODY_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    """First entry of every log: which keys speak for the operator. Signed by the log key itself."""

    log_origin: str
    log_public_key: str
    controller_key: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """A node's key was added or revoked; takes effect from its own log index onward."""

    event: str
    key_id: str
    public_key: str
    node_id: str
    at_ms: int
    enrolled_by: tuple[str, ...]
    protected_by: str


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """A device entered or left the register. `at_ms` of `enrolled` is where its metering begins."""

    event: str
    device: DeviceIdentity
    node_id: str
    node_name: str
    pool: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """A device, or a part of one in parts per million."""

    device_id: str
    share_ppm: int


@dataclass(frozen=True, slots=True)
class AllocationEvent:
    """Devices of one node were given to a job's task (granted), started, or are free again (ended).

    `event_seq` is the event's number in the controller's own gap-free numbering; the facts of one event, such as
    the grants of a gang, share it. `at_ms` is the controller's time.
    """

    event: str
    allocation_id: str
    job_id: str
    attempt: int
    rank: int
    firm_id: str
    project: str
    devices: tuple[DeviceShare, ...]
    node_id: str
    at_ms: int
    event_seq: int
    reason: str
    time_limit_ms: int | None


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """Price of one device model from a line of the grid to another, or until further notice."""

    price_id: str
    device_model: str
    unit: str
    price_nano_cny: int
    rounding: str
    effective_from_ms: int
    effective_to_ms: int | None


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """One immutable version of a subsidy program."""

    program_id: str
    version: int
    title: str
    legal_reference: str
    rate_ppm: int
    rate_meaning: str
    usage_measure: str
    domestic_only: bool
    domestic_models: tuple[str, ...]
    per_firm_cap_fen: int | None
    effective_from_ms: int
    effective_to_ms: int | None


@dataclass(frozen=True, slots=True)
class Firm:
    """A firm and the name under which it is billed."""

    firm_id: str
    name: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AdministrativeAct:
    """Somebody changed who may do what, or how the installation is configured, or closed a period.

    Everybody is given these entries, so they hold ids and numbers, no names: who needs more asks the operator,
    who can no longer deny that it happened, when, and by whom.
    """

    act: str
    actor_id: str
    actor_role: str
    subject: str
    at_ms: int


Record = (
    OperatorKeys
    | KeyEvent
    | DeviceEvent
    | DeviceCalendar
    | AllocationEvent
    | PriceVersion
    | ProgramVersion
    | Firm
    | AdministrativeAct
    | FirmKey
    | JobReceipt
    | Statement
)
FIRM_RECORDS = AllocationEvent | Firm | FirmKey | JobReceipt | Statement
"""Those that concern one firm, by their `firm_id`: the types of FIRM_SCOPED."""

_TYPE_OF: dict[type, str] = {
    OperatorKeys: OPERATOR_KEYS,
    KeyEvent: KEY_EVENT,
    DeviceEvent: DEVICE_EVENT,
    DeviceCalendar: DEVICE_EVENT,
    AllocationEvent: ALLOCATION_EVENT,
    PriceVersion: PRICE_VERSION,
    ProgramVersion: PROGRAM_VERSION,
    Firm: FIRM,
    AdministrativeAct: ADMINISTRATIVE_ACT,
    FirmKey: FIRM_KEY,
    JobReceipt: JOB_RECEIPT,
    Statement: STATEMENT,
}


def entry_type(record: Record) -> str:
    """The entry type under which a record is logged."""
    return _TYPE_OF[type(record)]


def encode_record(record: Record) -> bytes:
    """The JSON body of a record. Raises EvidenceError when it would not be read back."""
    kind = entry_type(record)
    value: dict[str, object] = {name: getattr(record, name) for name in type(record).__slots__}
    if isinstance(record, DeviceEvent):
        value["device"] = record.device.as_json()
        value["schema"] = f"suanli.{kind}.v{DEVICE_VERSION}"
    elif isinstance(record, DeviceCalendar):
        value["planned"] = [planned.as_json() for planned in record.planned]
    elif isinstance(record, AllocationEvent):
        value["devices"] = [
            {"device_id": share.device_id, "share_ppm": share.share_ppm} for share in record.devices
        ]
    elif isinstance(record, Statement):
        del value["held"]
        value |= held_as_json(record.held)
    value.setdefault("schema", f"suanli.{kind}.v1")
    data = encode(value)
    parse_record(kind, data)
    return data


def parse_record(kind: str, data: bytes) -> Record:
    """The body in `data` of an entry of type `kind`, read strictly. Raises EvidenceError."""
    reader = _READERS.get(kind)
    if reader is None:
        raise EvidenceError("entry.type", kind, "one of " + ", ".join(sorted(_READERS)))
    fields = parse_object(data, kind, _BODY_LIMIT_BYTES)
    if kind not in _OF_VERSIONS:
        fields.schema(f"suanli.{kind}.v1")
    record = reader(fields)
    fields.done()
    return record


def _operator_keys(fields: Fields) -> OperatorKeys:
    return OperatorKeys(
        log_origin=fields.text("log_origin", 256),
        log_public_key=fields.hex("log_public_key", PUBLIC_KEY_BYTES),
        controller_key=fields.hex("controller_key", PUBLIC_KEY_BYTES),
        at_ms=fields.integer("at_ms"),
    )


def _key_event(fields: Fields) -> KeyEvent:
    event = KeyEvent(
        event=fields.choice("event", KEY_EVENTS),
        key_id=fields.hex("key_id", KEY_ID_BYTES),
        public_key=fields.hex("public_key", PUBLIC_KEY_BYTES),
        node_id=fields.text("node_id", 64),
        at_ms=fields.integer("at_ms"),
        enrolled_by=fields.texts("enrolled_by", 16),
        protected_by=fields.text("protected_by", 32),
    )
    want = key_id(bytes.fromhex(event.public_key))
    if event.key_id != want:
        raise EvidenceError("key_event.key_id", event.key_id, want)
    return event


def _device_event(fields: Fields) -> DeviceEvent | DeviceCalendar:
    version = fields.version(f"suanli.{DEVICE_EVENT}", DEVICE_VERSION)
    event = fields.choice("event", DEVICE_EVENTS | {CALENDAR})
    if event == CALENDAR:
        return read_calendar(fields)
    return DeviceEvent(
        event=event,
        device=read_device(fields.nested("device"), version),
        node_id=fields.text("node_id", 64),
        node_name=fields.text("node_name", 256),
        pool=fields.text("pool", 256),
        at_ms=fields.integer("at_ms"),
    )


def _allocation_event(fields: Fields) -> AllocationEvent:
    event = AllocationEvent(
        event=fields.choice("event", ALLOCATION_EVENTS),
        allocation_id=fields.text("allocation_id", 64),
        job_id=fields.text("job_id", 64),
        attempt=fields.integer("attempt", 1),
        rank=fields.integer("rank", 0),
        firm_id=fields.text("firm_id", 64),
        project=fields.text("project", 256),
        devices=tuple(_share(item) for item in fields.objects("devices", DEVICES_PER_ALLOCATION)),
        node_id=fields.text("node_id", 64),
        at_ms=fields.integer("at_ms"),
        event_seq=fields.integer("event_seq", 1),
        reason=fields.text("reason", 256, empty=True),
        time_limit_ms=fields.optional_integer("time_limit_ms", 1),
    )
    ids = {share.device_id for share in event.devices}
    if not ids or len(ids) != len(event.devices):
        raise EvidenceError("allocation_event.devices", len(event.devices), "each device once, at least one")
    return event


def _share(fields: Fields) -> DeviceShare:
    share = DeviceShare(fields.text("device_id", 64), fields.integer("share_ppm", 1, WHOLE_PPM))
    fields.done()
    return share


def _effective(fields: Fields, kind: str) -> tuple[int, int | None]:
    start_ms = fields.integer("effective_from_ms")
    end_ms = fields.optional_integer("effective_to_ms")
    if start_ms % GRID_MS or (end_ms is not None and end_ms % GRID_MS):
        want = f"a multiple of {GRID_MS}, so that no window is ever split"
        raise EvidenceError(f"{kind}.effective_from_ms", (start_ms, end_ms), want)
    if end_ms is not None and end_ms <= start_ms:
        raise EvidenceError(f"{kind}.effective_to_ms", end_ms, f"more than {start_ms}")
    return start_ms, end_ms


def _price_version(fields: Fields) -> PriceVersion:
    start_ms, end_ms = _effective(fields, PRICE_VERSION)
    return PriceVersion(
        price_id=fields.text("price_id", 64),
        device_model=fields.text("device_model", 128),
        unit=fields.choice("unit", PRICE_UNITS),
        price_nano_cny=fields.integer("price_nano_cny"),
        rounding=fields.choice("rounding", frozenset({ROUNDING})),
        effective_from_ms=start_ms,
        effective_to_ms=end_ms,
    )


def _program_version(fields: Fields) -> ProgramVersion:
    start_ms, end_ms = _effective(fields, PROGRAM_VERSION)
    return ProgramVersion(
        program_id=fields.text("program_id", 64),
        version=fields.integer("version", 1),
        title=fields.text("title", 512),
        legal_reference=fields.text("legal_reference", 1024),
        rate_ppm=fields.integer("rate_ppm", 0, WHOLE_PPM),
        rate_meaning=fields.choice("rate_meaning", RATE_MEANINGS),
        usage_measure=fields.choice("usage_measure", USAGE_MEASURES),
        domestic_only=fields.boolean("domestic_only"),
        domestic_models=fields.texts("domestic_models", 1024),
        per_firm_cap_fen=fields.optional_integer("per_firm_cap_fen"),
        effective_from_ms=start_ms,
        effective_to_ms=end_ms,
    )


def _firm(fields: Fields) -> Firm:
    return Firm(
        firm_id=fields.text("firm_id", 64), name=fields.text("name", 256), at_ms=fields.integer("at_ms")
    )


def _administrative_act(fields: Fields) -> AdministrativeAct:
    return AdministrativeAct(
        act=fields.choice("act", ADMINISTRATIVE_ACTS),
        actor_id=fields.text("actor_id", 64),
        actor_role=fields.choice("actor_role", ACTOR_ROLES),
        subject=fields.text("subject", 128),
        at_ms=fields.integer("at_ms"),
    )


_READERS: dict[str, Callable[[Fields], Record]] = {
    OPERATOR_KEYS: _operator_keys,
    KEY_EVENT: _key_event,
    DEVICE_EVENT: _device_event,
    ALLOCATION_EVENT: _allocation_event,
    PRICE_VERSION: _price_version,
    PROGRAM_VERSION: _program_version,
    FIRM: _firm,
    ADMINISTRATIVE_ACT: _administrative_act,
    FIRM_KEY: read_firm_key,
    JOB_RECEIPT: read_receipt,
    STATEMENT: read_statement_entry,
}
_OF_VERSIONS = frozenset({DEVICE_EVENT, STATEMENT})
"""Types whose readers read `schema` themselves."""
