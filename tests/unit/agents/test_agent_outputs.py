"""Which outputs of an ended task still go to their object stores, also after the agent was started anew."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents import outputs
from agents.core.messages import Ended
from agents.core.separation import NONE
from agents.core.tasks import EndReason
from agents.live_task import FetchRefused, Live
from agents.runtime import task_files
from agents.runtime.spec import StoreFolder, StoreKeys, TaskSpec
from agents.workers import Workers
from tests.builders import agents

ALWAYS = StoreFolder("outputs[0]", "out", "http://127.0.0.1:9", "r", False, "bucket", "k", False)
ONLY = replace(ALWAYS, field="outputs[1]", path="weights", after_success_only=True)
KEYS = StoreKeys("AKIA", "secret-of-the-store", "")
WELL = Ended("a", 1, 0, EndReason.EXITED, "")
BADLY = Ended("a", 1, 3, EndReason.EXITED, "")
STOPPED = Ended("a", 1, 143, EndReason.STOPPED, "")


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(agents.spec(store_outputs=(ALWAYS, ONLY)), tmp_path, None, NONE)


def stop(live: Live, reason: str) -> None:
    (live.folder / task_files.STOP).write_text(json.dumps({"reason": reason}))


def fields(found: tuple[StoreFolder, ...]) -> list[str]:
    return [output.field for output in found]


def test_after_a_bad_end_only_what_is_always_written_is_due(live: Live) -> None:
    assert fields(outputs.due(live, WELL)) == ["outputs[0]", "outputs[1]"]
    assert fields(outputs.due(live, BADLY)) == ["outputs[0]"]
    stop(live, "cancelled")
    assert fields(outputs.due(live, STOPPED)) == ["outputs[0]"]


@pytest.mark.parametrize("reason", ["preempted", "requeued", "node_lost"])
def test_where_the_job_goes_on_elsewhere_nothing_is_due(live: Live, reason: str) -> None:
    stop(live, reason)
    assert outputs.due(live, STOPPED) == ()
    assert fields(outputs.due(live, WELL)) == ["outputs[0]", "outputs[1]"]  # the stop came too late to matter


def test_what_was_settled_before_a_restart_is_not_due_and_the_rest_is_kept_with_the_results(
    live: Live,
) -> None:
    outputs.note(live, ALWAYS, "")
    assert fields(outputs.due(live, WELL)) == ["outputs[1]"]
    outputs.take_up(live, WELL)
    ((left, why),) = live.unwritten
    assert (left.field, left.keys) == ("outputs[1]", None)
    assert "started anew" in why
    outputs.note(live, ONLY, "access denied")
    assert outputs.due(live, WELL) == ()
    outputs.take_up(live, WELL)
    assert [(left.field, why) for left, why in live.unwritten] == [("outputs[1]", "access denied")]


async def test_a_bad_end_is_told_at_once_and_its_outputs_wait_with_their_keys(live: Live) -> None:
    async def fetch(_allocation_id: str) -> TaskSpec:
        return replace(live.spec, store_outputs=tuple(replace(o, keys=KEYS) for o in live.spec.store_outputs))

    assert await outputs.settle(live, BADLY, fetch, lambda _said: None, Workers()) == BADLY
    assert [(left.field, left.keys, why) for left, why in live.unwritten] == [("outputs[0]", KEYS, "")]


async def test_a_good_end_without_the_keys_has_not_left_its_outputs(live: Live) -> None:
    async def fetch(_allocation_id: str) -> TaskSpec:
        raise FetchRefused("the secret is there no more")

    ended = await outputs.settle(live, WELL, fetch, lambda _said: None, Workers())
    assert (ended.end_reason, ended.exit_code) == (EndReason.OUTPUT_FAILED, 0)
    assert "outputs[0]: the secret is there no more" in ended.detail
    assert "suanli fetch" in ended.detail
    assert [why for _, why in live.unwritten] == ["the secret is there no more"] * 2


def test_keys_are_neither_in_the_tasks_folder_nor_in_what_is_shown_of_it() -> None:
    spec = agents.spec(store_outputs=(replace(ALWAYS, keys=KEYS),), store_inputs=(replace(ONLY, keys=KEYS),))
    assert "secret-of-the-store" not in json.dumps(spec.to_json()) + repr(spec)
    assert TaskSpec.from_json(spec.to_json()) == spec.without_keys()


async def test_a_stop_while_the_keys_are_fetched_ends_every_output(live: Live) -> None:
    async def fetch(_: str) -> TaskSpec:
        live.stop_moving.set()  # as the controller's stop does, which is sent once
        keys = [replace(output, keys=KEYS) for output in (ALWAYS, ONLY)]
        return agents.spec(store_outputs=tuple(keys))

    ended = await outputs.settle(live, WELL, fetch, lambda _said: None, Workers())
    assert ended.end_reason is EndReason.OUTPUT_FAILED
    assert [why for _, why in live.unwritten] == ["stopped before it was there"] * 2
