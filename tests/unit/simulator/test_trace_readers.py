"""Readers of jobs, steps and networks on small tables."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.simulator.clusters import cluster_from
from scheduler.simulator.traces.jobs import TraceJob, read_firm_nodes, read_jobs, tables_of_jobs
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.profiles import Profile, TunedJob, placement, read_tuned_jobs
from scheduler.simulator.traces.steps import StepJob, read_rates, read_step_jobs
from scheduler.simulator.traces.tables import MOST_TOLD, BadTrace
from scheduler.simulator.traces.topology import Host, read_topology
from scheduler.simulator.workload import drafts_of_table
from tests.builders.traces import small_traces, write_table


def test_jobs_are_read_with_either_column_of_arrival_and_sorted_by_it(tmp_path: Path) -> None:
    one = write_table(tmp_path, "a.csv", "job_id,arrival_s,duration_s,num_gpus", ["1,5,60.5,8", "0,1,0,1"])
    assert read_jobs(one) == [TraceJob(1, 0, 1, ""), TraceJob(5, 60.5, 8, "")]
    two = write_table(tmp_path, "b.csv", "job_id,submit_s,duration_s,num_gpus,vc", ["1,5,60,8,x"])
    assert read_jobs(two) == [TraceJob(5, 60, 8, "x")]
    assert tables_of_jobs(tmp_path) == [one, two]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("1,5,60,0", r"line 2, column num_gpus: '0', wanted a whole number from 1 to 1048576"),
        ("1,-5,60,1", r"line 2, column arrival_s: '-5'"),
        ("1,5,inf,1", r"line 2, column duration_s: 'inf'"),
        ("1,5,60", r"line 2: 3 cells, wanted 4"),
    ],
)
def test_a_bad_job_is_refused_with_its_place(tmp_path: Path, row: str, fault: str) -> None:
    path = write_table(tmp_path, "a.csv", "job_id,arrival_s,duration_s,num_gpus", [row])
    with pytest.raises(BadTrace, match=fault):
        read_jobs(path)


def test_a_job_that_stands_in_a_table_twice_is_refused_by_its_second_row(tmp_path: Path) -> None:
    jobs = write_table(
        tmp_path, "a.csv", "job_id,arrival_s,duration_s,num_gpus", ["7,1,2,1", "8,1,2,1", "7,5,9,2"]
    )
    with pytest.raises(BadTrace, match=r"a\.csv, line 4, column job_id: '7', wanted each job once"):
        read_jobs(jobs)
    header = "job_id,job_type,scale_factor,total_steps,arrival_s"
    steps = write_table(tmp_path, "b.csv", header, ["7,a,1,5,0", "7,a,1,5,1"])
    with pytest.raises(BadTrace, match=r"b\.csv, line 3, column job_id: '7', wanted each job once"):
        read_step_jobs(steps)


def test_sizes_of_firms_are_read_once_each(tmp_path: Path) -> None:
    header = "vc,nodes,gpus_per_node"
    assert read_firm_nodes(write_table(tmp_path, "a.csv", header, ["x,4,8"])) == {"x": (4, 8)}
    with pytest.raises(BadTrace, match="each firm once"):
        read_firm_nodes(write_table(tmp_path, "b.csv", header, ["x,4,8", "x,2,8"]))


def test_jobs_in_steps_and_their_rates_are_read(tmp_path: Path) -> None:
    header = "job_id,job_type,scale_factor,total_steps,arrival_s,priority_weight,slo"
    path = write_table(tmp_path, "jobs.csv", header, ['7,"LM (batch size 5)",2,100,3.5,1.0,-1.0'])
    assert read_step_jobs(path) == [StepJob(7, "LM (batch size 5)", 2, 100, 3.5)]
    rates = write_table(
        tmp_path,
        "rates.csv",
        "source,accelerator,job_type,scale_factor,steps_per_s",
        ["sim,v100,LM,2,1.5", "sim,k80,LM,2,0", "sim,other,LM,2,9", "real,v100,LM,2,8"],
    )
    assert read_rates(rates, "sim", ("v100", "k80")) == {("LM", 2): {"v100": 1.5, "k80": 0}}
    with pytest.raises(BadTrace, match=r"no rates of nothing$"):
        read_rates(rates, "nothing", ("v100",))
    said = r"its rates are for k80, other, v100, and the cluster has a, b: none of them$"
    with pytest.raises(BadTrace, match=said):
        read_rates(rates, "sim", ("b", "a"))


def test_a_network_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path, "t.csv", "ip,DSW,PSW,ASW", ["h,G6,P1,S14"])
    assert read_topology(path) == [Host("h", "G6", "P1", "S14")]
    with pytest.raises(BadTrace, match="two hosts have one name"):
        read_topology(write_table(tmp_path, "u.csv", "ip,DSW,PSW,ASW", ["h,a,b,c", "h,a,b,d"]))


def test_every_kind_is_found_in_a_folder_of_another_layout(tmp_path: Path) -> None:
    folder = small_traces(tmp_path)
    for kind in (
        Kind.PODS,
        Kind.NODES,
        Kind.FLEET,
        Kind.TOPOLOGY,
        Kind.STEP_JOBS,
        Kind.RATES,
        Kind.FIRM_NODES,
    ):
        assert find_tables(folder, kind)


def test_tuned_jobs_and_their_profiles_are_read(tmp_path: Path) -> None:
    folder = small_traces(tmp_path)
    jobs = read_tuned_jobs(folder / "tuned/workloads/made/workload-1.csv")
    assert jobs[0] == TunedJob(0, "bert", 1, 48)
    profile = Profile(folder / "tuned/profiles/bert")
    assert profile.iterations(48, 2) == 2000
    with pytest.raises(BadTrace, match="2 epochs, wanted 3"):
        profile.iterations(48, 3)
    # 24 a device fit in one pass of at most 12: two passes of 12, of which the last one synchronises.
    assert profile.step_s("rtx", 2, 8, 48) == pytest.approx(1.2 + (1.2 - 0.01))
    # 48 on 12 devices are 4 each, between the measured sizes.
    assert profile.step_s("rtx", 12, 8, 48) == pytest.approx(0.4)
    assert profile.step_s("rtx", 5, 8, 48) is None
    assert [placement(*pair) for pair in ((12, 8), (16, 8), (3, 4), (12, 4))] == ["48", "88", "3", "444"]


COLUMNS = "job_id,arrival_s,duration_s,num_gpus,vc"


def test_every_wrong_row_is_told_with_its_line_and_column(tmp_path: Path) -> None:
    rows = ["1,0,60,8,a", ",0,60,8,a", "2,0,-1,8,a", "3,0,60,8,", "4,0,60,many,a", "5,0,60", "1,0,60,8,a"]
    rows.append("2,0,60,8,a")  # the row that it repeats is wrong itself
    with pytest.raises(BadTrace) as refused:
        read_jobs(write_table(tmp_path, "a.csv", COLUMNS, rows))
    assert [sentence.removeprefix(f"{tmp_path}/") for sentence in refused.value.sentences] == [
        "a.csv, line 3, column job_id: '', wanted a name",
        "a.csv, line 4, column duration_s: '-1', wanted a number from 0 to 1e+15",
        "a.csv, line 5, column vc: '', wanted a name",
        "a.csv, line 6, column num_gpus: 'many', wanted a whole number from 1 to 1048576",
        "a.csv, line 7: 3 cells, wanted 5 as in the first line",
        "a.csv, line 8, column job_id: '1', wanted each job once",
        "a.csv, line 9, column job_id: '2', wanted each job once",
    ]


@given(wrong=st.lists(st.booleans(), max_size=60))
def test_of_many_wrong_rows_the_first_are_told_and_the_others_counted(
    tmp_path_factory: pytest.TempPathFactory, wrong: list[bool]
) -> None:
    rows = ["0,0,60,8,a", *(f"{n},0,{-1 if bad else 60},8,a" for n, bad in enumerate(wrong, 1))]
    path = write_table(tmp_path_factory.mktemp("rows"), "a.csv", COLUMNS, rows)
    if not any(wrong):
        assert len(read_jobs(path)) == len(rows)
        return
    with pytest.raises(BadTrace) as refused:
        read_jobs(path)
    more = sum(wrong) - MOST_TOLD
    told = refused.value.sentences
    assert len(told) == min(sum(wrong), MOST_TOLD) + (more > 0)
    assert (told[-1] == f"{path}: more wrong rows: {more}") == (more > 0)


def test_every_job_of_steps_without_a_rate_is_told(tmp_path: Path) -> None:
    rate = "simulation_throughputs,ascend-910b3,slow,1,2.0"
    write_table(tmp_path, "rates.csv", "source,accelerator,job_type,scale_factor,steps_per_s", [rate])
    rows = [f"{n},{kind},1,100,0" for n, kind in enumerate(("slow", "quick", "slow", "odd"))]
    path = write_table(tmp_path, "steps.csv", ",".join(Kind.STEP_JOBS.value), rows)
    with pytest.raises(BadTrace) as refused:
        drafts_of_table(path, cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}), None)
    assert refused.value.sentences == (
        f"{path}: job 1: no rate of 'quick' on 1 devices",
        f"{path}: job 3: no rate of 'odd' on 1 devices",
    )
