"""Readers of jobs, steps and networks on small tables."""

from pathlib import Path

import pytest

from scheduler.simulator.traces.jobs import TraceJob, read_firm_nodes, read_jobs, tables_of_jobs
from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.profiles import Profile, TunedJob, placement, read_tuned_jobs
from scheduler.simulator.traces.steps import StepJob, read_rates, read_step_jobs
from scheduler.simulator.traces.tables import BadTrace
from scheduler.simulator.traces.topology import Host, read_topology
from tests.builders.traces import small_traces, write_table


def test_jobs_are_read_with_either_column_of_arrival_and_sorted_by_it(tmp_path: Path) -> None:
    one = write_table(tmp_path, "a.csv", "job_id,arrival_s,duration_s,num_gpus", ["1,5,60.5,8", "0,1,7,1"])
    assert read_jobs(one) == [TraceJob(1, 7, 1, ""), TraceJob(5, 60.5, 8, "")]
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
