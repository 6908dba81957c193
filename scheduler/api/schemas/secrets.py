"""Secrets over HTTP: values go in and never come out."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from scheduler.api.schemas.base import In, Out, utc
from scheduler.domain.job_limits import MOST_SECRET_BYTES
from scheduler.services.secrets import SecretRecord


class SecretIn(In):
    """The value of a secret: text, or any bytes as base64."""

    secret: Annotated[SecretStr, Field(min_length=1, max_length=2 * MOST_SECRET_BYTES)]
    encoding: Literal["text", "base64"] = "text"


class SecretOut(Out):
    """A secret without its value. `project` null: it is the whole firm's."""

    secret_id: Annotated[str, Field(description="By which administrative acts of the evidence log name it.")]
    name: str
    project: str | None
    bytes: int
    updated_by: str
    updated_at: str


class SecretsOut(Out):
    """Secrets by name."""

    secrets: list[SecretOut]


def secret_out(record: SecretRecord) -> SecretOut:
    """As shown."""
    return SecretOut(
        secret_id=record.secret_id,
        name=record.name,
        project=record.project,
        bytes=record.bytes,
        updated_by=record.updated_by,
        updated_at=utc(record.updated_ms),
    )
