"""Collecting results: what one task leaves must not keep those of another firm waiting, or spoil its own."""

import asyncio
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from agents.content import Content
from agents.live_task import Live
from agents.results import Results, holds_anything
from agents.runtime import task_files
from suanli.content.manifest import hash_of
from tests.builders.agents import spec


class KeptContent(Content):
    """Takes everything in; one task's objects are not taken before `open` is set."""

    def __init__(self, slow_allocation: str = "") -> None:
        super().__init__(lambda: (_ for _ in ()).throw(AssertionError("no gateway here")))
        self.open = asyncio.Event()
        self.slow_allocation = slow_allocation
        self.completed: dict[str, tuple[str, str]] = {}

    async def find_missing(self, allocation_id: str, hashes: Sequence[str]) -> list[str]:
        if allocation_id == self.slow_allocation:
            await self.open.wait()
        return list(hashes)

    async def store(self, allocation_id: str, data: bytes) -> None:
        assert hash_of(data)

    async def complete(self, allocation_id: str, manifest_sha256: str, problem: str) -> None:
        problem.encode()  # as protobuf does
        self.completed[allocation_id] = (manifest_sha256, problem)


def ended_task(tmp_path: Path, allocation_id: str, firm_id: str) -> Live:
    """A task that has left one file."""
    folder = tmp_path / allocation_id
    (folder / task_files.RESULTS).mkdir(parents=True)
    (folder / "work").mkdir()
    (folder / task_files.RESULTS / "model.bin").write_bytes(b"weights")
    return Live(spec(allocation_id=allocation_id, firm_id=firm_id), folder, None, "none")


async def delivered(results: Results, *lives: Live) -> None:
    """Collect, and wait until all of these are through."""
    wanted = {live.spec.allocation_id for live in lives}
    done = asyncio.Event()

    def one(allocation_id: str) -> None:
        wanted.discard(allocation_id)
        if not wanted:
            done.set()

    results.delivered = one
    for live in lives:
        results.collect(live)
    async with asyncio.timeout(20):
        await done.wait()


async def test_what_one_firm_leaves_does_not_keep_another_firm_waiting(tmp_path: Path) -> None:
    content = KeptContent(slow_allocation="large")
    results = Results(content)
    results.collect(ended_task(tmp_path, "large", "one"))
    try:
        await delivered(results, ended_task(tmp_path, "small", "another"))
        assert set(content.completed) == {"small"}
    finally:
        await results.close()


async def test_a_link_with_a_name_that_is_no_text_does_not_cost_the_results(tmp_path: Path) -> None:
    live = ended_task(tmp_path, "a", "one")
    os.symlink(b"/etc/passwd", os.fsencode(live.folder / task_files.RESULTS) + b"/\xff\x1b[2J")
    content = KeptContent()
    await delivered(Results(content), live)
    manifest, problem = content.completed["a"]
    assert manifest
    assert problem.startswith("left out, because they are no regular files")
    assert "\x1b" not in problem


def test_a_folder_of_very_many_files_is_not_listed_to_see_that_it_is_not_empty(tmp_path: Path) -> None:
    assert not holds_anything(tmp_path)
    for number in range(3_000):
        (tmp_path / f"{number:0100}").touch()
    tracemalloc.start()
    try:
        assert holds_anything(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()
