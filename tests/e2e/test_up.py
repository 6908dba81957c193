"""`scheduler up`: one command, everything runs; one signal, nothing is left."""

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from scheduler.storage import roles
from scheduler.storage.embedded import SUPERUSER, EmbeddedPostgres
from tests.builders.agents import alive
from tests.builders.database import throwaway_passwords
from tests.builders.e2e import wait_until

PROCESSES = ("api", "gateway", "controller", "ledger")
TIMEOUT_S = 60.0
MEMORY_MAX_MIB = 700

pytestmark = pytest.mark.timeout(180)


def read_json(path: Path) -> dict[str, Any] | None:
    """A file's JSON, None while it is not there."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content


def scheduler(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the control plane to its end."""
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *arguments],
        env=os.environ | {"SUANLI_DATA": str(data)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


@dataclass
class Up:
    """A running `scheduler up`."""

    data: Path
    process: subprocess.Popen[str]
    output: Path

    def process_of(self, name: str) -> int:
        """Pid of one of its processes."""
        said = wait_until(lambda: read_json(self.data / "run" / f"{name}.json"), f"{name} announces itself")
        return int(said["pid"])

    def pids(self) -> dict[str, int]:
        """All of its processes, PostgreSQL with them."""
        named = {name: self.process_of(name) for name in PROCESSES}
        postmaster = int((self.data / "pg" / "postmaster.pid").read_text().split()[0])
        return {"up": self.process.pid, **named, "postgres": postmaster}

    def addresses(self) -> dict[str, Any]:
        """What it announced."""
        said = read_json(self.data / "run" / "up.json")
        assert said is not None
        return said

    def ready(self) -> bool:
        """Whether the API says that it can serve."""
        try:
            return httpx.get(f"{self.addresses()['api']}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def said(self) -> str:
        """Everything that was written so far."""
        return self.output.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()  # and all of its own die with it
            raise


def launch(data: Path, *arguments: str, output: Path | None = None, **environment: str) -> Up:
    """Start `up` without waiting for it. What it says goes beside its data, where no other place is given."""
    output = output or data.with_name(data.name + ".out")
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "up", "--port", "0", *arguments],
            env=os.environ | {"SUANLI_DATA": str(data)} | environment,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    return Up(data, process, output)


def wait_ready(up: Up) -> Up:
    """Wait until it announced itself."""

    def announced() -> bool:
        assert up.process.poll() is None, up.said()
        said = read_json(up.data / "run" / "up.json")
        return said is not None and said["pid"] == up.process.pid

    wait_until(announced, "up announces itself")
    return up


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that was started and stopped once, to be copied."""
    data = tmp_path_factory.mktemp("up") / "data"
    up = wait_ready(launch(data))
    assert up.end() == 0, up.said()
    return data


@pytest.fixture
def data(installation: Path, tmp_path: Path) -> Path:
    """A copy of the installation for one test."""
    subprocess.run(["cp", "-a", installation, tmp_path / "data"], check=True)
    return tmp_path / "data"


@pytest.fixture
def up(data: Path) -> Iterator[Up]:
    """A running installation; stopped at the end, whatever the test did."""
    running = launch(data)
    try:
        yield wait_ready(running)
    finally:
        if running.process.poll() is None:
            running.end()


@pytest.fixture(scope="module")
def shared(installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running installation for tests that only look."""
    data = tmp_path_factory.mktemp("shared") / "data"
    subprocess.run(["cp", "-a", installation, data], check=True)
    running = launch(data)
    try:
        yield wait_ready(running)
    finally:
        assert running.end() == 0


def test_one_command_serves_and_one_signal_leaves_nothing(up: Up) -> None:
    pids = up.pids()
    assert all(alive(pid) for pid in pids.values())
    assert up.ready()
    assert up.end() == 0
    assert [name for name, pid in pids.items() if alive(pid)] == []
    assert [path.name for path in (up.data / "run").glob("*.json")] == []
    assert not (up.data / "pg" / "postmaster.pid").exists()
    assert "stopped; nothing of it runs any more" in up.said()


def test_nothing_outlives_a_kill_the_next_start_recovers_and_ctrl_c_pressed_twice_stops_in_order(
    up: Up,
) -> None:
    pids = up.pids()
    up.process.kill()
    up.process.wait(TIMEOUT_S)
    wait_until(lambda: [pid for pid in pids.values() if alive(pid)] == [], "all processes are gone")
    again = wait_ready(launch(up.data))
    assert again.ready()
    pids = again.pids()
    os.killpg(again.process.pid, signal.SIGINT)
    os.killpg(again.process.pid, signal.SIGINT)
    assert again.process.wait(TIMEOUT_S) == 0, again.said()
    assert [name for name, pid in pids.items() if alive(pid)] == []


def test_a_signal_while_starting_stops_what_was_started(data: Path) -> None:
    starting = launch(data)
    wait_until((data / "pg" / "postmaster.pid").exists, "PostgreSQL starts")
    assert starting.end() == 0, starting.said()
    assert not (data / "pg" / "postmaster.pid").exists()
    assert scheduler(data, "check").returncode == 1  # no database answers


@pytest.mark.parametrize("name", ["api", "gateway"])
def test_a_process_that_dies_is_started_again_at_the_same_address(shared: Up, name: str) -> None:
    before = read_json(shared.data / "run" / f"{name}.json")
    assert before is not None
    os.kill(before["pid"], signal.SIGKILL)

    def again() -> dict[str, Any] | None:
        said = read_json(shared.data / "run" / f"{name}.json")
        return said if said is not None and said["pid"] != before["pid"] else None

    after = wait_until(again, f"{name} serves again")
    # Tunnels are asked for at the address that the gateway registers when it starts, whichever that is.
    own = {"pid", "tunnel"}
    assert {k: v for k, v in after.items() if k not in own} == {
        k: v for k, v in before.items() if k not in own
    }
    assert f"{name} ended with status -9; starting it again" in shared.said()
    wait_until(shared.ready, "everything serves")


def test_postgresql_that_dies_is_started_again_and_the_processes_wait_for_it(shared: Up) -> None:
    before = shared.pids()
    os.kill(before["postgres"], signal.SIGKILL)
    wait_until(lambda: "PostgreSQL ended" in shared.said(), "the death is said")
    wait_until(shared.ready, "the API is ready again")
    after = shared.pids()
    assert after["postgres"] != before["postgres"]
    assert alive(after["controller"])


def test_secrets_are_closed_files_in_closed_folders(shared: Up) -> None:
    for folder in (
        shared.data,
        shared.data / "secrets",
        shared.data / "pg",
        shared.data / "run",
        shared.data / "logs",
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for path in (shared.data / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_all_processes_together_stay_lean(shared: Up) -> None:
    pids = shared.pids()
    children = subprocess.run(
        ["pgrep", "-P", str(pids["postgres"])], capture_output=True, text=True, check=True
    ).stdout.split()
    proportional = {name: _pss_mib(pid) for name, pid in pids.items()}
    proportional["postgres"] += sum(_pss_mib(int(pid)) for pid in children)
    assert sum(proportional.values()) < MEMORY_MAX_MIB, proportional


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no Pss of {pid}")


def test_the_first_operator_is_made_once_and_its_key_opens_the_api_and_stands_nowhere(
    shared: Up, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    made = scheduler(shared.data, "admin", "init", "--name", "ada", "--key-file", str(key_file))
    assert (made.returncode, made.stdout) == (0, "")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    api_key = key_file.read_text().strip()
    key = {"Authorization": f"Bearer {api_key}"}
    assert httpx.get(f"{shared.addresses()['api']}/v1/whoami", headers=key).json()["name"] == "ada"
    lost = scheduler(shared.data, "admin", "operator-key", "--name", "ada", "--json")
    assert json.loads(lost.stdout)["api_key"].startswith("sk_")
    again = scheduler(shared.data, "admin", "init", "--name", "eve")
    assert again.returncode == 1
    assert again.stderr == "scheduler: there is an operator already; operators make further keys\n"
    passwords = json.loads((shared.data / "secrets" / "roles.json").read_text()).values()
    lines = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in shared.pids().values()).decode()
    for secret in (*passwords, api_key):
        assert secret not in lines
        assert secret not in shared.said()


def test_the_first_operator_may_be_asked_for_before_up_serves(tmp_path: Path) -> None:
    running = launch(tmp_path / "data", "--json")
    try:
        made = scheduler(tmp_path / "data", "admin", "init")
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("sk_")
        announced = next(
            line
            for line in running.said().splitlines()
            if line.startswith(f'{{"pid": {running.process.pid},')
        )
        assert json.loads(announced) == running.addresses()
    finally:
        assert running.end() == 0, running.said()


def test_the_key_of_the_log_is_printed_for_whoever_shall_check_it(shared: Up, tmp_path: Path) -> None:
    printed = scheduler(shared.data, "admin", "log-vkey")
    announced = read_json(shared.data / "run" / "ledger.json")
    assert announced is not None
    assert (printed.returncode, printed.stdout) == (0, f"{announced['vkey']}\n")
    for_programs = json.loads(scheduler(shared.data, "admin", "log-vkey", "--json").stdout)
    assert for_programs["vkey"] == announced["vkey"]
    nowhere = scheduler(tmp_path / "typed-wrongly", "admin", "log-vkey")
    assert nowhere.returncode == 2
    assert "name its data folder with --data" in nowhere.stderr
    assert not (tmp_path / "typed-wrongly").exists()


def test_a_join_token_needs_a_pool_that_exists(shared: Up) -> None:
    refused = scheduler(shared.data, "admin", "join-token", "--pool", "nowhere")
    assert refused.returncode == 1
    assert refused.stderr == "scheduler: there is no pool named nowhere\n"


def test_a_history_is_written_once_and_over_a_file_only_where_that_is_asked(
    shared: Up, tmp_path: Path
) -> None:
    file = tmp_path / "history.json"
    written = scheduler(shared.data, "admin", "history", "-o", str(file))
    assert written.returncode == 0, written.stderr
    file.write_text("kept")
    refused = scheduler(shared.data, "admin", "history", "-o", str(file))
    assert refused.stderr == f"scheduler: {file} exists: give another --output, or --force\n"
    assert file.read_text() == "kept"
    assert scheduler(shared.data, "admin", "history", "-o", str(file), "--force").returncode == 0
    assert json.loads(file.read_text())["jobs"] == []
    nowhere = scheduler(shared.data, "admin", "history", "-o", str(tmp_path / "no" / "history.json"))
    assert "cannot be written: No such file or directory" in nowhere.stderr


def test_what_would_be_if_is_asked_at_the_machine_and_a_wrong_file_is_one_sentence(
    shared: Up, tmp_path: Path
) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("cluster: {nodes: [{model: ascend-910b3, devices: 8, pool: nowhere}]}")
    refused = scheduler(shared.data, "admin", "what-if", "--change", str(change))
    assert refused.returncode == 2
    said = f"{change}: cluster.nodes[0].pool: got nowhere, want a pool of a queue (of one in this file"
    assert refused.stderr == f"scheduler: {said} under firms, too)\n"
    change.write_text("firms: [{name: nobody, queues: [{name: default}]}]")
    refused = scheduler(shared.data, "admin", "what-if", "--change", str(change))
    assert refused.stderr.startswith(f"scheduler: {change}: firms: nobody/default: got no such queue")
    assert scheduler(shared.data, "admin", "what-if").returncode == 2
    change.write_text("profile: packing\nmoves: false")
    asked = scheduler(shared.data, "admin", "what-if", "--change", str(change), "--json")
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert [(one["name"], one["profile"]) for one in answer["situations"]] == [
        ("as-it-is", "balanced"),
        ("change", "packing"),
    ]
    shown = scheduler(shared.data, "admin", "what-if", "--change", str(change))
    assert "jobs that run: 0, that wait: 0" in shown.stdout


def test_check_finds_nothing_broken_in_a_new_installation(shared: Up) -> None:
    checked = scheduler(shared.data, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 broken" in checked.stdout


def refused(data: Path, *arguments: str, **environment: str) -> str:
    """The sentence of an `up` that must fail; checks that it is one, and that nothing runs."""
    failed = launch(data, *arguments, **environment)
    assert failed.process.wait(TIMEOUT_S) == 1, failed.said()
    sentences = [line for line in failed.said().splitlines() if line.startswith("scheduler: ")]
    assert len(sentences) == 1, failed.said()
    assert "Traceback (most recent call last):\n" not in failed.said()
    postmaster = data / "pg" / "postmaster.pid"
    assert not postmaster.exists()
    for said in (data / "run").glob("*.json"):
        about = read_json(said)
        assert about is not None
        assert not alive(about["pid"])
    return sentences[0].removeprefix("scheduler: ")


def test_a_taken_port_is_one_sentence(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused(data, "--port", str(port))
    assert sentence == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use;"
        " choose others with --port (agents get the two after it)"
    )


def test_a_folder_in_use_is_one_sentence(shared: Up, tmp_path: Path) -> None:
    second = launch(shared.data, output=tmp_path / "second.out")
    assert second.process.wait(TIMEOUT_S) == 1
    assert second.said() == f"scheduler: {shared.data} is in use by another 'suanli up'\n"
    assert shared.ready()


def test_a_database_that_is_not_there_is_one_sentence_without_its_password(data: Path) -> None:
    sentence = refused(data, SUANLI_DATABASE_URL="postgresql://suanli_owner:hunter2@127.0.0.1:1/suanli")
    assert "could not be migrated" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("name", ["controller.key", "log.key", "ca.crt", "server.crt"])
def test_a_secret_that_cannot_be_read_is_one_sentence(data: Path, name: str) -> None:
    (data / "secrets" / name).write_text("not a secret\n")
    assert f"{data}/secrets/{name} holds no" in refused(data)


def test_a_process_that_cannot_start_is_named_and_the_others_are_stopped(data: Path) -> None:
    (data / "secrets" / "server.key").write_text("not a key\n")
    assert refused(data).startswith("gateway did not start: ")


def test_a_lost_log_key_is_not_replaced_silently(data: Path) -> None:
    (data / "log" / "checkpoint").write_text("something signed\n")
    (data / "secrets" / "log.key").unlink()
    assert "bring the key back from a backup" in refused(data)
    assert not (data / "secrets" / "log.key").exists()


def test_a_disk_without_room_is_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files fails the same writes as a full disk."""
    command = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({1 << 20}, {1 << 20}))"
    )
    command += (
        "; sys.argv = ['scheduler', 'up', '--port', '0']; runpy.run_module('scheduler', run_name='__main__')"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    failed = subprocess.run(
        [sys.executable, "-c", command],
        env=os.environ | {"SUANLI_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("scheduler: initdb could not make")
    assert not (tmp_path / "data" / "pg").exists()


def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    wrong = scheduler(
        tmp_path, "up", SUANLI_WINDOW_MS="7000", SUANLI_API_PORT="80000", SUANLI_WITNESSES='[{"name":"w"}]'
    )
    assert wrong.returncode == 2
    assert "SUANLI_WINDOW_MS: must divide 300000" in wrong.stderr
    assert "SUANLI_API_PORT: " in wrong.stderr
    assert "SUANLI_WITNESSES at 0.url: " in wrong.stderr


def test_a_witness_without_its_key_is_refused(tmp_path: Path) -> None:
    wrong = scheduler(tmp_path, "up", "--witness", "city=https://witness.example")
    assert wrong.returncode == 2
    assert "needs a --witness-key" in wrong.stderr


def test_a_database_of_ones_own_serves_and_refuses_a_second_installation_before_it_locks_the_first_out(
    tmp_path: Path,
) -> None:
    with EmbeddedPostgres(tmp_path / "own", throwaway_passwords(), durable=False) as server:
        first = launch(tmp_path / "first", SUANLI_DATABASE_URL=server.url(roles.OWNER))
        try:
            wait_ready(first)
            assert not (tmp_path / "first" / "pg").exists()
            with psycopg.connect(server.url(SUPERUSER, "postgres"), autocommit=True) as connection:
                connection.execute(
                    sql.SQL("CREATE DATABASE second OWNER {}").format(sql.Identifier(roles.OWNER))
                )
            sentence = refused(
                tmp_path / "second", SUANLI_DATABASE_URL=server.url(roles.OWNER, database="second")
            )
            assert "the database suanli of this PostgreSQL server belongs to another installation" in sentence
            assert first.ready()
            first.end()
            first = launch(tmp_path / "first", SUANLI_DATABASE_URL=server.url(roles.OWNER))
            wait_ready(first)
        finally:
            assert first.end() == 0, first.said()


def test_a_process_alone_says_what_it_lacks(tmp_path: Path) -> None:
    alone = scheduler(tmp_path, "controller")
    assert alone.returncode == 2
    assert "SUANLI_DATABASE_URL is not set" in alone.stderr
