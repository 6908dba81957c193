"""The cluster that tests share which leave it as it is."""

from collections.abc import Iterator

import pytest

from scheduler.demo.cluster import Host
from tests.builders.e2e import Site, open_folder, running_site
from tests.builders.registry import Registry, running_registry, why_no_containers


@pytest.fixture(scope="package")
def registry() -> Iterator[Registry | None]:
    """A registry of container images, from which the nodes of `site` take them; None where the host runs none."""
    if why_no_containers():
        yield None
        return
    with (
        open_folder("suanli-registry-") as folder,
        running_registry(folder) as running,
        pytest.MonkeyPatch.context() as environment,
    ):
        variables = {**running.environment, "SUANLI_AGENT_IMAGE_REGISTRIES": f"127.0.0.1:{running.port}"}
        # Of two runtimes the one that works on hosts with both kinds of control groups, too.
        for name, value in (variables | {"SUANLI_AGENT_CONTAINER_RUNTIME": "runc"}).items():
            environment.setenv(name, value)
        yield running


@pytest.fixture(scope="package")
def site(registry: Registry | None) -> Iterator[Site]:
    """Two firms on three small nodes. It starts once, and ends with the last test of this folder."""
    hosts = (
        Host("ascend-01", "ascend", "ascend-910b3:4"),
        Host("ascend-02", "ascend", "ascend-910b3:4"),
        Host("mixed-01", "mixed", "mlu370-x8:4"),
    )
    with running_site(hosts) as running:
        yield running
