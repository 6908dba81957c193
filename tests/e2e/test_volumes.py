"""Volumes of pools, through every process that has a part in them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.runtime.isolation import why_no_private_view
from suanli.client import Refused
from tests.builders.e2e import PYTHON, Site

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        os.geteuid() != 0 or bool(why_no_private_view(())), reason="tasks have no view of their own here"
    ),
]
MODEL = "ascend-910b3"
WRITE = """
import json, os
print("of the first job", file=open("/mnt/results/weights", "w"))
def tried(path):
    try:
        open(path, "w")
        return "written"
    except OSError as error:
        return type(error).__name__
print(json.dumps({"corpus": open("/mnt/deep/corpora/part-0").read(), "read-only": tried("/mnt/deep/corpora/x"),
    "beside": sorted(os.listdir("/mnt"))}), flush=True)
"""


@pytest.fixture
def volumes(site: Site) -> Iterator[Path]:
    """Two volumes of the pool `ascend`: a corpus to read, and room for each firm's results. Only yunhe may."""
    folder = site.folder / "volumes"
    for name in ("corpora", "results"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "corpora" / "part-0").write_text("once upon a time")
    declared = [
        {"name": "corpora", "host_path": str(folder / "corpora"), "firms": ["yunhe"], "shared": True},
        {"name": "results", "host_path": str(folder / "results"), "firms": ["yunhe"], "read_only": False},
        {"name": "others", "host_path": str(site.folder / "site"), "firms": ["yunhe"], "shared": True},
    ]
    apply_volumes(site, declared)
    yield folder
    apply_volumes(site, [])


def apply_volumes(site: Site, declared: list[dict[str, object]]) -> None:
    pools = [{"name": name, "patience_seconds": 10, "volumes": declared} for name in ("ascend", "mixed")]
    site.people.operator.apply({"pools": pools})


RESULTS = {"name": "results", "mount_path": "/mnt/results"}


def test_what_one_job_writes_the_next_reads_and_no_other_firm(site: Site, volumes: Path) -> None:
    job_id = site.submit(
        "yunhe",
        name="writes",
        model=MODEL,
        command=[PYTHON, "-c", WRITE],
        volumes=[
            {"name": "corpora", "mount_path": "/mnt/deep/corpora"},
            {**RESULTS, "read_only": False},
        ],
    )
    assert site.ended("yunhe", job_id)["state"] == "succeeded", site.output("yunhe", job_id)
    said = json.loads(site.lines("yunhe", job_id, [0])[0])
    assert (said["corpus"], said["read-only"]) == ("once upon a time", "OSError")
    assert set(said["beside"]) == {*os.listdir("/mnt"), "results", "deep"}
    assert not Path("/mnt/results").exists()
    assert not Path("/mnt/deep").exists()

    reader = site.submit(
        "yunhe", name="reads", model=MODEL, command="cat /mnt/results/weights", volumes=[RESULTS]
    )
    assert site.lines("yunhe", reader, [0]) == ["of the first job"]
    (own,) = (volumes / "results").iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    assert own.stat().st_uid != 0

    with pytest.raises(Refused) as of_others:
        site.submit("lantian", name="reads", model="mlu370-x8", command="true", volumes=[RESULTS])
    missing = {"name": "resultz", "mount_path": "/mnt/results"}
    with pytest.raises(Refused) as of_nobody:
        site.submit("lantian", name="reads", model="mlu370-x8", command="true", volumes=[missing])
    assert str(of_others.value).replace("results", "") == str(of_nobody.value).replace("resultz", "")
    assert all(pool["volumes"] == [] for pool in site.people.researchers["lantian"].pools())
    mine = site.people.researchers["yunhe"].pools()[0]["volumes"]
    assert [(volume["name"], volume["host_path"]) for volume in mine] == [
        ("corpora", None),
        ("others", None),
        ("results", None),
    ]


@pytest.mark.usefixtures("volumes")
def test_what_the_agent_was_not_told_to_open_is_no_volume_whatever_the_control_plane_says(site: Site) -> None:
    job_id = site.submit(
        "yunhe",
        name="reaches-out",
        model=MODEL,
        command="true",
        retry={"prepare_failed": 0},
        volumes=[{"name": "others", "mount_path": "/mnt/others"}],
    )
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "prepare_failed")
    assert "has not opened the volume others (--volume-root)" in job["detail"]
    assert str(site.folder) not in job["detail"]


@pytest.mark.usefixtures("volumes")
def test_a_volume_that_can_only_be_read_and_a_path_of_the_host_are_refused_by_name(site: Site) -> None:
    corpora = {"name": "corpora", "mount_path": "/mnt/corpora", "read_only": False}
    with pytest.raises(Refused, match=r"volumes\[0\].read_only"):
        site.submit("yunhe", name="writes", model=MODEL, command="true", volumes=[corpora])
    path = {"host_path": "/etc", "mount_path": "/mnt/etc"}
    with pytest.raises(Refused, match=r"volumes\[0\].host_path"):
        site.submit("yunhe", name="reads", model=MODEL, command="true", volumes=[path])


@pytest.mark.usefixtures("volumes")
def test_a_job_whose_firm_may_use_its_volume_no_more_is_not_prepared(site: Site) -> None:
    job_id = site.submit(
        "yunhe",
        name="too-late",
        model=MODEL,
        command="true",
        hold=True,
        retry={"prepare_failed": 0},
        volumes=[RESULTS],
    )
    apply_volumes(site, [])
    site.people.researchers["yunhe"].release(job_id)
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "prepare_failed")
    assert "no volume results" in job["detail"]
