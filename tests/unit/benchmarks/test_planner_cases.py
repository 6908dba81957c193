"""Every case on small made-up tables of the same kinds: it runs, says what it should, and says it twice alike."""

import json
import math
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.planner.__main__ import app
from benchmarks.planner.cases import CASES
from benchmarks.planner.product import JOBS, scene
from benchmarks.planner.settings import Settings
from tests.builders.traces import small_traces, write_table


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up tables."""
    return small_traces(tmp_path_factory.mktemp("traces"))


@pytest.mark.parametrize("case", list(CASES))
def test_a_case_gives_finite_figures_under_the_default_profile_too(case: str, traces: Path) -> None:
    rows = list(
        CASES[case](Settings(traces, part=0.005 if case == "B17" else 0.05 if case in {"B3", "B18"} else 0.5))
    )
    assert rows
    assert {row.benchmark.upper() for row in rows} == {case}
    assert all(math.isfinite(row.value) for row in rows)
    assert (
        any(row.goal is not None for row in rows) or case == "B11"
    )  # its goal is a part of a published figure
    assert any("/ balanced" in row.case for row in rows)
    assert all("(part" in row.case for row in rows)


@pytest.mark.parametrize("case", ["B1", "B6", "B14", "B15", "B18"])
def test_a_case_gives_the_same_figures_again(case: str, traces: Path) -> None:
    def figures() -> list[tuple[str, str, float]]:
        rows = CASES[case](Settings(traces, part=0.05))
        return [(row.case, row.metric, row.value) for row in rows if row.unit not in {"ms", "1/s"}]

    assert figures() == figures()


def test_a_long_case_tells_what_it_knows_before_its_last_run_is_done(traces: Path) -> None:
    shown = StringIO()
    rows = CASES["B19"](Settings(traces, Console(file=shown, force_terminal=True), part=0.05))
    assert "interval" in next(rows).metric
    assert "B19 together" in shown.getvalue()
    assert "EASY" not in shown.getvalue()
    firm = next(row for row in rows if row.metric.startswith("firm ")).metric.split()[1].rstrip(":")
    assert set(re.findall(r"B19 (\S+) alone", shown.getvalue())) == {firm}


def test_the_decisive_case_is_drawn_again_from_the_jobs_that_follow(tmp_path: Path) -> None:
    settings = Settings(small_traces(tmp_path), part=0.01)
    kinds = [("quick", "slow")[n % 3 == 0] for n in range(JOBS + 7)]
    header = "job_id,job_type,scale_factor,total_steps,arrival_s,priority_weight,slo"
    jobs = [f"{n},{kind},1,{n + 1},{n},1.0,-1.0" for n, kind in enumerate(kinds)]
    write_table(tmp_path, "stepped/generated/cont_multi_r2.6_s9.csv.gz", header, jobs)
    drawn, again = ([work.shape.kind for work in scene(settings, draw).works] for draw in (0, 1))
    assert drawn == [f"{kind}/1" for kind in kinds[:50]]
    assert again == [f"{kind}/1" for kind in kinds[JOBS:]]


def test_a_job_that_its_firms_own_nodes_never_hold_is_not_compared_with_its_time_alone(traces: Path) -> None:
    drawn = scene(Settings(traces, part=0.05))
    firm = drawn.works[0].shape.queue.firm_id
    large = replace(drawn.works[0], shape=drawn.works[0].shape._replace(devices=10_000, sizes=()))
    compared = replace(drawn, works=(large, *drawn.works[1:])).alone(firm)
    assert compared == drawn.alone(firm)[1:]


def test_the_command_writes_rows_and_refuses_what_it_does_not_know(traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    arguments = ["--case", "b18", "--traces", str(traces), "--part", "0.05", "--json", str(out)]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["benchmark"] for row in rows} == {"B18"}
    assert {"case", "metric", "value", "unit", "better", "peer", "goal"} <= set(rows[0])
    for nowhere in (tmp_path / "absent" / "rows.json", tmp_path):
        refused = CliRunner().invoke(app, [*arguments[:-1], str(nowhere)])
        assert refused.exit_code == 2
        assert "want a file in a folder that is there" in " ".join(refused.output.replace("│", " ").split())
        assert "B18" not in refused.output  # nothing was measured
    refused = CliRunner().invoke(app, ["--case", "B99"])
    assert refused.exit_code == 2
    assert "wanted one of B1" in " ".join(refused.output.split())
    refused = CliRunner().invoke(app, ["--case", "B18", "--traces", str(tmp_path)])
    assert refused.exit_code == 2
    # The sentence stands in a frame that may break it anywhere.
    assert "no table" in " ".join(refused.output.replace("│", " ").split())
