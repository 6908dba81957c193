"""Which fields of a spec keep a job from ever starting, and what in them would let it."""

from collections.abc import Iterator, Sequence

from scheduler.catalogue import Catalogue
from scheduler.domain.errors import FieldProblem
from scheduler.domain.features import Feature, features_of, needs_of
from scheduler.domain.gangs import Gang
from scheduler.domain.jobs import JobSpec
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.suggestions import one_of


def wrong_fields(
    spec: JobSpec,
    refusal: WhyNot,
    nearest: Gang | None,
    models: Sequence[str],
    catalogue: Catalogue,
    *,
    domain_alone: bool,
) -> tuple[FieldProblem, ...]:
    """At least one. `refusal`: the most telling reason; `nearest`: the gang that could start, if any; `models`: what
    the queue's pools have; `domain_alone`: it could start, were no domain required.
    """
    domain = spec.topology.required
    if domain is not None and domain_alone:
        told = FieldProblem("topology.required", domain.value, f"nothing: {refusal.sentence}")
        return (told, *_of_gang(spec.gang, nearest))
    if refusal.reason is Reason.NO_POOL:
        return (FieldProblem("queue", spec.queue, "a queue that may use a pool"),)
    if refusal.reason is Reason.NO_SUCH_DEVICES:
        gone = [(n, v.model) for n, v in enumerate(spec.variants) if v.model not in models]
        return tuple(FieldProblem(f"variants[{n}].model", model, one_of(model, models)) for n, model in gone)
    if refusal.reason in (Reason.NO_NODE_FOR_IMAGES, Reason.ALL_AGENTS_TOO_OLD):
        return tuple(_nowhere_possible(spec, refusal))
    return tuple(_of_size(spec, refusal, nearest, catalogue))


def _nowhere_possible(spec: JobSpec, refusal: WhyNot) -> Iterator[FieldProblem]:
    """What no node with the model can do."""
    number, variant = next((n, v) for n, v in enumerate(spec.variants) if v.model == refusal.device_model)
    if refusal.reason is Reason.NO_NODE_FOR_IMAGES:
        yield FieldProblem(f"variants[{number}].image", str(variant.image), f"nothing: {refusal.sentence}")
        return
    needs = needs_of(spec, variant) - {Feature.IMAGES}
    for feature, field in features_of(spec):
        if feature in needs:
            yield FieldProblem(field, feature.value, f"nothing: {refusal.sentence}")


def _of_size(
    spec: JobSpec, refusal: WhyNot, nearest: Gang | None, catalogue: Catalogue
) -> Iterator[FieldProblem]:
    gang = spec.gang
    if nearest is not None:
        yield from _of_gang(gang, nearest)
        return
    if gang.groups:
        groups = ", ".join(f"{group.tasks} x {group.devices_per_task}" for group in gang.groups)
        yield FieldProblem("gang.groups", groups, f"groups that fit: {refusal.sentence}")
        return
    if refusal.reason is Reason.SHAPE_NOT_ALLOWED:
        counts = catalogue.shape(str(refusal.device_model)).counts or ()
        want = one_of("", [str(count) for count in sorted(counts)])
        yield FieldProblem("gang.devices_per_node", str(gang.devices_per_node), want)
        return
    # Not even one device of it: what there is of the model is not for the queue.
    yield FieldProblem("queue", spec.queue, f"a queue with a larger quota of {refusal.device_model}")


def _of_gang(gang: Gang, nearest: Gang | None) -> Iterator[FieldProblem]:
    """Where it differs from the nearest that could start."""
    if nearest is None:
        return
    for name, asked, possible in (
        ("devices", gang.devices, nearest.devices),
        ("devices_per_node", gang.devices_per_node, nearest.devices_per_node),
        ("spare_nodes", gang.spare_nodes, nearest.spare_nodes),
    ):
        if asked != possible:
            want = f"{possible}, as in the nearest possible gang"
            yield FieldProblem(f"gang.{name}", str(asked), want)
    if gang.elastic is not None and gang.elastic.min_devices > nearest.devices:
        want = f"{nearest.devices} or less"
        yield FieldProblem("gang.elastic.min_devices", str(gang.elastic.min_devices), want)
