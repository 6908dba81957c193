"""What a task's processes see, and what is refused before anything is started."""

from typing import Any

import pytest

from agents.runtime.launch import Places, Rendezvous, process_environment
from agents.runtime.spec import SpecError, TaskSpec, check_spec
from tests.builders.agents import spec

PLACES = Places("/t/home", "/t/tmp", "/t/report/step.json", "/ckpt")


def environment(local_rank: int = 3, address: str = "10.1.2.3", **changes: Any) -> dict[str, str]:
    """Of one process."""
    visible = {"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3"}
    return process_environment(
        spec(**changes), local_rank, Rendezvous(address, 29_500), PLACES, visible, simulated=False
    )


def test_ranks_are_those_of_torchrun() -> None:
    seen = environment()
    wanted = {
        "MASTER_ADDR": "10.1.2.3",
        "MASTER_PORT": "29500",
        "RANK": "7",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "3",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
        "GROUP_WORLD_SIZE": "2",
    }
    assert {name: seen[name] for name in wanted} == wanted


def test_places_and_devices_are_told() -> None:
    seen = environment()
    assert seen["SUANLI_STEP_REPORT"] == "/t/report/step.json"
    assert seen["SUANLI_MODEL_CHECKPOINT_DIR"] == "/ckpt"
    assert seen["SUANLI_DEVICES"] == "0,1,2,3"
    assert seen["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3"
    assert (seen["HOME"], seen["TMPDIR"], seen["SUANLI_ATTEMPT"]) == ("/t/home", "/t/tmp", "2")
    assert "SUANLI_SIMULATED" not in seen
    assert "GLOO_SOCKET_IFNAME" not in seen


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_gloo_is_told_of_the_loopback_interface(address: str) -> None:
    assert environment(address=address)["GLOO_SOCKET_IFNAME"] == "lo"


def test_a_job_may_choose_its_path_but_not_its_rank_or_devices() -> None:
    wishes = {
        "PATH": "/opt/bin",
        "RANK": "0",
        "ASCEND_RT_VISIBLE_DEVICES": "9",
        "SUANLI_SIMULATED": "0",
        "OWN": "x",
    }
    seen = environment(environment=wishes)
    assert (seen["PATH"], seen["OWN"]) == ("/opt/bin", "x")
    assert (seen["RANK"], seen["ASCEND_RT_VISIBLE_DEVICES"]) == ("7", "0,1,2,3")
    assert "SUANLI_SIMULATED" not in seen


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"allocation_id": "../../etc"}, "cannot name a folder"),
        ({"firm_id": ".."}, "cannot name a folder"),
        ({"job_id": "a/b"}, "cannot name a folder"),
        ({"command": ()}, "the command is empty"),
        ({"processes": 0}, "cannot be started"),
        ({"rank": 2}, "cannot be started"),
        ({"devices": ()}, "names no device"),
        ({"devices": (1, 1)}, "names no device, or one twice"),
        ({"devices": (8,)}, "none with index 8"),
        ({"working_directory": "relative"}, "not absolute"),
        ({"model_checkpoint_directory": "relative"}, "not absolute"),
        ({"command": ("sh", "a\0b")}, "no program can be given"),
        ({"environment": {"A=B": "c"}}, "no program can be given"),
    ],
)
def test_what_cannot_be_started_is_refused_with_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        check_spec(spec(**changes), devices_of_node=8)


def test_a_spec_survives_its_file() -> None:
    whole = spec(environment={"A": "b"})
    assert TaskSpec.from_json(whole.to_json()) == whole
