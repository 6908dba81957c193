"""Objects between an S3-compatible server and a task's folder, moved by the real process as a firm's user."""

import json
import os
import socket
import subprocess
import sys
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
from tests.builders.buckets import BucketServer, behind_tls, running_bucket_server, unfinished_uploads
from tests.builders.running import ending, next_line

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
        living = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
        (child,) = (p for p in living if "agents.transfer" in p.cmdline())
        shown = " ".join([*child.cmdline(), *child.environ().values()])
        user = child.uids().real
        moving.stopped.set()
        thread.join(10)
        connection.close()
    assert server.secret not in shown
    assert user == (os.geteuid() if UID is None else UID)
    assert "stopped" in str(problems[0])
    assert not child.is_running()


def test_a_key_for_an_hour_counts_with_its_token_alone(server: BucketServer, folder: Path) -> None:
    if not server.lent:
        pytest.skip("this server lends no keys")
    obstore.put(client(server), "lent/x", b"1")
    lent = place(server, "lent")
    transfers().bring(spec_with(replace(lent, keys=StoreKeys(*server.lent))), folder, UID)
    assert files_below(folder) == {"data/x": b"1"}
    said = {"": "access denied to bucket corpora", "another": "its session token is wrong or has expired"}
    for token, match in said.items():
        wrong = replace(lent, path="wrong", keys=StoreKeys(*server.lent[:2], token))
        with pytest.raises(StoreRefused, match=match):
            transfers().bring(spec_with(wrong), folder, UID)


def test_a_store_under_an_authority_of_the_operators_own_is_trusted_where_he_says_so(
    server: BucketServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(client(server), "tls/x", b"1")
    with behind_tls(server, tmp_path) as (address, authority):
        closed = replace(place(server, "tls"), endpoint=address)
        with pytest.raises(SpecError, match=rf"{address} cannot be reached: .* not trust its certificate"):
            transfers().bring(spec_with(closed), folder, UID)
        readable = folder.parent / "authority.pem"  # by the firm's user, as whom objects are moved
        readable.write_bytes(authority.read_bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(readable))
        transfers().bring(spec_with(closed), folder, UID)
    assert files_below(folder) == {"data/x": b"1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="names of hosts are changed in a mount namespace of its own")
def test_the_name_of_a_bucket_may_stand_before_the_hosts(server: BucketServer, folder: Path) -> None:
    obstore.put(client(server), "hosted/x", b"1")
    (folder / "hosts").write_text(f"127.0.0.1 {BUCKET}.objects.example\n")
    request = {
        "work": "fetch", "user": str(UID), "folder": str(folder), "path": "data", "key": "hosted",
        "endpoint": server.address.replace("127.0.0.1", "objects.example"), "region": "us-east-1",
        "virtual_hosted": True, "bucket": BUCKET, "access_key": server.key_id, "secret_key": server.secret,
        "session_token": "", "patience_s": 1,
    }  # fmt: skip
    script = 'mount --bind "$1" /etc/hosts && exec "$2" -I -m agents.transfer'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(folder / "hosts"), sys.executable],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
    )  # fmt: skip
    with ending(process):
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        said = [json.loads(line) for line in iter(lambda: next_line(process.stdout), b"")]
    assert said[-1] == {"ended": 1, "bytes": 1}
    assert (folder / "data/x").read_bytes() == b"1"


def a_sparse_file(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_an_upload_that_is_stopped_leaves_no_parts_in_the_bucket(server: BucketServer, folder: Path) -> None:
    a_sparse_file(folder / "out/large", 4 << 30)
    stopped, begun = threading.Event(), []

    def stop(sentence: str) -> None:
        begun.append(unfinished_uploads(server, BUCKET))
        stopped.set()

    with pytest.raises(StoreProblem, match="stopped before it was there"):
        Transfers(stopped, stop, patience_s=1).write(place(server, "cut/", "out"), folder, None)
    assert begun == [["cut/large"]]
    assert unfinished_uploads(server, BUCKET) == []
    assert not obstore.list(client(server), prefix="cut/").collect()


def test_a_file_larger_than_any_store_takes_is_refused_and_ends_what_is_on_its_way_beside_it(
    server: BucketServer, folder: Path
) -> None:
    a_sparse_file(folder / "out/beside", 4 << 30)
    a_sparse_file(folder / "out/sparse", (5 << 40) + 1)
    with pytest.raises(StoreProblem, match=r"out/sparse: \d+ bytes, and a store takes 5497558138880 at most"):
        transfers().write(place(server, "results", "out"), folder, None)
    assert unfinished_uploads(server, BUCKET) == []
    assert not obstore.list(client(server), prefix="results").collect()
