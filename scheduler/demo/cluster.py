"""One machine's worth of Suanli for the demo: control plane, witness, three agents; and the keys of its people."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from scheduler.demo.processes import Processes
from suanli.client import Client
from suanli.evidence.keys import NOTE_ED25519, verifier_key

START_TIMEOUT_S = 60.0
WITNESS = "demo.witness"


@dataclass(frozen=True)
class Host:
    """One demo agent: its node's name, the pool it joins, and the devices it simulates; none: it has real ones."""

    name: str
    pool: str
    simulate: str = ""
    place: str = ""  # where it hangs in the network, as the agent is told


HOSTS = (
    Host("ascend-01", "ascend", "ascend-910b3:8"),
    Host("ascend-02", "ascend", "ascend-910b3:8"),
    Host("mixed-01", "mixed", "mlu370-x8:8"),
)


class ClusterError(Exception):
    """The demo's cluster did not come up; the message says why."""


@dataclass
class Cluster:
    """The running cluster. `folder` is closed to other users except for the agents' task folders."""

    folder: Path
    window_ms: int
    say: Callable[[str], None]
    hosts: tuple[Host, ...] = HOSTS
    # Lets tasks run as the agent's own user: only where they cannot run as their firm's.
    accept_no_isolation: bool = field(default_factory=lambda: not running_as_root())
    processes: Processes = field(init=False)
    api: str = field(init=False, default="")
    volume_root: str = ""
    agent_metrics: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Tasks run as their firm's own user and must pass through here; every folder with secrets closes itself.
        self.folder.chmod(0o711)
        (self.folder / "output").mkdir(mode=0o700, exist_ok=True)
        self.processes = Processes(self.folder / "output")

    @property
    def control(self) -> Path:
        """Data folder of the control plane."""
        return self.folder / "control"

    @property
    def policy(self) -> Path:
        """Policy file of the witness: whom an auditor trusts."""
        return self.folder / "witness" / "policy"

    def start_control_plane(self) -> None:
        """Start PostgreSQL, api, gateway, controller, ledger and the witness. Raises ClusterError."""
        witness_port = _free_port()
        key = self._witness("init", "--name", WITNESS).strip()
        key_file = self.folder / "witness.vkey"
        key_file.write_text(key + "\n", encoding="utf-8")
        self.processes.start(
            "control-plane",
            [
                *(sys.executable, "-m", "scheduler", "up", "--data", str(self.control), "--port", "0"),
                *("--window-ms", str(self.window_ms), "--metrics-port", "0"),
                *("--witness", f"{WITNESS}=http://127.0.0.1:{witness_port}"),
                *("--witness-key", f"{WITNESS}={key_file}"),
            ],
        )
        for _ in self._waiting("the control plane"):
            announced = self.announcement("up")
            if announced:
                break
        self.api = announced["api"]
        self._witness("policy", "--log", self._log_vkey())
        self.processes.start(
            "witness",
            [
                *(sys.executable, "-m", "suanli.cli", "witness", "serve"),
                *("--folder", str(self.folder / "witness"), "--port", str(witness_port)),
            ],
        )

    def start_agents(self, operator: Client) -> None:
        """Start the agents and wait until each is connected. Raises ClusterError."""
        for host in self.hosts:
            token_file = self.folder / f"{host.name}.join-token"
            token = operator.create_join_token(host.pool)["token"]
            token_file.touch(mode=0o600)
            token_file.write_text(token + "\n", encoding="utf-8")
            self.start_agent(host)
        expected = {host.name for host in self.hosts}
        for _ in self._waiting("the agents"):
            nodes = operator.nodes()["nodes"]
            if {node["name"] for node in nodes if node["state"] == "connected"} >= expected:
                return

    def start_agent(self, host: Host) -> int:
        """Start one agent; returns its pid."""
        up = self.announcement("up")
        metrics = f"127.0.0.1:{_free_port()}"
        self.agent_metrics[host.name] = f"http://{metrics}/metrics"
        return self.processes.start(
            host.name,
            [
                *(sys.executable, "-m", "agents", "run", "--state", str(self.folder / host.name)),
                *("--node-name", host.name, "--gateway", up["fleet"], "--enrolment", up["enrolment"]),
                *("--ca", up["ca"], "--join-token-file", str(self.folder / f"{host.name}.join-token")),
                *(("--driver", "simulated", "--simulate", host.simulate) if host.simulate else ()),
                *("--sample-ms", "250"),
                *("--rendezvous-address", "127.0.0.1", "--metrics", metrics),
                *("--checkpoint-root", str(self.folder / "model-checkpoints"), "--stop-tasks-on-exit"),
                *(("--place", host.place) if host.place else ()),
                *(("--volume-root", self.volume_root) if self.volume_root else ()),
                *(("--accept-no-isolation",) if self.accept_no_isolation else ()),
            ],
        )

    def first_operator(self) -> Client:
        """Make the first operator at the machine itself, as an administrator would."""
        key_file = self.folder / "operator.key"
        command = ["scheduler", "admin", "init", "--data", str(self.control), "--key-file", str(key_file)]
        _said("the first operator could not be made", *command)
        return Client(self.api, key_file.read_text(encoding="utf-8").strip())

    def announcement(self, process: str) -> dict[str, str]:
        """What a process announced when it was ready; empty before that."""
        path = self.control / "run" / f"{process}.json"
        if not path.exists():
            return {}
        said: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return said

    def _waiting(self, what: str) -> Iterator[None]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.processes.check()
            yield
            time.sleep(0.05)
        raise ClusterError(
            f"{what} did not come up within {START_TIMEOUT_S:.0f} s; see {self.folder / 'output'}"
        )

    def _witness(self, verb: str, *arguments: str) -> str:
        folder = ("--folder", str(self.folder / "witness"))
        return _said("the witness refused", "suanli.cli", "witness", verb, *folder, *arguments)

    def _log_vkey(self) -> str:
        secrets = self.control / "secrets"
        key = load_pem_public_key((secrets / "log.pub").read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ClusterError("the log's key is not Ed25519")
        origin = (secrets / "log.origin").read_text(encoding="utf-8").strip()
        return str(verifier_key(origin, NOTE_ED25519, key.public_bytes(Encoding.Raw, PublicFormat.Raw)))


def _said(problem: str, module: str, *arguments: str) -> str:
    """Output of one of our commands. Raises ClusterError where it fails or does not end."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{problem}: it did not answer within {START_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        raise ClusterError(f"{problem}: {done.stderr.strip()}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def running_as_root() -> bool:
    """Whether tasks can run as their firm's own user at all."""
    return os.geteuid() == 0
