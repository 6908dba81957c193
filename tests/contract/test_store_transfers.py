"""Objects between an S3-compatible server and a task's folder, moved by the real process as a firm's user."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import obstore
import psutil
import pytest
from obstore.store import S3Store

from agents.runtime.spec import SpecError, StoreFolder, StoreKeys, TaskSpec
from agents.stores import StoreProblem, StoreRefused, Transfers
from tests.builders import agents
from tests.builders.buckets import BucketServer, running_bucket_server

BUCKET = "corpora"
UID = 21_000 if os.geteuid() == 0 else None
LARGE = os.urandom(1 << 20) * 37 + b"end"  # three parts, the last of them short


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with running_bucket_server(tmp_path_factory.mktemp("buckets"), BUCKET) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A task's folder; its user may reach it, which pytest's own do not allow."""
    with agents.reachable_folder() as above:
        yield owned(above / "work")


def owned(folder: Path) -> Path:
    folder.mkdir()
    if UID is not None:
        os.chown(folder, UID, UID)
    return folder


def place(server: BucketServer, key: str, path: str = "data") -> StoreFolder:
    keys = StoreKeys(server.key_id, server.secret, "")
    return StoreFolder("inputs[0]", path, server.address, "us-east-1", False, BUCKET, key, False, keys)


def transfers(said: list[str] | None = None) -> Transfers:
    return Transfers(threading.Event(), [].append if said is None else said.append, patience_s=1)


def spec_with(*inputs: StoreFolder) -> TaskSpec:
    return agents.spec(store_inputs=inputs)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def client(server: BucketServer) -> S3Store:
    return S3Store(
        BUCKET,
        config={
            "endpoint": server.address,
            "access_key_id": server.key_id,
            "secret_access_key": server.secret,
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )


def test_what_a_task_leaves_in_a_store_another_is_given(server: BucketServer, folder: Path) -> None:
    left = {
        "out/语料/第 1 部.txt": b"\xe7",
        "out/deep/er/empty": b"",
        "out/large": LARGE,
        "out/a+b %#.bin": b"x",
    }
    for name, data in left.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "out" / "link").symlink_to("/etc/passwd")
    remark = transfers().write(place(server, "run-7/", "out"), folder, UID)
    assert remark == "left out, because they are no regular files: out/link"
    one_file = place(server, "run-7/", "out/large")  # lies below the prefix by its name
    assert transfers().write(one_file, folder, UID) == ""

    said: list[str] = []
    other = owned(folder.parent / "other")
    transfers(said).bring(spec_with(place(server, "run-7")), other, UID)
    assert files_below(other / "data") == {name.removeprefix("out/"): data for name, data in left.items()}
    assert {p.stat().st_uid for p in other.rglob("*")} == {os.geteuid() if UID is None else UID}
    assert said[-1] == "inputs[0]: 4 files, 37.0 MiB"


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("out/**/*.bin", ["a.bin", "step-1/b.bin"]),
        ("out/*/?.bin", ["step-1/b.bin"]),
        ("*/a.*", ["out/a.bin", "out/a.txt"]),
        ("**/[x].bin", ["[x].bin"]),
        ("out/**/nothing", []),
    ],
)
def test_an_output_may_be_a_pattern(
    server: BucketServer, folder: Path, pattern: str, keys: list[str]
) -> None:
    for name in ("out/a.bin", "out/a.txt", "out/step-1/b.bin", "out/step-1/bb.txt", "[x].bin", "x.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "out" / "link.txt").symlink_to("/etc/passwd")
    assert transfers().write(place(server, f"{folder.parent.name}/", pattern), folder, UID) == ""
    found = obstore.list(client(server), prefix=f"{folder.parent.name}/").collect()
    assert sorted(one["path"].removeprefix(f"{folder.parent.name}/") for one in found) == keys


def test_a_single_object_lies_at_the_path_itself_or_in_the_folder_under_its_name(
    server: BucketServer, folder: Path
) -> None:
    obstore.put(client(server), "one/tokenizer.json", b"{}")
    named, here = place(server, "one/tokenizer.json", "t/t.json"), place(server, "one/tokenizer.json", ".")
    transfers().bring(spec_with(named, here), folder, UID)
    assert files_below(folder) == {"t/t.json": b"{}", "tokenizer.json": b"{}"}


def test_folders_that_a_console_has_made_are_folders(server: BucketServer, folder: Path) -> None:
    obstore.put(client(server), "by-console/sub/x", b"1")
    obstore.put(client(server), "by-console-too", b"2")
    transfers().bring(spec_with(place(server, "by-console")), folder, UID)
    assert files_below(folder) == {"data/sub/x": b"1"}


def test_what_an_interrupted_try_has_fetched_is_not_fetched_again(server: BucketServer, folder: Path) -> None:
    store = client(server)
    for name in ("first", "second"):
        obstore.put(store, f"again/{name}", name.encode())
    transfers().bring(spec_with(place(server, "again")), folder, UID)
    first = folder / "data" / "first"
    stat = first.stat()
    first.write_bytes(b"FIRST")
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (folder / "data" / "second").unlink()
    transfers().bring(spec_with(place(server, "again")), folder, UID)
    assert files_below(folder / "data") == {"first": b"FIRST", "second": b"second"}


def test_what_a_store_refuses_is_refused_everywhere_and_says_which_field(
    server: BucketServer, folder: Path
) -> None:
    good = place(server, "run-7")
    wrong_key = replace(good, keys=StoreKeys("AKIAWRONGWRONG", "do-not-tell", ""))
    wrong_secret = replace(good, keys=StoreKeys(server.key_id, "do-not-tell", ""))
    cases = {
        "access denied to bucket corpora .* with this key": (wrong_key, wrong_secret),
        "nobodys": (replace(good, bucket="nobodys"),),
        "there is no object nothing/here, and none below it": (replace(good, key="nothing/here"),),
        "leads to an address that is no store's": (replace(good, endpoint="http://169.254.169.254"),),
    }
    for match, wrong in cases.items():
        for one in wrong:
            with pytest.raises(StoreRefused, match=rf"inputs\[0\]: .*{match}") as refused:
                transfers().bring(spec_with(one), folder, UID)
            assert "do-not-tell" not in str(refused.value)
            assert "Signature=" not in str(refused.value)
    with pytest.raises(StoreRefused, match="access denied"):  # before the task has run for days
        transfers().bring(agents.spec(store_outputs=(wrong_key,)), folder, UID)


def test_a_store_that_does_not_answer_may_answer_elsewhere(server: BucketServer, folder: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = replace(place(server, "x"), endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(
            SpecError, match=r"inputs\[0\]: http://127.0.0.1:\d+ cannot be reached"
        ) as problem:
            transfers().bring(spec_with(away), folder, UID)
    assert not isinstance(problem.value, StoreRefused)


def test_keys_are_in_no_command_line_or_environment_and_a_stop_ends_the_process(
    server: BucketServer, folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hangs = replace(place(server, "x"), endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        moving = transfers()
        problems: list[SpecError] = []

        def bring() -> None:
            try:
                moving.bring(spec_with(hangs), folder, UID)
            except SpecError as error:
                problems.append(error)

        thread = threading.Thread(target=bring)
        thread.start()
        connection, _ = silent.accept()
        (child,) = (p for p in psutil.Process().children() if "agents.transfer" in p.cmdline())
        shown = " ".join([*child.cmdline(), *child.environ().values()])
        user = child.uids().real
        moving.stopped.set()
        thread.join(10)
        connection.close()
    assert server.secret not in shown
    assert user == (os.geteuid() if UID is None else UID)
    assert "stopped" in str(problems[0])
    assert not child.is_running()


def test_a_file_larger_than_any_store_takes_is_refused_and_nothing_is_read(
    server: BucketServer, folder: Path
) -> None:
    (folder / "out").mkdir()
    with (folder / "out/sparse").open("wb") as file:
        file.truncate((5 << 40) + 1)
    with pytest.raises(StoreProblem, match=r"out/sparse: \d+ bytes, and a store takes 5497558138880 at most"):
        transfers().write(place(server, "results", "out"), folder, None)
