"""Jobs. The spec is the API's, the state the controller's: two rows, no fight."""

from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base


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
    ineligible_since_ms: Mapped[int | None]  # it is held or waits for other jobs: it grows no older
    ineligible_before_ms: Mapped[int] = mapped_column(server_default="0")  # in all, up to the last end of it
    revision: Mapped[int] = mapped_column(Integer, server_default="0")  # of the spec, as far as taken over
    # The start that it was told first: told, low, by the forecast, high in ms.
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
