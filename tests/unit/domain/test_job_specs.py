"""Reading what people write about a job."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.features import Feature, features_of, missing
from scheduler.domain.gangs import Gang, Share
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.jobs import JobSpec, ProcessEnvironment
from scheduler.domain.reading import Reader, told_bytes
from scheduler.domain.retries import ExitCodeRule

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
    assert spec.retry.max_attempts == 10
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
            "variants": [{"model": "ascend-910b3"}, {"model": "ascend-910b3", "command": [], "image": 1}],
            "retry": {"max_attempts": 9_999, "on_exit_codes": [0]},
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
    wrong = problems({**LEAST, "variants": [{"model": "mlu370-x8", "command": "x"}]})
    assert wrong == {"variants": "model, command in each of the variants, not beside them"}


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


EVERYTHING = {
    "name": "everything",
    "project": "research",
    "kind": "pretrain",
    "queue": "night",
    "priority": "low",
    "gang": {
        "devices": 32,
        "devices_per_node": 8,
        "processes_per_node": 8,
        "elastic": {"min_devices": 16, "max_devices": 64},
        "spare_nodes": 1,
    },
    "topology": {"required": "supernode", "preferred": "leaf"},
    "variants": [
        {
            "model": "ascend-910b3",
            "image": "registry.example/train:1.2",
            "image_credentials": "registry",
            "command": ["python", "train.py"],
            "environment": {"HCCL_CONNECT_TIMEOUT": "600"},
            "steps_per_hour": 900,
        },
        {
            "device_class": {
                "vendor": "cambricon",
                "memory_bytes_at_least": "48GiB",
                "fp16_tflops_at_least": 80,
                "domestic": True,
            },
            "command": "python train.py",
            "process_environment": {"virtual_environment": "/opt/llm", "source": ["/opt/env.sh"]},
        },
    ],
    "working_directory": "/work",
    "volumes": [
        {"name": "corpora", "mount_path": "/data/corpora"},
        {"name": "scratch", "mount_path": "/mnt/scratch", "read_only": False},
    ],
    "secrets": [{"name": "hub", "environment": "HUB_TOKEN"}, {"name": "ssh", "file": "/run/secrets/ssh"}],
    "inputs": [
        {"path": "code", "digest": "sha256:" + "0" * 64},
        {"path": "corpus", "object": "s3://corpora/wudao", "store": "obs", "credentials": "obs-key"},
    ],
    "outputs": [
        {"path": "results", "keep_days": 7},
        {"path": "weights", "object": "s3://weights/{job_id}", "credentials": "obs-key", "when": "succeeded"},
    ],
    "ports": [8888, {"port": 6006, "name": "tensorboard", "rank": 1}],
    "model_checkpoint": {"directory": "/ckpt", "signal": "SIGUSR1", "grace_seconds": "2m"},
    "time_limit_seconds": "1d12h",
    "estimate_seconds": "90m",
    "deadline": "2026-12-01T08:00:00+08:00",
    "retry": {
        "max_attempts": 20,
        "node_lost": 9,
        "preempted": 100,
        "prepare_failed": 1,
        "out_of_memory": 1,
        "on_exit_codes": [75, 76, {"codes": [80], "budget": 9}],
        "on_log_patterns": ["HCCL*timeout", {"pattern": "ECC error", "budget": 1}],
    },
    "dependencies": {"after": ["a"], "after_ok": ["b"], "after_any": ["c", "c"]},
    "array": {"count": 100, "concurrency": 10},
    "hold": True,
    "labels": {"team/paper": "icml 2026"},
    "budget": {"amount_cny": "1250.50"},
    "notification": {"url": "https://hooks.example/x?y=1", "on": ["failed"]},
}
GROUPS = [
    {"name": "learner", "tasks": 2, "devices_per_task": 8},
    {"name": "actor", "tasks": 4, "processes_per_task": 1, "command": "python actor.py"},
]


# A part of a device is not for every shape: each task has a part of one.
PART = {
    **EVERYTHING,
    "gang": {"devices": 4, "devices_per_node": 1, "processes_per_node": 1},
    "share": {"ppm": 250_000, "memory_bytes": "16GiB"},
}


def test_everything_that_a_job_may_say_is_read_and_reads_back() -> None:
    spec = spec_from_json(EVERYTHING)
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert (spec.time_limit_ms, spec.estimate_ms, spec.grace_ms) == (129_600_000, 5_400_000, 120_000)
    assert spec.deadline == "2026-12-01T00:00:00.000Z"
    assert spec.retry.on_exit_codes == (
        ExitCodeRule(frozenset({75, 76}), 3),
        ExitCodeRule(frozenset({80}), 9),
    )
    assert spec.dependencies.all == ("a", "b", "c")


def test_a_job_of_parts_of_devices_is_read_and_reads_back() -> None:
    spec = spec_from_json(PART)
    assert spec.share == Share(250_000, 16 << 30)
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_every_feature_beyond_plain_gangs_is_refused_until_a_backend_can_do_it() -> None:
    grouped = {**EVERYTHING, "gang": {"groups": GROUPS}}
    pattern = {**LEAST, "outputs": [{"path": "out/**/*.bin"}]}
    specs = map(spec_from_json, (EVERYTHING, grouped, PART, pattern))
    asked = {feature for spec in specs for feature, _ in features_of(spec)}
    assert asked == set(Feature)
    assert list(features_of(spec_from_json(LEAST))) == []
    assert [field for _, field in missing(spec_from_json({**LEAST, "image": "a/b:1"}), "no such")] == [
        "variants[0].image"
    ]


def test_a_group_is_told_that_another_has_its_name() -> None:
    with pytest.raises(Invalid, match=r"gang.groups\[1\].name: got 'x', want a name that no other group has"):
        spec_from_json({**LEAST, "gang": {"groups": [{"name": "x"}, {"name": "x"}]}})


def test_groups_of_a_gang_add_up() -> None:
    gang = spec_from_json({**LEAST, "gang": {"groups": GROUPS}}).gang
    assert (gang.devices, gang.tasks, gang.devices_per_node) == (20, 6, 8)
    assert gang.groups[1].command == ("/bin/sh", "-c", "python actor.py")


BAD: list[tuple[dict[str, object], str]] = [
    (
        {"gang": {"devices": 16, "devices_per_node": 8, "elastic": {"min_devices": 12}}},
        "gang.elastic.min_devices",
    ),
    ({"gang": {"devices": 8, "elastic": {"max_devices": 4}}}, "gang.elastic.max_devices"),
    ({"gang": {"groups": {}}}, "gang.groups"),
    ({"gang": {"groups": GROUPS, "devices": 8}}, "gang.devices"),
    ({"gang": {"groups": [{"name": "a"}, {"name": "a"}]}}, "gang.groups[1].name"),
    ({"topology": {"required": "rack"}}, "topology.required"),
    ({"share": {}}, "share"),
    ({"share": {"memory_bytes": "16GB"}}, "share.memory_bytes"),
    ({"device_class": {}}, "device_class"),
    ({"image": "a b"}, "image"),
    ({"image_credentials": "x"}, "image_credentials"),
    ({"image": "a", "process_environment": {"source": []}}, "process_environment"),
    ({"process_environment": {"source": ["env.sh"]}}, "process_environment.source[0]"),
    ({"volumes": [{"mount_path": "/a", "host_path": "/b"}]}, "volumes[0].host_path"),
    ({"volumes": [{"mount_path": "a", "name": "b"}]}, "volumes[0].mount_path"),
    ({"volumes": [{"mount_path": "/usr/lib/python3", "name": "b"}]}, "volumes[0].mount_path"),
    ({"volumes": [{"mount_path": "/mnt/../etc", "name": "b"}]}, "volumes[0].mount_path"),
    ({"volumes": [{"mount_path": "/mnt", "name": "b"}]}, "volumes[0].mount_path"),
    (
        {"volumes": [{"mount_path": "/mnt/a", "name": "b"}, {"mount_path": "/mnt/a/b", "name": "c"}]},
        "volumes[1].mount_path",
    ),
    ({"secrets": [{"name": "a", "environment": "A", "file": "/a"}]}, "secrets[0]"),
    ({"secrets": [{"name": "a", "value": "hunter2"}]}, "secrets[0].value"),
    ({"inputs": [{"path": "../x", "object": "s3://abc/x"}]}, "inputs[0].path"),
    ({"inputs": [{"path": "x", "folder": "."}]}, "inputs[0].folder"),
    ({"outputs": [{"path": "/etc"}]}, "outputs[0].path"),
    ({"ports": [0]}, "ports[0].port"),
    ({"ports": list(range(1, 100))}, "ports"),
    ({"model_checkpoint": {"signal": "SIGKILL"}}, "model_checkpoint.signal"),
    ({"time_limit_seconds": "2 hours"}, "time_limit_seconds"),
    ({"time_limit_seconds": "400d"}, "time_limit_seconds"),
    ({"estimate_seconds": 1.5}, "estimate_seconds"),
    ({"deadline": "2026-12-01T08:00:00"}, "deadline"),
    ({"deadline": 5}, "deadline"),
    ({"retry": {"node_lost": -1}}, "retry.node_lost"),
    ({"retry": {"on_exit_codes": [{"budget": 1}]}}, "retry.on_exit_codes[0].codes"),
    ({"retry": {"on_log_patterns": ["***"]}}, "retry.on_log_patterns[0].pattern"),
    ({"retry": {"on_log_patterns": [7]}}, "retry.on_log_patterns[0]"),
    ({"retry": {"on_log_patterns": [{"pattern": "x", "colour": 1}]}}, "retry.on_log_patterns[0].colour"),
    ({"ports": [{"port": 80, "colour": 1}]}, "ports[0].colour"),
    ({"secrets": [{"name": "s", "variable": "S", "colour": 1}]}, "secrets[0].colour"),
    ({"dependencies": {"after_ok": ["Not A Name"]}}, "dependencies.after_ok[0]"),
    ({"array": {"count": 10_001}}, "array.count"),
    ({"array": {"count": 2, "concurrency": 0}}, "array.concurrency"),
    ({"hold": "yes"}, "hold"),
    ({"labels": {"a": "\x1b[31m"}}, "labels.a"),
    ({"budget": {"amount_cny": 5}}, "budget.amount_cny"),
    ({"notification": {"url": "http://plain.example"}}, "notification.url"),
    ({"notification": {"url": "https://user@host.example"}}, "notification.url"),
    ({"notification": {"url": "https://a.example", "on": ["never"]}}, "notification.on[0]"),
]


@pytest.mark.parametrize(("changes", "field"), BAD, ids=[field for _, field in BAD])
def test_what_is_wrong_is_named_by_its_path(changes: dict[str, object], field: str) -> None:
    assert field in problems({**LEAST, **changes})


@pytest.mark.parametrize(
    ("written", "seconds"), [("7200", 7200), ("2h", 7200), (7200, 7200), ("1h30m", 5400)]
)
def test_a_length_of_time_is_text_with_units_or_seconds_as_a_number_or_as_text(
    written: object, seconds: int
) -> None:
    assert spec_from_json({**LEAST, "time_limit_seconds": written}).time_limit_seconds == seconds


@pytest.mark.parametrize(
    "written", ["1.5h", 1.5, "7200.0", "-1", "", "0", "9" * 5_000, "\N{ARABIC-INDIC DIGIT TWO}"]
)
def test_parts_of_units_are_refused_with_what_is_written_for_them(written: object) -> None:
    with pytest.raises(Invalid) as refused:
        spec_from_json({**LEAST, "time_limit_seconds": written})
    (problem,) = refused.value.problems
    assert problem.want == "whole seconds, or whole numbers with units, like 1h30m (1 to 31622400)"


def test_a_process_environment_prepares_and_becomes_the_command(tmp_path: Path) -> None:
    (tmp_path / "set env.sh").write_text("export FROM_FILE=read\n")
    venv = tmp_path / "it's a venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "tool").write_text('#!/bin/sh\necho "$FROM_FILE" "$VIRTUAL_ENV" "$1"\n')
    (venv / "bin" / "tool").chmod(0o755)
    environment = ProcessEnvironment(str(venv), (str(tmp_path / "set env.sh"),))
    said = subprocess.run(
        environment.around(("tool", "a b")),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert said.stdout == f"read {venv} a b\n"


def test_an_amount_of_memory_is_told_as_it_may_be_written() -> None:
    assert told_bytes(0) == "0"
    wrong: list[FieldProblem] = []
    Reader({"memory": 5}, "", wrong).bytes("memory", low=1 << 20, high=1 << 50)
    assert wrong == [FieldProblem("memory", "5", "bytes, or text like 16GiB (1MiB to 1024TiB)")]


@given(st.integers(0, 1 << 50) | st.integers(0, 1 << 20).map(lambda number: number << 20))
def test_a_told_amount_is_read_as_the_same(amount: int) -> None:
    assert (
        Reader({"memory": amount_as_read(told_bytes(amount))}).bytes("memory", low=0, high=1 << 50) == amount
    )


def amount_as_read(told: str) -> int | str:
    """Digits alone are a number in a file."""
    return int(told) if told.isdecimal() else told


def test_a_deadline_that_is_too_far_is_told_the_last_year() -> None:
    with pytest.raises(Invalid) as refused:
        spec_from_json({**LEAST, "deadline": "2071-01-01T00:00:00Z"})
    [problem] = refused.value.problems
    assert (problem.field, problem.want) == ("deadline", "a year from 1970 to 2069")
