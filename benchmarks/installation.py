"""`scheduler up` for as long as a block, with as many enrolled nodes as wished and no agent behind them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from scheduler.secret_files import role_passwords
from scheduler.settings import load
from scheduler.storage import roles
from scheduler.storage.embedded import EmbeddedPostgres
from suanli.client import Client

MODEL = "ascend-910b3"
POOL = "haidian"
DEVICES_A_NODE = 8
START_TIMEOUT_S = 90.0
SITE: Mapping[str, Any] = {
    "pools": [{"name": POOL}],
    "firms": [
        {
            "name": "lanjing",
            "title": "Lanjing AI Co., Ltd.",
            "projects": ["default"],
            "queues": [{"name": "default", "pools": [POOL]}],
        }
    ],
    "prices": [
        {"model": MODEL, "price_cny_per_device_hour": "12.50", "effective_from": "2026-01-01T00:00:00+08:00"}
    ],
}
JOB: Mapping[str, Any] = {
    "name": "tune",
    "gang": {"devices": 8},
    "variants": [{"model": MODEL, "command": ["/bin/sh", "-c", "torchrun train.py --epochs 3"]}],
    "labels": {"team": "vision"},
}

# Nodes never connect: every job waits, as on a cluster that is full.
_ENROL = f"""
WITH new_nodes AS (
    INSERT INTO nodes (node_id, name, pool, metering_from_ms)
    SELECT gen_random_uuid()::text, 'node-' || lpad(n::text, 6, '0'), '{POOL}', 1800000000000
    FROM generate_series(1, %s) AS n RETURNING node_id
), new_devices AS (
    INSERT INTO devices (device_id, node_id, index, vendor, model, driver, simulated, memory_bytes,
        fast_link_group, claims)
    SELECT gen_random_uuid()::text, node_id, i, 'ascend', '{MODEL}', 'simulated', true, 68719476736, i / 4, '{{}}'
    FROM new_nodes, generate_series(0, {DEVICES_A_NODE - 1}) AS i
)
INSERT INTO inbox (kind, body) SELECT 'NodeEnrolled', jsonb_build_object('node_id', node_id) FROM new_nodes
"""  # noqa: S608 - our own names

_FILL = """
WITH one AS (SELECT * FROM jobs ORDER BY job_id LIMIT 1), copies AS (
    INSERT INTO jobs (firm_id, job_id, project, queue, name, spec, submitted_by, submitted_ms)
    SELECT firm_id, gen_random_uuid()::text, project, queue, name, spec, submitted_by, submitted_ms + n
    FROM one, generate_series(1, %s - (SELECT count(*) FROM jobs)) AS n
    RETURNING firm_id, job_id, submitted_ms
)
INSERT INTO job_states (firm_id, job_id, state, version, attempt, changed_ms)
SELECT firm_id, job_id, 'queued', 1, 0, submitted_ms FROM copies
"""


@dataclass
class Installation:
    """A control plane that serves."""

    folder: Path
    process: subprocess.Popen[bytes]
    url: str
    operator_key: str
    researcher_key: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the API."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def fleet_address(self) -> str:
        """Host and port at which a gateway takes agents' streams."""
        return str(json.loads((self.folder / "run" / "up.json").read_text())["fleet"])

    def database(self, role: str = roles.OWNER) -> psycopg.Connection:
        """A connection to the database."""
        passwords = role_passwords(load(data=self.folder))
        return psycopg.connect(EmbeddedPostgres(self.folder / "pg", passwords).url(role), autocommit=True)

    def pid_of(self, process: str) -> int:
        """Pid of one process of the control plane."""
        return int(json.loads((self.folder / "run" / f"{process}.json").read_text())["pid"])

    def enrol(self, nodes: int) -> None:
        """Enrol nodes, and wait until the controller knows them."""
        with self.database() as connection:
            connection.execute(_ENROL, (nodes,))
            # As autovacuum does; of tables that are still empty PostgreSQL would believe that they stay so.
            connection.execute("ANALYZE nodes, devices, inbox")
            self.until_inbox_is_empty(connection, 300)

    def fill(self, connection: psycopg.Connection, jobs: int) -> None:
        """Put copies of a job there until there are so many, as they lie when they wait. Needs one job."""
        connection.execute(_FILL, (jobs,))
        connection.execute("ANALYZE jobs, job_states")

    def kill(self) -> None:
        """SIGKILL to every process, PostgreSQL's too."""
        top = psutil.Process(self.process.pid)
        # The parent first, so that it starts nothing again and stops nothing in order.
        for process in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # ended meanwhile, as a backend of PostgreSQL may
                process.kill()
        self.process.wait()

    @staticmethod
    def until_inbox_is_empty(connection: psycopg.Connection, timeout_s: float) -> float:
        """Seconds until the controller has taken everything. Raises TimeoutError."""
        begun_s = time.monotonic()
        while connection.execute("SELECT 1 FROM inbox LIMIT 1").fetchone():
            if time.monotonic() - begun_s > timeout_s:
                raise TimeoutError(f"the inbox is not empty after {timeout_s:g} s")
            time.sleep(0.05)
        return time.monotonic() - begun_s


def start(folder: Path, port: int = 0) -> subprocess.Popen[bytes]:
    """Start `scheduler up` in a folder, the API at this port."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SUANLI_")}
    ports = {"SUANLI_API_PORT": str(port), "SUANLI_FLEET_PORT": "0", "SUANLI_ENROLMENT_PORT": "0"}
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "run" / "up.json").unlink(missing_ok=True)
    with (folder / "run" / "up.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "scheduler", "up", "--data", str(folder)],
            env=environment | ports | {"SUANLI_LOG_FORMAT": "json", "SUANLI_REQUESTS_PER_S": "0"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def until_serving(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """The API's URL. Raises TimeoutError, ChildProcessError."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    path = folder / "run" / "up.json"
    while not path.exists():
        if process.poll() is not None:
            raise ChildProcessError((folder / "run" / "up.log").read_text()[-2000:])
        if time.monotonic() > deadline_s:
            raise TimeoutError("scheduler up does not serve")
        time.sleep(0.01)
    return str(json.loads(path.read_text())["api"])


@contextmanager
def installation(nodes: int) -> Iterator[Installation]:
    """Start a control plane with so many nodes; at the end of the block nothing of it runs or is left."""
    # Short, because the path of PostgreSQL's socket has to fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="suanli-bench-"))
    process = start(folder)
    try:
        url = until_serving(folder, process)
        key_file = folder / "operator.key"
        subprocess.run(
            [sys.executable, "-m", "scheduler", "admin", "init", "--data", folder, "--key-file", key_file],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        operator_key = key_file.read_text().strip()
        with Client(url, operator_key) as operator:
            operator.apply(SITE)
            operator.create_principal("lin", "researcher", firm="lanjing")
            researcher_key = operator.create_api_key("lin")["api_key"]
        running = Installation(folder, process, url, operator_key, researcher_key)
        running.enrol(nodes)
        try:
            yield running
        finally:
            process = running.process
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
