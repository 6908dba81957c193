"""Why a job runs where it runs, in sentences."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scheduler.domain.gangs import Domain, Topology
from scheduler.domain.ids import JobId, NodeId
from scheduler.domain.nodes import Place
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.services.account import account_of
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec


def told(*refusals: WhyNot) -> Sequence[str]:
    """Of a job that is placed on device-b in pool-b, which other places were before that."""
    choice = {"variants": ["device-b"], "preferred_but_not_possible": [why.to_json() for why in refusals]}
    return account_of({"pool": "pool-b", "device_model": "device-b", "model_choice": choice})


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (
            WhyNot(Reason.DEVICES_BUSY, "none is free", "pool-b", "device-a"),
            ["device-a was preferred and could not be had: none is free."],
        ),
        (
            WhyNot(Reason.DEVICES_BUSY, "none is free", "pool-a", "device-b"),
            ["Pool pool-a comes before and could not have it: none is free."],
        ),
        (WhyNot(Reason.NO_SUCH_DEVICES, "there are none", "pool-a", "device-b"), []),
        (
            WhyNot(Reason.QUOTA_TOO_SMALL, "asks for 16", None, "device-b"),
            ["It did not start with more devices: asks for 16."],
        ),
    ],
)
def test_what_a_job_did_not_get_is_said_of_the_place_where_it_was_not(
    refusal: WhyNot, expected: list[str]
) -> None:
    assert told(refusal) == expected


def test_a_gang_that_would_be_in_one_domain_is_told_over_how_many_it_is_and_why() -> None:
    controller = Controller([a_node(f"n{number}") for number in range(6)], connected=False)
    for number in range(6):
        controller.connect(NodeId(f"n{number}"), place=Place(leaf=f"leaf-{number // 3}"))

    def told_of(name: str, nodes: int) -> list[str]:
        spec = replace(a_spec(name, devices=8 * nodes, per_node=8), topology=Topology(preferred=Domain.LEAF))
        controller.submit(name, spec)
        assert controller.plan() == [name]
        attempt = controller.state.jobs[JobId(name)].attempt
        assert attempt is not None
        return [sentence for sentence in account_of(attempt.why_here) if "leaf" in sentence]

    assert told_of("spread", 4) == [
        "It would rather be inside one leaf and is over 2: leaf-0, leaf-1; none had room for more than 3 of its 4"
        " tasks."
    ]
    assert told_of("close", 2) == ["It is inside one leaf: leaf-1."]
