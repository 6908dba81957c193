"""A whole Suanli of real processes for the end-to-end tests: small, on loopback, and gone afterwards."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from scheduler.demo.cluster import Cluster, Host
from scheduler.demo.people import People, configure, make_keys
from suanli.client import Client, Refused
from tests.builders.cli import run_suanli

WINDOW_MS = 1000
TIMEOUT_S = 90.0
ROOT = Path(__file__).resolve().parents[2]
SITE_FILE = ROOT / "examples" / "demo" / "site.yaml"
# The firms' own users can run this one; the interpreter of the tests may lie in a closed folder.
T = TypeVar("T")
PYTHON = "/usr/bin/python3"


def wait_until(condition: Callable[[], T], what: str, seconds: float = TIMEOUT_S) -> T:
    """The first true value of the condition."""
    until_s = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until_s, f"waited in vain: {what}"
        time.sleep(0.05)
    return value


def now_ms() -> int:
    """Wall clock, milliseconds UTC."""
    return time.time_ns() // 1_000_000


def processes_naming(folder: Path) -> list[psutil.Process]:
    """Every live process whose command line, working folder or environment names the folder."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            named = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if any(str(folder) in text for text in named):
            found.append(process)
    return found


def kill_all_naming(folder: Path) -> None:
    """Kill until nothing of the folder runs; for tasks whose agent a test has killed."""

    def none_left() -> bool:
        left = processes_naming(folder)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return not left

    wait_until(none_left, f"every process of {folder} is gone", seconds=20)


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A short folder that the firms' users may cross (unlike pytest's own); its processes end with it.

    Short, because the path of PostgreSQL's socket has to fit into 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        kill_all_naming(folder)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Verified:
    """What `suanli verify` said of a bundle, and the windows that it holds."""

    exit_code: int
    verdict: dict[str, Any]
    windows: list[dict[str, Any]]
    segments: list[dict[str, Any]]

    def of_device(self, node_id: str, index: int) -> list[dict[str, Any]]:
        """Segments of one device in the order of time."""
        found = [s for s in self.segments if s["node_id"] == node_id and s["device"]["index"] == index]
        return sorted(found, key=lambda segment: int(segment["start_ms"]))


@dataclass(frozen=True)
class Site:
    """The running cluster and its people's clients."""

    folder: Path
    cluster: Cluster
    people: People

    def submit(self, firm: str, **spec: Any) -> str:
        """Submit as the firm's researcher; returns the job's id."""
        return str(self.people.researchers[firm].submit({"project": "research", **spec})["job_id"])

    def job(self, firm: str, job_id: str) -> dict[str, Any]:
        """The job as its firm sees it."""
        return dict(self.people.researchers[firm].job(job_id))

    def ended(self, firm: str, job_id: str) -> dict[str, Any]:
        """The job once it has ended."""
        final = {"succeeded", "failed", "cancelled"}
        wait_until(lambda: self.job(firm, job_id)["state"] in final, f"{job_id} ends")
        return self.job(firm, job_id)

    def reachable(self, firm: str, job_id: str, ranks: Sequence[int] = (0,)) -> list[str]:
        """As `lines`, once the control plane knows that the job runs, too: its output may be there first."""
        lines = self.lines(firm, job_id, ranks)
        wait_until(lambda: self.job(firm, job_id)["state"] == "running", f"{job_id} runs")
        return lines

    def output(self, firm: str, job_id: str, attempt: int | None = None) -> dict[int, str]:
        """Standard output and error so far by process rank."""
        text: dict[int, str] = {}
        for record in self.people.researchers[firm].logs(job_id, attempt=attempt):
            if "text" in record:
                text[record["rank"]] = text.get(record["rank"], "") + record["text"]
        return text

    def lines(self, firm: str, job_id: str, ranks: Sequence[int], attempt: int | None = None) -> list[str]:
        """The first line of each rank's output, once all have written one."""

        def first_lines() -> list[str]:
            said = self.output(firm, job_id, attempt)
            return (
                [said[r].splitlines()[0] for r in ranks]
                if all("\n" in said.get(r, "") for r in ranks)
                else []
            )

        return wait_until(first_lines, f"ranks {list(ranks)} of {job_id} write a line")

    def gate(self, name: str) -> Path:
        """A file that does not exist yet and whose appearance any task can see."""
        return self.folder / f"gate-{name}"

    def node_id(self, name: str) -> str:
        """Id of the node of this name."""
        return str(next(n["node_id"] for n in self.people.operator.nodes()["nodes"] if n["name"] == name))

    def nodes_of(self, firm: str, job_id: str, attempt: int) -> list[str]:
        """Names of the nodes of an attempt by rank."""
        attempts = self.people.researchers[firm].attempts(job_id)
        tasks = next(a["tasks"] for a in attempts if a["attempt"] == attempt)
        return [task["node"] for task in sorted(tasks, key=lambda task: task["rank"])]

    def restart_agent(self, name: str) -> None:
        """Start an agent that was killed, and wait until its node is connected."""
        self.cluster.start_agent(next(host for host in self.cluster.hosts if host.name == name))
        wait_until(lambda: self.node_state(name) == "connected", f"{name} is connected again")

    def node_state(self, name: str) -> str:
        """The state of a node as operators see it."""
        return str(next(n["state"] for n in self.people.operator.nodes()["nodes"] if n["name"] == name))

    def bundle(self, client: Client) -> Path:
        """Everything until now as a bundle, once it is logged and cosigned; it is rated a moment later."""
        end_ms = (now_ms() // WINDOW_MS + 1) * WINDOW_MS
        end = datetime.fromtimestamp(end_ms / 1000, UTC).isoformat()
        file = Path(tempfile.mkdtemp(dir=self.folder)) / "bundle.zip"
        refusals = []

        def fetched() -> bool:
            self.cluster.processes.check()
            try:
                client.bundle(file, to=end)
            except Refused as error:
                refusals.append(str(error))
                return False
            return True

        try:
            wait_until(fetched, "the evidence is complete")
        except AssertionError as error:
            raise AssertionError(f"no bundle until {end}: {refusals[-1:]}") from error
        return file

    def verify(self, bundle: Path, *, policy: bool = True) -> Verified:
        """Run `suanli verify` on it, offline, as an auditor does."""
        arguments = ["--policy", str(self.cluster.policy)] if policy else []
        done = suanli("verify", str(bundle), "--json", *arguments)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        windows, segments = read_windows(bundle)
        return Verified(done.returncode, json.loads(done.stdout), windows, segments)

    def verified(self) -> Verified:
        """Everything until now, which must verify under the witness's policy."""
        result = self.verify(self.bundle(self.people.auditor))
        assert result.exit_code == 0, json.dumps(result.verdict["findings"], indent=1)
        assert result.verdict["verified"] is True
        return result


def api_key(site: Site, firm: str) -> str:
    """The key of the firm's researcher, for what does not go through the client."""
    return key_of(site.people.researchers[firm])


def key_of(client: Client) -> str:
    """The key that a client sends."""
    transport: Any = client._transport
    return str(transport._http.auth._bearer())


def read_windows(bundle: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Headers and disclosed segments of a bundle's windows."""
    windows, segments = [], []
    with zipfile.ZipFile(bundle) as content:
        for line in content.read("payloads.jsonl").splitlines():
            entry = json.loads(line)
            if entry.get("payload") is None:
                continue
            body = json.loads(base64.b64decode(json.loads(base64.b64decode(entry["payload"]))["body"]))
            if not body["schema"].startswith("suanli.window."):
                continue
            windows.append(body)
            segments += [json.loads(base64.b64decode(s["body"])) for s in entry["segments"] if s]
    return windows, segments


def suanli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, with nothing of the caller's own configuration."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SUANLI_")}
    own = {"XDG_CONFIG_HOME": "/nonexistent", "COLUMNS": "200"}
    return run_suanli(*arguments, environment=clean | own | environment, timeout_s=TIMEOUT_S)


@contextmanager
def running_site(hosts: Sequence[Host], patience_seconds: dict[str, int] | None = None) -> Iterator[Site]:
    """The demo's site on these hosts; `patience_seconds` by pool instead of the site file's."""
    with open_folder("suanli-e2e-") as folder:
        content = yaml.safe_load(SITE_FILE.read_text(encoding="utf-8"))
        for pool in content["pools"]:
            pool["patience_seconds"] = (patience_seconds or {}).get(pool["name"], pool["patience_seconds"])
        site_file = folder / "site.yaml"
        site_file.write_text(yaml.safe_dump(content), encoding="utf-8")
        (folder / "volumes").mkdir()
        cluster = Cluster(
            folder / "site", WINDOW_MS, lambda _: None, tuple(hosts), volume_root=str(folder / "volumes")
        )
        clients: list[Client] = []
        try:
            cluster.start_control_plane()
            operator = cluster.first_operator()
            clients.append(operator)
            configure(operator, site_file)
            people = make_keys(operator, site_file)
            clients += [people.auditor, *people.researchers.values(), *people.administrators.values()]
            cluster.start_agents(operator)
            yield Site(folder, cluster, people)
        finally:
            for client in clients:
                client.close()
            cluster.processes.stop()
