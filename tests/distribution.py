"""Which worker of pytest-xdist runs what. Loaded by pyproject.toml.

Files are dealt out whole, the longest first, and the end-to-end tests count as one of them: they wait more than they
compute, so one worker begins with them while the others compute, and the cluster that they share is started once.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TOGETHER = "tests/e2e"


class _Distribution(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(f"{TOGETHER}/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """For `--dist loadfile`."""
    return _Distribution(config, log) if config.getvalue("dist") == "loadfile" else None
