"""Could a job ever start here? Asked before it is accepted, so that nobody waits for what cannot come."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue, load_catalogue
from scheduler.domain.authorise import Principal, require_project
from scheduler.domain.errors import Impossible, Invalid
from scheduler.domain.features import node_features
from scheduler.domain.ids import DeviceId
from scheduler.domain.job_reading import refuse
from scheduler.domain.jobs import DEFAULT_PROJECT, JobSpec
from scheduler.domain.nodes import Place
from scheduler.domain.object_stores import stores_by_name
from scheduler.domain.pools import volumes_of_firm
from scheduler.domain.queues import Queue
from scheduler.planner.acceptance import FirmNames, require_possible_by, resolve_classes, resolve_share
from scheduler.planner.feasibility import Inventory, Stock
from scheduler.planner.sharing import sharing_of
from scheduler.planner.snapshot import DeviceView
from scheduler.storage.cluster_rows import cohort_noun, queue_noun
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.tables import DeviceRow, FirmRow, PoolRow, ProjectRow, SecretRow

KEPT_MS = 1_000  # after which it is read again
MOST_ACCEPTED = 256  # kinds of specs of a firm
USED_MS = 2_000  # for which it is used meanwhile

_log = structlog.get_logger(__name__)

ValueT = TypeVar("ValueT")
ReadT = Callable[[ValueT | None], Awaitable[ValueT]]


class _Kept(Generic[ValueT]):
    """Something read from the database, kept for a while and read again beside those who use it.

    Of a cluster of 10,000 nodes it takes some 20 ms to see that nothing has changed: nobody's submission waits for it.
    """

    def __init__(self) -> None:
        self._value: ValueT | None = None
        self._read_ms = 0
        self._reading: asyncio.Task[None] | None = None

    async def value(self, read: ReadT[ValueT], now_ms: int, *, fresh: bool) -> ValueT:
        """What was read within USED_MS; if `fresh`, what is read now. `read` gets what is there already.

        Raises DatabaseAway.
        """
        age_ms = abs(now_ms - self._read_ms)
        if fresh or self._value is None or age_ms > USED_MS:
            return await self._read(read, now_ms)
        if age_ms > KEPT_MS and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read_beside(read, now_ms))
        return self._value

    async def _read(self, read: ReadT[ValueT], now_ms: int) -> ValueT:
        value = self._value = await read(self._value)
        self._read_ms = now_ms
        return value

    async def _read_beside(self, read: ReadT[ValueT], now_ms: int) -> None:
        try:
            await self._read(read, now_ms)
        except DatabaseAway as error:  # whoever needs it after USED_MS reads it, and is told
            _log.warning("cannot_read_what_is_possible", reason=str(error))


class Known:
    """What is configured and enrolled, kept between requests.

    A job is accepted by what was read within the last two seconds; what was deleted meanwhile, the foreign keys of
    `jobs` hold. It is refused only by what is read now.
    """

    def __init__(self) -> None:
        self._firms: defaultdict[str, _Kept[FirmNames]] = defaultdict(_Kept)
        self._inventory: _Kept[_Enrolled] = _Kept()
        self._accepted: dict[str, tuple[FirmNames, Inventory, set[bytes | None]]] = {}

    def forget(self) -> None:
        """Read everything again at the next question."""
        self._firms.clear()
        self._inventory = _Kept()

    async def names(self, database: Database, firm_id: str, now_ms: int, *, fresh: bool) -> FirmNames:
        """The firm's names. Cost: six queries a second, which nobody waits for while somebody asks every second."""

        async def read(before: FirmNames | None) -> FirmNames:
            async with database.read() as session:
                names = await _firm_names(session, firm_id)
            return before if before == names else names  # the same one, by which so much was accepted

        return await self._firms[firm_id].value(read, now_ms, fresh=fresh)

    async def inventory(self, database: Database, now_ms: int, *, fresh: bool) -> Inventory:
        """(pool, device model) -> devices by node. Cost: one count a second as above, and one load after an enrolment.

        Devices are only ever added, so their number tells all; places of nodes may change.
        """

        async def read(before: _Enrolled | None) -> _Enrolled:
            async with database.read() as session:
                devices = await session.scalar(select(func.count()).select_from(DeviceRow)) or 0
                state = devices, str(await session.scalar(_PLACES))
                if before is not None and before.state == state:
                    return before
                return _Enrolled(state, await _enrolled(session))

        return (await self._inventory.value(read, now_ms, fresh=fresh)).inventory

    def accepted(self, firm_id: str, names: FirmNames, inventory: Inventory) -> set[bytes | None]:
        """Likenesses of the firm's specs that were accepted by just these names and devices; to be added to."""
        kept = self._accepted.get(firm_id)
        if kept is None or kept[0] is not names or kept[1] is not inventory:
            kept = self._accepted[firm_id] = (names, inventory, set())
        return kept[2]


class _Enrolled(NamedTuple):
    """What is enrolled, and by what a change of it is seen: the number of devices and a digest of places."""

    state: tuple[int, str]
    inventory: Inventory


async def _firm_names(session: AsyncSession, firm_id: str) -> FirmNames:
    firm = await session.scalar(select(FirmRow.name).where(FirmRow.firm_id == firm_id))
    projects = await session.scalars(select(ProjectRow.name).where(ProjectRow.firm_id == firm_id))
    queues = await reachable_queues(session, firm_id)
    p = PoolRow
    pools = (await session.execute(select(p.name, p.backend, p.volumes, p.object_stores))).all()
    secrets = await session.execute(
        select(SecretRow.project, SecretRow.name).where(SecretRow.firm_id == firm_id)
    )
    return FirmNames(
        str(firm),
        frozenset(projects),
        queues,
        {row.name: row.backend for row in pools},
        frozenset((row.project, row.name) for row in secrets),
        {row.name: volumes_of_firm(row.volumes, str(firm)) for row in pools},
        {row.name: stores_by_name(row.object_stores) for row in pools},
    )


async def reachable_queues(session: AsyncSession, firm_id: str) -> dict[str, Queue]:
    """The firm's queues, each with the most that it could ever hold as its quota: own and borrowed."""
    queues = [queue_noun(row) for row in await session.execute(text("SELECT * FROM queues"))]
    cohorts = [cohort_noun(row) for row in await session.execute(text("SELECT * FROM cohorts"))]
    sharing = sharing_of(queues, cohorts, load_catalogue())
    return {
        queue.key.name: replace(queue, nominal=sharing.most(queue), cohort=None)
        for queue in queues
        if queue.key.firm_id == firm_id
    }


# Nodes whose devices and places are alike are one row: a cluster of 10,000 nodes has a handful of them.
_KINDS_OF_NODES = text("""
    SELECT pool, model, zone, supernode, leaf, indices, groups, runs_images, understands, count(*) AS nodes FROM (
        SELECT n.pool, d.model, array_agg(d.index ORDER BY d.index) AS indices,
            array_agg(d.fast_link_group ORDER BY d.index) AS groups,
            coalesce(p.zone, s.place ->> 'zone') AS zone,
            coalesce(p.supernode, s.place ->> 'supernode') AS supernode,
            coalesce(p.leaf, s.place ->> 'leaf') AS leaf,
            s.container_engine IS NOT NULL AS runs_images, coalesce(s.understands, '{}') AS understands
        FROM devices d JOIN nodes n USING (node_id)
        LEFT JOIN node_places p ON p.name = n.name LEFT JOIN node_states s ON s.node_id = n.node_id
        GROUP BY n.node_id, n.pool, d.model, p.name, s.node_id
    ) AS of_node GROUP BY pool, model, zone, supernode, leaf, indices, groups, runs_images, understands
""")
# Changes whenever a place changes, or what a node can do. Cost: the nodes of which anybody said one.
_PLACES = text("""
    SELECT md5(coalesce(string_agg(
        n.node_id || coalesce(p::text, '') || coalesce(s.place::text, '') || (s.container_engine IS NOT NULL)
        || coalesce(s.understands::text, ''), ','
        ORDER BY n.node_id), ''))
    FROM nodes n LEFT JOIN node_places p ON p.name = n.name LEFT JOIN node_states s ON s.node_id = n.node_id
    WHERE p.name IS NOT NULL OR s.place <> '{}' OR s.container_engine IS NOT NULL OR s.understands <> '{}'
""")


async def _enrolled(session: AsyncSession) -> Inventory:
    """What is enrolled; nodes that are alike share their views. Cost: O(devices) in PostgreSQL."""
    inventory: dict[tuple[str, str], list[Stock]] = {}
    for row in await session.execute(_KINDS_OF_NODES):
        devices = tuple(
            DeviceView(index, DeviceId(""), row.model, group, free=True)
            for index, group in zip(row.indices, row.groups, strict=True)
        )
        features = node_features(tuple(row.understands), runs_images=row.runs_images)
        stock = Stock(devices, Place(row.zone, row.supernode, row.leaf).domains, features)
        inventory.setdefault((row.pool, row.model), []).extend([stock] * row.nodes)
    return inventory


async def in_own_project(
    database: Database, principal: Principal, firm_id: str, spec: JobSpec, known: Known, now_ms: int
) -> JobSpec:
    """The spec in the project that its submitter means: where there is only one, it need not be said.

    One that is named is never replaced: where there is a project `default`, it is meant. Raises Forbidden for one in
    which the principal may not act.
    """
    if spec.project == DEFAULT_PROJECT:
        names = await known.names(database, firm_id, now_ms, fresh=False)
        own = names.projects if principal.projects is None else names.projects & {*principal.projects}
        if len(own) == 1 and DEFAULT_PROJECT not in names.projects:
            spec = replace(spec, project=min(own))
    require_project(principal, spec.project)
    return spec


async def require_possible(
    database: Database, firm_id: str, spec: JobSpec, catalogue: Catalogue, known: Known, now_ms: int
) -> tuple[JobSpec, FirmNames]:
    """The spec with its device classes resolved, and what it may name.

    Raises Invalid for a project, queue or model that is not there, NotSupported for what the queue's pools
    cannot do yet, Impossible for a gang that could never start.
    """
    spec = resolve_share(resolve_classes(spec, catalogue), catalogue)
    if spec.deadline_ms is not None and spec.deadline_ms <= now_ms:
        raise refuse("deadline", str(spec.deadline), "a time that has not passed")
    for fresh in (False, True):
        names = await known.names(database, firm_id, now_ms, fresh=fresh)
        inventory = await known.inventory(database, now_ms, fresh=fresh)
        accepted = known.accepted(firm_id, names, inventory)
        if spec.likeness is not None and spec.likeness in accepted:
            break  # nothing below looks at what such specs differ in
        try:
            require_possible_by(spec, names, inventory, catalogue)
        except (Invalid, Impossible):
            if fresh:
                raise
        else:
            if len(accepted) >= MOST_ACCEPTED:
                accepted.clear()
            accepted.add(spec.likeness)
            break
    return spec, names
