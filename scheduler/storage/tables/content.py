"""Secrets of firms (set by the API, opened by the gateway for tasks); what firms send along, what their jobs leave."""

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base


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
