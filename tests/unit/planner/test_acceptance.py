"""What could ever start, and what would do where it could not: of values alone."""

from dataclasses import replace

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import Impossible, Invalid
from scheduler.domain.gangs import Domain, Elastic, Gang, TaskGroup, Topology
from scheduler.domain.jobs import JobSpec, Output, Variant
from scheduler.planner.acceptance import FirmNames, require_possible_by
from tests.builders.cluster import POOL, a_node, a_queue, inventory_of
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

NODES = [a_node("n1"), a_node("n2"), a_node("n3", model=OTHER_MODEL)]
NAMES = FirmNames(
    firm="firm-a",
    projects=frozenset({"default", "speech"}),
    queues={"default": a_queue()},
    backends={POOL: "agents"},
    secrets=frozenset(),
    volumes={POOL: {}},
    stores={POOL: {}},
)


def refusal(spec: JobSpec) -> Impossible | Invalid:
    with pytest.raises((Impossible, Invalid)) as refused:
        require_possible_by(spec, NAMES, inventory_of(NODES), load_catalogue())
    return refused.value


def test_what_fits_on_the_devices_that_are_there_is_accepted() -> None:
    require_possible_by(a_spec(devices=16, per_node=8), NAMES, inventory_of(NODES), load_catalogue())


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        (a_spec(devices=24, per_node=8), {"model": MODEL, "devices": 16, "devices_per_node": 8}),
        (a_spec(devices=16), {"model": MODEL, "devices": 16, "devices_per_node": 8}),
        (
            a_spec(devices=16, per_node=8, models=(OTHER_MODEL,)),
            {"model": OTHER_MODEL, "devices": 8, "devices_per_node": 8},
        ),
    ],
    ids=["too many nodes", "all on one node", "too few of its model"],
)
def test_a_gang_that_never_fits_is_told_the_nearest_that_does(
    spec: JobSpec, nearest: dict[str, object]
) -> None:
    problem = refusal(spec)
    assert isinstance(problem, Impossible)
    assert problem.fields["nearest"] == nearest


@pytest.mark.parametrize(
    ("asked", "devices", "spare"),
    [(Gang(16, 8, 8, spare_nodes=1), 16, 0), (Gang(8, 8, 8, spare_nodes=3), 8, 1)],
    ids=["no spare node", "fewer of them"],
)
def test_the_nearest_gang_to_one_with_too_many_spare_nodes_is_the_same_with_as_many_as_there_are(
    asked: Gang, devices: int, spare: int
) -> None:
    problem = refusal(replace(a_spec(), gang=asked))
    assert isinstance(problem, Impossible)
    nearest = {"model": MODEL, "devices": devices, "devices_per_node": 8, "spare_nodes": spare}
    assert problem.fields["nearest"] == nearest
    shape = f"{devices} {MODEL} as {devices // 8} x 8 with spare_nodes: {spare}"
    assert problem.message.endswith(f"; the nearest possible gang is {shape}")


def test_no_gang_without_groups_is_called_the_nearest_to_one_of_groups() -> None:
    groups = (TaskGroup("learner", 1, 8, 8), TaskGroup("actor", 2, 4, 4))
    problem = refusal(replace(a_spec(), gang=Gang(16, 8, 8, groups=groups)))
    assert isinstance(problem, Impossible)
    assert problem.fields["nearest"] is None
    assert problem.message.endswith(f"; the queue's pools have: {MODEL}, {OTHER_MODEL}")


@pytest.mark.parametrize("domain", [Domain.FAST_LINK_GROUP, Domain.NODE])
@pytest.mark.parametrize("kind", ["required", "preferred"])
def test_the_nearest_gang_to_one_inside_a_node_is_inside_a_node_too(domain: Domain, kind: str) -> None:
    spec = replace(a_spec(devices=16), topology=Topology(**{kind: domain}))
    nodes = [a_node("n1", group=4), a_node("n2", group=4)]
    with pytest.raises(Impossible) as refused:
        require_possible_by(spec, NAMES, inventory_of(nodes), load_catalogue())
    devices = 4 if kind == "required" and domain is Domain.FAST_LINK_GROUP else 8
    nearest = {"model": MODEL, "devices": devices, "devices_per_node": devices}
    assert refused.value.fields["nearest"] == nearest


def test_a_gang_that_no_fast_links_of_a_node_join_is_told_so() -> None:
    spec = replace(a_spec(devices=8), topology=Topology(required=Domain.FAST_LINK_GROUP))
    with pytest.raises(Impossible, match="asks for 8 ascend-910b3 joined by fast links; no node") as refused:
        require_possible_by(spec, NAMES, inventory_of([a_node("n1", group=4)]), load_catalogue())
    assert refused.value.fields["nearest"] == {"model": MODEL, "devices": 4, "devices_per_node": 4}


IMAGED = replace(a_spec(), variants=(Variant(MODEL, ("/bin/true",), image="registry.example/x:1"),))
WITH_PATTERNS = replace(a_spec(), outputs=(Output("out/*.bin"),))
GROUPED = (TaskGroup("learner", 1, 8, 8), TaskGroup("actor", 2, 4, 4))


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (a_spec(devices=24, per_node=8), {"gang.devices": ("24", "16, as in the nearest possible gang")}),
        (
            a_spec(devices=16),
            {"gang.devices_per_node": ("16", "8, as in the nearest possible gang")},
        ),
        (
            a_spec(devices=100),
            {
                "gang.devices": ("100", "16, as in the nearest possible gang"),
                "gang.devices_per_node": ("100", "8, as in the nearest possible gang"),
            },
        ),
        (
            replace(a_spec(), gang=Gang(8, 8, 8, spare_nodes=3)),
            {"gang.spare_nodes": ("3", "1, as in the nearest possible gang")},
        ),
        (
            replace(a_spec(), gang=Gang(32, 8, 8, Elastic(24, 40))),
            {
                "gang.devices": ("32", "16, as in the nearest possible gang"),
                "gang.elastic.min_devices": ("24", "16 or less"),
            },
        ),
        (
            a_spec(models=("ascend-910b1", "ascend-910a")),
            {
                "variants[0].model": ("ascend-910b1", f"one of: {MODEL}, {OTHER_MODEL}"),
                "variants[1].model": ("ascend-910a", f"one of: {MODEL}, {OTHER_MODEL}"),
            },
        ),
        (
            IMAGED,
            {
                "variants[0].image": (
                    "registry.example/x:1",
                    f"nothing: no node of the queue's pools ({POOL}) with {MODEL} runs container images",
                )
            },
        ),
        (
            WITH_PATTERNS,
            {
                "outputs[0].path": (
                    "output patterns",
                    f"nothing: the agents of all nodes with {MODEL} in the queue's pools ({POOL}) are older than "
                    "output patterns",
                )
            },
        ),
        (
            replace(a_spec(), gang=Gang(16, 8, 8, groups=GROUPED)),
            {
                "gang.groups": (
                    "1 x 8, 2 x 4",
                    f"groups that fit: asks for 3 nodes with 4 {MODEL}; the largest pool of the queue has 2 such",
                )
            },
        ),
        (
            a_spec(devices=3, models=(OTHER_MODEL,)),
            {
                "gang.devices": ("3", "2, as in the nearest possible gang"),
                "gang.devices_per_node": ("3", "2, as in the nearest possible gang"),
            },
        ),
    ],
    ids=[
        "too many nodes", "too much on one node", "both", "too many spare nodes", "elastic", "models", "images",
        "old agents", "groups", "a number that the vendor does not allow",
    ],
)  # fmt: skip
def test_what_could_never_start_is_told_by_its_fields(
    spec: JobSpec, wrong: dict[str, tuple[str, str]]
) -> None:
    problem = refusal(spec)
    assert isinstance(problem, Impossible)
    assert {one.field: (one.got, one.want) for one in problem.problems} == wrong


def test_a_queue_without_quota_or_pools_is_told_by_its_fields() -> None:
    for queue, wrong in (
        (a_queue(nominal={MODEL: 0}), {"queue": ("default", f"a queue with a larger quota of {MODEL}")}),
        (a_queue(pools=()), {"queue": ("default", "a queue that may use a pool")}),
    ):
        names = replace(NAMES, queues={"default": queue})
        with pytest.raises(Impossible) as refused:
            require_possible_by(a_spec(), names, inventory_of(NODES), load_catalogue())
        assert {one.field: (one.got, one.want) for one in refused.value.problems} == wrong


def test_a_domain_that_holds_no_such_gang_is_told_with_the_gang_of_one_node_that_needs_none() -> None:
    spec = replace(a_spec(devices=16, per_node=8), topology=Topology(required=Domain.LEAF))
    problem = refusal(spec)
    assert isinstance(problem, Impossible)
    assert problem.fields["nearest"] == {"model": MODEL, "devices": 8, "devices_per_node": 8}
    assert {one.field: (one.got, one.want) for one in problem.problems} == {
        "topology.required": (
            "leaf",
            f"nothing: asks for 2 nodes with 8 {MODEL}; the largest leaf of the queue's pools has 0 such",
        ),
        "gang.devices": ("16", "8, as in the nearest possible gang"),
    }


def test_a_domain_is_not_told_of_a_gang_that_fits_nowhere() -> None:
    spec = replace(a_spec(devices=32, per_node=8), topology=Topology(required=Domain.LEAF))
    problem = refusal(spec)
    assert isinstance(problem, Impossible)
    assert [one.field for one in problem.problems] == ["gang.devices"]


def test_groups_that_only_the_domain_keeps_from_starting_are_told_of_the_domain() -> None:
    gang = Gang(12, 8, 8, groups=(TaskGroup("learner", 1, 8, 8), TaskGroup("actor", 1, 4, 4)))
    spec = replace(a_spec(), gang=gang, topology=Topology(required=Domain.SUPERNODE))
    problem = refusal(spec)
    assert isinstance(problem, Impossible)
    assert [one.field for one in problem.problems] == ["topology.required"]


def test_a_gang_beyond_its_quota_is_told_the_nearest_on_one_node_where_no_domain_is_known() -> None:
    names = replace(NAMES, queues={"default": a_queue(nominal={MODEL: 4})})
    spec = replace(a_spec(devices=8), topology=Topology(required=Domain.ZONE))
    with pytest.raises(Impossible) as refused:
        require_possible_by(spec, names, inventory_of(NODES), load_catalogue())
    assert refused.value.fields["nearest"] == {"model": MODEL, "devices": 4, "devices_per_node": 4}


def test_names_that_are_not_there_are_all_named_with_the_nearest_known() -> None:
    problem = refusal(a_spec(queue="defautl", models=("ascend-910b",), project="speach"))
    assert isinstance(problem, Invalid)
    wants = {one.field: one.want for one in problem.problems}
    assert set(wants) == {"project", "queue", "variants[0].model"}
    assert "speech" in wants["project"]
    assert "default" in wants["queue"]
    assert MODEL in wants["variants[0].model"]


def test_of_many_unknown_models_all_are_named_and_near_ones_of_the_first() -> None:
    problem = refusal(a_spec(models=tuple(f"ascend-910b{number}x" for number in range(6))))
    assert isinstance(problem, Invalid)
    told = [(one.field, "perhaps" in one.want) for one in problem.problems]
    assert told == [(f"variants[{number}].model", number < 3) for number in range(6)]
