"""Reading what people write about a job."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import Invalid
from scheduler.domain.jobs import Gang, JobSpec, spec_from_json

LEAST = {"name": "train", "model": "ascend-910b3", "command": "python train.py"}


def problems(value: object) -> dict[str, str]:
    """Field -> what would be right."""
    with pytest.raises(Invalid) as caught:
        spec_from_json(value)
    return {problem.field: problem.want for problem in caught.value.problems}


def test_the_shorthand_of_one_variant_gives_every_default() -> None:
    spec = spec_from_json(LEAST)
    assert spec.gang == Gang(1, 1, 1)
    assert (spec.project, spec.queue, spec.kind, spec.priority) == (
        "default",
        "default",
        "fine-tune",
        "normal",
    )
    assert spec.variants[0].command == ("/bin/sh", "-c", "python train.py")
    assert spec.retry.max_attempts == 3
    assert spec.grace_ms == 30_000


def test_devices_per_node_is_all_devices_unless_said_otherwise() -> None:
    assert spec_from_json({**LEAST, "gang": {"devices": 8}}).gang == Gang(8, 8, 8)
    gang = spec_from_json(
        {**LEAST, "gang": {"devices": 16, "devices_per_node": 8, "processes_per_node": 1}}
    ).gang
    assert (gang, gang.tasks) == (Gang(16, 8, 1), 2)


def test_what_is_stored_reads_back_to_the_same_spec() -> None:
    spec = spec_from_json(
        {
            "name": "a",
            "variants": [
                {"model": "ascend-910b3", "command": ["python", "a.py"], "environment": {"LR": "1"}},
                {"model": "mlu370-x8", "command": "python a.py"},
            ],
            "model_checkpoint": {"grace_seconds": 120},
            "time_limit_seconds": 60,
            "retry": {"max_attempts": 2, "on_exit_codes": [75]},
            "labels": {"team": "nlp"},
        }
    )
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_every_problem_is_told_at_once_with_its_path() -> None:
    found = problems(
        {
            "name": "Train!",
            "gang": {"devices": 8, "devices_per_node": 3, "shape": 1},
            "variants": [{"model": "ascend-910b3"}, {"model": "ascend-910b3", "command": [], "image": "x"}],
            "retry": {"max_attempts": 99, "on_exit_codes": [0]},
            "time_limit_seconds": 0,
            "working_directory": "relative",
            "colour": "red",
        }
    )
    assert set(found) == {
        "name",
        "gang.devices_per_node",
        "gang.shape",
        "variants[0].command",
        "variants[1].command",
        "variants[1].image",
        "variants[1].model",
        "retry.max_attempts",
        "retry.on_exit_codes[0]",
        "time_limit_seconds",
        "working_directory",
        "colour",
    }


def test_both_forms_of_variants_together_are_refused() -> None:
    assert "variants" in problems({**LEAST, "variants": [{"model": "mlu370-x8", "command": "x"}]})


@pytest.mark.parametrize("value", [None, [], "text", 5, {"name": {}}, {"variants": {}}, {"gang": []}])
def test_what_is_no_spec_at_all_is_refused_and_nothing_worse(value: object) -> None:
    assert problems(value)


def test_the_value_of_a_wrong_environment_entry_is_not_shown() -> None:
    with pytest.raises(Invalid) as caught:
        spec_from_json({**LEAST, "environment": {"TOKEN": 123456789}})
    assert "123456789" not in str(caught.value)
    assert caught.value.problems[0].field == "environment.TOKEN"


def test_a_command_beyond_its_limit_is_refused() -> None:
    assert "command" in problems({**LEAST, "command": ["x" * (128 * 1024 + 1)]})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["name", "gang", "devices", "variants", "model", "command", "retry", "labels"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_any_value_is_either_a_spec_or_refused(value: object) -> None:
    assert read(value)


def read(value: object) -> bool:
    """Whether reading ends in one of the two ways."""
    try:
        spec = spec_from_json(value)
    except Invalid as error:
        return len(error.problems) > 0
    return isinstance(spec, JobSpec) and spec_from_json(spec.to_json()) == spec
