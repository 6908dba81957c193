"""The live cluster between PostgreSQL and the controller's memory: loaded whole, written as changes."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.devices import Device
from scheduler.domain.ids import NodeId
from scheduler.domain.nodes import Node, Place
from scheduler.domain.pools import Pool
from scheduler.machine.changes import Changes
from scheduler.machine.configuration import configure
from scheduler.machine.messages import ConfigurationChanged
from scheduler.machine.state import ClusterState, MachineConfig
from scheduler.planner.experience import Learned, Learning
from scheduler.storage import tables
from scheduler.storage.budgets import load_budgets
from scheduler.storage.bulk import append, upsert
from scheduler.storage.cluster_assembly import ClusterRows, assemble, usage_horizon_ms
from scheduler.storage.cluster_rows import (
    allocation_row,
    attempt_row,
    cohort_noun,
    device_noun,
    device_rows,
    event_row,
    hole_noun,
    job_row,
    node_record,
    node_row,
    notice_row,
    price_from,
    queue_noun,
)
from scheduler.storage.fact_names import fact_of
from scheduler.storage.pokes import Channel
from suanli.evidence.entries import ALLOCATION_EVENT, signing_message
from suanli.evidence.keys import Signer
from suanli.evidence.records import AllocationEvent, encode_record


def _table(row: type[tables.Base]) -> Table:
    table = row.__table__
    if not isinstance(table, Table):
        raise TypeError(f"{row.__name__} is not a table")
    return table


_NEWEST_EVENT = text("SELECT event_seq, at_ms FROM events ORDER BY event_seq DESC LIMIT 1")
_EVENTS_ABOVE = text("SELECT events_above FROM leaders WHERE role = 'controller'")
# A partial index serves this very condition.
_LIVE_JOBS = text(
    "SELECT j.firm_id, j.job_id, coalesce(r.spec, j.spec)::text AS spec, j.project, j.queue, j.submitted_ms,"
    " j.array_id, j.array_index,"
    " s.state, s.version, s.reason, s.detail, s.exit_code, s.step_report, s.changed_ms, s.started_ms,"
    " s.ended_ms, s.cancel_requested, s.held, s.ineligible_since_ms,"
    " s.ineligible_before_ms, s.revision, s.announced"
    " FROM job_states s JOIN jobs j USING (firm_id, job_id)"
    " LEFT JOIN job_revisions r USING (firm_id, job_id, revision)"
    " WHERE s.state NOT IN ('succeeded','failed','cancelled')"
)
_DEVICES = text(
    "SELECT node_id, device_id, index AS number, vendor, model, memory_bytes, fast_link_group, driver,"
    " simulated FROM devices WHERE :every OR node_id = ANY(:node_ids) ORDER BY node_id, index"
)
_NODES = text(
    "SELECT node_id, name, pool FROM nodes WHERE :every OR node_id = ANY(:node_ids) ORDER BY node_id"
)
# Every attempt of a live job, and those whose devices are not free yet. Nobody may lead where this fails: a time limit
# that is no number is none.
_ATTEMPTS = text(
    "SELECT a.*, j.project, j.queue,"
    " CASE WHEN coalesce(r.spec, j.spec) ->> 'time_limit_seconds' ~ '^[0-9]{1,12}$'"
    " THEN (coalesce(r.spec, j.spec) ->> 'time_limit_seconds')::bigint END AS time_limit_seconds"
    " FROM attempts a JOIN jobs j USING (firm_id, job_id) JOIN job_states g USING (firm_id, job_id)"
    " LEFT JOIN job_revisions r USING (firm_id, job_id, revision)"
    " WHERE (a.firm_id, a.job_id) IN ((SELECT s.firm_id, s.job_id FROM job_states s"
    " WHERE s.state NOT IN ('succeeded','failed','cancelled'))"
    " UNION (SELECT l.firm_id, l.job_id FROM allocations l WHERE l.live))"
    " ORDER BY a.job_id, a.attempt"
)
_ALLOCATIONS = text(
    "SELECT a.*, array_agg(d.device_id ORDER BY v.index) AS device_ids,"
    " min(d.share_ppm) AS share_ppm FROM allocations a"
    " JOIN allocation_devices d USING (firm_id, allocation_id) JOIN devices v USING (device_id)"
    " WHERE (a.firm_id, a.job_id) IN ((SELECT s.firm_id, s.job_id FROM job_states s"
    " WHERE s.state NOT IN ('succeeded','failed','cancelled'))"
    " UNION (SELECT l.firm_id, l.job_id FROM allocations l WHERE l.live))"
    " GROUP BY a.firm_id, a.allocation_id ORDER BY a.job_id, a.attempt, a.rank"
)
# Of what queued jobs wait for: how many jobs it means, and how many of them have ended, well or not.
REFERENCES = text(
    "SELECT u.reference, count(*) AS total,"
    " count(*) FILTER (WHERE s.state IN ('succeeded','failed','cancelled')) AS ended,"
    " count(*) FILTER (WHERE s.state IN ('failed','cancelled')) AS failed"
    " FROM unnest(CAST(:references AS text[])) AS u(reference)"
    " JOIN LATERAL (SELECT firm_id, job_id FROM jobs WHERE job_id = u.reference"
    " UNION ALL SELECT firm_id, job_id FROM jobs WHERE array_id = u.reference) j ON true"
    " LEFT JOIN job_states s USING (firm_id, job_id) GROUP BY u.reference"
)
# Device-time of the last week; a lost task counts until its attempt ended.
_USAGE = text(
    "SELECT j.firm_id, j.project, j.queue, t.device_model, a.goal, a.granted_ms,"
    " CASE WHEN a.stop_reason = 'node_lost' THEN t.ended_ms ELSE a.ended_ms END AS ended_ms,"
    " sum(d.share_ppm)::bigint AS ppm"
    " FROM allocations a JOIN attempts t USING (firm_id, job_id, attempt)"
    " JOIN jobs j USING (firm_id, job_id)"
    " JOIN allocation_devices d USING (firm_id, allocation_id)"
    " WHERE a.live OR a.ended_ms > :horizon_ms"
    " GROUP BY j.firm_id, j.project, j.queue, a.firm_id, a.allocation_id, t.device_model, t.ended_ms"
)


# --- Loading ------------------------------------------------------------------------------------------------


async def load_state(
    session: AsyncSession, catalogue: Catalogue, now_ms: int, config: MachineConfig | None = None
) -> ClusterState:
    """Everything that is not finished, and the usage of the last week. Ten queries, O(what is live).

    A job whose stored spec cannot be read is there with a stand-in: somebody has to lead.

    Time does not step back between leaders whose clocks differ: the state begins no earlier than the newest
    event.
    """
    newest = (await session.execute(_NEWEST_EVENT)).one_or_none()
    if newest is not None:
        now_ms = max(now_ms, newest.at_ms)
    state = ClusterState(catalogue, now_ms, config)
    state.event_seq = max(0 if newest is None else newest.event_seq, await session.scalar(_EVENTS_ABOVE) or 0)
    configure(state, await load_configuration(session, now_ms), now_ms)
    await _load_nodes(session, state)
    for row in await session.execute(text("SELECT * FROM experience")):
        state.learning.remember(Learned(row.subject, row.kind, row.model), row.numbers)
    jobs = [
        (row, state.specs.read_or_stand_in(row.spec, row.project, row.queue))
        for row in await session.execute(_LIVE_JOBS)
    ]
    references = {ref for row, own in jobs if row.state == "queued" for ref in own.spec.dependencies.all}
    assemble(
        state,
        ClusterRows(
            jobs=jobs,
            attempts=(await session.execute(_ATTEMPTS)).all(),
            allocations=(await session.execute(_ALLOCATIONS)).all(),
            usage=(await session.execute(_USAGE, {"horizon_ms": usage_horizon_ms(now_ms)})).all(),
            references=await read_references(session, references),
        ),
    )
    return state


async def read_references(session: AsyncSession, references: set[str]) -> Sequence[Any]:
    """Counts of the jobs behind each reference. Cost: no query where nothing is waited for."""
    if not references:
        return ()
    return (await session.execute(REFERENCES, {"references": sorted(references)})).all()


async def load_configuration(session: AsyncSession, now_ms: int) -> ConfigurationChanged:
    """Everything that is configured now; of budgets what was spent up to `now_ms`."""
    pools = await session.execute(text("SELECT name, patience_ms FROM pools"))
    queues = await session.execute(text("SELECT * FROM queues ORDER BY firm_id, name"))
    cohorts = await session.execute(text("SELECT * FROM cohorts ORDER BY name"))
    # What was over an hour ago is no longer of interest: clocks differ by less.
    calendar = await session.execute(
        text(
            "SELECT * FROM calendar WHERE until_ms > from_ms"
            " AND until_ms > (extract(epoch FROM now()) - 3600) * 1000 ORDER BY from_ms, until_ms, name"
        )
    )
    prices = await session.execute(
        text("SELECT * FROM price_versions ORDER BY device_model, effective_from_ms")
    )
    return ConfigurationChanged(
        pools={row.name: Pool(row.name, row.patience_ms) for row in pools},
        queues=tuple(map(queue_noun, queues)),
        cohorts=tuple(map(cohort_noun, cohorts)),
        calendar=tuple(map(hole_noun, calendar)),
        prices=tuple(map(price_from, prices)),
        places=await _load_places(session),
        budgets=await load_budgets(session, now_ms),
    )


async def _load_places(session: AsyncSession) -> dict[str, Place]:
    """Where nodes hang in the network, by name, as far as the operator says."""
    rows = await session.execute(text("SELECT name, zone, supernode, leaf, position FROM node_places"))
    return {row.name: Place(row.zone, row.supernode, row.leaf, row.position) for row in rows}


async def load_nodes(session: AsyncSession, node_ids: Sequence[str] | None = None) -> list[Node]:
    """Nodes with their devices; all of them, or those named."""
    chosen = {"every": node_ids is None, "node_ids": list(node_ids or ())}
    devices: dict[str, list[Device]] = {}
    for row in await session.execute(_DEVICES, chosen):
        devices.setdefault(row.node_id, []).append(device_noun(row))
    nodes = await session.execute(_NODES, chosen)
    return [
        Node(NodeId(row.node_id), row.name, row.pool, tuple(devices.get(row.node_id, ()))) for row in nodes
    ]


async def _load_nodes(session: AsyncSession, state: ClusterState) -> None:
    """Nodes that the controller knows; the others are announced by their NodeEnrolled."""
    nodes = {node.node_id: node for node in await load_nodes(session)}
    for row in await session.execute(text("SELECT * FROM node_states ORDER BY node_id")):
        state.add_node(node_record(nodes[row.node_id], row))


# --- Writing ------------------------------------------------------------------------------------------------


async def write_changes(
    session: AsyncSession,
    changes: Changes,
    reports: Sequence[Mapping[str, Any]],
    learning: Learning,
    signer: Signer,
) -> None:
    """Stores what a cycle changed and pokes who waits for it. At most one statement a table: O(changes).

    `reports` are rows of the reports table that are new or different.
    """
    await upsert(session, _table(tables.JobStateRow), [job_row(job) for job in changes.jobs.values()])
    await upsert(session, _table(tables.AttemptRow), [attempt_row(a) for a in changes.attempts.values()])
    await upsert(
        session, _table(tables.AllocationRow), [allocation_row(a) for a in changes.allocations.values()]
    )
    await _write_devices(session, changes)
    await upsert(session, _table(tables.NodeStateRow), [node_row(node) for node in changes.nodes.values()])
    await append(session, _table(tables.EventRow), [event_row(event) for event in changes.events])
    await append(session, _table(tables.NotificationRow), [notice_row(one) for one in changes.notices])
    if changes.no_longer_waiting:
        await session.execute(
            text("DELETE FROM reports WHERE job_id = ANY(:job_ids)"),
            {"job_ids": sorted(changes.no_longer_waiting)},
        )
    await upsert(session, _table(tables.ReportRow), reports)
    learned = [{**what._asdict(), "numbers": learning.numbers(what)} for what in sorted(changes.learned)]
    await upsert(session, _table(tables.ExperienceRow), learned)
    await _write_evidence(session, changes.evidence, signer)
    await _poke(session, changes)


async def _write_devices(session: AsyncSession, changes: Changes) -> None:
    """Freed devices first: a device that changes hands in one commit never has two live owners."""
    granted = {fact.allocation_id for fact in changes.evidence if fact.event == "granted"}
    touched = sorted(changes.allocations.values(), key=lambda allocation: allocation.live)
    rows = [
        row
        for allocation in touched
        if not allocation.live or allocation.allocation_id in granted
        for row in device_rows(allocation)
    ]
    await upsert(session, _table(tables.AllocationDeviceRow), rows)


async def _write_evidence(session: AsyncSession, facts: Iterable[AllocationEvent], signer: Signer) -> None:
    """Exact body bytes with the controller's signature; the same fact twice has one effect."""
    rows = []
    for fact in facts:
        body = encode_record(fact)
        signature = signer.sign(signing_message(ALLOCATION_EVENT, body))
        rows.append(
            {
                "type": ALLOCATION_EVENT,
                "firm_id": fact.firm_id,
                "producer_key_id": signer.key_id,
                "fact": fact_of(fact),
                "body": base64.b64encode(body).decode(),
                "signature": base64.b64encode(signature).decode(),
            }
        )
    if rows:
        await session.execute(_INSERT_EVIDENCE, {"rows": json.dumps(rows)})


_INSERT_EVIDENCE = text(
    "INSERT INTO evidence_intake (type, firm_id, producer_key_id, fact, body, signature)"
    " SELECT r.type, r.firm_id, r.producer_key_id, r.fact, decode(r.body, 'base64'),"
    " decode(r.signature, 'base64')"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(type text, firm_id text, producer_key_id text,"
    " fact text, body text, signature text)"
    " ON CONFLICT (fact) DO NOTHING"
)


async def _poke(session: AsyncSession, changes: Changes) -> None:
    """All pokes of a commit in one round trip."""
    pokes = [(Channel.DESIRED, str(node_id)) for node_id in sorted(changes.desired)]
    if changes.events:
        pokes.append((Channel.EVENTS, ""))
    if changes.evidence:
        pokes.append((Channel.EVIDENCE, ""))
    if pokes:
        await session.execute(
            text(
                "SELECT pg_notify(p.channel, p.payload)"
                " FROM unnest(CAST(:channels AS text[]), CAST(:payloads AS text[])) AS p(channel, payload)"
            ),
            {
                "channels": [channel.value for channel, _ in pokes],
                "payloads": [payload for _, payload in pokes],
            },
        )
