"""What is typed wrong is answered with one sentence and an exit status, never with a traceback."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders.e2e import Site, suanli

pytestmark = pytest.mark.timeout(240)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed with one clear error that holds these words, and printed nothing else."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 4, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def submit(site: Site, file: Path, change: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """`suanli submit` of a good job with something changed, as yunhe's researcher."""
    good = {"name": "typed", "project": "research", "model": "ascend-910b3", "command": ["/bin/true"]}
    file.write_text(yaml.safe_dump(good | change), encoding="utf-8")
    key = site.people.operator.create_api_key("li.wei")["api_key"]
    done = suanli("submit", str(file), SUANLI_SERVER=site.cluster.api, SUANLI_API_KEY=key)
    assert key not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "ascend-910z"}, ["ascend-910z", "model"]),
        ({"gang": {"devices": 4096, "devices_per_node": 4}}, ["1024 nodes", "largest pool"]),
        ({"gang": {"devices": -2}}, ["gang.devices", "-2"]),
        ({"gnag": {"devices": 2}}, ["gnag"]),
        ({"gang": {"device": 2}}, ["gang.device"]),
        ({"time_limit_seconds": "soon"}, ["time_limit_seconds", "soon"]),
        ({"project": "nowhere"}, ["nowhere"]),
        ({"queue": "nowhere"}, ["nowhere"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_job_that_can_never_run_is_refused_with_its_field(
    site: Site, tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    before = len(site.people.researchers["yunhe"].jobs())
    refused(submit(site, tmp_path / "job.yaml", change), *words)
    assert len(site.people.researchers["yunhe"].jobs()) == before


def test_the_same_job_without_the_mistake_is_accepted(site: Site, tmp_path: Path) -> None:
    done = submit(site, tmp_path / "job.yaml", {})
    assert (done.returncode, done.stdout[:16]) == (0, "Submitted typed:"), done.stderr
    job_id = done.stdout.split()[-1]
    assert site.ended("yunhe", job_id)["state"] == "succeeded"


def test_a_file_that_is_no_yaml_is_refused_with_its_line(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: typed\ncommand: [unclosed\n", encoding="utf-8")
    done = suanli("submit", str(file), SUANLI_SERVER=site.cluster.api, SUANLI_API_KEY="sk_" + "a" * 43)
    refused(done, str(file), "line")


def test_a_wrong_key_is_refused_without_being_repeated(site: Site) -> None:
    key = "sk_" + "a" * 43
    done = suanli("jobs", SUANLI_SERVER=site.cluster.api, SUANLI_API_KEY=key)
    refused(done, "key")
    assert key not in done.stderr


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:  # bound and not listening: nobody else gets the port, nobody answers
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = suanli("jobs", SUANLI_SERVER=server, SUANLI_API_KEY="sk_" + "a" * 43)
    refused(done, server)


def test_a_job_that_is_not_there_is_named(site: Site, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(site.people.operator.create_api_key("li.wei")["api_key"])
    done = suanli("show", "no-such-job", SUANLI_SERVER=site.cluster.api, SUANLI_API_KEY_FILE=str(key_file))
    refused(done, "no-such-job")


def test_a_taken_port_stops_up_before_anything_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = suanli("up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "data" / "pg" / "postmaster.pid").exists()


def test_a_folder_that_cannot_be_made_stops_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = suanli("up", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert str(tmp_path / "file") in done.stderr
    assert os.listdir(tmp_path) == ["file"]
