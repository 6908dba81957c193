"""Could a job ever start here? Asked before it is accepted, so that nobody waits for what cannot come."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue, load_catalogue, models_of
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import FieldProblem, Impossible, Invalid, NotSupported
from scheduler.domain.features import missing, node_features
from scheduler.domain.gangs import Gang, Share
from scheduler.domain.ids import DeviceId
from scheduler.domain.job_reading import refuse
from scheduler.domain.jobs import DEFAULT_PROJECT, JobSpec, Variant, Volume
from scheduler.domain.nodes import Place
from scheduler.domain.object_stores import ObjectStore, chosen, stores_by_name
from scheduler.domain.pools import PoolVolume, volumes_of_firm
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason
from scheduler.planner.feasibility import Inventory, Stock, ever_fits
from scheduler.planner.sharing import sharing_of
from scheduler.planner.snapshot import DeviceView
from scheduler.services.authorise import Principal, require_project
from scheduler.storage.cluster_rows import cohort_noun, queue_noun
from scheduler.storage.engine import Database
from scheduler.storage.tables import DeviceRow, FirmRow, PoolRow, ProjectRow, SecretRow

MOST_LISTED = 20
KEPT_MS = 1_000


@dataclass(frozen=True, slots=True)
class FirmNames:
    """What a firm's specs may name, as it was at `read_ms`."""

    firm: str
    projects: frozenset[str]
    queues: Mapping[str, Queue]
    backends: Mapping[str, str]  # of every pool
    secrets: frozenset[tuple[str, str]]  # (project or "", name)
    volumes: Mapping[str, Mapping[str, PoolVolume]]  # that it may use, by pool and name
    stores: Mapping[str, Mapping[str, ObjectStore]]  # by pool and name
    read_ms: int


class Known:
    """What is configured and enrolled, kept between requests.

    A job is accepted by what was read within the last second; what was deleted meanwhile, the foreign keys of
    `jobs` hold. It is refused only by what is read now.
    """

    def __init__(self) -> None:
        self._firms: dict[str, FirmNames] = {}
        self._enrolled: object = None
        self._inventory: Inventory = {}
        self._counted_ms = 0
        self._accepted: dict[str, tuple[FirmNames, Inventory, set[bytes | None]]] = {}

    def forget(self) -> None:
        """Read everything again at the next question."""
        self._firms.clear()
        self._counted_ms = 0

    async def names(self, database: Database, firm_id: str, now_ms: int, *, fresh: bool) -> FirmNames:
        """The firm's names. Cost: one query where they are older than a second."""
        known = self._firms.get(firm_id)
        if fresh or known is None or abs(now_ms - known.read_ms) > KEPT_MS:
            async with database.read() as session:
                known = self._firms[firm_id] = await _firm_names(session, firm_id, now_ms)
        return known

    async def inventory(self, database: Database, now_ms: int, *, fresh: bool) -> Inventory:
        """(pool, device model) -> devices by node. Cost: one count a second, and one load after an enrolment.

        Devices are only ever added, so their number tells all; places of nodes may change.
        """
        if fresh or abs(now_ms - self._counted_ms) > KEPT_MS:
            async with database.read() as session:
                devices = await session.scalar(select(func.count()).select_from(DeviceRow)) or 0
                places = await session.scalar(_PLACES)
                if (devices, places) != self._enrolled:
                    self._inventory = await _enrolled(session)
                    self._enrolled = (devices, places)
            self._counted_ms = now_ms
        return self._inventory

    def accepted(self, firm_id: str, names: FirmNames, inventory: Inventory) -> set[bytes | None]:
        """Likenesses of the firm's specs that were accepted by just these names and devices; to be added to."""
        kept = self._accepted.get(firm_id)
        if kept is None or kept[0] is not names or kept[1] is not inventory:
            kept = self._accepted[firm_id] = (names, inventory, set())
        return kept[2]


async def _firm_names(session: AsyncSession, firm_id: str, now_ms: int) -> FirmNames:
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
        now_ms,
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
    """The spec in the project that its submitter means: where there is only one, it need not be said. A project that
    is called as a spec without one would have it is meant where there is one.

    Raises Forbidden for one in which the principal may not act.
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
            _check(spec, names, inventory, catalogue)
        except (Invalid, Impossible):
            if fresh:
                raise
        else:
            accepted.add(spec.likeness)
            break
    return spec, names


def _check(spec: JobSpec, names: FirmNames, inventory: Inventory, catalogue: Catalogue) -> None:
    queue = _require_names(spec, names, catalogue)
    _require_supported(spec, names, queue)
    _require_places(spec, names, queue, inventory)
    refusal = ever_fits(spec, queue, inventory, catalogue)
    if refusal is None:
        return
    nearest = nearest_shape(spec, queue, inventory, catalogue)
    facts = dict(refusal.to_json())
    if nearest is None:
        models = sorted({model for pool, model in inventory if pool in queue.pools})
        advice = f"the queue's pools have: {', '.join(models) or 'no devices yet'}"
        facts["nearest"] = None
    else:
        model, gang = nearest
        shape = f"{gang.tasks} x {gang.devices_per_node}"
        advice = f"the nearest possible gang is {gang.devices} {model} as {shape}"
        facts["nearest"] = {
            "model": model,
            "devices": gang.devices,
            "devices_per_node": gang.devices_per_node,
        }
    raise Impossible(f"the job could never start: {refusal.sentence}; {advice}", facts)


def resolve_share(spec: JobSpec, catalogue: Catalogue) -> JobSpec:
    """A part of a device in both measures, as it is given and billed: at least so much of the compute as of the
    memory, on whichever of its models. Raises Invalid.
    """
    share = spec.share
    if share is None:
        return spec
    memories = {v.model: known.memory_bytes for v in spec.variants if (known := catalogue.get(v.model))}
    ppm = share.ppm or 1
    for model, memory_bytes in memories.items():
        if share.memory_bytes is None:
            continue
        if memory_bytes is None:
            raise refuse(
                "share.memory_bytes",
                f"a part of {model}",
                f"ppm alone: nobody published how much memory {model} has",
            )
        if share.memory_bytes > memory_bytes:
            raise refuse(
                "share.memory_bytes",
                str(share.memory_bytes),
                f"at most {memory_bytes}, the memory of {model}",
            )
        ppm = max(ppm, -(-share.memory_bytes * WHOLE_PPM // memory_bytes))
    memory = share.memory_bytes
    if memory is None:
        memory = min((m * ppm // WHOLE_PPM for m in memories.values() if m is not None), default=None)
    return replace(spec, share=Share(ppm, memory))


def resolve_classes(spec: JobSpec, catalogue: Catalogue) -> JobSpec:
    """Each device class becomes one variant a model that fits and that no variant names; Invalid if none."""
    if all(variant.model or variant.device_class is None for variant in spec.variants):
        return spec
    taken = {variant.model for variant in spec.variants if variant.model}
    variants: list[Variant] = []
    for number, variant in enumerate(spec.variants):
        if variant.model or variant.device_class is None:
            variants.append(variant)
            continue
        fitting = [key for key in models_of(variant.device_class, catalogue) if key not in taken]
        if not fitting:
            want = "a class that some model of the catalogue fits, and no other variant (suanli models)"
            raise refuse(f"variants[{number}].device_class", "a class of no model", want)
        taken.update(fitting)
        variants.extend(replace(variant, model=key) for key in fitting)
    return replace(spec, variants=tuple(variants))


def _require_supported(spec: JobSpec, names: FirmNames, queue: Queue) -> None:
    """Every pool of the queue must be able to do what is asked: the job may be placed in any of them."""
    problems: dict[str, FieldProblem] = {}
    for name in sorted(queue.pools):
        for feature, field in missing(spec, names.backends[name]):
            want = f"nothing here: {feature.value} are not yet supported by pool {name}"
            problems.setdefault(field, FieldProblem(field, "a value", want))
    if problems:
        raise NotSupported(problems.values())


def _require_places(spec: JobSpec, names: FirmNames, queue: Queue, inventory: Inventory) -> None:
    """Every pool of the queue that has devices for the job must have its volumes, for its firm, and its stores.

    A volume of other firms is refused as one that is not there.
    """
    models = {variant.model for variant in spec.variants}
    pools = [pool for pool in sorted(queue.pools) if any((pool, model) in inventory for model in models)]
    problems = []
    for number, asked in enumerate(spec.volumes):
        for pool in pools:
            problem = _problem_of(asked, pool, names.volumes[pool], f"volumes[{number}]")
            if problem is not None:
                problems.append(problem)
                break
    for where, name in _stores_asked(spec):
        wants = (_problem_of_store(where, name, pool, names.stores[pool]) for pool in pools)
        problems.extend([problem for problem in wants if problem is not None][:1])
    if problems:
        raise Invalid(problems)


def _stores_asked(spec: JobSpec) -> Iterator[tuple[str, str | None]]:
    for number, item in enumerate(spec.inputs):
        if item.object is not None:
            yield f"inputs[{number}].store", item.store
    for number, output in enumerate(spec.outputs):
        if output.object is not None:
            yield f"outputs[{number}].store", output.store


def _problem_of_store(
    where: str, name: str | None, pool: str, stores: Mapping[str, ObjectStore]
) -> FieldProblem | None:
    if chosen(stores, name) is not None:
        return None
    if not stores:
        want = f"an object store: pool {pool} has none yet (an operator declares them: pools[].object_stores)"
    else:
        want = f"an object store of pool {pool}; " + one_of(name or "", sorted(stores))
    return FieldProblem(where, name or "nothing", want)


def _problem_of(
    asked: Volume, pool: str, volumes: Mapping[str, PoolVolume], where: str
) -> FieldProblem | None:
    name = asked.name
    if name not in volumes:
        want = f"a volume of pool {pool} that your firm may use; " + one_of(name, sorted(volumes))
        return FieldProblem(f"{where}.name", name, want)
    if volumes[name].read_only and not asked.read_only:
        return FieldProblem(f"{where}.read_only", "false", f"true: {name} can only be read in pool {pool}")
    return None


def _require_names(spec: JobSpec, names: FirmNames, catalogue: Catalogue) -> Queue:
    problems = []
    if spec.project not in names.projects:
        want = one_of(spec.project, sorted(names.projects))
        problems.append(FieldProblem("project", spec.project, want))
    queue = names.queues.get(spec.queue)
    if queue is None:
        problems.append(FieldProblem("queue", spec.queue, one_of(spec.queue, sorted(names.queues))))
    for number, variant in enumerate(spec.variants):
        if catalogue.get(variant.model) is None:
            want = one_of(variant.model, sorted(catalogue.models), "a device model of the catalogue")
            problems.append(FieldProblem(f"variants[{number}].model", variant.model, want))
    for where, secret in _secrets_asked(spec):
        if names.secrets.isdisjoint({(spec.project, secret), ("", secret)}):
            there = sorted({name for project, name in names.secrets if project in ("", spec.project)})
            want = f"a secret of the project (suanli secret set {secret}); " + one_of(secret, there)
            problems.append(FieldProblem(where, secret, want))
    if problems or queue is None:
        raise Invalid(problems)
    return queue


def _secrets_asked(spec: JobSpec) -> Iterator[tuple[str, str]]:
    yield from ((f"secrets[{n}].name", secret.name) for n, secret in enumerate(spec.secrets))
    for number, variant in enumerate(spec.variants):
        if variant.image_credentials is not None:
            yield f"variants[{number}].image_credentials", variant.image_credentials
    keys = [(f"inputs[{n}]", item.credentials) for n, item in enumerate(spec.inputs)]
    keys += [(f"outputs[{n}]", item.credentials) for n, item in enumerate(spec.outputs)]
    yield from ((f"{where}.credentials", name) for where, name in keys if name is not None)


def one_of(got: str, known: Sequence[str], otherwise: str = "") -> str:
    """What would be right where `got` is not among the known: the nearest first, and not too many."""
    near = get_close_matches(got, known, 3, 0.6)
    if otherwise and near:
        return f"{otherwise}, perhaps {' or '.join(near)}"
    if otherwise:
        return f"{otherwise} (suanli models lists them)"
    listed = ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")
    return f"one of: {listed}" if known else "(none exists yet)"


def nearest_shape(
    spec: JobSpec, queue: Queue, inventory: Inventory, catalogue: Catalogue
) -> tuple[str, Gang] | None:
    """The largest possible gang not larger than the one asked for, with the most devices on a node."""

    def room(model: str, per_node: int, tasks: int) -> int:
        """How many tasks fit, up to `tasks`."""
        variant = next(variant for variant in spec.variants if variant.model == model)
        while tasks > 0:
            gang = Gang(per_node * tasks, per_node, per_node)
            asked = replace(spec, variants=(variant,), gang=gang)
            refusal = ever_fits(asked, queue, inventory, catalogue)
            if refusal is None:
                return tasks
            # Fewer nodes or less quota than asked: what there is may do. Any other refusal is of the shape.
            fewer = (refusal.available or 0) // per_node if refusal.reason in _OF_SIZE else 0
            tasks = min(tasks - 1, fewer)
        return 0

    best: tuple[int, int, str] | None = None
    for variant in spec.variants:
        for per_node in range(
            min(spec.gang.devices, _most_on_a_node(variant.model, queue, inventory)), 0, -1
        ):
            tasks = room(variant.model, per_node, spec.gang.devices // per_node)
            candidate = (tasks * per_node, per_node, variant.model)
            if tasks and (best is None or candidate > best):
                best = candidate
    if best is None:
        return None
    devices, per_node, model = best
    return model, Gang(devices, per_node, per_node)


_OF_SIZE = frozenset({Reason.GANG_TOO_LARGE, Reason.QUOTA_TOO_SMALL})


def _most_on_a_node(model: str, queue: Queue, inventory: Inventory) -> int:
    return max((len(s.devices) for pool in queue.pools for s in inventory.get((pool, model), ())), default=0)
