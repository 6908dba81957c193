"""A job in a container image of a private registry, through every process that has a part in it."""

import socket
from typing import Any

import httpx
import psutil
import pytest

from suanli.client import Refused
from tests.builders.agents import alive
from tests.builders.e2e import Site, wait_until
from tests.builders.registry import Registry, credentials, needs_containers
from tests.e2e.test_attach import attach, nothing
from tests.e2e.test_forward import forwarded

pytestmark = [pytest.mark.timeout(240), needs_containers]
MODEL = "ascend-910b3"
# It says who and where it is, takes a connection, and stays until it is told to end.
STAY = """
trap 'echo saved; exit 0' TERM
echo "$(id -u) $OF_IMAGE $RANK $SUANLI_DEVICES $ASCEND_RT_VISIBLE_DEVICES $(cat /mnt/corpus/part-0)"
httpd -f -p 127.0.0.1:{port} -h /mnt/corpus &
while :; do sleep 0.1; done
"""


def test_a_job_runs_in_an_image_and_is_reached_ended_and_gone(site: Site, registry: Registry) -> None:
    yunhe = site.people.researchers["yunhe"]
    yunhe.set_secret("registry", credentials())
    corpus = site.folder / "volumes" / "corpus"
    corpus.mkdir()
    (corpus / "part-0").write_text("corpus")
    declared = [{"name": "corpus", "host_path": str(corpus), "firms": ["yunhe"], "shared": True}]
    pools = [{"name": name, "patience_seconds": 10, "volumes": declared} for name in ("ascend", "mixed")]
    site.people.operator.apply({"pools": pools})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    job: dict[str, Any] = {
        "name": "in-image",
        "model": MODEL,
        "image": registry.image,
        "image_credentials": "registry",
        "command": ["/bin/sh", "-c", STAY.format(port=port)],
        "volumes": [{"name": "corpus", "mount_path": "/mnt/corpus"}],
        "ports": [port],
        "gang": {"devices": 2, "processes_per_node": 1},
    }
    job_id = site.submit("yunhe", **job)
    (said,) = site.lines("yunhe", job_id, [0])
    uid, of_image, rank, devices, visible, text = said.split()
    assert int(uid) >= 1000
    assert (of_image, rank, text) == ("yes", "0", "corpus")
    assert visible == "0,1"
    assert len(devices.split(",")) == 2
    (attempt,) = yunhe.attempts(job_id)
    assert attempt["image_digest"] == registry.digest
    events = [event["kind"] for event in yunhe.events(job_id=job_id, follow=False)]
    assert events.index("TaskPreparing") < events.index("ImageFound") < events.index("JobStarted")
    last, output = attach(
        site, job_id, nothing, command=("/bin/sh", "-c", "id -u; tty; echo $OF_IMAGE; exit 9")
    )
    assert last["exit_code"] == 9
    assert output.decode().split() == [uid, "/dev/pts/0", "yes"]
    with forwarded(site, job_id, port=port) as here:
        assert httpx.get(f"http://{here}/part-0", trust_env=False).text == "corpus"
    running = (p for p in psutil.process_iter() if p.uids().real == int(uid))
    inside = [p for p in running if "while" in (said := " ".join(p.cmdline())) and str(port) in said]
    assert inside
    yunhe.cancel(job_id)
    assert site.ended("yunhe", job_id)["state"] == "cancelled"
    assert "saved" in site.output("yunhe", job_id)[0]
    assert not any(alive(process.pid) for process in inside)
    wait_until(lambda: registry.podman("ps", "--all", "--quiet") == "", "no container is left")


def test_an_image_that_cannot_be_had_is_retried_as_its_policy_says(site: Site, registry: Registry) -> None:
    site.people.researchers["yunhe"].set_secret("registry", credentials())
    job_id = site.submit(
        "yunhe",
        name="no-image",
        model=MODEL,
        image=f"{registry.image}-nosuch",
        image_credentials="registry",
        command="true",
        retry={"image_failed": 1},
    )
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "image_failed")
    assert "there is no such image in its registry" in job["detail"]
    assert len(site.people.researchers["yunhe"].attempts(job_id)) == 2


def test_what_the_site_does_not_know_is_refused_at_once(site: Site, registry: Registry) -> None:
    with pytest.raises(Refused, match="image_credentials"):
        site.submit(
            "yunhe", name="x", model=MODEL, image=registry.image, image_credentials="none", command="true"
        )
