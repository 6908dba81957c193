"""Process trees and the shim's account."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.runtime import proc_tree
from agents.runtime.account import AccountLine, read_lines, thin
from agents.runtime.use import last_line

LINE = (
    b"4242 (evil ) R 1 (name) S 17 40 41 0 -1 4194304 100 0 0 0 150 50 30 20 20 0 3 0 98765 1000000 256 "
    b"18446744073709551615 0 0\n"
)


def stat(
    pid: int, parent: int, group: int | None = None, session: int | None = None
) -> proc_tree.ProcessStat:
    """A process of a made-up table."""
    group = pid if group is None else group
    return proc_tree.ProcessStat(
        pid, "S", parent, group, group if session is None else session, 10, pid * 7, 4096
    )


def test_a_stat_line_is_read_whatever_the_command_is_called() -> None:
    process = proc_tree.parse_stat(LINE)
    assert (process.pid, process.state, process.parent, process.group, process.session) == (
        4242,
        "S",
        17,
        40,
        41,
    )
    assert (process.ticks, process.start_ticks) == (250, 98_765)
    assert process.resident_bytes == 256 * proc_tree.PAGE_BYTES


def test_this_process_is_found_and_known_again() -> None:
    own = proc_tree.read_stat(os.getpid())
    assert own is not None
    assert proc_tree.is_same_process(own.pid, own.start_ticks)
    assert not proc_tree.is_same_process(own.pid, own.start_ticks + 1)
    assert own.pid in {s.pid for s in proc_tree.descendants(proc_tree.scan(), own.parent)}


def test_processes_belong_to_the_rank_that_started_them() -> None:
    table = {
        s.pid: s for s in [stat(10, 1), stat(11, 10), stat(20, 1), stat(21, 20), stat(22, 21), stat(99, 5)]
    }
    tree = proc_tree.descendants(table, 1)
    ranks = proc_tree.attribute(tree, {10: 0, 20: 1}, {})
    assert {pid: rank for (pid, _), rank in ranks.items()} == {10: 0, 11: 0, 20: 1, 21: 1, 22: 1}


def test_what_lost_its_parent_is_known_by_group_or_by_memory() -> None:
    daemon, member = stat(30, 1), stat(31, 1, group=20)
    tree = [daemon, member]
    known = proc_tree.attribute(tree, {20: 1}, {(30, 210): 1})
    assert known == {(30, 210): 1, (31, 217): 1}
    assert proc_tree.attribute([daemon], {20: 1}, {}) == {(30, 210): 0}


def line(since_ms: int, at_ms: int) -> AccountLine:
    """One line of an account."""
    return {
        "since_ms": since_ms,
        "at_ms": at_ms,
        "boot_ns": at_ms * 1_000_000,
        "ranks": [(0, 1, at_ms, 0, 1)],
    }


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_thinning_keeps_what_is_covered_and_what_is_not(holes: list[bool]) -> None:
    lines, at_ms = [], 0
    for hole in holes:
        begin = at_ms + 1_000 if hole else at_ms
        at_ms = begin + 100
        lines.append(line(begin, at_ms))
    thinned = thin(lines)
    covered = {ms for kept in lines for ms in range(kept["since_ms"], kept["at_ms"], 100)}
    after = {ms for kept in thinned for ms in range(kept["since_ms"], kept["at_ms"], 100)}
    assert after == covered
    assert thinned[-1]["ranks"] == lines[-1]["ranks"]
    assert len(thinned) <= len(lines)


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "account.jsonl"
    path.write_bytes(b'{"since_ms":0,"at_ms":1,"boot_ns":2,"ranks":[]}\n{"since_ms":1,"at')
    assert [each["at_ms"] for each in read_lines(str(path))] == [1]
    whole = last_line(path)
    assert whole is not None
    assert whole["at_ms"] == 1
    assert last_line(tmp_path / "absent") is None
