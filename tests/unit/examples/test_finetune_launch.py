from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def launch(load_finetune_module: Callable[[str], ModuleType]) -> ModuleType:
    return load_finetune_module("launch")


def test_with_no_environment_a_process_is_alone(launch: ModuleType) -> None:
    alone = launch.read_launch({})

    assert (alone.process_rank, alone.process_count, alone.is_first) == (0, 1, True)
    assert (alone.step_report, alone.model_checkpoint_dir) == (None, None)
    assert alone.describe() == "on the processor, outside Suanli"


def test_torchrun_alone_gives_ranks_and_no_files(launch: ModuleType) -> None:
    process = launch.read_launch({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})

    assert (process.process_rank, process.process_count, process.is_first) == (3, 4, False)
    assert process.step_report is None


def test_the_agents_environment_is_read_in_full(launch: ModuleType) -> None:
    process = launch.read_launch(
        {
            "RANK": "0",
            "WORLD_SIZE": "4",
            "SUANLI_JOB_NAME": "finetune-tang-poems",
            "SUANLI_ATTEMPT": "2",
            "SUANLI_STEP_REPORT": "/task/step.json",
            "SUANLI_MODEL_CHECKPOINT_DIR": "/models/j",
            "SUANLI_DEVICE_MODEL": "ascend-910b3",
            "SUANLI_DEVICES": "0,1,2,3",
            "SUANLI_SIMULATED": "1",
        }
    )

    assert process.step_report == Path("/task/step.json")
    assert process.model_checkpoint_dir == Path("/models/j")
    assert process.describe() == (
        "attempt 2 of finetune-tang-poems on simulated ascend-910b3 devices 0,1,2,3"
    )


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK is 4, but WORLD_SIZE is 4"),
        ({"RANK": "one"}, "RANK is 'one'"),
        ({"SUANLI_ATTEMPT": "-1"}, "SUANLI_ATTEMPT is '-1'"),
    ],
)
def test_an_environment_that_contradicts_itself_is_refused(
    launch: ModuleType, environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(launch.LaunchError, match=complaint):
        launch.read_launch(environment)
