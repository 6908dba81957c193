"""What a job asks of the executing side beyond plain gangs of whole devices, and which backend can do it.

A spec may say more than a pool can do yet. That is refused at submission, with the field's name: what a
researcher writes is never silently ignored. Whoever teaches a backend a feature adds it here.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache

from scheduler.domain.jobs import JobSpec, StopSignal, Variant


class Feature(StrEnum):
    """Each is one thing that a backend can do, or cannot yet."""

    TASK_GROUPS = "task groups"
    ELASTIC = "elastic gangs"
    SPARE_NODES = "spare nodes"
    TOPOLOGY = "topology requests"
    SHARES = "parts of devices"
    IMAGES = "container images"
    IMAGE_CREDENTIALS = "image credentials"
    PROCESS_ENVIRONMENTS = "process environments"
    VOLUMES = "volumes"
    SECRETS = "secrets"
    INPUTS = "uploaded inputs"
    OBJECT_STORES = "object stores"
    OUTPUTS = "outputs"
    OUTPUT_PATTERNS = "output patterns"
    PORTS = "ports to forward"
    STOP_SIGNALS = "stop signals other than SIGTERM"
    LOG_PATTERNS = "retries by log pattern"
    DEADLINES = "deadlines"
    DEPENDENCIES = "dependencies"
    ARRAYS = "arrays"
    HOLDS = "holds"
    BUDGETS = "budgets of a job"
    NOTIFICATIONS = "notifications"


# What the controller does by itself, on whatever backend.
_ALWAYS = frozenset(
    {
        Feature.DEADLINES,
        Feature.DEPENDENCIES,
        Feature.ARRAYS,
        Feature.HOLDS,
        Feature.BUDGETS,
        Feature.NOTIFICATIONS,
    }
)
SUPPORTED: Mapping[str, frozenset[Feature]] = {
    "agents": frozenset(
        {
            Feature.OBJECT_STORES,
            Feature.LOG_PATTERNS,
            Feature.IMAGES,
            Feature.IMAGE_CREDENTIALS,
            Feature.VOLUMES,
            Feature.SECRETS,
            Feature.INPUTS,
            Feature.OUTPUTS,
            Feature.OUTPUT_PATTERNS,
            Feature.PORTS,
            Feature.PROCESS_ENVIRONMENTS,
            Feature.STOP_SIGNALS,
            Feature.TASK_GROUPS,
            Feature.ELASTIC,
            Feature.SPARE_NODES,
            Feature.TOPOLOGY,
            Feature.SHARES,
        }
    )
}


def features_of(spec: JobSpec) -> Iterator[tuple[Feature, str]]:
    """What the job asks for, each with the path of the field that asks."""
    gang, retry = spec.gang, spec.retry
    asked = {
        (Feature.TASK_GROUPS, "gang.groups"): gang.groups,
        (Feature.ELASTIC, "gang.elastic"): gang.elastic,
        (Feature.SPARE_NODES, "gang.spare_nodes"): gang.spare_nodes,
        (Feature.TOPOLOGY, "topology.required"): spec.topology.required,
        (Feature.TOPOLOGY, "topology.preferred"): spec.topology.preferred,
        (Feature.SHARES, "share"): spec.share,
        (Feature.SECRETS, "secrets"): spec.secrets,
        (Feature.PORTS, "ports"): spec.ports,
        (Feature.LOG_PATTERNS, "retry.on_log_patterns"): retry.on_log_patterns,
        (Feature.DEADLINES, "deadline"): spec.deadline,
        (Feature.DEPENDENCIES, "dependencies"): spec.dependencies.all,
        (Feature.ARRAYS, "array"): spec.array,
        (Feature.HOLDS, "hold"): spec.hold,
        (Feature.BUDGETS, "budget"): spec.budget,
        (Feature.NOTIFICATIONS, "notification"): spec.notification,
    }
    yield from (key for key, value in asked.items() if value)
    if spec.model_checkpoint is not None and spec.model_checkpoint.signal is not StopSignal.TERM:
        yield Feature.STOP_SIGNALS, "model_checkpoint.signal"
    yield from _of_variants(spec)
    for number in range(len(spec.volumes)):
        yield Feature.VOLUMES, f"volumes[{number}].name"
    yield from _of_files(spec)


def _of_files(spec: JobSpec) -> Iterator[tuple[Feature, str]]:
    for number, item in enumerate(spec.inputs):
        feature = Feature.INPUTS if item.object is None else Feature.OBJECT_STORES
        yield feature, f"inputs[{number}]"
    for number, output in enumerate(spec.outputs):
        feature = Feature.OUTPUTS if output.object is None else Feature.OBJECT_STORES
        yield feature, f"outputs[{number}]"
        if "*" in output.path or "?" in output.path:
            yield Feature.OUTPUT_PATTERNS, f"outputs[{number}].path"


def _of_variants(spec: JobSpec) -> Iterator[tuple[Feature, str]]:
    for number, variant in enumerate(spec.variants):
        if variant.image is not None:
            yield Feature.IMAGES, f"variants[{number}].image"
        if variant.image_credentials is not None:
            yield Feature.IMAGE_CREDENTIALS, f"variants[{number}].image_credentials"
        if variant.process_environment is not None:
            yield Feature.PROCESS_ENVIRONMENTS, f"variants[{number}].process_environment"


def missing(spec: JobSpec, backend: str) -> list[tuple[Feature, str]]:
    """What the job asks for and the backend cannot do yet."""
    supported = _ALWAYS | SUPPORTED.get(backend, frozenset())
    return [(feature, field) for feature, field in features_of(spec) if feature not in supported]


# --- what not every node can do -----------------------------------------------------------------------------

_LATER = (Feature.OBJECT_STORES, Feature.OUTPUT_PATTERNS)
"""What agents older than it would pass over; on the wire and in `node_states` by its name in small letters."""


@lru_cache(maxsize=1024)
def node_features(understands: tuple[str, ...], *, runs_images: bool) -> frozenset[Feature]:
    """What a node can do that not all can, by what its agent has said; words that nobody knows are passed over."""
    features = {feature for feature in _LATER if feature.name.lower() in understands}
    return frozenset(features | {Feature.IMAGES} if runs_images else features)


def needs_of(spec: JobSpec, variant: Variant) -> frozenset[Feature]:
    """What a node must be able to do for tasks of the variant, of what not all can. Cost: its inputs and outputs."""
    needs = {feature for feature, _ in _of_files(spec) if feature in _LATER}
    return frozenset(needs if variant.image is None else needs | {Feature.IMAGES})
