"""Manifests: the same folder has the same digest, and nothing hostile is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.content.manifest import (
    MOST_DEPTH,
    OBJECT_BYTES,
    ContentError,
    FileEntry,
    check_path,
    hash_of,
    make_manifest,
    parse_manifest,
)

NAME = st.text("abcü文 .-_", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAME, min_size=1, max_size=4).map("/".join)


def entry(path: str, data: bytes) -> FileEntry:
    parts = [data[i : i + OBJECT_BYTES] for i in range(0, len(data), OBJECT_BYTES)]
    return FileEntry(path, len(data), False, hash_of(data), tuple(map(hash_of, parts)))


@given(st.dictionaries(PATHS, st.binary(max_size=50), max_size=8))
def test_a_manifest_reads_back_equal_whatever_the_order_of_its_files(files: dict[str, bytes]) -> None:
    entries = [entry(path, data) for path, data in files.items()]
    folders = {"/".join(path.split("/")[:end]) for path in files for end in range(1, path.count("/") + 1)}
    if folders & files.keys():
        with pytest.raises(ContentError, match="a file and a folder"):
            make_manifest(entries)
        return
    manifest = make_manifest(entries)
    assert parse_manifest(manifest.to_bytes()) == manifest
    assert make_manifest(reversed(entries)).to_bytes() == manifest.to_bytes()
    assert manifest.size == sum(map(len, files.values()))
    assert sum(manifest.objects().values()) == sum({hash_of(d): len(d) for d in files.values() if d}.values())


OUTSIDE = ["", "/", "/etc/passwd", "..", "a/../b", "a/./b", "a//b", "a/", "a\\b"]
UNWRITABLE = ["a\nb", "a\0b", "\x1b[2J", "\udcff", "x" * 256, "/".join("x" * (MOST_DEPTH + 1)), "ü" * 600]


@pytest.mark.parametrize("path", [*OUTSIDE, *UNWRITABLE])
def test_paths_that_lead_out_or_cannot_be_written_are_refused(path: str) -> None:
    with pytest.raises(ContentError):
        check_path(path)


GOOD: dict[str, Any] = {
    "path": "a", "size": 1, "executable": False, "sha256": hash_of(b"a"), "objects": [hash_of(b"a")]
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1}, {"size": True}, {"size": 1 << 60}, {"size": 0}, {"size": OBJECT_BYTES + 1},
        {"objects": ["0" * 63]}, {"objects": ["G" * 64]}, {"objects": "x"}, {"sha256": 1}, {"path": 1},
        {"executable": "yes"}, {"more": 1},
    ],
)  # fmt: skip
def test_files_that_are_none_are_refused(change: dict[str, Any]) -> None:
    data = json.dumps({"schema": "suanli.manifest.v1", "files": [{**GOOD, **change}]}).encode()
    with pytest.raises(ContentError):
        parse_manifest(data)


@pytest.mark.parametrize(
    "names", [["a", "a"], ["b", "a"], ["a", "a/b"]], ids=["twice", "not sorted", "file and folder"]
)
def test_files_that_contradict_each_other_are_refused(names: list[str]) -> None:
    files = [{**GOOD, "path": name} for name in names]
    with pytest.raises(ContentError):
        parse_manifest(json.dumps({"schema": "suanli.manifest.v1", "files": files}).encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(ContentError):
        parse_manifest(data)


def test_a_bomb_is_refused_before_it_is_read() -> None:
    with pytest.raises(ContentError):
        parse_manifest(b"[" * 100_000)
    with pytest.raises(ContentError, match="bytes"):
        parse_manifest(b" " * (5 << 20))
