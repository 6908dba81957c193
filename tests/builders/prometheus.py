"""A real Prometheus on loopback for tests, fetched by `make tools`."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.builders.running import ending

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools" / "prometheus"
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"


def prometheus_tool(name: str) -> Path:
    """`prometheus` or `promtool`; skips the test where it was not fetched, fails it when CI=true."""
    path = TOOLS / name
    if not path.exists():
        reason = f"{name} is not in .tools: make tools"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples of an instant query. Raises AssertionError with Prometheus's words where it refuses."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [{"metric": {}, "value": result}]
        samples: list[dict[str, Any]] = result
        return samples

    def rules(self) -> dict[str, dict[str, Any]]:
        """Each rule's evaluation by its name."""
        answer = httpx.get(f"{self.url}/api/v1/rules", timeout=10).json()
        return {rule["name"]: rule for group in answer["data"]["groups"] for rule in group["rules"]}


def wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    """Look again and again until it holds; False when the limit has passed."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def running_prometheus(folder: Path, targets: Path, interval: str = "1s") -> Iterator[Prometheus]:
    """Prometheus as it is deployed, but with a shorter interval and the target files in `targets`."""
    program = prometheus_tool("prometheus")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["file_sd_configs"] = [{"files": [str(targets / "*.json")], "refresh_interval": interval}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    output = folder / "prometheus.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    with ending(process):
        assert wait_until(lambda: process.poll() is not None or _ready(address), 30), output.read_text()
        assert process.poll() is None, output.read_text()
        yield Prometheus(f"http://{address}")


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
