"""Lines of output that a job wants to be tried again after."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runtime import log_patterns
from agents.runtime.log_patterns import first_match


def output(folder: Path, **streams: str) -> Path:
    for name, content in streams.items():
        rank, stream = name[1:].split("_")
        (folder / f"{rank}.{stream}").write_bytes(content.encode())
    return folder


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("HCCL*timeout", True),
        ("timeout*HCCL", False),
        ("rank 3*link*", True),
        ("*link down", True),
        ("HCCL*reset", False),  # both there, in different lines
        ("下线", True),
    ],
)
def test_the_parts_of_a_pattern_stand_in_one_line_in_their_order(
    tmp_path: Path, pattern: str, found: bool
) -> None:
    said = "step 1\nHCCL op: timeout after 120 s\nrank 3: link down\nconnection reset\n设备下线"
    assert (first_match(output(tmp_path, r0_stderr=said), 1, [pattern]) == 0) is found


def test_the_first_rule_counts_that_any_stream_of_any_process_bears_out(tmp_path: Path) -> None:
    output(tmp_path, r0_stdout="b\n", r0_stderr="c\n", r1_stderr="a\n")
    assert first_match(tmp_path, 2, ["x", "a", "b", "c"]) == 1
    assert first_match(tmp_path, 1, ["x", "a", "b", "c"]) == 2
    assert first_match(tmp_path, 2, ["x"]) is None


def test_only_the_end_of_long_output_is_read_and_no_link_is_followed(tmp_path: Path) -> None:
    output(tmp_path, r0_stdout="early\n" + "x" * 2_000 + "\nlate\n")
    assert first_match(tmp_path, 1, ["early"], 2_000) is None
    assert first_match(tmp_path, 1, ["late"], 2_000) == 0
    (tmp_path / "secret").write_text("late\n")
    (tmp_path / "0.stderr").symlink_to(tmp_path / "secret")
    (tmp_path / "0.stdout").unlink()
    assert first_match(tmp_path, 1, ["late"], 2_000) is None


@given(
    st.text("ab*", min_size=1, max_size=6).filter(lambda p: p.strip("*") != ""), st.text("ab\n", max_size=40)
)
def test_a_log_pattern_matches_as_a_regular_expression_of_its_parts_would(pattern: str, said: str) -> None:
    parts = [part for part in pattern.encode().split(b"*") if part]
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    expected = any(re.search(expression, line) for line in said.split("\n"))
    assert log_patterns._stands(parts, said.encode()) is expected


def test_a_hostile_pattern_costs_no_more_than_a_plain_one(tmp_path: Path) -> None:
    output(tmp_path, r0_stdout=("a" * 1_000 + "\n") * 4_000)
    began_s = time.process_time()
    assert first_match(tmp_path, 1, ["*".join("a" * 100) + "*b"]) is None
    assert time.process_time() - began_s < 5
