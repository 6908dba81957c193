"""Every command of the README, in its order, where nothing of Suanli runs yet: real processes, one node."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from scheduler.demo.cluster import running_as_root
from tests.builders.e2e import open_folder, wait_until
from tests.builders.readme import LANGUAGES, ROOT, command_blocks

pytestmark = pytest.mark.timeout(900)

COMMAND_S = 180
# What the reader puts in the place of the README's own words.
CODE = """\
name: served
project: research
model: ascend-910b3
ports: [8888]
command: cat question.txt > "$SUANLI_OUTPUT_DIR/answer.txt"
"""
SERVING = """\
name: serving
project: research
model: ascend-910b3
ports: [8888]
command: exec /usr/bin/python3 -m http.server 8888 --bind 127.0.0.1
"""


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(21_000, 32_000, count):
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


@dataclass
class Reader:
    """Somebody who types the README's commands into one shell, with folders and ports of their own."""

    folder: Path
    port: int
    key: str | None = None
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SUANLI_")}
        clean |= {
            "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
            "HOME": str(self.folder),
            "COLUMNS": "200",
        }
        clean |= {"SUANLI_SERVER": f"http://127.0.0.1:{self.port}", "SUANLI_API_KEY_FILE": "operator.key"}
        return clean if self.key is None else clean | {"SUANLI_API_KEY": self.key}

    def own(self, command: str) -> str:
        """The command with this reader's folders and ports."""
        command = command.replace("/var/lib/", f"{self.folder}/")
        for offset, usual in enumerate((8470, 8471, 8472)):
            command = command.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{self.port + offset}")
        command = command.replace("127.0.0.1:8474", f"127.0.0.1:{self.port + 3}")
        more = {
            "suanli witness serve": f" --port {self.port + 3}",
            "suanli up": f" --port {self.port}",
            "suanli-agent run": "" if running_as_root() else " --accept-no-isolation",
        }
        for start, words in more.items():
            if command.startswith(start):
                command = command.removesuffix(" &") + words + (" &" if command.endswith(" &") else "")
        return command

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start it in the background."""
        command = re.sub(r" > \w+\.log 2>&1 &$", " &", command)  # here they are kept for `said`
        with (self.folder / f"background-{len(self.background)}.txt").open("wb") as said:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self.own(command).removesuffix('&')}"],
                cwd=self.folder / "here", env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.background.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """What a background process has printed."""
        return (self.folder / f"background-{self.background.index(process)}.txt").read_text(errors="replace")

    def type(self, command: str, typed: str = "") -> str:
        """Run it to its end, which must be a good one; returns its output."""
        if command.endswith("&"):
            self.start(command)
            return ""
        done = subprocess.run(
            ["bash", "-c", self.own(command)], cwd=self.folder / "here", env=self.environment(), input=typed,
            capture_output=True, text=True, errors="replace", timeout=COMMAND_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr, *map(self.said, self.background))
        return done.stdout

    def until(self, command: str, what: str) -> str:
        """The output of the command once it contains a word."""
        return wait_until(
            lambda: found if what in (found := self.type(command)) else "", f"{command}: {what}"
        )

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        """Ctrl-C, and wait for the end."""
        process.send_signal(signal.SIGINT)
        assert process.wait(COMMAND_S) in (0, 130, -signal.SIGINT), self.said(process)

    def new_key(self, command: str) -> str:
        """The key that a command shows once."""
        (key,) = set(re.findall(r"sk_[A-Za-z0-9_-]{43}", self.type(command)))
        return str(key)


@pytest.fixture
def reader() -> Iterator[Reader]:
    with open_folder("suanli-rdm-") as folder:
        (folder / "here").mkdir(mode=0o711)
        (folder / "here/examples").symlink_to(ROOT / "examples")
        somebody = Reader(folder, free_ports(4))
        yield somebody
        for process in reversed(somebody.background):  # as the README ends it
            process.terminate()
            process.wait(COMMAND_S)


def test_both_languages_give_the_same_commands() -> None:
    first, second = map(command_blocks, LANGUAGES)
    assert first == second
    assert sum(map(len, first)) > 40


def test_every_command_of_the_readme_works(reader: Reader) -> None:
    makes, run, researcher, content, rehearsal, tour, auditor, sampling = command_blocks("README.md")
    assert makes == ["make demo", "make test"]  # the first has a test of its own, the second is this one's
    assert run[:2] == ["make setup", ". .venv/bin/activate"]
    keys = set_up(reader, run[2:])
    reader.key = keys["li.wei"]
    try_as_researcher(reader, researcher)
    send_and_reach(reader, content)
    take_the_tour(reader, tour)
    reader.key = None
    for command in rehearsal:
        reader.type(command)
    assert (reader.folder / "here/rehearsal").is_dir()
    reader.key = keys["city.auditor"]
    audit(reader, auditor, sampling)


def set_up(reader: Reader, commands: list[str]) -> dict[str, str]:
    """The control plane, its people and a node; returns the keys that were shown."""
    keys = {}
    for command in commands:
        if command.startswith("export "):
            assert command == "export SUANLI_SERVER=http://127.0.0.1:8470 SUANLI_API_KEY_FILE=operator.key"
        elif command.startswith("suanli keys create"):
            keys[command.split()[-1]] = reader.new_key(command)
        elif command == "suanli nodes":
            reader.until(command, "connected")
        else:
            reader.type(command)
    return keys


def try_as_researcher(reader: Reader, commands: list[str]) -> None:
    """The first job."""
    said = {}
    for command in commands:
        if command == "suanli jobs --watch":
            watch(reader, command)
        else:
            said[command] = reader.type(command.replace("JOB", "hello"))
    assert "hello from ascend-910b3 device" in said["suanli submit examples/hello/job.yaml --follow"]
    assert "hello from" in said["suanli logs JOB --tail 20"]
    assert "succeeded" in said["suanli jobs"]


def watch(reader: Reader, command: str) -> None:
    """Look at something that is drawn anew until Ctrl-C."""
    watching = reader.start(command)
    wait_until(lambda: "hello" in reader.said(watching), "the jobs are drawn")
    reader.interrupt(watching)


def send_and_reach(reader: Reader, commands: list[str]) -> None:
    """Code there, results back; into a job."""
    here = reader.folder / "here"
    for name, spec in (("job.yaml", CODE), ("serving.yaml", SERVING)):
        (here / name).write_text(spec)
    (here / ".suanliignore").write_text("examples\n*.key\n*.token\n*.vkey\n")
    (here / "question.txt").write_text("forty-two\n")
    submit, fetch, attach, forward = commands
    assert submit == "suanli submit job.yaml --upload ."
    reader.type(submit)
    reader.type("suanli show served --follow")
    reader.until("suanli fetch served --list", "answer.txt")
    reader.type(fetch.replace("JOB", "served"))
    assert [file.read_text() for file in (here / "served").rglob("answer.txt")] == ["forty-two\n"]
    reader.type("suanli submit serving.yaml")
    reader.until("suanli show serving", "running")
    assert "6 times 7 is 42" in reader.type(
        attach.replace("JOB", "serving"), "echo 6 times 7 is $((6*7))\nexit\n"
    )
    local = free_ports(1)
    forwarding = reader.start(forward.replace("JOB 8888", f"serving {local}:8888"))

    def answered() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{local}/", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answered, "the job's port is reached")
    reader.interrupt(forwarding)
    reader.type("suanli cancel serving")


def take_the_tour(reader: Reader, commands: list[str]) -> None:
    """The researcher's tour."""
    said = {command: reader.type(command) for command in commands}
    assert "ascend" in said["suanli validate examples/interactive/job.yaml"]
    assert "Submitted desk" in said["suanli submit examples/interactive/job.yaml"]
    assert "desk" in said["suanli jobs --state live --sort name"]
    assert "time_limit_seconds: 7200" in said["suanli jobs --label example=desk -o yaml"]
    assert "JobHeld" in said["suanli show desk --history"]
    reader.until("suanli show desk", "cancelled")


def audit(reader: Reader, commands: list[str], sampling: list[str]) -> None:
    """The bundle, its proof, one entry alone, and a sample."""
    bundle, *others = commands
    wait_until(lambda: reader_can(reader, bundle), "the evidence is complete")
    said = [reader.type(command) for command in others]
    assert "VERIFIED" in said[0]
    log_checkpoint = httpx.get(f"http://127.0.0.1:{reader.port}/log/checkpoint", trust_env=False)
    (reader.folder / "here/newer").write_bytes(log_checkpoint.content)
    for command in sampling:
        policy = f"{reader.folder}/suanli-witness/policy"
        reader.type(command.replace("POLICY", policy).replace("CHECKPOINT", "newer"))


def reader_can(reader: Reader, command: str) -> bool:
    """Whether the command succeeds by now."""
    done = subprocess.run(
        ["bash", "-c", reader.own(command)], cwd=reader.folder / "here", env=reader.environment(),
        capture_output=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip
    return done.returncode == 0
