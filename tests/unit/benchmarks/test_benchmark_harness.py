"""Rows of measurements: quantiles, goals, and what is written."""

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.harness import Row, quantile, show, write_json
from benchmarks.memory import tree


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_a_measured_value_that_enough_values_do_not_exceed(
    values: list[float], share: float
) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_the_99th_of_100_values_is_the_second_largest() -> None:
    assert quantile([float(n) for n in range(100)], 0.99) == 98.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_quantile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="needs values"):
        quantile(values, share)


@pytest.mark.parametrize(
    ("value", "better", "goal", "reached"),
    [(5, "lower", 5, True), (6, "lower", 5, False), (5, "higher", 6, False), (7, "higher", 6, True)],
)
def test_a_goal_is_reached_from_its_side(value: float, better: str, goal: float, reached: bool) -> None:
    row = Row("b", "c", "m", value, "ms", better, goal=goal)  # type: ignore[arg-type]
    assert row.reached is reached


def test_rows_are_written_one_object_a_line_with_their_machine(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write_json([Row("b", "c", "m", 1.5, "ms"), Row("b", "c", "n", 2, "MiB", goal=3)], path)
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (first["metric"], first["value"], first["goal"]) == ("m", 1.5, None)
    assert (second["goal"], second["better"]) == (3, "lower")
    assert "processors" in first["machine"]


def test_the_table_shows_value_and_goal() -> None:
    out = io.StringIO()
    show([Row("b", "c", "m", 712.4, "MiB", goal=700)], Console(file=out, width=160))
    assert "712.4 MiB" in out.getvalue()
    assert "≤ 700 MiB" in out.getvalue()


def test_a_process_has_memory_of_its_own() -> None:
    found = tree(os.getpid())
    assert sum(one.pss_bytes for one in found) > 1 << 20
