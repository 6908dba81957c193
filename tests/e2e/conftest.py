"""The cluster that tests share which leave it as it is."""

from collections.abc import Iterator

import pytest

from scheduler.demo.cluster import Host
from tests.builders.e2e import Site, running_site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Two firms on three small nodes. It starts once in each test process."""
    hosts = (
        Host("ascend-01", "ascend", "ascend-910b3:4"),
        Host("ascend-02", "ascend", "ascend-910b3:4"),
        Host("mixed-01", "mixed", "mlu370-x8:4"),
    )
    with running_site(hosts) as running:
        yield running
