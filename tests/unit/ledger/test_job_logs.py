"""Files of job output: offsets, limits, and paths that stay inside."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.storage.job_logs import JobLogs, LogKey

KEY = LogKey("firm-a", "job-1", 1, 0, 0, "stdout")


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 80)), max_size=30))
def test_chunks_in_any_order_and_number_never_make_another_stream(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, chunks: list[tuple[int, int]]
) -> None:
    logs = JobLogs(tmp_path_factory.mktemp("logs"))
    stored = 0
    for offset, length in chunks:
        data = text[offset : offset + length]
        answer = logs.append(KEY, min(offset, len(text)), data)
        assert answer >= stored
        stored = answer
    assert logs.read(KEY, 0, 1000) == text[:stored]


@given(st.integers(0, 40), st.lists(st.integers(1, 17), max_size=12))
def test_an_agent_that_goes_on_where_it_is_told_always_reaches_the_end(
    tmp_path_factory: pytest.TempPathFactory, limit: int, lengths: list[int]
) -> None:
    logs = JobLogs(tmp_path_factory.mktemp("logs"), limit_bytes=limit)
    text = bytes(range(sum(lengths) % 256)) or b"x"
    at, steps = 0, iter([*lengths, *[5] * len(text)])
    while at < len(text):
        after = logs.append(KEY, at, text[at : at + next(steps)])
        assert after > at
        at = after
    assert logs.read(KEY, 0, 1000) == text[:limit]
    assert logs.stored(KEY) == min(limit, len(text))


@pytest.mark.parametrize(
    "key",
    [
        LogKey("..", "job-1", 1, 0, 0, "stdout"),
        LogKey("firm/a", "job-1", 1, 0, 0, "stdout"),
        LogKey("firm-a", "", 1, 0, 0, "stdout"),
        LogKey("firm-a", "job-1", -1, 0, 0, "stdout"),
        LogKey("firm-a", "job-1", 1, 0, 0, "../x"),  # type: ignore[arg-type]
    ],
)
def test_keys_that_could_lead_out_of_the_folder_are_refused(tmp_path: Path, key: LogKey) -> None:
    with pytest.raises(ValueError, match=r"no id|no such stream"):
        JobLogs(tmp_path).path(key)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    logs = JobLogs(tmp_path / "logs")
    logs.append(KEY, 0, b"x")
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    logs.path(KEY).unlink()
    logs.path(KEY).symlink_to(victim)
    with pytest.raises(OSError, match=r"symbolic links|Too many levels"):
        logs.append(KEY, 0, b"overwritten")
    assert victim.read_bytes() == b""


def test_an_empty_stream_can_be_complete(tmp_path: Path) -> None:
    logs = JobLogs(tmp_path)
    assert not logs.is_complete(KEY)
    logs.complete(KEY)
    assert logs.is_complete(KEY)
    assert (logs.stored(KEY), logs.streams("firm-a", "job-1", 1)) == (0, [KEY])
    assert logs.streams("firm-a", "job-1", 2) == []


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=40),
    st.integers(0, 700),
)
def test_what_came_since_a_moment_is_never_cut_and_little_older_comes_with_it(
    tmp_path_factory: pytest.TempPathFactory, growth: list[tuple[int, int]], since_ms: int
) -> None:
    now_ms = 0
    logs = JobLogs(tmp_path_factory.mktemp("logs"), now_ms=lambda: now_ms)
    came: list[int] = []  # of each line of two bytes
    for pause_ms, lines in growth:
        now_ms += pause_ms
        came += [now_ms] * lines
        logs.append(KEY, logs.stored(KEY), b"x\n" * lines)
    begin = logs.since(KEY, since_ms) // 2
    assert all(at_ms < since_ms for at_ms in came[:begin])
    # An append's first line: times are at least 10 ms apart, and the moment may lie within them.
    assert all(at_ms >= since_ms - 10 for at_ms in came[begin:])


def test_output_since_a_moment_begins_with_a_whole_line(tmp_path: Path) -> None:
    now_ms = 10_000
    logs = JobLogs(tmp_path, now_ms=lambda: now_ms)
    logs.append(KEY, 0, b"first\nsec")
    now_ms = 60_000
    logs.append(KEY, 9, b"ond\n")
    assert logs.since(KEY, 60_000) == 6
    assert logs.since(KEY, 60_000 + 11) == 13
    assert logs.since(KEY, 0) == 0


def test_the_times_of_a_stream_take_little_room_and_are_not_counted_as_output(tmp_path: Path) -> None:
    now_ms = 0
    logs = JobLogs(tmp_path, attempt_limit_bytes=20_001, now_ms=lambda: now_ms)
    for turn in range(20_000):
        now_ms = turn * 11
        logs.append(KEY, turn, b"\n")
    # 4,096 pairs and one for each 128 bytes, of 16 bytes each.
    assert logs.path(KEY).with_name("0.0.stdout.times").stat().st_size <= 16 * (4_096 + 20_000 // 128)
    assert not logs.is_cut(KEY)
    pieces = logs.arrivals(KEY, 4_000, 20_000, 10_000)
    assert pieces[0] == (4_001, 4_000 * 11)
    assert max(end - begin for (begin, _), (end, _) in pairwise([(4_000, 0), *pieces])) <= 128 + 1
    for turn in range(0, 20_000, 997):
        begin = logs.since(KEY, turn * 11)
        assert turn - 128 - 1 <= begin <= turn


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), min_size=1, max_size=30), st.data())
def test_every_byte_has_the_time_when_it_came(
    tmp_path_factory: pytest.TempPathFactory, growth: list[tuple[int, int]], data: st.DataObject
) -> None:
    now_ms = 1
    logs = JobLogs(tmp_path_factory.mktemp("logs"), now_ms=lambda: now_ms)
    came: list[int] = []
    for pause_ms, length in growth:
        now_ms += pause_ms
        logs.append(KEY, len(came), b"x" * length)
        came += [now_ms] * length
    begin = data.draw(st.integers(0, len(came)))
    end = data.draw(st.integers(begin, len(came)))
    most = data.draw(st.integers(1, 40))
    pieces = logs.arrivals(KEY, begin, end, most)
    assert len(pieces) <= most
    assert len(pieces) == most or (pieces[-1][0] if pieces else begin) == end
    for stop, at_ms in pieces:
        assert begin < stop <= end
        assert all(at_ms <= byte_ms <= at_ms + 10 for byte_ms in came[begin:stop])
        begin = stop


def test_output_whose_times_nobody_noted_counts_as_new(tmp_path: Path) -> None:
    logs = JobLogs(tmp_path)
    logs.append(KEY, 0, b"old\n")
    logs.path(KEY).with_name("0.0.stdout.times").unlink()
    assert logs.since(KEY, 1 << 50) == 0
    assert logs.arrivals(KEY, 1, 4, 9) == [(4, 0)]
