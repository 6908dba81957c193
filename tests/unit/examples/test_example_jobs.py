"""The job files are what a researcher copies first, so each must be accepted as it stands."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.runtime.step_report import parse_step_report
from scheduler.catalogue.loader import load_catalogue
from scheduler.domain.batches import arrange
from scheduler.domain.features import missing
from scheduler.domain.job_reading import spec_from_json
from suanli.client.yaml_files import read_yaml

JOBS = [
    "finetune/job.yaml",
    "finetune/evaluate.yaml",
    "hello/job.yaml",
    "interactive/job.yaml",
    "notebook/job.yaml",
    "notification/job.yaml",
    "budget/job.yaml",
    "retries/job.yaml",
    "secrets/job.yaml",
    "one-rack/job.yaml",
    "part/job.yaml",
    "spare/job.yaml",
    "elastic/job.yaml",
    "groups/job.yaml",
    "image/job.yaml",
    "volumes/job.yaml",
    "object-store/job.yaml",
    "torchrun/job.yaml",
    "deepspeed/job.yaml",
    "megatron/job.yaml",
    "llama-factory/job.yaml",
    "mindspore/job.yaml",
    "mindspore/msrun.yaml",
]


def read(examples: Path, name: str) -> dict[str, Any]:
    """The file as the command line sends it: with an absolute working directory."""
    path = examples / name
    job: dict[str, Any] = read_yaml(str(path)).content
    if "working_directory" in job:
        job["working_directory"] = str((path.parent / job["working_directory"]).resolve())
    return job


@pytest.mark.parametrize("name", JOBS)
def test_the_scheduler_accepts_the_job(examples: Path, name: str) -> None:
    spec = spec_from_json(read(examples, name))

    known = set(load_catalogue().models)
    assert {variant.model for variant in spec.variants} <= known
    assert spec.gang.devices % spec.gang.devices_per_node == 0


def test_every_job_file_is_tried(examples: Path) -> None:
    found = {str(path.relative_to(examples)) for path in examples.glob("*/*.yaml")}
    no_jobs = {f"rehearsal/{name}.yaml" for name in ("change", "cluster", "more", "quotas")}
    assert found - no_jobs == {*JOBS, "sweep/jobs.yaml", "demo/site.yaml"}


@pytest.mark.parametrize("name", JOBS)
def test_nodes_can_do_what_the_job_asks_and_its_shape_is_one_the_vendor_allows(
    examples: Path, name: str
) -> None:
    spec = spec_from_json(read(examples, name))

    assert missing(spec, "agents") == []
    catalogue = load_catalogue()
    assert all(catalogue.shape(v.model).allows_count(spec.gang.devices_per_node) for v in spec.variants)


def test_the_jobs_of_one_file_follow_each_other(examples: Path) -> None:
    jobs = read(examples, "sweep/jobs.yaml")["jobs"]
    numbers = itertools.count()

    found = arrange(
        {number: spec_from_json(job) for number, job in enumerate(jobs)},
        frozenset(),
        lambda: f"id-{next(numbers)}",
    )

    assert found.problems == {}
    assert len(found.jobs) == 12


def test_a_rank_table_names_the_devices_of_the_task_in_the_order_of_their_ranks(
    examples: Path, tmp_path: Path
) -> None:
    environment = {"SUANLI_DEVICES": "4,5,6,7", "MASTER_ADDR": "10.0.0.7", "PATH": os.environ["PATH"]}
    script, file = examples / "mindspore" / "rank_table.py", tmp_path / "table.json"
    subprocess.run([sys.executable, str(script), str(file)], env=environment, check=True)

    (server,) = json.loads(file.read_text())["server_list"]
    assert server["server_id"] == "10.0.0.7"
    assert [(d["rank_id"], d["device_id"]) for d in server["device"]] == [
        ("0", "4"),
        ("1", "5"),
        ("2", "6"),
        ("3", "7"),
    ]


def test_the_ten_line_step_report_is_one_that_agents_read(examples: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    said = "import step_report; step_report.report(3, 10, 1.5, 4096, '/ckpt/3')"
    environment = {"SUANLI_STEP_REPORT": str(file), "PYTHONPATH": str(examples / "step-report")}
    subprocess.run([sys.executable, "-c", said], env=environment, check=True)

    report = parse_step_report(json.loads(file.read_text()))
    assert report is not None
    assert (report.step, report.of, report.loss_micros) == (3, 10, 1_500_000)
    assert (report.tokens, report.model_checkpoint) == (4096, "/ckpt/3")
    assert report.at_ms > 0


@pytest.mark.parametrize("name", JOBS[:2])
def test_the_scripts_that_a_job_starts_are_beside_it(examples: Path, name: str) -> None:
    job = read(examples, name)

    scripts = {variant["command"][1] for variant in job["variants"]}
    assert [script for script in scripts if not (Path(job["working_directory"]) / script).is_file()] == []


def test_the_fine_tuning_job_may_stop_in_good_order_and_try_again(examples: Path) -> None:
    spec = spec_from_json(read(examples, "finetune/job.yaml"))

    assert spec.model_checkpoint is not None
    assert spec.model_checkpoint.grace_seconds >= 10
    assert spec.retry.max_attempts == 3
