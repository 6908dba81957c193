"""Files of results, fetched beside what is somebody's own."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from suanli.client.content import fetch_file, part_of

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Answer:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def iter_bytes(self) -> Iterator[bytes]:
        yield self._data


class Server:
    """Has one file, and gives it from any byte."""

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        yield Answer(CONTENT[int(headers.get("Range", "bytes=0-")[6:-1]) :])


def fetch(target: Path, *, replace: bool = False) -> int:
    """Fetches the file; returns how many bytes came."""
    server: Any = Server()
    got: list[int] = []
    file = {"path": target.name, "size": len(CONTENT), "sha256": SHA256, "executable": False}
    fetch_file(server, "/v1/jobs/j/results/1/0", file, target, got.append, replace=replace)
    return sum(got)


def test_a_file_goes_on_where_it_broke(tmp_path: Path) -> None:
    target = tmp_path / "a"
    part_of(target, SHA256).write_bytes(CONTENT[:4])
    assert fetch(target) == 6
    assert target.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("mine", [b"my", b"my own notes, longer than the file"])
def test_a_file_that_is_called_part_stays_as_it_is(tmp_path: Path, mine: bytes) -> None:
    (tmp_path / "a.part").write_bytes(mine)
    fetch(tmp_path / "a")
    assert (tmp_path / "a.part").read_bytes() == mine
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_what_has_come_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    for link in (part_of(tmp_path / "a", SHA256), tmp_path / "a.part"):
        link.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"\.suanli-"):
        fetch(tmp_path / "a")
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_link_that_leads_nowhere_is_replaced_by_force_alone(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.symlink_to(tmp_path / "later")
    with pytest.raises(FileExistsError):
        fetch(target)
    assert target.is_symlink()
    fetch(target, replace=True)
    assert target.read_bytes() == CONTENT
    assert not target.is_symlink()
