"""Who there is. Written by the API (services of operators and administrators)."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.tables.base import Base, created


class FirmRow(Base):
    """A firm: who pays and may be subsidised."""

    __tablename__ = "firms"
    firm_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)  # short name of the configuration file
    title: Mapped[str]
    uid: Mapped[int] = mapped_column(unique=True)  # of its tasks on every node; kept for good
    created_at: Mapped[datetime] = created()


class ProjectRow(Base):
    """A project groups work inside a firm."""

    __tablename__ = "projects"
    firm_id: Mapped[str] = mapped_column(ForeignKey("firms.firm_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = created()


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
    created_at: Mapped[datetime] = created()
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
    created_at: Mapped[datetime] = created()
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
    created_at: Mapped[datetime] = created()
