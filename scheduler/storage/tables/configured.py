"""What is configured. Written by the API (`suanli apply`)."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base, created


class PoolRow(Base):
    """A named set of nodes with one backend and policy."""

    __tablename__ = "pools"
    name: Mapped[str] = mapped_column(primary_key=True)
    backend: Mapped[str] = mapped_column(server_default="agents")
    # How long a node may be silent before its tasks count as lost.
    patience_ms: Mapped[int] = mapped_column(server_default="60000")
    volumes: Mapped[list[Any]] = mapped_column(server_default="[]")  # PoolVolume.to_json, by name
    object_stores: Mapped[list[Any]] = mapped_column(server_default="[]")  # ObjectStore.to_json, by name
    created_at: Mapped[datetime] = created()


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
    created_at: Mapped[datetime] = created()


class CohortRow(Base):
    """Queues and cohorts that lend each other unused quota."""

    __tablename__ = "cohorts"
    name: Mapped[str] = mapped_column(primary_key=True)
    parent: Mapped[str | None] = mapped_column(ForeignKey("cohorts.name"))
    nominal: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    borrowing: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    lending: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    weight: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = created()


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
    created_at: Mapped[datetime] = created()
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
    created_at: Mapped[datetime] = created()
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
    created_at: Mapped[datetime] = created()
