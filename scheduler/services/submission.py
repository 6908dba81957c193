"""Submitting jobs: many at once in one durable statement, each accepted or refused for itself."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise, require_firm
from scheduler.domain.errors import Conflict, DomainError, IdempotencyConflict
from scheduler.domain.ids import Ids
from scheduler.domain.job_templates import write_spec
from scheduler.domain.jobs import JobSpec, JobState
from scheduler.domain.time import to_datetime
from scheduler.services.content import use_uploads
from scheduler.services.jobs import JobRecord
from scheduler.services.possible import Known, in_own_project, require_possible
from scheduler.services.principals import unknown_key
from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database
from scheduler.storage.pokes import Poker
from scheduler.storage.submissions import insert_jobs
from scheduler.storage.tables import IdempotencyRow

# A job as it is answered over the wire (JSON), kept with the Idempotency-Key.
AnswerOf = Callable[[JobRecord], bytes]
KEY_USED = "this Idempotency-Key came before with another request; a new request needs a new key"


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that somebody submits; `idempotency` is the key and the digest of its request.

    `unchecked`: the digest of the API key by which `principal` is remembered, if nobody asked whether it is still good.
    """

    principal: Principal
    spec: JobSpec
    idempotency: tuple[str, bytes] | None = None
    unchecked: bytes | None = None

    @property
    def place(self) -> tuple[str, str] | None:
        """Under which (principal, key) its answer is kept."""
        return None if self.idempotency is None else (self.principal.principal_id, self.idempotency[0])


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission is answered. `replayed`: it was done before, and this is the answer of then."""

    job_id: str
    answer: bytes
    replayed: bool = False


class Submitter:
    """What submissions need beside the database."""

    def __init__(
        self,
        database: Database,
        direct: Direct,
        catalogue: Catalogue,
        known: Known,
        ids: Ids,
        controller: Poker,
    ) -> None:
        self._database = database
        self._direct = direct
        self._catalogue = catalogue
        self._known = known
        self._ids = ids
        self._controller = controller

    async def submit(
        self, submissions: Sequence[Submission], answer_of: AnswerOf, now_ms: int
    ) -> list[Submitted | Exception]:
        """Insert the jobs and poke the controller; durable when this returns.

        Refusals are given back in place: Unauthenticated, Forbidden, Invalid (unknown project, queue or model),
        Impossible (it could never start here), IdempotencyConflict. Cost: one round trip, however many there are.
        """
        try:
            return await self._submit(submissions, answer_of, now_ms)
        except ForeignKeyViolation:  # what a job names went since it was last read
            self._known.forget()
            return await self._submit(submissions, answer_of, now_ms)

    async def _submit(
        self, submissions: Sequence[Submission], answer_of: AnswerOf, now_ms: int
    ) -> list[Submitted | Exception]:
        results: list[Submitted | Exception | None] = [None] * len(submissions)
        rows: dict[int, dict[str, Any]] = {}
        answers: dict[int, bytes] = {}
        places: set[tuple[str, str]] = set()
        for number, submission in enumerate(submissions):
            place = submission.place
            if place is not None and place in places:
                continue  # the first of the same key decides; this one is answered as a repetition
            try:
                job, row = await self._row(submission, now_ms)
            except DomainError as error:
                results[number] = error
                continue
            rows[number], answers[number] = row, answer_of(job)
            if place is not None:
                places.add(place)
                row["answer"] = orjson.Fragment(answers[number])
        keys = {submission.unchecked for submission in submissions if submission.unchecked is not None}
        made, refused = await insert_jobs(self._direct, list(rows.values()), keys, to_datetime(now_ms))
        if refused:
            return await self._without(refused, submissions, answer_of, now_ms)
        if made:
            self._controller.poke()
        for number, row in rows.items():
            if row["job_id"] in made:
                results[number] = Submitted(row["job_id"], answers[number])
        again = [number for number, result in enumerate(results) if result is None]
        if again:
            async with self._database.read() as session:
                stored = await _stored(session, [submissions[number] for number in again])
            for number in again:
                results[number] = _replay(submissions[number], stored)
        return [result for result in results if result is not None]

    async def _without(
        self, refused: Set[bytes | None], submissions: Sequence[Submission], answer_of: AnswerOf, now_ms: int
    ) -> list[Submitted | Exception]:
        """The answers where some keys were refused and nothing was inserted: those who came with them learn no more."""
        others = [one for one in submissions if one.unchecked not in refused]
        answers = iter(await self._submit(others, answer_of, now_ms) if others else ())
        return [unknown_key() if one.unchecked in refused else next(answers) for one in submissions]

    async def _row(self, submission: Submission, now_ms: int) -> tuple[JobRecord, dict[str, Any]]:
        principal = submission.principal
        authorise(principal, Action.SUBMIT_JOB)
        firm_id = require_firm(principal)
        spec = await in_own_project(self._database, principal, firm_id, submission.spec, self._known, now_ms)
        spec, names = await require_possible(
            self._database, firm_id, spec, self._catalogue, self._known, now_ms
        )
        if spec.inputs:
            async with self._database.transaction() as session:
                await use_uploads(session, firm_id, [item.digest for item in spec.inputs], now_ms)
        job = _new_job(principal, names.firm, firm_id, spec, self._ids.new(now_ms), now_ms)
        key, digest = submission.idempotency or (None, b"")
        return job, {
            "firm_id": firm_id,
            "job_id": job.job_id,
            "project": job.project,
            "queue": job.queue,
            "name": job.name,
            "spec": job.spec,
            "submitted_by": principal.principal_id,
            "submitted_ms": now_ms,
            "idempotency_key": key,
            "request_sha256": digest.hex(),
            "answer": None,
        }


def _new_job(
    principal: Principal, firm: str, firm_id: str, spec: JobSpec, job_id: str, now_ms: int
) -> JobRecord:
    """The job as it is from its insertion until the controller has seen it."""
    return JobRecord(
        job_id=job_id,
        firm_id=firm_id,
        firm=firm,
        project=spec.project,
        queue=spec.queue,
        name=spec.name,
        spec=write_spec(spec),
        submitted_by=principal.name,
        submitted_ms=now_ms,
        state=JobState.QUEUED.value,
        attempt=0,
        device_model=None,
        reason=None,
        detail=None,
        exit_code=None,
        step_report=None,
        started_ms=None,
        ended_ms=None,
        cancel_requested=False,
        revision=0,
        held=spec.hold,
        array_id=None,
        array_index=None,
        devices=spec.gang.devices,
    )


async def _stored(
    session: AsyncSession, submissions: Sequence[Submission]
) -> Mapping[tuple[str, str], IdempotencyRow]:
    row = IdempotencyRow
    places = [submission.place for submission in submissions if submission.place is not None]
    found = await session.scalars(
        select(row).where(tuple_(row.principal_id, row.idempotency_key).in_(places))
    )
    return {(kept.principal_id, kept.idempotency_key): kept for kept in found}


def _replay(
    submission: Submission, stored: Mapping[tuple[str, str], IdempotencyRow]
) -> Submitted | Exception:
    kept = None if submission.place is None else stored.get(submission.place)
    if kept is None or submission.idempotency is None:
        # Between the two statements its keeping time ended, or it was refused beside one with the same key.
        return Conflict("another request with this Idempotency-Key was under way: send this one again")
    if kept.request_sha256 != submission.idempotency[1]:
        return IdempotencyConflict(KEY_USED)
    return Submitted(kept.body["job_id"], orjson.dumps(kept.body), replayed=True)
