"""The job files are what a researcher copies first, so each must be accepted as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.catalogue.loader import load_catalogue
from scheduler.domain.job_reading import spec_from_json

JOBS = ["finetune/job.yaml", "finetune/evaluate.yaml", "hello/job.yaml", "notebook/job.yaml"]


def read(examples: Path, name: str) -> dict[str, Any]:
    """The file as the command line sends it: with an absolute working directory."""
    path = examples / name
    job: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "working_directory" in job:
        job["working_directory"] = str((path.parent / job["working_directory"]).resolve())
    return job


@pytest.mark.parametrize("name", JOBS)
def test_the_scheduler_accepts_the_job(examples: Path, name: str) -> None:
    spec = spec_from_json(read(examples, name))

    known = set(load_catalogue().models)
    assert {variant.model for variant in spec.variants} <= known
    assert spec.gang.devices % spec.gang.devices_per_node == 0


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
