"""Live output of a job as NDJSON: one object a piece of text, each with its place in its stream."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from scheduler.api.auth import SessionCheck
from scheduler.api.job_output import Begin, JobOutput, OutputFilter
from scheduler.api.state import Api
from scheduler.domain.authorise import Principal
from scheduler.services.jobs import LogPlan, plan_job_logs
from scheduler.storage.engine import DatabaseAway
from scheduler.storage.job_logs import LogKey

# How often a follower looks at the clock; new output wakes it at once.
WAKE_S = 0.2
# How often the database is asked at most, and at least, whether tasks were added or the job ended.
PLAN_MIN_S = 0.2
PLAN_MAX_S = 2.0
# After the end of the job, how long without a new byte until the output counts as all that comes.
SETTLE_S = 10.0
# An empty line this often in silence, so that proxies keep the stream and a dead client is noticed.
HEARTBEAT_S = 15.0
RECHECK_S = 15.0


@dataclass(slots=True)
class _Clocks:
    """When things were done last, in seconds of a monotonic clock."""

    sent: float
    planned: float
    checked: float
    heard: float


class LogStream:
    """One reader's stream."""

    def __init__(
        self,
        api: Api,
        principal: Principal,
        check: SessionCheck,
        plan: LogPlan,
        wanted: OutputFilter,
        begin: Begin | None = None,
    ) -> None:
        self._api = api
        self._principal = principal
        self._check = check
        self._plan = plan
        self._wanted = wanted
        self._output = JobOutput(api.job_logs, wanted, begin)
        self._first = wanted.attempt or max((task[0] for task in plan.tasks), default=1)

    def _attempts(self) -> list[int]:
        """The attempt asked for; else the newest one of the beginning and all that follow it."""
        return sorted({task[0] for task in self._plan.tasks if task[0] >= self._first}) or [self._first]

    async def _read(self) -> str:
        def lines() -> str:
            records = self._output.records(self._plan, self._attempts())
            return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)

        return await asyncio.to_thread(lines)

    async def once(self) -> AsyncIterator[str]:
        """What is there now."""
        while True:
            lines = await self._read()
            if not lines:
                return
            yield lines

    async def follow(self) -> AsyncIterator[str]:
        """What is there and what comes, until the job has ended and its streams are complete."""
        first = self._plan
        self._api.log_watch.follow(first)
        try:
            async for lines in self._follow():
                yield lines
        finally:
            self._api.log_watch.leave(first)

    async def _follow(self) -> AsyncIterator[str]:
        now = time.monotonic()
        clocks = _Clocks(now, now, now, now)
        ticket = self._api.pulse.ticket()
        while not self._api.pulse.closing:
            changed = self._api.log_watch.ticket(self._plan)
            lines = await self._read()
            now = time.monotonic()
            if lines:
                clocks.heard = clocks.sent = now
                yield lines
                continue
            if self._plan.final:
                missing = self._output.missing(self._plan, self._attempts())
                if not missing:
                    yield _END
                    return
                if now - clocks.heard >= SETTLE_S:
                    yield _incomplete(missing)
                    return
            if now - clocks.sent >= HEARTBEAT_S:
                clocks.sent = now
                yield "\n"
            since = now - clocks.planned
            if since >= PLAN_MAX_S or (since >= PLAN_MIN_S and ticket.is_set()):
                ticket = self._api.pulse.ticket()
                clocks.planned = now
                if not await self._look_again(clocks):
                    return
            await self._api.pulse.wait(changed, WAKE_S)

    async def _look_again(self, clocks: _Clocks) -> bool:
        """Ask the database for tasks and the job's end; False where the stream must end."""
        if clocks.planned - clocks.checked >= RECHECK_S:
            clocks.checked = clocks.planned
            if not await self._check.still_valid():
                return False
        was_final = self._plan.final
        try:
            self._plan = await self._api.log_watch.plan(self._plan.job_id, PLAN_MIN_S / 2, self._ask)
        except DatabaseAway:
            return True  # files go on without it
        if self._plan.final and not was_final:
            clocks.heard = clocks.planned
        return True

    async def _ask(self) -> LogPlan:
        async with self._api.database.read() as session:
            return await plan_job_logs(session, self._principal, self._plan.job_id)


# A stream that only stops was cut: by the end of this process, by a revoked key.
_END = json.dumps({"note": "end"}) + "\n"


def _incomplete(missing: list[LogKey]) -> str:
    """The last line where output was lost with its node: silence must not look like the end."""
    names = [f"{key.attempt}/{key.rank}.{key.local_rank}.{key.stream}" for key in missing[:100]]
    return json.dumps({"note": "incomplete", "missing": names, "missing_streams": len(missing)}) + "\n"
