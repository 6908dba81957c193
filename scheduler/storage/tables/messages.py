"""What goes between the processes, and out to people."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Identity, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base, created


class InboxRow(Base):
    """A fact for the controller; deleted in the transaction that applies it. Its serial orders nothing."""

    __tablename__ = "inbox"
    inbox_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]  # machine/messages.py
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = created()


class LeaderRow(Base):
    """The leader of a role and the number of its term; every commit of the leader locks the row."""

    __tablename__ = "leaders"
    role: Mapped[str] = mapped_column(primary_key=True)  # controller | ledger
    term: Mapped[int]
    holder: Mapped[str]
    since: Mapped[datetime] = created()
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
        Index(
            "ix_notifications_due",
            "firm_id",
            "next_ms",
            "event_seq",
            postgresql_where=text("next_ms IS NOT NULL"),
        ),
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
