"""Several processes that serve the API on one port: each gets connections, and who is killed is started again."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders.agents import alive
from tests.builders.e2e import wait_until
from tests.e2e.test_up import Up, launch, read_json

pytestmark = pytest.mark.timeout(400)
WORKERS = ("api-1", "api-2")
STARTED_S = 150.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = launch(tmp_path_factory.mktemp("workers") / "d", "--api-workers", "2", "--metrics-port", "0")
    try:
        wait_until(lambda: read_json(running.data / "run" / "up.json"), "up announces itself", STARTED_S)
        yield running
        workers = [running.process_of(worker) for worker in WORKERS]
    finally:
        running.end()
    assert not any(alive(pid) for pid in (*workers, running.process.pid))


def metrics_of(up: Up, process: str, name: str) -> list[str]:
    """The lines of one metric of a process."""
    up.process_of(process)  # it announces itself, maybe after `up` does
    said = read_json(up.data / "run" / f"{process}.json")
    assert said is not None
    return [line for line in httpx.get(said["metrics"]).text.splitlines() if line.startswith(f"{name}{{")]


def served(up: Up, worker: str) -> float:
    """Requests that a worker has answered, as its metrics say."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics_of(up, worker, "suanli_api_requests_total"))


def ask_until(up: Up, condition: Callable[[], bool], what: str) -> None:
    """Ask over new connections, each answered, until the condition holds."""

    def asked() -> bool:
        assert httpx.get(f"{up.addresses()['api']}/version", timeout=60).status_code == 200
        return condition()

    wait_until(asked, what, STARTED_S)


@pytest.mark.parametrize("process", [*WORKERS, "gateway", "ledger"])
def test_who_handles_thousands_a_second_runs_on_the_fast_loop_and_the_fast_signatures(
    up: Up, process: str
) -> None:
    [line] = metrics_of(up, process, "suanli_build_info")
    assert 'loop="uvloop"' in line
    assert 'signatures="libsodium"' in line


def test_two_workers_share_one_port_and_a_killed_one_is_started_again(up: Up) -> None:
    ask_until(up, lambda: all(served(up, worker) > 0 for worker in WORKERS), "both have answered")
    killed, stays = (up.process_of(worker) for worker in WORKERS)
    os.kill(killed, signal.SIGKILL)

    def back() -> bool:
        said = read_json(up.data / "run" / "api-1.json")
        return said is not None and said["pid"] != killed and served(up, "api-1") > 0

    # Not one request fails meanwhile: connections to the killed one wait in a queue that outlives it.
    ask_until(up, back, "the new one has answered")
    assert up.process_of("api-2") == stays


def test_workers_without_a_number_are_refused(tmp_path: Path) -> None:
    refused = launch(tmp_path / "d", "--api-workers", "0")
    assert refused.process.wait(60) == 2
    assert "--api-workers" in refused.said()
