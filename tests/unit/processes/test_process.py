"""A process: announces itself, stops when asked, and says in one sentence why it failed."""

import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from scheduler.metrics import MOST_REQUESTS, Exporter, describe_build, product_version
from scheduler.process import exporter_of, sentence_of
from scheduler.settings import SettingsError, load
from scheduler.up.children import Child, ChildFailed, keep_small
from scheduler.up.run import with_login
from tests.builders.running import ending, next_line

_PROCESS = """
import asyncio, sys
from pathlib import Path
from scheduler import process
from scheduler.settings import load

async def serve(stop, announce):
    announce({"address": "here"})
    print("serving", flush=True)
    await stop.wait()
    print("stopping", flush=True)

async def fail(stop, announce):
    raise OSError(98, "Address already in use", "127.0.0.1:1")

async def hang(stop, announce):
    print("serving", flush=True)
    while True:
        import time
        time.sleep(0.01)

work = {"serve": serve, "fail": fail, "hang": hang}[sys.argv[2]]
sys.exit(process.run("test", load(data=Path(sys.argv[1])), work, None, stop_timeout_s=0.2))
"""


def start(data: Path, work: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, data, work],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def announced(data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / "run" / "test.json").read_text())
    return content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_announces_itself_and_takes_the_announcement_back_when_it_is_asked_to_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    with ending(start(tmp_path, "serve")) as process:
        assert next_line(process.stdout) == "serving\n"
        assert announced(tmp_path) == {"pid": process.pid, "address": "here"}
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "stopping\n"
    assert process.returncode == 0
    assert not (tmp_path / "run" / "test.json").exists()


def test_a_failure_is_announced_as_a_sentence(tmp_path: Path) -> None:
    with ending(start(tmp_path, "fail")) as process:
        (line,) = process.communicate(timeout=20)[1].splitlines()
    assert process.returncode == 1
    assert announced(tmp_path)["error"] == "127.0.0.1:1: Address already in use"
    assert json.loads(line)["reason"] == "127.0.0.1:1: Address already in use"


def test_what_hangs_is_ended_all_the_same(tmp_path: Path) -> None:
    with ending(start(tmp_path, "hang")) as process:
        assert next_line(process.stdout) == "serving\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1


async def test_the_exporter_tells_the_build() -> None:
    describe_build("test", asyncio.get_running_loop())
    with Exporter("127.0.0.1", 0) as exporter:
        text = httpx.get(exporter.url).text
    assert f'suanli_build_info{{loop="asyncio",process="test",python="{platform.python_version()}"' in text
    assert f'version="{product_version()}"}} 1.0' in text
    with pytest.raises(httpx.ConnectError):
        httpx.get(exporter.url)


def test_an_exporter_with_a_token_answers_those_who_bear_it_and_says_to_all_that_it_lives() -> None:
    with Exporter("127.0.0.1", 0, "correct-horse-battery") as exporter:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic correct-horse-battery"},
        ):
            refused = httpx.get(exporter.url, headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "suanli" not in refused.text
        bearing = httpx.get(exporter.url, headers={"Authorization": "Bearer correct-horse-battery"})
        assert (bearing.status_code, "suanli_build_info" in bearing.text) == (200, True)
        base = exporter.url.removesuffix("/metrics")
        assert httpx.get(f"{base}/healthz").text == "ok\n"
        assert httpx.get(f"{base}/").status_code == 404


def test_an_exporter_lets_go_of_those_who_say_nothing() -> None:
    with Exporter("127.0.0.1", 0, patience_s=0.2) as exporter:
        port = httpx.URL(exporter.url).port
        with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as silent:
            silent.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert silent.recv(1) == b""
        assert httpx.get(exporter.url).status_code == 200


def test_an_exporter_serves_whoever_comes_however_many_others_keep_their_connections() -> None:
    with Exporter("127.0.0.1", 0, patience_s=60) as exporter, contextlib.ExitStack() as kept:
        port = httpx.URL(exporter.url).port or 0
        slow = [
            kept.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(MOST_REQUESTS + 5)
        ]
        assert [one.recv(1) for one in slow[:5]] == [b""] * 5
        assert httpx.get(exporter.url).status_code == 200


@pytest.mark.parametrize(
    ("host", "token", "sentence"),
    [
        ("0.0.0.0", None, "open to others than this host: SUANLI_METRICS_TOKEN_FILE is needed"),  # noqa: S104
        ("127.0.0.1", "short", "wants one word of 16 or more characters"),
        ("127.0.0.1", "two words of many characters", "wants one word of 16 or more characters"),
        ("127.0.0.1", "", "cannot be read: "),
    ],
)
def test_no_network_reads_metrics_without_a_token(
    tmp_path: Path, host: str, token: str | None, sentence: str
) -> None:
    file = tmp_path / "token"
    if token:
        file.write_text(token)
    settings = load(
        data=tmp_path, metrics_host=host, metrics_port=0, metrics_token_file=None if token is None else file
    )
    with pytest.raises(SettingsError, match=sentence):
        exporter_of(settings)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (ValueError("first line\nsecond line"), "first line"),
        (RuntimeError(), "RuntimeError"),
        (ValueError("postgresql://u:hunter2@h/d"), "postgresql://u:[hidden]@h/d"),
    ],
)
def test_errors_become_one_sentence_without_secrets(error: Exception, sentence: str) -> None:
    assert sentence_of(error) == sentence


def child(tmp_path: Path, output: Path | None = None) -> Child:
    return Child("api", dict(os.environ), tmp_path / "run", output)


def announce(tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "api.json").write_text(content)


def test_a_child_believes_only_the_announcement_of_its_own_process(tmp_path: Path) -> None:
    made = child(tmp_path)
    with ending(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)) as made.process:
        for foreign in ('{"pid": 1, "url": "old"}', "{half", "[]"):
            announce(tmp_path, foreign)
            assert made.announcement() is None
        announce(tmp_path, json.dumps({"pid": made.process.pid, "url": "u"}))
        assert made.announcement() == {"pid": made.process.pid, "url": "u"}
        announce(tmp_path, json.dumps({"pid": made.process.pid, "error": "port taken"}))
        with pytest.raises(ChildFailed, match=r"^api did not start: port taken$"):
            made.announcement()


def test_a_child_that_ended_without_a_word_has_failed(tmp_path: Path) -> None:
    made = child(tmp_path, tmp_path / "api.log")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as made.process:
        made.process.wait(20)
        with pytest.raises(ChildFailed, match=r"ended with status 3, see .*api\.log$"):
            made.announcement()
    assert made.stop()


def test_a_long_output_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * ((16 << 20) + 1))
        keep_small(path)
        writer.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "api.log.1").stat().st_size == (16 << 20) + 1
    keep_small(path)
    assert path.read_bytes() == b"after"


def test_a_stray_module_in_the_working_folder_is_imported_by_no_process(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('stray')")
    code = "import subprocess; from scheduler.up.children import python_command as c; subprocess.run(c('--help'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gateway" in done.stdout


def test_a_login_replaces_another_in_a_database_url() -> None:
    url = with_login(
        "postgresql://owner:secret@db.example:5432/suanli?sslmode=verify-full", "suanli_api", "a/b@c"
    )
    assert url == "postgresql://suanli_api:a%2Fb%40c@db.example:5432/suanli?sslmode=verify-full"
    socket_url = with_login("postgresql://owner:secret@/suanli?host=/run/postgresql", "suanli_api", "x")
    assert socket_url == "postgresql://suanli_api:x@/suanli?host=/run/postgresql"
