"""Submitting jobs together: each item is accepted or refused for itself, or all of them or none."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise, require_firm
from scheduler.domain.batches import MOST_JOBS, NewJob, arrange, followers, references_beyond
from scheduler.domain.errors import DomainError, FieldProblem, Impossible, Invalid, LimitExceeded
from scheduler.domain.ids import Ids
from scheduler.domain.job_templates import read_spec, write_spec
from scheduler.domain.job_warnings import warnings_of
from scheduler.domain.jobs import JobSpec
from scheduler.services.content import use_uploads
from scheduler.services.possible import Known, in_own_project, require_possible
from scheduler.storage.bulk import append
from scheduler.storage.engine import Database
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import JobRow

_READ_AT_ONCE = 50  # specs between two looks at other requests
_KNOWN = text(
    "SELECT u.reference FROM unnest(CAST(:references AS text[])) AS u(reference) WHERE EXISTS ("
    "SELECT FROM jobs WHERE firm_id = :firm_id AND (job_id = u.reference OR array_id = u.reference))"
)


@dataclass(frozen=True, slots=True)
class Submitted:
    """An item that was accepted: one job, or an array of them."""

    name: str
    job_id: str  # of the array's first job
    array_id: str | None
    jobs: int
    warnings: tuple[FieldProblem, ...] = ()


Outcome = Submitted | DomainError


@dataclass(frozen=True, slots=True)
class Batches:
    """What submissions need beside the database."""

    database: Database
    catalogue: Catalogue
    known: Known
    ids: Ids

    async def submit(
        self,
        session: AsyncSession,
        principal: Principal,
        values: Sequence[object],
        *,
        now_ms: int,
        atomic: bool,
        dry_run: bool = False,
        at: Callable[[int], str] = lambda item: f"jobs[{item}].",
    ) -> list[Outcome]:
        """Insert the jobs and tell the controller, in one transaction; one outcome for each item, in order.

        With `atomic` the first refusals are raised and nothing is inserted. With `dry_run` nothing is kept of what
        was done, and the ids name nothing. `at` puts an item's place before the fields of its problems. Raises
        Forbidden, LimitExceeded. Cost: two statements however many jobs, and the reading of each spec.
        """
        authorise(principal, Action.SUBMIT_JOB)
        firm_id = require_firm(principal)
        outcomes: dict[int, Outcome] = {}
        specs: dict[int, JobSpec] = {}
        for item, value in enumerate(values):
            if item % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                spec = await self._read(principal, firm_id, value, now_ms)
                if spec.inputs:
                    await use_uploads(session, firm_id, [one.digest for one in spec.inputs], now_ms)
                specs[item] = spec
            except DomainError as error:
                outcomes[item] = _placed(error, at(item))
        if sum(1 if spec.array is None else spec.array.count for spec in specs.values()) > MOST_JOBS:
            raise LimitExceeded(f"a batch makes at most {MOST_JOBS} jobs, arrays unfolded")
        unread = {
            name
            for item in outcomes
            if isinstance(value := values[item], Mapping) and isinstance(name := value.get("name"), str)
        }
        existing = await existing_references(session, firm_id, references_beyond(specs) - unread)
        arranged = arrange(specs, existing | unread, lambda: self.ids.new(now_ms))
        for item, problems in arranged.problems.items():
            outcomes[item] = _placed(Invalid(problems), at(item))
        if atomic and outcomes:
            raise _together(outcomes)
        behind = followers(specs, arranged.problems.keys(), unread)
        for item in behind:
            problem = FieldProblem(
                "dependencies", "a job of the batch that was refused", "jobs that are accepted"
            )
            outcomes[item] = _placed(Invalid([problem]), at(item))
        jobs = [job for job in arranged.jobs if job.item not in behind]
        if dry_run:
            await session.rollback()
        else:
            await _insert(session, principal, firm_id, jobs, now_ms)
        for job in jobs:
            spec = job.spec
            if job.item not in outcomes:
                many = 1 if spec.array is None else spec.array.count
                place = at(job.item)
                warned = [replace(w, field=place + w.field) for w in warnings_of(write_spec(spec))]
                outcomes[job.item] = Submitted(spec.name, job.job_id, job.array_id, many, tuple(warned))
        return [outcomes[item] for item in range(len(values))]

    async def _read(self, principal: Principal, firm_id: str, value: object, now_ms: int) -> JobSpec:
        """Specs that are alike are read and checked once."""
        spec = await in_own_project(self.database, principal, firm_id, read_spec(value), self.known, now_ms)
        resolved, _ = await require_possible(self.database, firm_id, spec, self.catalogue, self.known, now_ms)
        return resolved


async def existing_references(session: AsyncSession, firm_id: str, references: set[str]) -> frozenset[str]:
    """Those that are ids of jobs or arrays of the firm."""
    if not references:
        return frozenset()
    rows = await session.scalars(_KNOWN, {"references": sorted(references), "firm_id": firm_id})
    return frozenset(rows)


async def _insert(
    session: AsyncSession, principal: Principal, firm_id: str, jobs: Sequence[NewJob], now_ms: int
) -> None:
    specs: dict[int, Mapping[str, Any]] = {}
    rows = []
    for job in jobs:
        if job.item not in specs:
            specs[job.item] = write_spec(job.spec)
        rows.append(
            {
                "firm_id": firm_id,
                "job_id": job.job_id,
                "project": job.spec.project,
                "queue": job.spec.queue,
                "name": job.spec.name,
                "spec": specs[job.item],
                "submitted_by": principal.principal_id,
                "submitted_ms": now_ms,
                "array_id": job.array_id,
                "array_index": job.array_index,
            }
        )
    if not rows:
        return
    await append(session, JobRow.metadata.tables[JobRow.__tablename__], rows)
    await session.execute(
        text(
            "INSERT INTO inbox (kind, body) SELECT 'JobSubmitted', jsonb_build_object('firm_id', CAST(:firm AS text),"
            " 'job_id', u.job_id) FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS u(job_id, n) ORDER BY u.n"
        ),
        {"firm": firm_id, "ids": [job.job_id for job in jobs]},
    )
    await poke(session, Channel.INBOX)


def _placed(error: DomainError, place: str) -> DomainError:
    """The same error with its item before each field."""
    problems = [replace(problem, field=place + problem.field) for problem in error.problems]
    if isinstance(error, Invalid):
        return type(error)(problems)
    message = f"{place.rstrip('.')}: {error.message}" if place else error.message
    if isinstance(error, Impossible):
        return Impossible(message, error.fields, problems)
    return type(error)(message, error.fields)


def _together(outcomes: Mapping[int, Outcome]) -> DomainError:
    """All refusals of a batch as one."""
    errors = [outcomes[item] for item in sorted(outcomes)]
    refused = [error for error in errors if isinstance(error, DomainError)]
    problems = [problem for error in refused for problem in error.problems]
    if any(isinstance(error, Invalid) for error in refused):
        return Invalid(problems)
    first = refused[0]
    if not isinstance(first, Impossible):
        return first
    count = f" (jobs refused in all: {len(refused)})" if len(refused) > 1 else ""
    return Impossible(first.message + count, first.fields, problems)
