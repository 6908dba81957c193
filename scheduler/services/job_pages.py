"""Jobs as they are answered, one or a page of them: what has not changed since it was last sent is not made again.

A page of 100 jobs is asked for again and again, by people and by programs, and few of its jobs have changed. The
database says which jobs are on it and which transaction wrote each last; what is remembered of those is sent as
it is, the others are read.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from scheduler.domain.authorise import Action, Principal, authorise, may_see_firm
from scheduler.domain.errors import FieldProblem, Invalid, NotFound
from scheduler.domain.jobs import JobState
from scheduler.domain.queues import firm_and_name
from scheduler.domain.suggestions import MOST_LISTED, one_of, perhaps
from scheduler.services.jobs import JOBS_AND_STATES, JOBS_SQL, REVISION, STATE_WRITTEN, JobRecord, record_of
from scheduler.storage.direct import Direct

MOST_REMEMBERED_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list. Empty `states`: all; None: does not matter; all labels must be there."""

    states: frozenset[str] = frozenset()
    project: str | None = None
    name: str | None = None  # of itself, or firm/name
    queue: str | None = None  # its name, or firm/name
    kind: str | None = None
    priority: str | None = None
    submitted_by: str | None = None
    array_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    submitted_from_ms: int | None = None
    submitted_to_ms: int | None = None


class JobOrder(StrEnum):
    """In which order jobs are listed; a minus: the largest or newest first."""

    NEWEST = "-submitted"
    OLDEST = "submitted"
    NAME = "name"
    NAME_BACKWARDS = "-name"


class Found(NamedTuple):
    """Where a job stands, and what its newest content is known by. A row of these statements."""

    job_id: str
    firm_id: str
    state_written: str | None  # the transaction that wrote its state
    revision: int  # of its spec
    key: int | str  # its place in the order that was asked for, with its id

    @property
    def place(self) -> tuple[int | str, str]:
        """After which the next page begins."""
        return self.key, self.job_id


@dataclass(frozen=True, slots=True)
class JobsPage:
    """A page of jobs as JSON texts; `next_place` is that of its last job where there are more."""

    jobs: Sequence[bytes]
    next_place: tuple[int | str, str] | None


class JobAnswers:
    """Jobs as JSON, remembered up to a size."""

    def __init__(self, direct: Direct, written: Callable[[JobRecord], bytes]) -> None:
        self._direct = direct
        self._written = written
        self._remembered: OrderedDict[tuple[str, bool], tuple[tuple[str | None, int], bytes]] = OrderedDict()
        self._bytes = 0

    async def find(self, job_ids: Sequence[str]) -> list[Found | None]:
        """Each of these jobs, or None. One query however many."""
        rows = await self._direct.fetch(_FIND, {"job_ids": list(job_ids)})
        found = {row[0]: Found._make(row) for row in rows}
        return [found.get(job_id) for job_id in job_ids]

    async def one(
        self, principal: Principal, job_id: str, find: Callable[[str], Awaitable[Found | None]]
    ) -> tuple[bytes, int]:
        """A job and the revision of its spec. Raises NotFound, also for a foreign firm's."""
        authorise(principal, Action.READ_JOBS)
        found = await find(job_id)
        if found is None or not may_see_firm(principal, found.firm_id):
            raise NotFound(f"there is no job {job_id}")
        (answer,) = await self._answers(principal, [found])
        return answer, found.revision

    async def page(
        self,
        principal: Principal,
        wanted: JobFilter,
        *,
        limit: int,
        order: JobOrder = JobOrder.NEWEST,
        after: tuple[int | str, str] | None = None,
    ) -> JobsPage:
        """Jobs in an order. `after` is the place of the last job of the page before."""
        authorise(principal, Action.READ_JOBS)
        statement, values = _page_sql(principal, wanted, order, after)
        rows = await self._direct.fetch(statement, {**values, "limit": limit + 1})
        if not rows and after is None:
            await self._refuse_unknown(principal, wanted)
        found = list(map(Found._make, rows[:limit]))
        more = len(rows) > limit
        return JobsPage(await self._answers(principal, found), found[-1].place if more else None)

    async def _refuse_unknown(self, principal: Principal, wanted: JobFilter) -> None:
        """No jobs of what does not exist are no empty list. What has had jobs is never removed. Raises Invalid."""
        wrong = []
        for name, statement in _NAMES.items():
            given = getattr(wanted, name)
            if given is None:
                continue
            rows = await self._direct.fetch(statement, {"firm_id": principal.firm_id, "given": given})
            if not any(is_given for _, is_given in rows):
                known = [row[0] for row in rows]
                people = name == "submitted_by"  # only those who look after them are shown them all
                want = perhaps(given, known, "a person or token") if people else one_of(given, known)
                wrong.append(FieldProblem(f"query {name}", given, want))
        if wrong:
            raise Invalid(wrong)

    async def _answers(self, principal: Principal, found: Sequence[Found]) -> list[bytes]:
        """Each job as JSON, newer than it was found where it has moved since."""
        answers: dict[str, bytes] = {}
        missing = []
        for job_id, firm_id, state_written, revision, _ in found:
            key = job_id, principal.firm_id == firm_id
            known = self._remembered.get(key)
            if known is not None and known[0] == (state_written, revision):
                self._remembered.move_to_end(key)
                answers[job_id] = known[1]
            else:
                missing.append(job_id)
        if missing:
            for row in await self._direct.fetch(JOBS_SQL, {"job_ids": missing}):
                job = record_of(principal, row)
                answer = answers[job.job_id] = self._written(job)
                stamp = row[STATE_WRITTEN], row[REVISION]
                self._remember((job.job_id, principal.firm_id == job.firm_id), stamp, answer)
        return [answers[item.job_id] for item in found]

    def _remember(self, key: tuple[str, bool], stamp: tuple[str | None, int], answer: bytes) -> None:
        before = self._remembered.pop(key, None)
        self._bytes += len(answer) - (0 if before is None else len(before[1]))
        self._remembered[key] = stamp, answer
        while self._bytes > MOST_REMEMBERED_BYTES:
            _, (_, oldest) = self._remembered.popitem(last=False)
            self._bytes -= len(oldest)


# --- Statements -----------------------------------------------------------------------------------------------

_COLUMNS = "j.job_id, j.firm_id, s.xmin::text, coalesce(r.revision, 0)"
# Only constant texts are put together here and below; what callers say goes beside them.
_FIND = f"SELECT {_COLUMNS}, 0 FROM {JOBS_AND_STATES} WHERE j.job_id = ANY(%(job_ids)s)"  # noqa: S608


def _page_sql(
    principal: Principal, wanted: JobFilter, order: JobOrder, after: tuple[int | str, str] | None
) -> tuple[str, dict[str, Any]]:
    """Of one firm, or of all as many from each as the page holds. Cost: O(limit) a firm, by its index."""
    by_name = order in (JobOrder.NAME, JobOrder.NAME_BACKWARDS)
    key, kind = ("name", "text") if by_name else ("submitted_ms", "bigint")
    backwards = order.startswith("-")
    conditions, values = _conditions(wanted)
    if after is not None:
        sign = "<" if backwards else ">"
        conditions.append(f"(j.{key}, j.job_id) {sign} (CAST(%(after_key)s AS {kind}), %(after_id)s)")
        values |= {"after_key": after[0], "after_id": after[1]}
    way = "DESC" if backwards else "ASC"

    def of_firm(firm_id: str) -> str:
        where = " AND ".join([f"j.firm_id = {firm_id}", *conditions])
        return (
            f"SELECT {_COLUMNS}, j.{key} AS place FROM {JOBS_AND_STATES} WHERE {where}"  # noqa: S608
            f" ORDER BY j.{key} {way}, j.job_id {way} LIMIT %(limit)s"
        )

    if principal.firm_id is not None:
        return of_firm("%(firm_id)s"), {**values, "firm_id": principal.firm_id}
    all_firms = (
        f"SELECT o.* FROM firms f CROSS JOIN LATERAL ({of_firm('f.firm_id')}) o"  # noqa: S608
        f" ORDER BY o.place {way}, o.job_id {way} LIMIT %(limit)s"
    )
    return all_firms, values


# What a caller may ask the jobs of: of its firm, or (without one) of any. First the one that was asked for, then as
# many as may be meant: no name is compared with all of a firm.
_MOST_NEAR = 50
_NEAR = (
    "left(name, 2) <> left(%(given)s::text, 2), left(name, 1) <> left(%(given)s::text, 1),"
    " abs(length(name) - length(%(given)s::text)),"
)
# Each name as it is shown, and whether it is the one that was given: operators name a queue with its firm.
_NAMES = {
    name: f"SELECT {shown}, bool_or(%(given)s::text IN ({also})) FROM {table}"  # noqa: S608
    f" WHERE firm_id = %(firm_id)s OR %(firm_id)s::text IS NULL GROUP BY 1 ORDER BY 2 DESC, {near} 1 LIMIT {most}"
    for name, table, shown, also, near, most in (
        ("project", "projects", "name", "name", "", MOST_LISTED + 1),
        (
            "queue",
            "queues q JOIN firms f USING (firm_id)",
            "CASE WHEN %(firm_id)s::text IS NULL THEN f.name || '/' || q.name ELSE q.name END",
            "q.name, f.name || '/' || q.name",
            "",
            MOST_LISTED + 1,
        ),
        ("submitted_by", "principals", "name", "name", _NEAR, _MOST_NEAR),
    )
}
_EQUAL = {
    "project": "j.project = %(project)s",
    "name": "j.name = %(name)s",
    "queue": "j.queue = %(queue)s",
    "array_id": "j.array_id = %(array_id)s",
    "submitted_by": "j.submitted_by = (SELECT principal_id FROM principals WHERE name = %(submitted_by)s)",
    "submitted_from_ms": "j.submitted_ms >= %(submitted_from_ms)s",
    "submitted_to_ms": "j.submitted_ms < %(submitted_to_ms)s",
}


_OF_FIRM = {
    "name": "j.firm_id = (SELECT firm_id FROM firms WHERE name = %(name_firm)s)",
    "queue": "j.firm_id = (SELECT firm_id FROM firms WHERE name = %(queue_firm)s)",
}


def _conditions(wanted: JobFilter) -> tuple[list[str], dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in _EQUAL}
    values = {name: value for name, value in given.items() if value is not None}
    conditions = [_EQUAL[name] for name in values]
    for which, of_firm in _OF_FIRM.items():
        firm, name = firm_and_name(getattr(wanted, which) or "")
        if firm is not None:
            conditions.append(of_firm)
            values |= {which: name, f"{which}_firm": firm}
    contained: dict[str, object] = {}
    if wanted.kind is not None:
        contained["kind"] = wanted.kind
    if wanted.priority is not None:
        contained["priority"] = wanted.priority
    if wanted.labels:
        contained["labels"] = dict(wanted.labels)
    if contained:
        conditions.append("coalesce(r.spec, j.spec) @> CAST(%(contained)s AS jsonb)")
        values["contained"] = orjson.dumps(contained).decode()
    if wanted.states:
        none_yet = " OR s.state IS NULL" if JobState.QUEUED.value in wanted.states else ""
        conditions.append(f"(s.state = ANY(%(states)s){none_yet})")
        values["states"] = sorted(wanted.states)
    return conditions, values
