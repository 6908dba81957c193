"""Uploads and results as the API shows them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from scheduler.domain.time import to_rfc3339
from scheduler.services.content import UploadRecord
from scheduler.services.results import ResultRecord

MOST_ASKED = 10_000
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ObjectsIn(BaseModel):
    """Hashes of objects."""

    model_config = ConfigDict(extra="forbid")

    objects: Annotated[list[Sha256], Field(max_length=MOST_ASKED)]


class MissingOut(BaseModel):
    """Which of them are still to be sent."""

    missing: list[str]


class StoredOut(BaseModel):
    """Hashes of the objects of the body, in its order."""

    stored: list[str]


class UploadIn(BaseModel):
    """A folder whose objects are all there, by the digest of its manifest."""

    model_config = ConfigDict(extra="forbid")

    digest: Digest


class UploadOut(BaseModel):
    """A folder that was sent."""

    digest: str
    bytes: int
    files: int
    created_at: str
    used_at: str


class UploadsOut(BaseModel):
    """The firm's uploads, last used first, and how much room all its content takes."""

    uploads: list[UploadOut]
    kept_bytes: int
    quota_bytes: int
    kept_objects: int
    quota_objects: int


class ResultOut(BaseModel):
    """What a task left. Without a digest nothing is kept, and `problem` says why."""

    attempt: int
    rank: int
    digest: str | None
    bytes: int
    files: int
    problem: str | None
    collected_at: str
    keep_until: str


class ResultsOut(BaseModel):
    """Results of a job by attempt and rank."""

    job_id: str
    results: list[ResultOut]


class ResultFileOut(BaseModel):
    """One file of a result."""

    path: str
    size: int
    executable: bool
    sha256: str


class ResultFilesOut(BaseModel):
    """The files of a result, by path."""

    files: list[ResultFileOut]


def upload_out(record: UploadRecord) -> UploadOut:
    """As shown."""
    return UploadOut(
        digest=record.digest,
        bytes=record.bytes,
        files=record.files,
        created_at=to_rfc3339(record.created_ms),
        used_at=to_rfc3339(record.used_ms),
    )


def result_out(record: ResultRecord) -> ResultOut:
    """As shown."""
    return ResultOut(
        attempt=record.attempt,
        rank=record.rank,
        digest=None if record.digest is None else f"sha256:{record.digest}",
        bytes=record.bytes,
        files=record.files,
        problem=record.problem,
        collected_at=to_rfc3339(record.collected_ms),
        keep_until=to_rfc3339(record.keep_until_ms),
    )
