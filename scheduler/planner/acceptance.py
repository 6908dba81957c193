"""Whether a job could ever start here, by what it names and by what there is; and what would do if it could not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scheduler.catalogue import Catalogue, models_of
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import FieldProblem, Impossible, Invalid, NotSupported
from scheduler.domain.features import missing
from scheduler.domain.gangs import Domain, Gang, Share, Topology
from scheduler.domain.job_limits import LEAST_SHARE_BYTES
from scheduler.domain.job_reading import refuse
from scheduler.domain.jobs import JobSpec, Variant, Volume
from scheduler.domain.object_stores import ObjectStore, chosen
from scheduler.domain.pools import PoolVolume
from scheduler.domain.queues import Queue
from scheduler.domain.reading import told_bytes
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.suggestions import one_of
from scheduler.planner.feasibility import Inventory, ever_fits
from scheduler.planner.wrong_fields import wrong_fields

# Near names are looked for of so many unknown models of a job: in a batch there may be thousands.
_MOST_COMPARED = 3


@dataclass(frozen=True, slots=True)
class FirmNames:
    """What a firm's specs may name."""

    firm: str
    projects: frozenset[str]
    queues: Mapping[str, Queue]
    backends: Mapping[str, str]  # of every pool
    secrets: frozenset[tuple[str, str]]  # (project or "", name)
    volumes: Mapping[str, Mapping[str, PoolVolume]]  # that it may use, by pool and name
    stores: Mapping[str, Mapping[str, ObjectStore]]  # by pool and name


def require_possible_by(spec: JobSpec, names: FirmNames, inventory: Inventory, catalogue: Catalogue) -> None:
    """Raises Invalid for a name that is not there, NotSupported for what the queue's pools cannot do yet, Impossible
    for a gang that could never start, with the nearest that could and the fields in which it differs.
    """
    queue = _require_names(spec, names, catalogue)
    _require_supported(spec, names, queue)
    _require_places(spec, names, queue, inventory)
    refusal = ever_fits(spec, queue, inventory, catalogue)
    if refusal is None:
        return
    nearest = _nearest_shape(spec, queue, inventory, catalogue)
    facts = dict(refusal.to_json())
    models = sorted({model for pool, model in inventory if pool in queue.pools})
    if nearest is None:
        advice = f"the queue's pools have: {', '.join(models) or 'no devices yet'}"
        facts["nearest"] = None
    else:
        model, gang = nearest
        shape = f"{gang.tasks} x {gang.devices_per_node}"
        advice = f"the nearest possible gang is {gang.devices} {model} as {shape}"
        told = {"model": model, "devices": gang.devices, "devices_per_node": gang.devices_per_node}
        if spec.gang.spare_nodes:
            advice += f" with spare_nodes: {gang.spare_nodes}"
            told["spare_nodes"] = gang.spare_nodes
        facts["nearest"] = told
    undemanding = replace(spec, topology=Topology())
    wrong = wrong_fields(
        spec,
        refusal,
        None if nearest is None else nearest[1],
        models,
        catalogue,
        domain_alone=ever_fits(undemanding, queue, inventory, catalogue) is None,
    )
    raise Impossible(f"the job could never start: {refusal.sentence}; {advice}", facts, wrong)


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
                told_bytes(share.memory_bytes),
                f"at most {told_bytes(memory_bytes)}, the memory of {model}",
            )
        ppm = max(ppm, -(-share.memory_bytes * WHOLE_PPM // memory_bytes))
    memory = share.memory_bytes
    if memory is None:
        smallest = min((m for m in memories.values() if m is not None), default=None)
        memory = None if smallest is None else smallest * ppm // WHOLE_PPM
        if smallest is not None and memory is not None and memory < LEAST_SHARE_BYTES:
            least = -(-LEAST_SHARE_BYTES * WHOLE_PPM // smallest)
            raise refuse("share.ppm", str(ppm), f"at least {least}: a part has 1 MiB of memory or more")
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


def _require_names(spec: JobSpec, names: FirmNames, catalogue: Catalogue) -> Queue:
    problems = []
    if spec.project not in names.projects:
        want = one_of(spec.project, sorted(names.projects))
        problems.append(FieldProblem("project", spec.project, want))
    queue = names.queues.get(spec.queue)
    if queue is None:
        problems.append(FieldProblem("queue", spec.queue, one_of(spec.queue, sorted(names.queues))))
    unknown = [number for number, one in enumerate(spec.variants) if catalogue.get(one.model) is None]
    for number in unknown:
        model, want = spec.variants[number].model, "a device model of the catalogue"
        near = sorted(catalogue.models) if number in unknown[:_MOST_COMPARED] else ()
        problems.append(FieldProblem(f"variants[{number}].model", model, one_of(model, near, want)))
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


def _nearest_shape(
    spec: JobSpec, queue: Queue, inventory: Inventory, catalogue: Catalogue
) -> tuple[str, Gang] | None:
    """The largest possible gang not larger than the one asked for, with the most devices on a node; of one task where
    it wants to be inside a node; with as many of the spare nodes as there are beside it. None for groups: one without
    them is no such gang.
    """
    if spec.gang.groups:
        return None
    one_task = not _ON_A_NODE.isdisjoint((spec.topology.required, spec.topology.preferred))

    def refused(model: str, gang: Gang) -> WhyNot | None:
        variant = next(variant for variant in spec.variants if variant.model == model)
        return ever_fits(replace(spec, variants=(variant,), gang=gang), queue, inventory, catalogue)

    def room(model: str, per_node: int, tasks: int) -> int:
        """How many tasks fit, up to `tasks`."""
        while tasks > 0:
            refusal = refused(model, Gang(per_node * tasks, per_node, per_node))
            if refusal is None:
                return tasks
            # Fewer nodes or less quota than asked: what there is may do, and one task is in its domain, whichever that
            # is. Any other refusal is of the shape.
            fewer = max((refusal.available or 0) // per_node, 1) if refusal.reason in _OF_SIZE else 0
            tasks = min(tasks - 1, fewer)
        return 0

    best: tuple[int, int, str] | None = None
    for variant in spec.variants:
        for per_node in range(
            min(spec.gang.devices, _most_on_a_node(variant.model, queue, inventory)), 0, -1
        ):
            tasks = room(variant.model, per_node, 1 if one_task else spec.gang.devices // per_node)
            candidate = (tasks * per_node, per_node, variant.model)
            if tasks and (best is None or candidate > best):
                best = candidate
    if best is None:
        return None
    devices, per_node, model = best
    gang = Gang(devices, per_node, per_node, spare_nodes=spec.gang.spare_nodes)
    while gang.spare_nodes and refused(model, gang) is not None:
        gang = replace(gang, spare_nodes=gang.spare_nodes - 1)
    return model, gang


_ON_A_NODE = frozenset({Domain.NODE, Domain.FAST_LINK_GROUP})
_OF_SIZE = frozenset({Reason.GANG_TOO_LARGE, Reason.QUOTA_TOO_SMALL})


def _most_on_a_node(model: str, queue: Queue, inventory: Inventory) -> int:
    return max((len(s.devices) for pool in queue.pools for s in inventory.get((pool, model), ())), default=0)
