"""The configuration file over HTTP; its law is in `domain.configuration_reading`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scheduler.api.schemas.base import Decimal, In, Out, utc
from scheduler.api.schemas.budgets import BudgetIn
from scheduler.api.schemas.nodes import ObjectStoreIn, PoolVolumeIn
from scheduler.api.schemas.principals import RoleName
from scheduler.api.schemas.problems import FieldErrorOut
from scheduler.catalogue import DeviceModel
from scheduler.domain.budgets import cny
from scheduler.services.calendar import CalendarRecord
from scheduler.services.firms import FirmRecord, PriceRecord, ProgramRecord, QueueRecord
from scheduler.services.quotas import QuotaLine

Moment = Annotated[str, Field(description="RFC 3339 with its zone, on the 5-minute grid of UTC.")]


Amounts = dict[str, int]


class QuotaIn(In):
    """Limits by device model (devices), and `compute_tflops` over all models (nominal FP16)."""

    nominal: Annotated[
        Amounts, Field(default_factory=dict, description="Held at once; in a cohort: guaranteed.")
    ]
    borrowing: Annotated[
        Amounts, Field(default_factory=dict, description="The most above nominal; absent: no limit.")
    ]
    lending: Annotated[
        Amounts, Field(default_factory=dict, description="The most lent of nominal; absent: all of it.")
    ]
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class QueueBody(QuotaIn):
    """A queue at its address. `pools` absent: all pools."""

    pools: list[str] | None = None
    cohort: Annotated[str | None, Field(description="With whom it shares unused quota.")] = None


class QueueIn(QueueBody):
    """A queue of a firm. `pools` absent: all pools."""

    name: str


class CohortBody(QuotaIn):
    """A cohort at its address."""

    parent: str | None = None


class CohortIn(CohortBody):
    """Queues and cohorts that lend each other unused quota; a tree."""

    name: str


class FirmBody(In):
    """A firm at its address."""

    title: Annotated[str | None, Field(description="The name under which it is billed.")] = None
    projects: Annotated[
        list[str] | None, Field(description="Absent: those that it has; a new firm gets `default`.")
    ] = None


class FirmIn(FirmBody):
    """A firm."""

    name: str
    queues: Annotated[
        list[QueueIn] | None, Field(description="Absent: those that it has; a new firm gets `default`.")
    ] = None


class PoolBody(In):
    """A pool at its address. `volumes` or `object_stores` absent: those that it has."""

    patience_seconds: Annotated[int, Field(ge=1)] = 60
    volumes: list[PoolVolumeIn] | None = None
    object_stores: list[ObjectStoreIn] | None = None


class PoolIn(PoolBody):
    """A pool."""

    name: str


class MaintenanceIn(In):
    """Nodes that are out of service for a while: by name, or a whole pool."""

    name: str
    nodes: list[str] = Field(default_factory=list)
    pool: str | None = None
    from_: Annotated[str, Field(alias="from", description="RFC 3339 with its zone.")]
    until: Annotated[str, Field(description="RFC 3339 with its zone.")]
    why: str = ""


class ReservationIn(MaintenanceIn):
    """Nodes that are one queue's for a while."""

    firm: str
    queue: str = "default"


class NodeIn(In):
    """Where a node hangs in the network. What is absent is left to what its agent says."""

    name: str
    zone: str | None = None
    supernode: str | None = None
    leaf: str | None = None
    position: Annotated[
        int | None, Field(ge=0, description="Along the wires in its leaf; ranks follow it.")
    ] = None


class PriceIn(In):
    """A price from a moment on."""

    model: str
    price_cny_per_device_hour: Decimal
    effective_from: Moment


class ProgramIn(In):
    """One version of a subsidy program."""

    program_id: str
    version: Annotated[int, Field(ge=1)]
    title: str
    legal_reference: str
    rate: Decimal
    rate_meaning: Literal["exact", "ceiling"] = "exact"
    usage_measure: Literal["allocated", "live", "busy"] = "allocated"
    domestic_only: bool = False
    domestic_models: Annotated[list[str] | None, Field(description="Absent: as the catalogue rules.")] = None
    per_firm_cap_cny: Decimal | None = None
    effective_from: Moment


class UserIn(In):
    """A principal. Keys are made apart, with POST /v1/api-keys."""

    name: str
    role: RoleName
    firm: str | None = None
    kind: Literal["user", "service"] = "user"


class ConfigurationIn(In):
    """What should be. What is not named is left alone."""

    firms: list[FirmIn] = Field(default_factory=list)
    cohorts: list[CohortIn] = Field(default_factory=list)
    pools: list[PoolIn] = Field(default_factory=list)
    maintenance: list[MaintenanceIn] = Field(default_factory=list)
    reservations: list[ReservationIn] = Field(default_factory=list)
    prices: list[PriceIn] = Field(default_factory=list)
    programs: list[ProgramIn] = Field(default_factory=list)
    users: list[UserIn] = Field(default_factory=list)
    nodes: list[NodeIn] = Field(default_factory=list)
    budgets: list[BudgetIn] = Field(default_factory=list)


class FirmOut(Out):
    """A firm with its projects."""

    name: str
    title: str
    projects: list[str]


class FirmsOut(Out):
    """Firms by name."""

    firms: list[FirmOut]


def firm_out(firm: FirmRecord) -> FirmOut:
    """A firm for the wire."""
    return FirmOut(name=firm.name, title=firm.title, projects=list(firm.projects))


class QueueOut(Out):
    """A queue. `nominal`: device model -> devices; a model that is absent has no limit."""

    firm: str
    name: str
    pools: list[str]
    nominal: dict[str, int]
    weight: int
    cohort: str | None


class QueuesOut(Out):
    """Queues by firm and name."""

    queues: list[QueueOut]


def queue_out(queue: QueueRecord) -> QueueOut:
    """A queue for the wire."""
    return QueueOut(
        firm=queue.firm,
        name=queue.name,
        pools=list(queue.pools),
        nominal=dict(queue.nominal),
        weight=queue.weight,
        cohort=queue.cohort,
    )


class QuotaOut(Out):
    """One limit with what is held of it: devices, or TFLOPS where `key` is compute_tflops. null: no limit."""

    firm: Annotated[str | None, Field(description="Of a queue; null: a cohort.")]
    name: str
    cohort: Annotated[str | None, Field(description="The cohort above.")]
    key: str
    nominal: int
    held: int
    available: Annotated[int | None, Field(description="What may still be taken, own or borrowed.")]
    borrowing: int | None
    lending: int | None


class QuotasOut(Out):
    """Every limit."""

    quotas: list[QuotaOut]


def quota_out(line: QuotaLine) -> QuotaOut:
    """A limit for the wire."""
    return QuotaOut(
        firm=line.firm,
        name=line.name,
        cohort=line.cohort,
        key=line.key,
        nominal=line.nominal,
        held=line.held,
        available=line.available,
        borrowing=line.borrowing,
        lending=line.lending,
    )


class PriceOut(Out):
    """A price version, exact."""

    price_id: str
    device_model: str
    price_nano_cny: int
    price_cny_per_device_hour: str
    effective_from: str
    in_force: bool


class PricesOut(Out):
    """Price versions by model and beginning."""

    prices: list[PriceOut]


def price_out(price: PriceRecord) -> PriceOut:
    """A price for the wire."""
    return PriceOut(
        price_id=price.price_id,
        device_model=price.device_model,
        price_nano_cny=price.price_nano_cny,
        price_cny_per_device_hour=cny(price.price_nano_cny),
        effective_from=utc(price.effective_from_ms),
        in_force=price.in_force,
    )


class ModelOut(Out):
    """A device model of the catalogue. A figure that nobody published is null."""

    model: str
    name: str
    vendor: str
    domestic: bool
    memory_bytes: int | None
    fp16_tflops: float | None
    devices_per_node: int | None
    allowed_devices_per_node: list[int] | None


class ModelsOut(Out):
    """The catalogue by key."""

    models: list[ModelOut]


def model_out(model: DeviceModel) -> ModelOut:
    """A device model for the wire."""
    return ModelOut(
        model=model.key,
        name=model.name,
        vendor=model.vendor.name,
        domestic=model.domestic,
        memory_bytes=model.memory_bytes,
        fp16_tflops=None if model.fp16_tflops is None else float(model.fp16_tflops),
        devices_per_node=model.devices_per_node,
        allowed_devices_per_node=None if model.shape.counts is None else sorted(model.shape.counts),
    )


class CalendarEntryOut(Out):
    """A stretch of time in which nodes are not for everybody. `firm` null: maintenance."""

    name: str
    firm: str | None
    queue: str | None
    nodes: list[str]
    begins: str
    ends: str
    why: str


class CalendarOut(Out):
    """What is open or to come, by its beginning."""

    calendar: list[CalendarEntryOut]


def calendar_out(entries: Sequence[CalendarRecord]) -> CalendarOut:
    """The calendar for the wire."""
    return CalendarOut(
        calendar=[
            CalendarEntryOut(
                name=entry.name,
                firm=entry.firm,
                queue=entry.queue,
                nodes=list(entry.nodes),
                begins=utc(entry.from_ms),
                ends=utc(entry.until_ms),
                why=entry.why,
            )
            for entry in entries
        ]
    )


class FirmDocument(Out):
    """A firm as PUT takes it."""

    title: str
    projects: list[str]


class QuotaDocument(Out):
    """Limits as PUT takes them: devices by model, and `compute_tflops`."""

    nominal: dict[str, int]
    borrowing: dict[str, int]
    lending: dict[str, int]
    weight: int


class QueueDocument(QuotaDocument):
    """A queue as PUT takes it."""

    pools: list[str]
    cohort: str | None


class CohortDocument(QuotaDocument):
    """A cohort as PUT takes it."""

    parent: str | None


class Written(Out):
    """What PUT and PATCH answer beside the object; it is no part of it."""

    warnings: Annotated[list[FieldErrorOut], Field(description="What was written, and can hardly be meant.")]


class QueueWritten(QueueDocument, Written):
    """A queue just after it was written."""


class CohortWritten(CohortDocument, Written):
    """A cohort just after it was written."""


class ProgramOut(Out):
    """A version of a subsidy program with its rules, exact: rates in parts per million, money in fen."""

    program_id: str
    version: int
    title: str
    legal_reference: str
    rate_ppm: int
    rate_meaning: str
    usage_measure: str
    domestic_only: bool
    domestic_models: list[str]
    per_firm_cap_fen: int | None
    effective_from: str
    in_force: bool


class ProgramsOut(Out):
    """Versions of programs."""

    programs: list[ProgramOut]


def program_out(program: ProgramRecord) -> ProgramOut:
    """A version of a program for the wire."""
    return ProgramOut(
        **{name: program.rules[name] for name in ProgramOut.model_fields if name in program.rules},
        effective_from=utc(program.effective_from_ms),
        in_force=program.in_force,
    )
