"""The packing cases: their streams, the peer, and a small workload through the shipped planner."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.planner.packing import Workload, b1, nodes_of, run, run_fgd, workloads
from benchmarks.planner.packing_streams import capacity_milli, stream
from benchmarks.planner.peers.fgd import Fgd, Seat
from benchmarks.planner.settings import Settings
from scheduler.simulator.traces.pods import Pod, TraceNode

NODES = [TraceNode(f"n{n}", 64_000, 262_144, 2 + 2 * (n % 2), "T4") for n in range(6)]
WHOLE = Pod(1_000, 1_024, 1, 1_000, ())
PAIR = Pod(2_000, 1_024, 2, 1_000, ())
HALF = Pod(500, 1_024, 1, 500, ())
HOST_ONLY = Pod(500, 1_024, 0, 0, ())
PODS = [WHOLE, WHOLE, WHOLE, PAIR]


def test_a_stream_asks_for_just_130_percent_and_is_the_same_for_a_seed() -> None:
    pods = stream(PODS, NODES, seed=3)
    assert pods == stream(PODS, NODES, seed=3) != stream(PODS, NODES, seed=4)
    asked = sum(pod.asked_milli for pod in pods)
    wanted = 1.3 * capacity_milli(NODES)
    assert asked >= wanted > asked - pods[-1].asked_milli


def test_a_list_that_asks_for_more_is_thinned() -> None:
    pods = stream(PODS * 100, NODES, seed=0)
    assert len(pods) < 100


def test_the_peer_puts_a_share_beside_a_share_and_keeps_whole_devices_whole() -> None:
    fgd = Fgd(NODES, [WHOLE, HALF])
    first, second, third = fgd.place(HALF), fgd.place(HALF), fgd.place(WHOLE)
    assert first is not None
    assert second == first
    assert third is not None
    assert third != first


def test_the_peer_refuses_what_fits_nowhere_and_gives_back_what_leaves() -> None:
    fgd = Fgd(NODES[:1], [PAIR])
    assert fgd.place(PAIR) == Seat(0, (0, 1))
    assert fgd.place(WHOLE) is None
    fgd.leave(PAIR, Seat(0, (0, 1)))
    assert fgd.place(WHOLE) is not None
    assert Fgd(NODES, [WHOLE]).place(WHOLE._replace(models=("P100",))) is None
    assert Fgd(NODES, [WHOLE]).place(WHOLE._replace(memory_mib=1 << 20)) is None


def test_the_peers_scores_are_what_the_paper_defines() -> None:
    """Each device's rest that no drawn pod could use, weighted by the workload, by hand for one node."""
    fgd = Fgd(NODES[:1], [WHOLE, HALF, HALF, HOST_ONLY])
    fgd.place(HALF._replace(device_milli=700))  # one device has 300 left, the other 1000
    found = fgd.fragmentation(np.array([[300, 1000, 0, 0]]), fgd.cpu, np.zeros(1, dtype=int))
    assert found[0] == pytest.approx(0.25 * 300 + 0.5 * 300)


@pytest.mark.parametrize("profile", ["packing", "balanced"])
def test_the_shipped_planner_places_every_pod_that_fits(profile: str) -> None:
    pods = stream(PODS, NODES, seed=0)
    outcome = run(NODES, pods, profile, at_130=True)
    assert outcome.pods == len(pods)
    assert outcome.at_130 == 100.0
    assert outcome.at_100 <= outcome.at_130
    assert (
        run_fgd(NODES, Workload("small", PODS, None, None), pods, truncated=True, at_130=True).at_130 == 100.0
    )


def test_the_case_finds_its_tables_by_their_columns_and_compares_with_the_published_figures(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "anywhere"
    folder.mkdir()
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"
    rows = "".join(f"p{n},1000,1024,{1 + n % 2},1000\n" for n in range(8))
    (folder / "x_pod_list_small.csv").write_text(header + rows)
    (folder / "x_pod_list_unpublished.csv").write_text(header + rows)
    nodes = "".join(f"n{n},64000,262144,4,T4\n" for n in range(3))
    (folder / "x_node_list.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nc,1,1,0,\n" + nodes)
    (folder / "published_allocation_summary.csv").write_text(
        "workload,sc_policy,100_mean,130_mean\nx_pod_list_small,06-FGD,90.0,91.0\nx_pod_list_small,05-BestFit,80,80\n"
    )
    assert [item.published_100 for item in workloads(tmp_path)] == [90.0]
    assert len(nodes_of(tmp_path)) == 3
    rows_made = list(b1(Settings(tmp_path, part=0.2)))
    scores = [row for row in rows_made if row.metric == "allocation"]
    assert len(scores) == 2
    assert all(90 < row.value <= 100 for row in scores)
    assert all("published 90.00" in (row.peer or "") for row in scores)
    assert all(row.goal is not None and row.goal >= 90 for row in scores)
