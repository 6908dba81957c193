"""Unpacking into a task's folder: hostile names lead nowhere, and what goes wrong is said."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agents.content import ContentRefused
from agents.inputs import UNPACK_FILE, Unpacker
from agents.results import COLLECT_FILE
from suanli.content.manifest import FileEntry


def frames(*files: tuple[str, bytes], end: bool = True) -> bytes:
    out = b""
    for path, data in files:
        header = json.dumps({"path": path, "size": len(data), "executable": path.endswith(".sh")}).encode()
        out += len(header).to_bytes(4, "big") + header + data
    return out + (bytes(4) if end else b"")


def unpack(folder: Path, fed: bytes) -> dict[str, Any]:
    command = [sys.executable, "-I", "-S", str(UNPACK_FILE), str(folder), "-"]
    done = subprocess.run(command, input=fed, capture_output=True, check=False, timeout=60)
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if said else 0)
    return said


def collect(*places: tuple[str, str | None]) -> tuple[dict[str, bytes], dict[str, Any]]:
    command = [sys.executable, "-I", "-S", str(COLLECT_FILE), "-", *map(json.dumps, places)]
    out = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    files = {}
    while True:
        length = int.from_bytes(out[:4], "big")
        header = json.loads(out[4 : 4 + length])
        out = out[4 + length :]
        if header.get("end"):
            return files, header
        files[header["path"]] = out[: header["size"]]
        out = out[header["size"] :]


def test_files_are_written_where_they_belong(tmp_path: Path) -> None:
    assert unpack(tmp_path, frames(("a/b/run.sh", b"one"), ("c", b""))) == {}
    assert (tmp_path / "a/b/run.sh").read_bytes() == b"one"
    assert os.access(tmp_path / "a/b/run.sh", os.X_OK)
    assert (tmp_path / "c").read_bytes() == b""
    assert unpack(tmp_path, frames(("c", b"again"))) == {}  # a second try replaces what the first left
    assert (tmp_path / "c").read_bytes() == b"again"


@pytest.mark.parametrize(
    ("told_to_stop", "problem"), [(False, "the node's disk does not answer"), (True, "it failed")]
)
def test_an_unpacker_that_stands_still_is_given_up(tmp_path: Path, told_to_stop: bool, problem: str) -> None:
    stopped = threading.Event()
    if told_to_stop:
        stopped.set()
    unpacker = Unpacker(
        tmp_path,
        None,
        stopped,
        command=("/bin/sh", "-c", "exec sleep 600"),
        standstill_s=600 if told_to_stop else 0.1,
    )
    assert not unpacker.write(bytes(1 << 20))  # more than a pipe holds
    unpacker.end()
    with pytest.raises(ContentRefused, match=problem):
        unpacker.check()


def test_an_unpacker_is_fed_file_by_file(tmp_path: Path) -> None:
    unpacker = Unpacker(tmp_path, None, threading.Event())
    data = os.urandom(1 << 20)
    assert unpacker.begin(FileEntry("b", len(data), False, "", ()), "a/")
    assert unpacker.write(data)
    unpacker.end()
    unpacker.check()
    assert (tmp_path / "a/b").read_bytes() == data


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", ".", "", "a//b"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    assert unpack(inner, frames((path, b"x")))["error"]
    assert not (tmp_path / "out").exists()


def test_links_that_lie_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "folder").symlink_to(outside)
    (inner / "file").symlink_to(outside / "file")
    assert unpack(inner, frames(("folder/new", b"x")))["path"] == "folder/new"
    assert unpack(inner, frames(("file", b"x"))) == {}  # the link is replaced, not written through
    assert (outside / "file").read_bytes() == b"old"
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_an_agent_that_goes_away_in_the_middle_is_noticed(tmp_path: Path) -> None:
    assert unpack(tmp_path, frames(("a", b"whole"), end=False))["error"] == "the agent went away"
    assert unpack(tmp_path, frames(("b", b"cut"), end=False)[:-1])["error"] == "the agent went away"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        said = unpack(tmp_path, frames(("big", bytes(1 << 20))))
        assert said == {"error": "No space left on device", "path": "big"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_a_task_left_is_read_without_following_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not the task's")
    out = tmp_path / "results"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "x").write_bytes(b"1")
    (out / "link").symlink_to(secret)
    os.mkfifo(out / "pipe")
    work = tmp_path / "work"
    work.mkdir()
    (work / "report").write_bytes(b"2")
    (work / "way").symlink_to(tmp_path)
    files, end = collect(
        (str(out), None), (str(work), "report"), (str(work), "way/secret"), (str(work), "missing/x")
    )
    assert files == {"deep/x": b"1", "report": b"2"}
    assert sorted(end["skipped"]) == ["link", "pipe"]
