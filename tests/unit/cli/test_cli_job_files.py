"""A job file may be submitted from any folder: what is relative in it is relative to the file."""

from pathlib import Path

import pytest

from suanli.cli.errors import CliError
from suanli.cli.job_files import jobs_of, read_job_file
from suanli.client.yaml_files import BadYaml

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize("name", ["job.yaml", "evaluate.yaml"])
def test_the_training_examples_run_beside_their_programs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    read = read_job_file(str(EXAMPLES / "finetune" / name))
    assert read.content["working_directory"] == str(EXAMPLES / "finetune")


def test_a_relative_folder_is_seen_from_the_file_and_not_from_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.yaml").write_text("name: one\nworking_directory: ../code\n")
    monkeypatch.chdir(tmp_path)
    assert read_job_file("jobs/job.yaml").content["working_directory"] == str(tmp_path / "code")


def test_an_absolute_folder_stays_and_none_is_invented(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text("jobs:\n  - {name: one, working_directory: /data/code}\n  - {name: two}\n")
    assert read_job_file(str(file)).content["jobs"] == [
        {"name": "one", "working_directory": "/data/code"},
        {"name": "two"},
    ]


def test_what_is_no_folder_is_left_for_the_server_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: one\nworking_directory: 3\n")
    assert read_job_file(str(file)).content["working_directory"] == 3


def test_a_file_of_two_documents_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: one\n---\nname: two\n")
    with pytest.raises(BadYaml, match="line 2: not YAML: there is more than one document"):
        read_job_file(str(file))


def test_what_is_no_job_of_a_batch_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text("jobs:\n  - {name: one}\n  - 5\n  -\nname: two\n")
    with pytest.raises(CliError) as told:
        jobs_of(read_job_file(str(file)))
    assert [line.strip().removeprefix(str(file)) for line in str(told.value).splitlines()] == [
        ", line 5: name: there is no such field, want one of: atomic, jobs",
        ", line 3: jobs[1]: got 5, want an object with text keys",
        ", line 4: jobs[2]: got nothing, want an object with text keys",
    ]
