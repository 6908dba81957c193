"""What must hold in the database at every moment, and what finds where it does not.

Each rule is a sentence and a query whose rows are the exceptions, or a function that looks for them in packed segments.
All run in one snapshot, so that a cluster that works while it is checked is seen at one moment.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.storage.segments import opened_segments
from suanli.evidence.errors import EvidenceError
from suanli.evidence.windows import WHOLE_PPM

# Exceptions shown of one rule; the rest are counted.
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds, and how exceptions are found: a query of one text column, or what reads segments itself."""

    sentence: str
    exceptions: str | Callable[[AsyncSession], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule with its exceptions; none: the rule holds."""

    sentence: str
    exceptions: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class _Told:
    """What a segment says."""

    device_id: str
    observed: str
    ppm_ms: int


_WINDOWS: Final = (
    "SELECT log_index, node_id, start_ms, end_ms, segments FROM log_entries WHERE type = 'usage_window'"
)


async def _pages(session: AsyncSession, query: str) -> AsyncIterator[tuple[Row[Any], list[_Told]]]:
    """Rows of a query that names log_index and segments, with what these say; a few at a time in memory."""
    stream = await session.stream(text(query).execution_options(yield_per=100))
    async for page in stream.partitions():
        told = await _told(session, {row.log_index: row.segments for row in page})
        for row in page:
            yield row, told.get(row.log_index, [])


async def _told(session: AsyncSession, packed: dict[int, bytes | None]) -> dict[int, list[_Told]]:
    """What the segments of some windows say. One that cannot be read says nothing: its devices are missing."""
    try:
        opened = await opened_segments(session, packed)
        return {index: [_read(one.body) for one in window.segments] for index, window in opened.items()}
    except (EvidenceError, ValueError, KeyError, TypeError):
        if len(packed) == 1:
            return {}
        return {i: told for one in packed.items() for i, told in (await _told(session, dict([one]))).items()}


def _read(body: bytes) -> _Told:
    value = json.loads(body)
    ppm_ms = (value["end_ms"] - value["start_ms"]) * value["share_ppm"]
    return _Told(value["device"]["device_id"], value["observed"], ppm_ms)


async def _told_wrongly(session: AsyncSession) -> list[str]:
    found: list[str] = []
    async for window, segments in _pages(session, _WINDOWS):
        whole = (window.end_ms - window.start_ms) * WHOLE_PPM
        told: Counter[str] = Counter()
        for one in segments:
            told[one.device_id] += one.ppm_ms
        found += [
            f"entry {window.log_index} device {device_id}: {ppm_ms} of {whole} ppm ms"
            for device_id, ppm_ms in told.items()
            if ppm_ms != whole
        ]
    return found


async def _untold(session: AsyncSession) -> list[str]:
    counted = await session.execute(text("SELECT node_id, count(*) FROM devices GROUP BY 1"))
    devices = {str(node_id): int(count) for node_id, count in counted}
    found: list[str] = []
    async for window, segments in _pages(session, _WINDOWS):
        told, wanted = len({one.device_id for one in segments}), devices.get(window.node_id)
        if wanted is not None and told != wanted and window.end_ms > window.start_ms:
            found.append(f"entry {window.log_index}: {told} of {wanted} devices")
    return found


_CHARGED: Final = """
SELECT log_index, segments, c.charge_id, c.n, c.billable_ms, abs(c.billable_ms) > c.to_ms - c.from_ms
    OR c.corrects IS NULL AND (c.worked_ms > c.live_ms OR c.live_ms > c.billable_ms) AS too_much
FROM charges c JOIN log_entries USING (log_index)
"""


async def _billed_unobserved(session: AsyncSession) -> list[str]:
    found: list[str] = []
    async for charge, segments in _pages(session, _CHARGED):
        observed = segments[charge.n].observed if charge.n < len(segments) else "nothing"
        if charge.too_much or (charge.billable_ms and observed != "in_use"):
            found.append(
                f"{charge.charge_id}: {charge.billable_ms} ms billed of a segment observed {observed}"
            )
    return found


RULES: Final = (
    Rule(
        "live shares of a device sum to at most the whole",
        """
        SELECT device_id || ': ' || count(*) || ' live allocations, ' || sum(share_ppm) || ' ppm'
        FROM allocation_devices WHERE live GROUP BY device_id HAVING sum(share_ppm) > 1000000
        """,
    ),
    Rule(
        "an allocation holds its devices exactly while it is live, and all on its own node",
        """
        SELECT a.allocation_id || ': device ' || d.device_id || ' of node ' || v.node_id
        FROM allocations a JOIN allocation_devices d USING (firm_id, allocation_id)
        JOIN devices v USING (device_id) WHERE a.live <> d.live OR a.node_id <> v.node_id
        """,
    ),
    Rule(
        "a gang is placed whole: as many tasks and devices as the job asks, of the attempt's device model",
        """
        SELECT t.job_id || ' attempt ' || t.attempt || ': ' || count(DISTINCT a.allocation_id) || ' tasks, '
            || count(d.device_id) || ' devices of ' || t.device_model
        FROM attempts t JOIN jobs j USING (firm_id, job_id)
        LEFT JOIN (SELECT * FROM allocations WHERE goal <> 'reserve') a USING (firm_id, job_id, attempt)
        LEFT JOIN allocation_devices d USING (firm_id, allocation_id)
        LEFT JOIN devices v USING (device_id)
        GROUP BY t.firm_id, t.job_id, t.attempt, j.spec
        HAVING CASE
                WHEN jsonb_array_length(j.spec #> '{gang,groups}') > 0
                    THEN count(d.device_id) <> (j.spec #>> '{gang,devices}')::int
                        OR count(DISTINCT a.allocation_id) <> (
                            SELECT sum((g ->> 'tasks')::int) FROM jsonb_array_elements(j.spec #> '{gang,groups}') g)
                ELSE count(d.device_id) NOT BETWEEN
                        coalesce((j.spec #>> '{gang,elastic,min_devices}')::int, (j.spec #>> '{gang,devices}')::int)
                        AND coalesce((j.spec #>> '{gang,elastic,max_devices}')::int, (j.spec #>> '{gang,devices}')::int)
                    OR count(DISTINCT a.allocation_id) * (j.spec #>> '{gang,devices_per_node}')::int
                        <> count(d.device_id)
            END OR bool_or(v.model <> t.device_model)
        """,
    ),
    Rule(
        "a gang is never half running: of an attempt that goes on, only tasks that succeeded have ended",
        """
        SELECT a.allocation_id || ' of ' || t.job_id || ': ' || coalesce(a.end_reason, 'not live')
        FROM attempts t JOIN allocations a USING (firm_id, job_id, attempt)
        WHERE t.state IN ('preparing', 'ready', 'running') AND NOT a.live AND a.goal <> 'reserve'
            AND (t.state <> 'running' OR a.end_reason <> 'exited' OR a.exit_code <> 0)
        """,
    ),
    Rule(
        "an attempt that ended holds no devices, but those of nodes that have not confirmed the stop",
        """
        SELECT a.allocation_id || ' of ' || t.job_id || ' attempt ' || t.attempt
        FROM attempts t JOIN allocations a USING (firm_id, job_id, attempt)
        WHERE t.state = 'ended' AND a.live AND a.stop_reason IS DISTINCT FROM 'node_lost'
        """,
    ),
    Rule(
        "a job has an attempt under way exactly while it is allocated, running or stopping",
        """
        SELECT s.job_id || ' is ' || s.state || ', attempt ' || s.attempt
            || ' ' || coalesce(t.state, 'missing')
        FROM job_states s LEFT JOIN attempts t USING (firm_id, job_id, attempt)
        WHERE (s.state IN ('allocated', 'running', 'stopping')) <> (coalesce(t.state, 'ended') <> 'ended')
        """,
    ),
    Rule(
        "an attempt before a job's newest one has ended",
        """
        SELECT t.job_id || ' attempt ' || t.attempt || ' is ' || t.state
        FROM attempts t JOIN job_states s USING (firm_id, job_id)
        WHERE t.attempt < s.attempt AND t.state <> 'ended'
        """,
    ),
    Rule(
        "an accepted job is known to the controller or waits in its inbox",
        """
        SELECT j.job_id FROM jobs j LEFT JOIN job_states s USING (firm_id, job_id)
        WHERE s.job_id IS NULL AND NOT EXISTS (
            SELECT FROM inbox i WHERE i.kind = 'JobSubmitted' AND i.body ->> 'job_id' = j.job_id)
        """,
    ),
    Rule(
        "the revisions of a job are numbered from 1 without a gap, and its state has taken over none that is missing",
        """
        SELECT s.job_id || ': ' || count(r.revision) || ' revisions, the newest ' || coalesce(max(r.revision), 0)
            || ', taken over ' || s.revision
        FROM job_states s LEFT JOIN job_revisions r USING (firm_id, job_id)
        GROUP BY s.firm_id, s.job_id, s.revision
        HAVING greatest(count(r.revision), s.revision) <> coalesce(max(r.revision), 0)
        """,
    ),
    Rule(
        "an array is whole: one firm's, with each index below its count once",
        """
        SELECT array_id || ': ' || count(*) || ' jobs, indices ' || min(array_index) || ' to ' || max(array_index)
        FROM jobs WHERE array_id IS NOT NULL GROUP BY array_id
        HAVING count(DISTINCT array_index) <> count(*) OR min(array_index) <> 0
            OR max(array_index) <> count(*) - 1 OR count(DISTINCT firm_id) > 1
            OR min((spec #>> '{array,count}')::int) <> count(*)
        """,
    ),
    Rule(
        "no more jobs of an array go on at a time than it says",
        """
        SELECT j.array_id || ': ' || count(*) || ' jobs, of which '
            || min((j.spec #>> '{array,concurrency}')::int) || ' may go on'
        FROM jobs j JOIN job_states s USING (firm_id, job_id)
        WHERE j.array_id IS NOT NULL AND s.state IN ('allocated', 'running', 'stopping')
        GROUP BY j.array_id HAVING count(*) > min((j.spec #>> '{array,concurrency}')::int)
        """,
    ),
    Rule(
        "an enrolled node is known to the controller or waits in its inbox",
        """
        SELECT n.node_id FROM nodes n LEFT JOIN node_states s USING (node_id)
        WHERE s.node_id IS NULL AND NOT EXISTS (
            SELECT FROM inbox i WHERE i.kind = 'NodeEnrolled' AND i.body ->> 'node_id' = n.node_id)
        """,
    ),
    Rule(
        "events are numbered from 1 without a gap, but for what a restored database has lost",
        """
        SELECT count(*) || ' events, numbers ' || min(event_seq) || ' to ' || max(event_seq)
        FROM events, (
            SELECT coalesce(max(events_above), 0) AS lost FROM leaders WHERE role = 'controller') l
        HAVING count(*) FILTER (WHERE event_seq <= lost)
                <> coalesce(max(event_seq) FILTER (WHERE event_seq <= lost), 0)
            OR count(*) FILTER (WHERE event_seq > lost) <> greatest(max(event_seq) - max(lost), 0)
        """,
    ),
    Rule(
        "log entries are numbered from 0 without a gap",
        """
        SELECT count(*) || ' entries, numbers ' || min(log_index) || ' to ' || max(log_index)
        FROM log_entries HAVING count(*) > 0 AND (min(log_index) <> 0 OR max(log_index) <> count(*) - 1)
        """,
    ),
    Rule(
        "the entries of a firm are numbered from 1 without a gap",
        """
        SELECT firm_id || ': ' || count(*) || ' entries, numbers ' || min(firm_seq) || ' to ' || max(firm_seq)
        FROM log_entries WHERE firm_seq IS NOT NULL
        GROUP BY firm_id HAVING min(firm_seq) <> 1 OR max(firm_seq) <> count(*)
        """,
    ),
    Rule(
        "every window that a gateway acknowledged is in the log or waits for it",
        """
        SELECT k.key_id || ': ' || k.stored_seq || ' stored, ' || coalesce(l.windows, 0) || ' logged, '
            || coalesce(u.windows, 0) || ' waiting'
        FROM agent_keys k
        LEFT JOIN (SELECT producer_key_id AS key_id, count(*) AS windows, max(seq) AS newest FROM log_entries
            WHERE type = 'usage_window' GROUP BY 1) l USING (key_id)
        LEFT JOIN (SELECT key_id, count(*) AS windows FROM usage_intake GROUP BY 1) u USING (key_id)
        WHERE k.stored_seq <> coalesce(l.windows, 0) + coalesce(u.windows, 0)
            OR l.newest <> l.windows
        """,
    ),
    Rule(
        "the windows of a key follow each other in time without a gap",
        """
        SELECT key || ' window ' || seq || ': starts ' || start_ms || ', the one before ends ' || before_ms
        FROM (SELECT producer_key_id AS key, seq, start_ms,
            lag(end_ms) OVER (PARTITION BY producer_key_id ORDER BY seq) AS before_ms
            FROM log_entries WHERE type = 'usage_window') windows
        WHERE before_ms <> start_ms
        """,
    ),
    Rule(
        "in every window each device's time is told exactly once",
        _told_wrongly,
    ),
    Rule(
        "every window tells of every device of its node",
        _untold,
    ),
    Rule(
        "a charge lies within its logged, signed window",
        """
        SELECT c.charge_id || ' at entry ' || c.log_index || ' (' || w.type || ')'
        FROM charges c JOIN log_entries w USING (log_index)
        WHERE w.type <> 'usage_window' OR c.from_ms < w.start_ms OR c.to_ms > w.end_ms OR c.to_ms < c.from_ms
        """,
    ),
    Rule(
        "only what was observed in use is billed: never unknown time, and not more than the stretch",
        _billed_unobserved,
    ),
    Rule(
        "no time of a device is billed twice to an allocation",
        """
        SELECT device_id || ': charges ' || before_id || ' and ' || charge_id || ' overlap'
        FROM (
            SELECT device_id, charge_id, from_ms,
                lag(to_ms) OVER chain AS before_ms, lag(charge_id) OVER chain AS before_id
            FROM (
                SELECT c.device_id, c.allocation_id, c.charge_id, c.from_ms,
                    c.to_ms + coalesce(
                        (SELECT sum(k.billable_ms) FROM charges k WHERE k.corrects = c.charge_id), 0) AS to_ms
                FROM charges c WHERE c.corrects IS NULL AND c.billable_ms > 0
            ) net WHERE to_ms > from_ms
            WINDOW chain AS (PARTITION BY device_id, allocation_id ORDER BY from_ms)
        ) chained WHERE before_ms > from_ms
        """,
    ),
    Rule(
        "no more than the whole of a device is billed at one time",
        """
        SELECT device_id || ': ' || ppm || ' ppm from ' || at_ms
        FROM (
            SELECT device_id, at_ms, sum(change) OVER (PARTITION BY device_id ORDER BY at_ms) AS ppm
            FROM (
                SELECT device_id, at_ms, sum(change) AS change
                FROM (
                    SELECT c.device_id, e.at_ms, e.change
                    FROM (
                        SELECT c.device_id, c.from_ms, c.share_ppm, c.to_ms + coalesce(
                            (SELECT sum(k.billable_ms) FROM charges k WHERE k.corrects = c.charge_id), 0
                        ) AS to_ms
                        FROM charges c WHERE c.corrects IS NULL AND c.billable_ms > 0
                    ) c, LATERAL (VALUES (c.from_ms, c.share_ppm), (c.to_ms, -c.share_ppm)) AS e(at_ms, change)
                    WHERE c.to_ms > c.from_ms
                ) edges GROUP BY device_id, at_ms
            ) moments
        ) running WHERE ppm > 1000000
        """,
    ),
    Rule(
        "a correction takes back no more than its charge",
        """
        SELECT k.charge_id || ' corrects ' || c.charge_id
        FROM charges k JOIN charges c ON c.charge_id = k.corrects
        WHERE k.billable_ms > 0 OR k.billable_ms + c.billable_ms < 0 OR k.device_id <> c.device_id
            OR k.firm_id <> c.firm_id
        """,
    ),
)


async def find_exceptions(session: AsyncSession) -> AsyncIterator[Finding]:
    """Check every rule in the session's snapshot, one after the other."""
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    for rule in RULES:
        if isinstance(rule.exceptions, str):
            rows = (await session.execute(text(rule.exceptions))).scalars().all()
        else:
            rows = await rule.exceptions(session)
        yield Finding(rule.sentence, tuple(str(row) for row in rows[:SHOWN]), len(rows))


async def leaves(session: AsyncSession) -> AsyncIterator[bytes]:
    """The log's leaves in their order, a few at a time in memory."""
    stream = await session.stream(
        text("SELECT leaf FROM log_entries ORDER BY log_index").execution_options(yield_per=1000)
    )
    async for row in stream:
        yield bytes(row.leaf)


async def newest_log_checkpoint(session: AsyncSession) -> tuple[int, str] | None:
    """Size and hex root of the newest log checkpoint; None before the first."""
    row = (
        await session.execute(text("SELECT size, root FROM log_checkpoints ORDER BY size DESC LIMIT 1"))
    ).one_or_none()
    return None if row is None else (int(row.size), str(row.root))
