"""Whatever is asked and whatever is there: who could never start is told at least one field of his own spec."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import FieldProblem, Impossible
from scheduler.domain.features import node_features
from scheduler.domain.gangs import Domain, Elastic, Gang, TaskGroup, Topology
from scheduler.domain.jobs import JobSpec, Output, Variant
from scheduler.domain.nodes import Place
from scheduler.planner.acceptance import FirmNames, require_possible_by
from scheduler.planner.feasibility import Inventory, Stock
from tests.builders.cluster import POOL, a_node, a_queue, inventory_of
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

MODELS = (MODEL, OTHER_MODEL, "ascend-910b1")


@st.composite
def gangs(draw: st.DrawFn) -> Gang:
    per_node = draw(st.integers(1, 9))
    tasks = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["plain", "spare", "elastic", "groups"]))
    if kind == "spare":
        return Gang(tasks * per_node, per_node, per_node, spare_nodes=draw(st.integers(1, 3)))
    if kind == "elastic":
        least = draw(st.integers(1, tasks)) * per_node
        return Gang(tasks * per_node, per_node, per_node, Elastic(least, (tasks + 1) * per_node))
    if kind == "groups":
        each = draw(st.integers(1, per_node))
        groups = (TaskGroup("a", 1, per_node, per_node), TaskGroup("b", tasks, each, each))
        return Gang(per_node + tasks * each, per_node, per_node, groups=groups)
    return Gang(tasks * per_node, per_node, per_node)


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
    images = draw(st.lists(st.none() | st.just("registry.example/x:1"), min_size=3, max_size=3))
    named = zip(models, images, strict=False)
    return replace(
        a_spec(),
        gang=draw(gangs()),
        variants=tuple(Variant(model, ("/bin/true",), image=image) for model, image in named),
        topology=Topology(required=draw(st.none() | st.sampled_from(Domain))),
        outputs=draw(st.sampled_from([(), (Output("out/*.bin"),)])),
    )


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    inventory: dict[tuple[str, str], list[Stock]] = {}
    for number in range(draw(st.integers(0, 4))):
        model = draw(st.sampled_from(MODELS[:2]))
        node = a_node(
            f"n{number}", model=model, devices=draw(st.integers(1, 8)), group=draw(st.sampled_from([1, 4, 8]))
        )
        understands = draw(st.sampled_from([(), ("output_patterns",)]))
        features = node_features(understands, runs_images=draw(st.booleans()))
        places = {node.node_id: draw(st.sampled_from([Place(), Place(leaf="l1"), Place(leaf="l2")]))}
        for key, stocks in inventory_of([node], places).items():
            inventory.setdefault(key, []).extend(stock._replace(features=features) for stock in stocks)
    return inventory


@given(
    spec=specs(),
    inventory=inventories(),
    nominal=st.dictionaries(st.sampled_from(MODELS[:2]), st.integers(0, 24), max_size=2),
)
def test_who_could_never_start_is_told_fields_of_his_spec(
    spec: JobSpec, inventory: Inventory, nominal: dict[str, int]
) -> None:
    names = FirmNames(
        firm="firm-a",
        projects=frozenset({"default"}),
        queues={"default": a_queue(nominal=nominal)},
        backends={POOL: "agents"},
        secrets=frozenset(),
        volumes={POOL: {}},
        stores={POOL: {}},
    )
    problems = problems_of(spec, names, inventory)
    if problems is None:
        return
    assert problems
    for problem in problems:
        if problem.field.startswith("variants["):
            asked = spec.variants[int(problem.field[len("variants[")])]
            assert problem.got == (asked.image if problem.field.endswith(".image") else asked.model)
        else:
            assert re.match(r"gang|topology|queue|outputs", problem.field)


def problems_of(spec: JobSpec, names: FirmNames, inventory: Inventory) -> tuple[FieldProblem, ...] | None:
    """None where it is accepted."""
    try:
        require_possible_by(spec, names, inventory, load_catalogue())
    except Impossible as refused:
        return refused.problems
    return None
