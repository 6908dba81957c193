"""Jobs in container images: where they may go, which image their tasks agree on, and when they are tried again."""

from dataclasses import replace

import pytest

from scheduler.domain.allocations import Phase
from scheduler.domain.ids import JobId
from scheduler.domain.jobs import JobSpec, JobState, Variant
from scheduler.domain.reasons import Ending, EndReason, Reason
from scheduler.domain.retries import Retry
from scheduler.machine import take_snapshot
from scheduler.machine.state import JobRecord
from scheduler.planner import JobPlacement, Plan, TaskPlacement
from scheduler.planner.plan_checks import check_plan
from tests.builders.cluster import Controller, a_node, observed
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

ENGINE = "podman 4.3.1, runc 1.1.5"
FIRST, SECOND = ("sha256:" + digit * 64 for digit in "ab")


def in_image(devices: int = 8, per_node: int | None = None, **more: object) -> JobSpec:
    """A job whose variant names an image."""
    variant = Variant(MODEL, ("/bin/true",), image="registry.example/train:1")
    return replace(a_spec(devices=devices, per_node=per_node), variants=(variant,), **more)  # type: ignore[arg-type]


def a_fleet(*engines: str | None) -> Controller:
    """Nodes n1, n2, ... that run images with these."""
    controller = Controller([a_node(f"n{number}") for number in range(1, len(engines) + 1)], connected=False)
    for number, engine in enumerate(engines, 1):
        controller.connect(f"n{number}", container_engine=engine)
    return controller


def waits_for(controller: Controller, job: JobRecord) -> list[Reason]:
    report = controller.report.of(job.job_id)
    assert report is not None
    return [reason.reason for reason in report.reasons]


def places(controller: Controller, job: JobRecord) -> list[str]:
    return [str(allocation.node_id) for allocation in controller.tasks(job)]


@pytest.mark.parametrize("devices", [1, 8])
def test_a_job_in_an_image_goes_only_where_images_run(devices: int) -> None:
    controller = a_fleet(None, ENGINE, None)
    job = controller.submit("j", in_image(devices))
    assert controller.plan() == ["j"]
    assert places(controller, job) == ["n2"]


def test_a_plain_job_goes_anywhere() -> None:
    controller = a_fleet(None, None)
    job = controller.submit("j", a_spec(devices=16, per_node=8))
    assert controller.plan() == ["j"]
    assert places(controller, job) == ["n1", "n2"]


def test_a_gang_in_an_image_waits_for_nodes_that_run_images_and_is_told_so() -> None:
    controller = a_fleet(None, ENGINE, None)
    job = controller.submit("j", in_image(16, 8))
    assert controller.plan() == []
    assert waits_for(controller, job) == [Reason.NO_CONTAINER_ENGINE]
    controller.connect("n3", container_engine=ENGINE)
    controller.now_ms += 1
    controller.connect("n3", boot="boot-2", container_engine=ENGINE)
    assert controller.plan() == ["j"]
    assert places(controller, job) == ["n2", "n3"]


def test_only_the_variant_with_an_image_is_bound_by_it() -> None:
    controller = Controller([a_node("n1"), a_node("m1", model=OTHER_MODEL)])
    image = Variant(MODEL, ("/bin/true",), image="registry.example/train:1")
    spec = replace(
        a_spec(models=[MODEL, OTHER_MODEL]), variants=(image, Variant(OTHER_MODEL, ("/bin/true",)))
    )
    job = controller.submit("j", spec)
    assert controller.plan() == ["j"]
    assert places(controller, job) == ["m1"]


def test_a_plan_that_puts_an_image_where_none_runs_is_no_plan() -> None:
    controller = a_fleet(None)
    controller.submit("j", in_image(1))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    node = snapshot.nodes[0]
    task = TaskPlacement(0, node.node_id, (node.devices[0].device_id,))
    bad = Plan((JobPlacement(JobId("j"), MODEL, node.pool, (task,)),), ())
    assert any(
        "has no container images" in str(violation)
        for violation in check_plan(snapshot, bad, controller.now_ms)
    )


def test_the_first_task_that_finds_the_image_says_which_it_is_for_all() -> None:
    controller = a_fleet(ENGINE, ENGINE)
    job = controller.submit("j", in_image(16, 8))
    controller.plan()
    first, second = controller.tasks(job)
    pulling = replace(observed(first, Phase.PREPARING), detail="pulls the image registry.example/train:1")
    controller.observe(first.node_id, [pulling])
    assert first.detail == pulling.detail
    controller.observe(first.node_id, [replace(observed(first, Phase.READY), image_digest=FIRST)])
    assert first.detail is None
    controller.observe(second.node_id, [replace(observed(second, Phase.READY), image_digest=FIRST)])
    assert job.attempt is not None
    assert job.attempt.image_digest == FIRST
    assert controller.events.count("TaskPreparing") == controller.events.count("ImageFound") == 1
    assert job.attempt.master_address is not None


def test_a_gang_whose_nodes_found_two_images_does_not_start() -> None:
    controller = a_fleet(ENGINE, ENGINE)
    job = controller.submit("j", in_image(16, 8))
    controller.plan()
    first, second = controller.tasks(job)
    controller.observe(first.node_id, [replace(observed(first, Phase.READY), image_digest=FIRST)])
    controller.observe(second.node_id, [replace(observed(second, Phase.READY), image_digest=SECOND)])
    assert job.attempt is not None
    assert job.attempt.reason is Ending.IMAGE_FAILED
    assert second.detail == f"its image is {SECOND}; that of other tasks is {FIRST}"
    assert first.started_ms is None


@pytest.mark.parametrize(("budget", "attempts"), [(0, 1), (2, 3)])
def test_an_image_that_cannot_be_had_has_a_budget_of_its_own(budget: int, attempts: int) -> None:
    controller = a_fleet(ENGINE)
    job = controller.submit("j", in_image(retry=Retry(image_failed=budget, prepare_failed=0)))
    for _ in range(attempts):
        assert job.state is JobState.QUEUED
        controller.wait(600_000)
        assert controller.plan() == ["j"]
        controller.end(controller.tasks(job)[0], None, EndReason.IMAGE_FAILED, "its registry refuses access")
    assert JobId("j") not in controller.state.jobs or job.state is JobState.FAILED
    assert job.reason == Ending.IMAGE_FAILED
