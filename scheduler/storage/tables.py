"""Every table of the installation, one class a table.

Who may write what is said beside each group and enforced by database roles (`roles.py`): the API and the
gateway insert facts, the controller alone moves states, the ledger alone writes the log and money.
Times are `timestamptz` for people's queries where nothing is computed from them, and integer
milliseconds of UTC (`*_ms`) wherever something is.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
        bool: Boolean,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
        list[int]: ARRAY(BigInteger),
        list[float]: ARRAY(Double),
    }


def _created() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


# --- Who: written by the API (services of operators and administrators) -------------------------------


class FirmRow(Base):
    """A firm: who pays and may be subsidised."""

    __tablename__ = "firms"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)  # short name of the configuration file
    title: Mapped[str]
    uid: Mapped[int] = mapped_column(unique=True)  # of its tasks on every node; kept for good
    created_at: Mapped[datetime] = _created()


class ProjectRow(Base):
    """A project groups work inside a firm."""

    __tablename__ = "projects"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = _created()


class PrincipalRow(Base):
    """Who calls: a user or a service token. Operators and auditors belong to no firm."""

    __tablename__ = "principals"
    principal_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]  # user | service
    role: Mapped[str]  # researcher | firm_administrator | operator | auditor
    firm_id: Mapped[str | None] = mapped_column(ForeignKey("firms.firm_id"))
    # Whoever signs in at an OpenID Connect issuer; absent: whoever was made here and has API keys.
    issuer: Mapped[str | None]
    subject: Mapped[str | None]
    created_at: Mapped[datetime] = _created()
    disabled_at: Mapped[datetime | None]
    __table_args__ = (
        # The same person in another role or firm is another principal: who somebody is never changes.
        Index(
            "principals_identity",
            "issuer",
            "subject",
            "role",
            text("coalesce(firm_id, '')"),
            unique=True,
            postgresql_where=text("issuer IS NOT NULL"),
        ),
        CheckConstraint(
            "(role IN ('researcher','firm_administrator')) = (firm_id IS NOT NULL)", name="role_firm"
        ),
    )


class ApiKeyRow(Base):
    """A key of a principal. Only the SHA-256 of the secret is kept: the secret has 256 random bits."""

    __tablename__ = "api_keys"
    api_key_id: Mapped[str] = mapped_column(primary_key=True)
    principal_id: Mapped[str] = mapped_column(ForeignKey("principals.principal_id"), index=True)
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    scope: Mapped[str] = mapped_column(server_default="administration")  # read | jobs | administration
    created_at: Mapped[datetime] = _created()
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class IdempotencyRow(Base):
    """What a request with an Idempotency-Key was answered, so that its repetition is answered the same."""

    __tablename__ = "idempotency_keys"
    principal_id: Mapped[str] = mapped_column(ForeignKey("principals.principal_id"), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes]
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _created()


# --- What is configured: written by the API (`suanli apply`) --------------------------------------------


class PoolRow(Base):
    """A named set of nodes with one backend and policy."""

    __tablename__ = "pools"
    name: Mapped[str] = mapped_column(primary_key=True)
    backend: Mapped[str] = mapped_column(server_default="agents")
    # How long a node may be silent before its tasks count as lost.
    patience_ms: Mapped[int] = mapped_column(server_default="60000")
    volumes: Mapped[list[Any]] = mapped_column(server_default="[]")  # PoolVolume.to_json, by name
    object_stores: Mapped[list[Any]] = mapped_column(server_default="[]")  # ObjectStore.to_json, by name
    created_at: Mapped[datetime] = _created()


class QueueRow(Base):
    """Where the jobs of a firm wait, with the pools it may use and its quota by device model."""

    __tablename__ = "queues"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    pools: Mapped[list[str]]
    nominal: Mapped[dict[str, Any]] = mapped_column(
        server_default="{}"
    )  # device model -> devices, compute -> GFLOPS over all models; absent: no limit
    weight: Mapped[int] = mapped_column(server_default="1")
    # In a cohort nominal quota is lent while it is not used; limits on that by the same keys; absent: no limit.
    cohort: Mapped[str | None] = mapped_column(ForeignKey("cohorts.name"))
    borrowing: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    lending: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = _created()


class CohortRow(Base):
    """Queues and cohorts that lend each other unused quota."""

    __tablename__ = "cohorts"
    name: Mapped[str] = mapped_column(primary_key=True)
    parent: Mapped[str | None] = mapped_column(ForeignKey("cohorts.name"))
    nominal: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    borrowing: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    lending: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    weight: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _created()


class CalendarRow(Base):
    """A maintenance window or, with a firm and a queue, an advance reservation. One that was cut short ends then."""

    __tablename__ = "calendar"
    name: Mapped[str] = mapped_column(primary_key=True)
    from_ms: Mapped[int]
    until_ms: Mapped[int]
    node_ids: Mapped[list[str]]
    firm_id: Mapped[str | None]
    queue: Mapped[str | None]
    why: Mapped[str]
    created_at: Mapped[datetime] = _created()
    __table_args__ = (
        CheckConstraint("(firm_id IS NULL) = (queue IS NULL)", name="whose"),
        ForeignKeyConstraint(["firm_id", "queue"], ["queues.firm_id", "queues.name"]),
        Index("ix_calendar_until_ms", "until_ms"),
    )


class PriceVersionRow(Base):
    """A price of a device model from a moment on; never changed, only superseded."""

    __tablename__ = "price_versions"
    price_id: Mapped[str] = mapped_column(primary_key=True)
    device_model: Mapped[str]
    price_nano_cny: Mapped[int]  # per device-hour
    effective_from_ms: Mapped[int]
    created_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("device_model", "effective_from_ms"),)


class BudgetRow(Base):
    """What a project may spend in a period, or (project '') a firm with all of its projects."""

    __tablename__ = "budgets"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    project: Mapped[str] = mapped_column(primary_key=True)
    amount_nano_cny: Mapped[int]
    period: Mapped[str]  # BudgetPeriod: month | year | total


class ProgramVersionRow(Base):
    """A subsidy program's rules in one version; never changed, only superseded."""

    __tablename__ = "program_versions"
    program_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    rules: Mapped[dict[str, Any]]  # body of the program_version entry
    effective_from_ms: Mapped[int]
    created_at: Mapped[datetime] = _created()


# --- Jobs: the spec is the API's, the state the controller's: two rows, no fight --------------------------


class JobRow(Base):
    """What a researcher submitted. Inserted by the API, never changed."""

    __tablename__ = "jobs"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    queue: Mapped[str]
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]  # JSON of schemas.JobSpec, defaults filled in
    submitted_by: Mapped[str] = mapped_column(ForeignKey("principals.principal_id"))
    submitted_ms: Mapped[int]
    array_id: Mapped[str | None]  # all jobs of one submission with `array`
    array_index: Mapped[int | None] = mapped_column(Integer)
    __table_args__ = (
        UniqueConstraint("job_id"),
        ForeignKeyConstraint(["firm_id", "project"], ["projects.firm_id", "projects.name"]),
        ForeignKeyConstraint(["firm_id", "queue"], ["queues.firm_id", "queues.name"]),
        Index("ix_jobs_firm_id_submitted", "firm_id", "submitted_ms", "job_id"),
        Index("ix_jobs_submitted", "submitted_ms", "job_id"),  # operators see the jobs of all firms
        Index("ix_jobs_array", "array_id", postgresql_where=text("array_id IS NOT NULL")),
    )


class JobRevisionRow(Base):
    """A later revision of a job's spec, whole. Inserted by the API, never changed; revision 0 is the job's row."""

    __tablename__ = "job_revisions"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    spec: Mapped[dict[str, Any]]
    revised_by: Mapped[str] = mapped_column(ForeignKey("principals.principal_id"))
    revised_ms: Mapped[int]
    __table_args__ = (ForeignKeyConstraint(["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"]),)


class JobStateRow(Base):
    """Where a job is. Inserted and moved by the controller alone."""

    __tablename__ = "job_states"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    # queued | allocated | running | stopping | succeeded | failed | cancelled
    state: Mapped[str]
    version: Mapped[int]
    attempt: Mapped[int] = mapped_column(Integer)  # number of the newest attempt, 0 before the first
    device_model: Mapped[str | None]  # of the newest attempt
    reason: Mapped[str | None]  # why it waits or ended: closed list, domain/reasons.py
    detail: Mapped[str | None]
    exit_code: Mapped[int | None] = mapped_column(Integer)
    step_report: Mapped[dict[str, Any] | None]
    changed_ms: Mapped[int]
    started_ms: Mapped[int | None]  # first start of any attempt
    ended_ms: Mapped[int | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    revision: Mapped[int] = mapped_column(Integer, server_default="0")  # of the spec, as far as taken over
    # The start that it was told first: told, low, expected, high in ms.
    announced: Mapped[list[int] | None]
    __table_args__ = (
        ForeignKeyConstraint(["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"]),
        Index(
            "ix_job_states_live",
            "state",
            postgresql_where=text("state NOT IN ('succeeded','failed','cancelled')"),
        ),
    )


class AttemptRow(Base):
    """One try at running a job."""

    __tablename__ = "attempts"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    variant: Mapped[int] = mapped_column(Integer)  # index in spec.variants
    device_model: Mapped[str]
    state: Mapped[str]  # preparing | ready | running | stopping | ended
    outcome: Mapped[str | None]  # succeeded | failed | cancelled | lost | preempted
    reason: Mapped[str | None]
    why_here: Mapped[dict[str, Any]]  # the planner's account of the placement
    master_address: Mapped[str | None]
    master_port: Mapped[int | None] = mapped_column(Integer)
    image_digest: Mapped[str | None]  # of its container image, once a node has found it
    allocated_ms: Mapped[int]
    started_ms: Mapped[int | None]
    ended_ms: Mapped[int | None]
    __table_args__ = (ForeignKeyConstraint(["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"]),)


class AllocationRow(Base):
    """One task of one attempt on one node."""

    __tablename__ = "allocations"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    allocation_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer)
    rank: Mapped[int] = mapped_column(Integer)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"))
    goal: Mapped[str]  # prepare | run | stop
    stop_reason: Mapped[str | None]
    phase: Mapped[str | None]  # as observed: preparing | ready | running | stopping | ended
    live: Mapped[bool]  # holds its devices
    rendezvous_port: Mapped[int | None] = mapped_column(Integer)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    end_reason: Mapped[str | None]
    detail: Mapped[str | None]
    log_pattern: Mapped[int | None] = mapped_column(
        Integer
    )  # of the spec's, by its place, found in its output
    granted_ms: Mapped[int]
    started_ms: Mapped[int | None]
    ended_ms: Mapped[int | None]  # devices free again
    __table_args__ = (
        UniqueConstraint("allocation_id"),
        ForeignKeyConstraint(
            ["firm_id", "job_id", "attempt"], ["attempts.firm_id", "attempts.job_id", "attempts.attempt"]
        ),
        Index("ix_allocations_node_live", "node_id", postgresql_where=text("live")),
        Index("ix_allocations_job", "firm_id", "job_id", "attempt"),
        # What counts as usage of the last week when the controller starts.
        Index("ix_allocations_ended", "ended_ms"),
    )


class AllocationDeviceRow(Base):
    """A device, or a part of it, that an allocation owns. Live shares of a device sum to at most the whole: a
    trigger of the database holds it, belt to the machine's braces.
    """

    __tablename__ = "allocation_devices"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    allocation_id: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.device_id"), primary_key=True)
    share_ppm: Mapped[int]
    live: Mapped[bool]
    __table_args__ = (
        ForeignKeyConstraint(
            ["firm_id", "allocation_id"], ["allocations.firm_id", "allocations.allocation_id"]
        ),
        Index("ix_allocation_devices_live", "device_id", postgresql_where=text("live")),
    )


# --- Nodes: registered by the gateway (enrolment), their state moved by the controller ---------------------


class NodeRow(Base):
    """A host with accelerators. Inserted by the gateway at enrolment, never changed."""

    __tablename__ = "nodes"
    node_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"))
    metering_from_ms: Mapped[int]
    enrolled_at: Mapped[datetime] = _created()


class DeviceRow(Base):
    """One physical accelerator (or a simulated one), with its identity claims as evidence."""

    __tablename__ = "devices"
    device_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), index=True)
    index: Mapped[int] = mapped_column(Integer)
    vendor: Mapped[str]
    model: Mapped[str]
    driver: Mapped[str]
    simulated: Mapped[bool]
    memory_bytes: Mapped[int]
    fast_link_group: Mapped[int] = mapped_column(Integer)
    claims: Mapped[dict[str, Any]]  # serial, die_id, uuid, bus_address, driver_version, firmware
    __table_args__ = (UniqueConstraint("node_id", "index"),)


class NodePlaceRow(Base):
    """Where a node hangs in the network, as the operator says; it may be said before the node is enrolled."""

    __tablename__ = "node_places"
    name: Mapped[str] = mapped_column(primary_key=True)  # of the node
    zone: Mapped[str | None]
    supernode: Mapped[str | None]
    leaf: Mapped[str | None]
    position: Mapped[int | None] = mapped_column(Integer)


class NodeStateRow(Base):
    """What the controller knows of a node."""

    __tablename__ = "node_states"
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), primary_key=True)
    state: Mapped[str]  # connected | silent | lost
    cordoned: Mapped[bool] = mapped_column(server_default=text("false"))
    generation: Mapped[int]  # of the desired state; the leader term of the change beside it
    leader_term: Mapped[int]
    boot_id: Mapped[str | None]
    agent_version: Mapped[str | None]
    isolation: Mapped[str | None]  # none | uid | namespace
    rendezvous_address: Mapped[str | None]
    place: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # as the agent says
    one_firm: Mapped[bool] = mapped_column(server_default=text("false"))  # takes tasks of one firm only
    one_firm_id: Mapped[str | None]  # of which
    container_engine: Mapped[str | None]  # what it runs container images with
    understands: Mapped[list[str]] = mapped_column(server_default="{}")  # what older agents cannot do
    report_seq: Mapped[int] = mapped_column(server_default="0")
    gateway_id: Mapped[str | None]
    unhealthy: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # device_id -> degraded | faulty
    silent_since_ms: Mapped[int | None]
    changed_ms: Mapped[int]


class JoinTokenRow(Base):
    """Lets hosts become nodes of a pool. Only the SHA-256 of the secret is kept."""

    __tablename__ = "join_tokens"
    token_id: Mapped[str] = mapped_column(primary_key=True)
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = _created()
    expires_at: Mapped[datetime]
    uses_left: Mapped[int] = mapped_column(Integer)


class AgentKeyRow(Base):
    """A key that signs usage windows, and how far its chain has been stored."""

    __tablename__ = "agent_keys"
    key_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.node_id"), index=True)
    public_key: Mapped[bytes]
    certificate_pem: Mapped[bytes]
    stored_seq: Mapped[int] = mapped_column(server_default="0")
    stored_header_sha256: Mapped[str] = mapped_column(server_default="0" * 64)
    stored_end_ms: Mapped[int | None]  # of the last stored window; null where nobody noted it
    created_at: Mapped[datetime] = _created()
    revoked_at: Mapped[datetime | None]


class GatewayRow(Base):
    """A living gateway; a dead gateway is not 2,000 dead nodes."""

    __tablename__ = "gateways"
    gateway_id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = _created()
    enrolment_address: Mapped[str]
    fleet_address: Mapped[str]
    tunnel_address: Mapped[str | None]  # where the API asks for tunnels


# --- Secrets of firms: set by the API, opened by the gateway for tasks --------------------------------------------


class SecretRow(Base):
    """A secret, encrypted under a key that is not in the database (services/sealing.py)."""

    __tablename__ = "secrets"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    project: Mapped[str] = mapped_column(primary_key=True)  # empty: the whole firm's
    name: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    sealed: Mapped[bytes]
    # By which the evidence log names it: everybody is given administrative acts, and a name is its firm's.
    secret_id: Mapped[str]
    bytes: Mapped[int]  # of the value
    updated_by: Mapped[str] = mapped_column(ForeignKey("principals.principal_id"))
    updated_ms: Mapped[int]


# --- Content: what firms send along and what their jobs leave ------------------------------------------------


class ContentObjectRow(Base):
    """An object that the firm keeps here; its bytes are in the content store once `stored` says so.

    The row comes first, with the firm's quota checked: no file is ever without a row that leads to it.
    """

    __tablename__ = "content_objects"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    bytes: Mapped[int]
    used_ms: Mapped[int]  # when it was last asked for or named; what nobody names is removed a day later
    stored: Mapped[bool] = mapped_column(server_default=text("true"))


class UploadRow(Base):
    """A folder that somebody of the firm sent: its digest is that of its manifest, which is an object."""

    __tablename__ = "uploads"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    bytes: Mapped[int]
    files: Mapped[int]
    created_by: Mapped[str]
    created_ms: Mapped[int]
    used_ms: Mapped[int]


class ResultRow(Base):
    """What a task of an attempt left; `digest` is null where it could not be kept, and `problem` says why."""

    __tablename__ = "results"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[str | None]
    bytes: Mapped[int]
    files: Mapped[int]
    problem: Mapped[str | None]
    collected_ms: Mapped[int]
    keep_until_ms: Mapped[int]
    __table_args__ = (ForeignKeyConstraint(["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"]),)


# --- Between the processes ---------------------------------------------------------------------------------


class InboxRow(Base):
    """A fact for the controller; deleted in the transaction that applies it. Its serial orders nothing."""

    __tablename__ = "inbox"
    inbox_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]  # machine/messages.py
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _created()


class LeaderRow(Base):
    """The leader of a role and the number of its term; every commit of the leader locks the row."""

    __tablename__ = "leaders"
    role: Mapped[str] = mapped_column(primary_key=True)  # controller | ledger
    term: Mapped[int]
    holder: Mapped[str]
    since: Mapped[datetime] = _created()
    # The published log names events up to here that this database has lost: new ones are numbered above.
    events_above: Mapped[int] = mapped_column(server_default="0")


class EventRow(Base):
    """A domain fact in past tense. Inserted by the controller alone; never changed."""

    __tablename__ = "events"
    event_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int]
    kind: Mapped[str]
    firm_id: Mapped[str | None]
    job_id: Mapped[str | None]
    node_id: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    __table_args__ = (
        Index("ix_events_firm", "firm_id", "event_seq"),
        Index("ix_events_job", "job_id", "event_seq"),
    )


class NotificationRow(Base):
    """The outbox: what a job's webhook is to hear. Inserted by the controller with its event, settled by the API."""

    __tablename__ = "notifications"
    event_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # at most one for an event
    firm_id: Mapped[str]
    job_id: Mapped[str]
    moment: Mapped[str]  # started | succeeded | failed | cancelled | retried
    url: Mapped[str]
    body: Mapped[dict[str, Any]]
    created_ms: Mapped[int]
    next_ms: Mapped[int | None]  # when it is tried next; null: it was delivered, or given up
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    delivered_ms: Mapped[int | None]
    problem: Mapped[str | None]  # of the newest attempt
    __table_args__ = (
        ForeignKeyConstraint(["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"]),
        Index("ix_notifications_due", "next_ms", postgresql_where=text("next_ms IS NOT NULL")),
        Index("ix_notifications_job", "firm_id", "job_id", "event_seq"),
        Index("ix_notifications_created", "created_ms"),
    )


class ReportRow(Base):
    """The newest cycle's report: why each waiting job waits. One row a job, replaced by the controller."""

    __tablename__ = "reports"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer)  # in its queue, from 1
    reasons: Mapped[list[Any]]  # [{reason, domain, device_model, asked, available, sentence}]
    counterfactual: Mapped[str | None]
    # Between which moments it starts, with a probability of 80 %; null: nobody knows.
    starts_from_ms: Mapped[int | None]
    starts_expected_ms: Mapped[int | None]
    starts_until_ms: Mapped[int | None]
    at_ms: Mapped[int]


class ExperienceRow(Base):
    """What finished jobs and announced starts taught the planner, in its own numbers (planner/experience.py)."""

    __tablename__ = "experience"
    subject: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    numbers: Mapped[list[float]]


# --- Evidence: intake by gateway and controller, the log by the ledger alone -------------------------------


class UsageIntakeRow(Base):
    """A verified window that waits for its log index; deleted in the transaction that sequences it."""

    __tablename__ = "usage_intake"
    key_id: Mapped[str] = mapped_column(ForeignKey("agent_keys.key_id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[str]
    header: Mapped[bytes]
    signature: Mapped[bytes]
    segments: Mapped[bytes]  # storage/windows.py: salts and exact bytes, in the header's order
    received_at: Mapped[datetime] = _created()


class EvidenceIntakeRow(Base):
    """A fact of the control plane that waits for its log index. Without a signature, the ledger signs it."""

    __tablename__ = "evidence_intake"
    intake_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    type: Mapped[str]  # an entry type of suanli.evidence.entries
    firm_id: Mapped[str | None]
    body: Mapped[bytes]
    signature: Mapped[bytes | None]
    producer_key_id: Mapped[str | None]
    # The same fact twice has one effect: unique, for instance "allocation/<id>/granted".
    fact: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = _created()


class FirmKeyRow(Base):
    """A key with which a firm signs receipts; its events are in the log."""

    __tablename__ = "firm_keys"
    key_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), index=True)
    public_key: Mapped[bytes]
    proof: Mapped[bytes]
    created_at: Mapped[datetime] = _created()
    revoked_at: Mapped[datetime | None]


class ReceiptRow(Base):
    """What a firm signed of an allocation: exact bytes, of which the SHA-256 is the id. Never changed."""

    __tablename__ = "receipts"
    receipt_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str]
    job_id: Mapped[str]
    allocation_id: Mapped[str]
    stance: Mapped[str]  # agreed | contested
    at_ms: Mapped[int]  # by the firm's clock: the newest stands
    key_id: Mapped[str] = mapped_column(ForeignKey("firm_keys.key_id"))
    body: Mapped[bytes]
    signature: Mapped[bytes]
    received_at: Mapped[datetime] = _created()
    __table_args__ = (
        ForeignKeyConstraint(
            ["firm_id", "allocation_id"], ["allocations.firm_id", "allocations.allocation_id"]
        ),
        Index("ix_receipts_job", "firm_id", "job_id"),
        Index("ix_receipts_at", "at_ms", "receipt_id"),
    )


class LogEntryRow(Base):
    """One leaf of the evidence log with what it commits to. Never changed, never deleted."""

    __tablename__ = "log_entries"
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str]
    producer_key_id: Mapped[str]
    firm_id: Mapped[str | None]
    firm_seq: Mapped[int | None]
    leaf: Mapped[bytes]
    salt: Mapped[bytes]
    payload: Mapped[bytes]
    fact: Mapped[str] = mapped_column(unique=True)  # of the intake; "window/<key_id>/<seq>" for windows
    node_id: Mapped[str | None]
    seq: Mapped[int | None]
    start_ms: Mapped[int | None]  # of a window, or at_ms of an event
    end_ms: Mapped[int | None]
    sequenced_at: Mapped[datetime] = _created()
    __table_args__ = (
        Index("ix_log_entries_node", "node_id", "end_ms"),
        Index("ix_log_entries_type", "type", "log_index"),
        # A firm's own entries are numbered without a gap, so that none can be kept from it.
        UniqueConstraint("firm_id", "firm_seq"),
    )


class WindowSegmentRow(Base):
    """A segment of a logged window, opened only for its own firm and the auditor."""

    __tablename__ = "window_segments"
    # No foreign key: it would be looked up for each of thousands a second, and one statement writes both.
    log_index: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    firm_id: Mapped[str | None]
    allocation_id: Mapped[str | None]
    device_id: Mapped[str]
    salt: Mapped[bytes]
    body: Mapped[bytes]


class LogCheckpointRow(Base):
    """A signed log checkpoint as published."""

    __tablename__ = "log_checkpoints"
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[str]
    note: Mapped[bytes]
    made_ms: Mapped[int]


class CosignatureRow(Base):
    """A witness's signature line under a log checkpoint."""

    __tablename__ = "cosignatures"
    size: Mapped[int] = mapped_column(ForeignKey("log_checkpoints.size"), primary_key=True)
    witness: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[bytes]
    at_ms: Mapped[int]


class ChargeRow(Base):
    """The exact price of one stretch of one allocation on one device. Never changed."""

    __tablename__ = "charges"
    charge_id: Mapped[str] = mapped_column(primary_key=True)
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"))
    job_id: Mapped[str]
    allocation_id: Mapped[str]
    device_id: Mapped[str]
    device_model: Mapped[str]
    # The segment that was rated. A charge of no time says that it was looked at and nothing of it is owed.
    log_index: Mapped[int] = mapped_column(ForeignKey("log_entries.log_index"))
    n: Mapped[int] = mapped_column(Integer)
    # The charge that this one takes back in part, because its allocation turned out to have ended earlier.
    corrects: Mapped[str | None] = mapped_column(ForeignKey("charges.charge_id"))
    from_ms: Mapped[int]
    to_ms: Mapped[int]
    billable_ms: Mapped[int]
    live_ms: Mapped[int]
    worked_ms: Mapped[int]
    share_ppm: Mapped[int]
    price_id: Mapped[str | None] = mapped_column(ForeignKey("price_versions.price_id"))
    amount_fen_numerator: Mapped[int] = mapped_column(Numeric(60, 0))
    amount_fen_denominator: Mapped[int] = mapped_column(Numeric(60, 0))
    __table_args__ = (
        Index("ix_charges_firm", "firm_id", "job_id"),
        Index("ix_charges_segment", "log_index", "n"),
        Index("ix_charges_allocation_id", "allocation_id"),
    )
