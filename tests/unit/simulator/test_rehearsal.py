"""Rehearsals: a history or a table, proposed changes beside the policy as it is, and what is said of them."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from scheduler.app import app
from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod, ProjectBudget
from scheduler.domain.errors import Invalid
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import Cohort, QueueKey
from scheduler.domain.time import to_rfc3339
from scheduler.machine.messages import BudgetSpent
from scheduler.planner import StopCause
from scheduler.services.history import history_text
from scheduler.simulator.budgets import VirtualBudgets
from scheduler.simulator.clusters import BadFile, cluster_from, read_cluster
from scheduler.simulator.command import Request, simulate
from scheduler.simulator.history import MOST_BYTES, budgets_at, history_from_json, read_history
from scheduler.simulator.pictures import unit_of
from scheduler.simulator.rehearsal import rehearse, verdicts
from scheduler.simulator.situations import BASE, Situation
from scheduler.simulator.traces.tables import BadTrace
from scheduler.simulator.workload import drafts_of_history
from suanli.sentences.words import one_of_many, said
from tests.builders.traces import small_traces

HOUR_MS = 3_600_000
EXAMPLE = Path(__file__).resolve().parents[3] / "examples/rehearsal/change.yaml"
CLUSTER = """
models: {gpu: {fp16_gflops: 100000}}
nodes:
- {model: gpu, count: 2, devices: 8, nodes_per_leaf: 1}
prices_cny: {gpu: "2.00"}
"""


def a_history(jobs: int = 8) -> dict[str, Any]:
    """Two firms on one node of eight domestic devices; every job takes all of it for an hour."""
    return {
        "from_ms": 0,
        "to_ms": 100 * HOUR_MS,
        "nodes": [
            {"name": "n1", "pool": "ascend", "model": "ascend-910b3", "devices": 8, "fast_link_group": 8}
        ],
        "queues": [
            {"firm": firm, "name": "default", "pools": ["ascend"], "nominal": {}, "weight": 1}
            for firm in "ab"
        ],
        "prices": [{"model": "ascend-910b3", "price_nano_cny": 10_000_000_000}],
        "programs": [
            {"program_id": "city", "rate_ppm": 250_000, "domestic_only": True, "per_firm_cap_fen": 10_000}
        ],
        "jobs": [
            {
                "firm": "ab"[n % 2],
                "queue": "default",
                "submitted_ms": 1_000 + n,
                "devices": 8,
                "devices_per_node": 8,
                "models": ["ascend-910b3"],
                "priority": "normal",
                "time_limit_ms": 2 * HOUR_MS,
                "resumable": False,
                "kind": "fine-tune",
                "model": "ascend-910b3",
                "run_ms": HOUR_MS,
            }
            for n in range(jobs)
        ],
        "jobs_never_run": 3,
    }


@pytest.fixture
def history_file(tmp_path: Path) -> Path:
    """The history as the export writes it."""
    path = tmp_path / "october.json.gz"
    path.write_bytes(gzip.compress(history_text(a_history()).encode()))
    return path


@pytest.mark.parametrize("name", ["h.gz", "h.GZ", "h", "october.json", "october.csv"])
def test_an_export_is_read_under_whatever_name_it_was_written(name: str, tmp_path: Path) -> None:
    content = history_text(a_history()).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    assert figures_of(Request(path))["situations"][0]["summary"]["jobs"] == len(a_history()["jobs"])


@pytest.fixture
def change_file(tmp_path: Path) -> Path:
    """A second node, a higher price, no cap."""
    path = tmp_path / "second-node.yaml"
    path.write_text(
        """
firms:
- name: a
  queues: [{name: default, weight: 3}]
prices:
- {model: ascend-910b3, price_cny_per_device_hour: "12.00", effective_from: "2026-12-01T00:00:00+08:00"}
cluster:
  nodes: [{model: ascend-910b3, devices: 8, pool: ascend}]
""",
        encoding="utf-8",
    )
    return path


def run(request: Request) -> tuple[str, str]:
    """What is printed and what is said beside it."""
    out, err = Console(width=200, record=True, quiet=False), Console(width=200, record=True, stderr=True)
    simulate(request, out, err)
    return out.export_text(), err.export_text()


def figures_of(request: Request) -> dict[str, Any]:
    """What programs are told."""
    out = io.StringIO()
    simulate(replace(request, as_json=True), Console(file=out), Console(stderr=True, quiet=True))
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def test_a_rehearsal_prints_the_seed_first_and_both_policies_side_by_side(
    history_file: Path, change_file: Path
) -> None:
    request = Request(history_file, changes=(change_file,), seed=5)
    out, err = run(request)
    assert out.startswith("seed 5\n")
    assert BASE in out
    assert "second-node" in out
    assert "no run time is known: 3 left out\n" in err
    begins = "2026-11-30T16:00:00.000Z"
    assert f"second-node: prices that begin by {begins} count from the beginning\n" in err
    document = figures_of(request)
    assert document["seed"] == 5
    before, after = document["situations"]
    assert [before["prices_begin"], after["prices_begin"]] == [None, begins]
    assert before["summary"]["makespan_s"] == pytest.approx(8 * 3600, abs=1)
    assert after["summary"]["makespan_s"] == pytest.approx(4 * 3600, abs=1)
    # Eight jobs x 8 devices x an hour x 10 CNY; a quarter of each firm's 320 CNY, at most 100 CNY.
    assert before["summary"]["cost_cny"] == pytest.approx(640)
    assert before["subsidy_cny"] == {"a": pytest.approx(80), "b": pytest.approx(80)}
    assert after["summary"]["cost_cny"] == pytest.approx(768)
    assert before["summary"]["domestic_share"] == 1.0
    assert {v["firm"]: v["verdict"] for v in document["verdicts"]} == {"a": "mixed", "b": "mixed"}


@pytest.mark.parametrize(
    ("held", "hours"),
    [({"held_device_ms": 64 * HOUR_MS}, 1.0), ({}, 0.125)],
    ids=["as exported", "an older export"],
)
def test_the_work_of_an_elastic_job_is_what_its_devices_did_and_not_its_run_time_alone(
    held: dict[str, int], hours: float
) -> None:
    past = a_history(jobs=1)
    past["nodes"] = [dict(past["nodes"][0], name=f"n{n}") for n in range(8)]
    past["jobs"][0] |= {"elastic": {"min_devices": 8, "max_devices": 64}, **held}
    history = history_from_json(json.loads(history_text(past)))
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue
    situation = Situation(BASE, catalogue, history.nodes, history.queues)
    found = rehearse(situation, drafts_of_history(history, catalogue, None), 0)
    assert found.summary.jct.mean_s / 3600 == pytest.approx(hours, rel=0.01)


def test_a_job_of_the_past_takes_its_spare_nodes_besides() -> None:
    past = a_history(jobs=1)
    past["jobs"][0] |= {"spare_nodes": 1, "elastic": {"min_devices": 8, "max_devices": 16}}
    (job,) = history_from_json(json.loads(history_text(past))).jobs
    assert job.devices == 16
    assert list(job.sizes) == [16, 24]


def test_a_spare_node_of_the_past_neither_works_nor_costs() -> None:
    past = a_history(jobs=1)
    past["nodes"] = [dict(past["nodes"][0], name=f"n{n}") for n in range(3)]
    # Eight devices worked for two hours, eight were kept beside them.
    past["jobs"][0] |= {"spare_nodes": 1, "run_ms": 2 * HOUR_MS, "held_device_ms": 32 * HOUR_MS}
    past["jobs"][0] |= {"elastic": {"min_devices": 8, "max_devices": 16}}
    history = history_from_json(json.loads(history_text(past)))
    (job,) = history.jobs
    assert job.run_ms_at_devices == 2 * HOUR_MS
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue
    situation = Situation(
        BASE, catalogue, history.nodes, history.queues, prices_nano_cny=history.prices_nano_cny
    )
    found = rehearse(situation, drafts_of_history(history, catalogue, None), 0)
    (record,) = found.world.records.values()
    assert record.work.shape.spares == 1
    # Alone it grows to two nodes that work, and keeps the third.
    assert found.summary.jct.mean_s == pytest.approx(3600, abs=2)
    assert record.held_device_ms == {"ascend-910b3": pytest.approx(24 * HOUR_MS, rel=1e-3)}
    assert found.summary.cost_cny == pytest.approx(160, rel=1e-3)


@pytest.mark.parametrize(
    ("budget", "done", "makespan_h"),
    [
        # A time limit of two hours costs 160 CNY, and the hour that each job takes 80.
        ({"firm": "a", "project": None, "amount_nano_cny": 320 * 10**9, "period": "total"}, 7, 7),
        ({"firm": "a", "project": None, "amount_nano_cny": 240 * 10**9, "period": "total"}, 6, 6),
        ({"firm": "a", "project": "default", "amount_nano_cny": 100 * 10**9, "period": "month"}, 4, 4),
        ({"firm": "a", "project": "other", "amount_nano_cny": 0, "period": "month"}, 8, 8),
        ({"firm": "a", "project": None, "amount_nano_cny": 999_999_999 * 10**9, "period": "year"}, 8, 8),
    ],
)
def test_a_rehearsal_spends_no_more_than_the_budgets_that_were_set(
    tmp_path: Path, budget: dict[str, Any], done: int, makespan_h: int
) -> None:
    path = tmp_path / "history.json"
    path.write_text(history_text({**a_history(), "budgets": [budget]}))
    (base,) = figures_of(Request(path))["situations"]
    summary = base["summary"]
    assert (summary["jobs"] - summary["unfinished"], summary["unfinished"]) == (done, 8 - done)
    assert summary["makespan_s"] == pytest.approx(makespan_h * 3600, abs=1)
    assert summary["firms"]["a"]["cost_cny"] == pytest.approx(80 * (done - 4))
    assert one_of_many(f"{8 - done} jobs") in run(Request(path))[0] or done == 8


def test_a_month_that_begins_brings_new_money_and_a_change_sets_a_budget(tmp_path: Path) -> None:
    path, change = tmp_path / "history.json", tmp_path / "thrift.yaml"
    path.write_text(history_text(a_history()))
    change.write_text('budgets: [{firm: a, amount_cny: "160.00"}, {firm: b, amount_cny: "500"}]')
    before, after = (s["summary"] for s in figures_of(Request(path, changes=(change,)))["situations"])
    assert (before["unfinished"], after["unfinished"]) == (0, 0)
    # One job of 80 CNY a month may begin where its limit may cost 160: the fourth in the fourth month.
    assert after["makespan_s"] > 85 * 24 * 3600
    assert after["firms"]["a"]["cost_cny"] == pytest.approx(320)
    # A month that brings nothing is not the end: what the firm may spend in the year comes with the next one.
    both = '{firm: a, amount_cny: "160.00", period: year}, {firm: a, project: default, amount_cny: "500"}'
    change.write_text(f"budgets: [{both}]")
    yearly = figures_of(Request(path, changes=(change,)))["situations"][1]["summary"]
    assert (yearly["unfinished"], yearly["makespan_s"] > 3 * 364 * 24 * 3600) == (0, True)
    change.write_text('budgets: [{firm: c, amount_cny: "160.00"}]')
    with pytest.raises(Invalid, match=r"budgets\[0\]\.firm"):
        simulate(Request(path, changes=(change,)), Console(quiet=True), Console(quiet=True))


@pytest.mark.parametrize(
    ("change", "done", "why"),
    [
        ("firms: [{name: a, queues: [{name: default, nominal: {ascend-910b3: 4}}]}]", 4, "quota_too_small"),
        (
            "pools: [{name: mixed}]\nfirms: [{name: a, queues: [{name: default, pools: [mixed]}]}]",
            4,
            "no_such_devices",
        ),
    ],
)
def test_jobs_that_can_never_start_are_counted_with_why_and_their_firm_loses(
    history_file: Path, tmp_path: Path, change: str, done: int, why: str
) -> None:
    path = tmp_path / "never.yaml"
    path.write_text(change)
    request = Request(history_file, changes=(path,), alone=True, output=tmp_path / "out")
    before, after = (s["summary"] for s in figures_of(request)["situations"])
    assert (before["unfinished"], before["never_start"]) == (0, {})
    assert (after["unfinished"], after["never_start"]) == (8 - done, {why: 8 - done})
    assert after["firms"]["a"]["unfinished"] == 8 - done
    out, _ = run(request)
    assert re.search(rf"never start +│ +none │ +{8 - done} jobs \({why} {8 - done}\)", out)
    assert re.search(r"never paid for +│ +none │ +none", out)
    assert re.search(r"│ a +│ never │ .* loses │", out)
    assert re.search(r"│ b +│ never │ .* wins │", out)


def test_jobs_of_a_history_on_a_cluster_with_other_pools_are_not_waited_for(
    history_file: Path, tmp_path: Path
) -> None:
    cluster = tmp_path / "elsewhere.yaml"
    cluster.write_text(CLUSTER.replace("gpu", "ascend-910b3"))
    (base,) = figures_of(Request(history_file, cluster=cluster))["situations"]
    assert base["summary"]["never_start"] == {"no_such_devices": 8}
    assert "8 jobs (no_such_devices 8)" in run(Request(history_file, cluster=cluster))[0]


# In a process that has just begun: in another the machine code may be made already.
UNTIL_MACHINE_CODE = """
import io, sys
from pathlib import Path
from rich.console import Console
from scheduler.simulator.command import Request, simulate

class Told(io.StringIO):
    def write(self, text):
        if "machine code" in text:
            sys.exit("told")  # before it is made, which takes long
        return len(text)

simulate(Request(Path(sys.argv[1]), Path(sys.argv[2]), as_json=True), Console(file=io.StringIO()), Console(file=Told()))
"""


@pytest.mark.parametrize(("nodes", "told"), [(99, ""), (100, "told\n")])
def test_who_will_wait_for_machine_code_is_told_so_also_beside_json(
    nodes: int, told: str, tmp_path: Path
) -> None:
    jobs, cluster = tmp_path / "jobs.csv", tmp_path / "cluster.yaml"
    jobs.write_text("job_id,arrival_s,duration_s,num_gpus\n1,0,60,8\n")
    cluster.write_text(CLUSTER.replace("count: 2", f"count: {nodes}"))
    command = [sys.executable, "-c", UNTIL_MACHINE_CODE, str(jobs), str(cluster)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == told


def test_a_profile_that_is_compared_stands_under_its_own_name(history_file: Path) -> None:
    assert [s["name"] for s in figures_of(Request(history_file, profiles=("packing",)))["situations"]] == [
        BASE,
        "packing",
    ]


def test_a_profile_that_is_not_there_is_named_as_it_was_given(history_file: Path, tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("profile: foo\n")
    for request, field in (
        (Request(history_file, profiles=("foo",)), "--profile"),
        (Request(history_file, changes=(change,)), "profile"),
    ):
        with pytest.raises(Invalid, match=f"{field}: got 'foo', want one of "):
            simulate(request, Console(quiet=True), Console(quiet=True))


def test_the_example_of_a_change_is_one(tmp_path: Path) -> None:
    document = json.loads(history_text(a_history()).replace('"a"', '"yunhe"'))
    document["queues"][0]["pools"] = ["ascend", "mixed"]
    path = tmp_path / "history.json"
    path.write_text(json.dumps(document))
    before, after = figures_of(Request(path, changes=(EXAMPLE,)))["situations"]
    assert after["summary"]["makespan_s"] < before["summary"]["makespan_s"]
    assert after["summary"]["cost_cny"] == pytest.approx(0.88 * before["summary"]["cost_cny"])


def test_the_same_seed_gives_the_same_figures(history_file: Path) -> None:
    def figures() -> dict[str, Any]:
        document = figures_of(Request(history_file, profiles=("packing",)))
        for situation in document["situations"]:
            situation["summary"].pop("decision_p50_ms")
            situation["summary"].pop("decision_p99_ms")
        return document

    assert figures() == figures()


def test_a_firm_that_waits_less_for_the_same_money_wins(history_file: Path) -> None:
    history = read_history(history_file)
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue

    base = Situation(
        BASE,
        catalogue,
        history.nodes,
        history.queues,
        prices_nano_cny=history.prices_nano_cny,
        programs=history.programs,
    )
    more = replace(base, nodes=(*history.nodes, replace(history.nodes[0], name="n2")))
    drafts = drafts_of_history(history, catalogue, None)
    outcomes = [rehearse(base, drafts, 0), rehearse(more, drafts, 0)]
    assert [verdict.verdict for verdict in verdicts(outcomes)] == ["wins", "wins"]
    assert [verdict.verdict for verdict in verdicts(outcomes[::-1])] == ["loses", "loses"]
    assert [verdict.verdict for verdict in verdicts([outcomes[0], outcomes[0]])] == ["same", "same"]


def test_each_firm_is_compared_with_itself_alone_on_its_quota(history_file: Path) -> None:
    history = read_history(history_file)
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue
    quotas = {"a": {"ascend-910b3": 8}, "b": {"ascend-910b3": 8}, "c": {}}
    queues = [
        replace(history.queues[0], key=QueueKey(FirmId(firm), "default"), nominal=nominal, cohort="all")
        for firm, nominal in quotas.items()
    ]
    nodes = (*history.nodes, replace(history.nodes[0], name="n2"))
    situation = Situation(BASE, catalogue, nodes, tuple(queues), (Cohort("all"),))
    drafts = drafts_of_history(history, catalogue, None)
    one_each, few = drafts[:2], [*drafts[:1], *drafts[1::2]]
    assert rehearse(situation, one_each, 0).against_alone is None
    assert rehearse(situation, one_each, 0, alone=True).against_alone == {"a": 1.0, "b": 1.0}
    # One job of a and four of b, each of an hour: from the second hour on b has a's node, too.
    found = rehearse(situation, few, 0, alone=True).against_alone
    assert found == {"a": 1.0, "b": pytest.approx((1 + 2 + 2 + 3) / (1 + 2 + 3 + 4), abs=0.01)}
    # b's own budget lets it start one job a month, among others as well as alone.
    month = ProjectBudget(BudgetKey(FirmId("b"), WHOLE_FIRM), 160 * 10**9, BudgetPeriod.MONTH)
    thrift = replace(situation, prices_nano_cny=history.prices_nano_cny, budgets=(BudgetSpent(month),))
    found = rehearse(thrift, few, 0, alone=True).against_alone
    assert found == {"a": 1.0, "b": pytest.approx(1.0, abs=0.01)}


def test_an_elastic_job_of_which_the_least_fits_is_rehearsed_at_that_size() -> None:
    past = a_history(jobs=2)
    for job in past["jobs"]:
        job["devices"] = 32
    past["jobs"][0]["elastic"] = {"min_devices": 8, "max_devices": 64}
    history = history_from_json(json.loads(history_text(past)))
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue
    situation = Situation(BASE, catalogue, history.nodes, history.queues)
    found = rehearse(situation, drafts_of_history(history, catalogue, None), 0)
    assert (found.summary.jobs, found.left_out) == (1, 1)
    assert found.summary.jct.mean_s == pytest.approx(4 * 3_600, abs=1)  # with a quarter of the devices


def test_what_was_spent_before_an_export_is_gone_until_the_budgets_next_period() -> None:
    def budget(period: str) -> dict[str, Any]:
        of_b = {"firm": "b", "project": None, "period": period}
        return {**of_b, "amount_nano_cny": 100 * 10**9, "spent_nano_cny": 70 * 10**9}

    for period, later in (("month", 100), ("total", 30)):
        history = history_from_json(json.loads(history_text({**a_history(), "budgets": [budget(period)]})))
        for at_ms, left in ((1_000, 30), (40 * 24 * HOUR_MS, later)):
            virtual = VirtualBudgets(budgets_at(history, at_ms), history.prices_nano_cny, at_ms)
            assert [money.left_nano for money in virtual.money((), (), 0).values()] == [left * 10**9]


def test_curves_go_to_the_end_of_the_last_job_in_a_unit_that_suits_them(history_file: Path) -> None:
    history = read_history(history_file)
    catalogue = cluster_from({"nodes": [{"model": "ascend-910b3", "devices": 8}]}).catalogue
    situation = Situation(BASE, catalogue, history.nodes, history.queues)
    world = rehearse(situation, drafts_of_history(history, catalogue, 2), 0).world
    curve = world.measured.curve
    assert curve[-1] == (max(stretch.until_ms for stretch in world.stretches), 0, 0, 0)
    assert unit_of(curve) == (60_000, "minutes")
    assert unit_of([(0, 0.0, 0, 0), (90_000, 0.0, 0, 0)]) == (1_000, "seconds")
    assert unit_of([(0, 0.0, 0, 0), (5 * HOUR_MS, 0.0, 0, 0)]) == (HOUR_MS, "hours")


@pytest.mark.parametrize("table", ["queue/pai.csv.gz", "firms/jobs.csv", "stepped/physical_max_min.csv"])
def test_a_table_of_jobs_of_any_kind_is_rehearsed_with_pictures(tmp_path: Path, table: str) -> None:
    traces = small_traces(tmp_path / "traces")
    cluster = tmp_path / "cluster.yaml"
    models = "{v100: {fp16_gflops: 125000}, p100: {fp16_gflops: 21000}}"
    cluster.write_text(f"models: {models}\nnodes:\n- {{model: v100, count: 2, devices: 8}}\n")
    output = tmp_path / "report"
    out, err = run(Request(traces / table, cluster=cluster, first=20, output=output))
    assert "completion, average" in out
    assert "report.html" in err
    names = sorted(path.name for path in output.iterdir())
    assert names == [f"{BASE}-curves.png", f"{BASE}-gantt.png", "report.html"]
    assert (output / f"{BASE}-gantt.png").read_bytes().startswith(b"\x89PNG")
    page = (output / "report.html").read_text()
    assert "data:image/png;base64," in page
    for named in (traces / table, cluster):
        digest = hashlib.sha256(named.read_bytes()).hexdigest()
        assert f"<td>{named}, sha256 {digest}</td>" in page
    assert "<td>seed</td><td>0</td>" in page
    assert "<th></th><th></th>" not in page.replace("\n", "")
    assert "<meta name='viewport'" in page
    assert "<td>first jobs alone (--first)</td><td>20</td>" in page


def test_what_a_rehearsal_was_of_is_told_to_programs_too(history_file: Path, change_file: Path) -> None:
    told = figures_of(Request(history_file, changes=(change_file,), first=4))["of"]
    assert told["first"] == 4
    assert [(one["file"], one["sha256"]) for one in (told["jobs"], *told["changes"])] == [
        (str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in (history_file, change_file)
    ]
    assert told["cluster"] is None


def test_a_rehearsal_is_told_in_chinese_to_who_reads_it(
    history_file: Path, change_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    out, err = run(
        Request(history_file, changes=(change_file,), output=tmp_path, seed=5, first=4, alone=True)
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8").partition("<img")[0]
    assert out.startswith("种子 5\n")
    assert "<html lang='zh'>" in page
    for told in (out, err, page.partition("</style>")[2]):
        # Names of firms, files and profiles, and units stay.
        assert not re.search(r"[a-z]{2,} [a-z]{2,}", told), told
    assert "现行" in out
    assert "<h2>现行：各企业占用的设备</h2>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(said(cause) != cause for cause in [*StopCause, "node_failed"])
    refused = "t.csv, line 2, column arrival_s: 'x', wanted a number"
    assert said(refused) == "t.csv 第 2 行，列 arrival_s：'x'，应为数字"


@pytest.mark.parametrize("name", ["running", "none", "All jobs"])
def test_a_change_file_keeps_its_name_in_chinese(
    history_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    change = tmp_path / f"{name}.yaml"
    change.write_text("profile: packing", encoding="utf-8")
    out, _ = run(Request(history_file, changes=(change,), first=2, output=tmp_path / "out"))
    assert out.count(name) == 4  # at the head of two tables, and in the verdict on each firm


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("format", "other/9", "format"),
        ("jobs", [], "jobs"),
        ("nodes", [{"name": "n"}], "nodes[0].model"),
        ("to_ms", "soon", "to_ms"),
        ("colour", 1, "colour"),
    ],
)
def test_a_bad_history_is_refused_with_the_field(field: str, value: object, at: str) -> None:
    document = {**json.loads(history_text(a_history())), field: value}
    with pytest.raises(Invalid) as caught:
        history_from_json(document)
    assert at in [problem.field for problem in caught.value.problems]


def test_files_that_cannot_be_read_are_refused(tmp_path: Path, history_file: Path) -> None:
    broken, table, cluster = tmp_path / "broken.json", tmp_path / "t.csv", tmp_path / "c.yaml"
    broken.write_text("{")
    table.write_text("a,b\n1,2\n")
    cluster.write_text(CLUSTER)
    for request in (
        Request(broken),
        Request(tmp_path / "absent.json"),
        Request(table),  # no cluster
        Request(table, cluster=tmp_path / "absent.yaml"),
        Request(history_file, changes=(tmp_path / "absent.yaml",)),
        Request(history_file, changes=(broken,)),
    ):
        with pytest.raises((Invalid, BadFile, BadTrace)):
            run(request)
    with pytest.raises(BadTrace, match=r"not a table of jobs: it has .*, wanted the columns job_id, "):
        run(Request(table, cluster=cluster))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5_000, "a number that is too long"),
        (gzip.compress(b" " * (MOST_BYTES + 1), 1), f"more than {MOST_BYTES} bytes"),
        (b'{"format": "\xff"}', "got not UTF-8 text"),
        (b'{\n"format": }', "no JSON in line 2, column 11"),
        (gzip.compress(b"{}")[:-4], "its gzip is broken, or cut off"),
        (gzip.compress(b"{}")[:-8] + b"12345678", "its gzip is broken, or cut off"),
    ],
    ids=["nested", "long number", "swelling", "no text", "no JSON", "cut off", "changed"],
)
def test_a_file_that_swells_is_nested_without_end_or_is_no_history_is_refused_by_name(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "deep.json"
    path.write_bytes(content)
    with pytest.raises(Invalid, match=r"deep\.json") as refused:
        run(Request(path))
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", ": got [], want an object with text keys"),
        ('{"format": 1}', ": format: got 1, want one of suanli-history/1"),
    ],
)
def test_a_history_of_another_form_is_told_with_its_file(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(content)
    with pytest.raises(Invalid) as refused:
        run(Request(path))
    told = [f"{problem.field}: got {problem.got}, want {problem.want}" for problem in refused.value.problems]
    assert told == [f"{path}{said}"]


def test_of_a_file_of_several_clusters_one_must_be_named(tmp_path: Path, history_file: Path) -> None:
    path = tmp_path / "clusters.yaml"
    path.write_text(
        "".join(f"{name}:\n  nodes: [{{model: h100, devices: 8}}]\n" for name in ("east", "west"))
    )
    with pytest.raises(Invalid) as refused:
        run(Request(history_file, cluster=path))
    (problem,) = refused.value.problems
    assert (problem.field, problem.got, problem.want) == ("--cluster-name", "nothing", "one of: east, west")


def test_a_change_for_a_firm_or_a_pool_that_is_not_there_is_refused(
    history_file: Path, tmp_path: Path
) -> None:
    for text in (
        "firms: [{name: nobody, queues: [{name: default}]}]",
        "firms: [{name: a, queues: [{name: default, pools: [nowhere]}]}]",
        "profile: fastest",
        "moves: perhaps",
        "cluster: {nodes: [{model: unheard-of, devices: 8}]}",
        "quota: 3",
    ):
        path = tmp_path / "change.yaml"
        path.write_text(text)
        with pytest.raises(Invalid):
            run(Request(history_file, changes=(path,)))
    (tmp_path / "change.yaml").write_text("quota: 3")
    with pytest.raises(
        Invalid, match=r"want one of: budgets, cluster, cohorts, firms, .* moves, .* profile, "
    ):
        run(Request(history_file, changes=(tmp_path / "change.yaml",)))
    with pytest.raises(Invalid, match="profile: got 'fastest', want one of balanced, "):
        run(Request(history_file, profiles=("fastest",)))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (
            "cluster: {nodes: [{model: ascend-910b3, devices: 8, pool: mars}]}",
            r"cluster.nodes\[0\].pool: got mars",
        ),
        (
            'prices: [{model: h9, price_cny_per_device_hour: "1", effective_from: "2026-12-01T00:00:00Z"}]',
            r"prices\[0\].model: got h9",
        ),
        ("firms: [{name: a, queues: [{name: default, nominal: {h9: 8}}]}]", r"firms: a/default\.nominal\.h9"),
        (
            'reservations: [{name: r, firm: c, nodes: [n1], from: "2026-12-01T00:00:00Z",'
            ' until: "2027-01-01T00:00:00Z"}]',
            r"reservations\[0\].firm: got c",
        ),
    ],
)
def test_what_a_change_may_not_name_is_refused_by_its_field(
    history_file: Path, tmp_path: Path, text: str, field: str
) -> None:
    path = tmp_path / "change.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=field):
        run(Request(history_file, changes=(path,)))


def test_nobody_runs_in_a_window_of_maintenance_that_a_change_proposes(tmp_path: Path) -> None:
    begins_ms = 1_800_000_000_000
    past = a_history(jobs=2)
    for job in past["jobs"]:
        job["submitted_ms"] += begins_ms
    path, change = tmp_path / "history.json", tmp_path / "works.yaml"
    path.write_text(history_text({**past, "from_ms": begins_ms, "to_ms": begins_ms + 100 * HOUR_MS}))
    from_, until = (to_rfc3339(begins_ms + hours * HOUR_MS) for hours in (1, 11))
    change.write_text(f"maintenance: [{{name: works, pool: ascend, from: '{from_}', until: '{until}'}}]")
    before, after = (s["summary"] for s in figures_of(Request(path, changes=(change,)))["situations"])
    assert before["makespan_s"] == pytest.approx(2 * 3600, abs=1)
    # Neither job's limit of two hours ends before the window begins: both run after it.
    assert after["makespan_s"] == pytest.approx(13 * 3600, abs=60)
    table = tmp_path / "t.csv"
    table.write_text("job_id,arrival_s,duration_s,num_gpus\n1,0,60,8\n")
    (tmp_path / "c.yaml").write_text(CLUSTER)
    with pytest.raises(Invalid, match="jobs of a table have no dates"):
        run(Request(table, cluster=tmp_path / "c.yaml", changes=(change,)))


def test_a_queue_of_a_change_that_names_no_pools_has_all_as_apply_would_give_it(tmp_path: Path) -> None:
    path, change = tmp_path / "history.json", tmp_path / "more.yaml"
    path.write_text(history_text(a_history()))
    change.write_text(
        "firms: [{name: a, queues: [{name: default}]}]\n"
        "cluster: {nodes: [{model: ascend-910b3, devices: 8, pool: new}]}"
    )
    firms = figures_of(Request(path, changes=(change,)))["situations"][1]["summary"]["firms"]
    assert firms["a"]["jct"]["longest_s"] == pytest.approx(3 * 3600, abs=1)  # in both pools


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("firms: [{name: a, queues: [{name: default, cohort: x}]}]", "firms: a/default.cohort: got x, want a cohort"),
        ("cohorts: [{name: x, parent: x}]", "cohorts: x.parent: got x, want a cohort that is not below it: x -> x"),
        ("budgets: [{firm: nobody, amount_cny: '1'}]", "budgets[0].firm: got nobody, want one of: a, b"),
        ("profile: fastest", "profile: got 'fastest', want one of balanced"),
        ("cluster: {nodes: [{model: ascend-910b3, devices: 8}]}", "cluster.nodes[0].pool: got nothing, want a pool of"),
        ("cluster: {nodes: [{model: unheard-of, devices: 8}]}", "cluster.nodes[0].model: got 'unheard-of'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_change_is_named_by_its_file_and_whose_it_is(
    history_file: Path, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "change.yaml"
    path.write_text(text)
    with pytest.raises(Invalid) as refused:
        run(Request(history_file, changes=(path,)))
    (problem,) = refused.value.problems
    assert f"{problem.field}: got {problem.got}, want {problem.want}".startswith(f"{path}: {said}")


def test_what_a_change_sets_in_a_queue_is_said_with_what_it_leaves_out(
    history_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "heavy.yaml"
    path.write_text("firms: [{name: a, queues: [{name: default, nominal: {ascend-910b3: 8}}]}]")
    lighter = tmp_path / "lighter.yaml"
    lighter.write_text("firms: [{name: a, queues: [{name: default, weight: 50}]}]")
    _, err = run(Request(history_file, changes=(path, lighter), first=2))
    assert [line for line in err.splitlines() if ": " in line and "left out" not in line] == [
        "heavy: queue a/default: nominal.ascend-910b3 none -> 8",
        "lighter: queue a/default: weight 1 -> 50",
    ]


def test_what_changes_no_rehearsal_is_said_to_be_left(history_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "change.yaml"
    path.write_text(
        "nodes: [{name: n1, leaf: leaf-1}]\nusers: []\npools: [{name: ascend, volumes: []}]\n"
        "firms: [{name: a, projects: [vision]}]\n"
    )
    _, err = run(Request(history_file, changes=(path,), first=2))
    assert "change: changes nothing here: nodes, pools, firms.projects\n" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\nmoves: *a\n", ", line 2: aliases (*name) are not allowed; write the value out"),
        ("moves: true\nmoves: false\n", ", line 2: moves is already on line 1"),
        ("firms: [\n", ", line 2: not YAML: "),
        (f"firms: {'[' * 3000}{']' * 3000}", ": nested too deeply"),
        ("- a\n", ": holds a list, want keys and values like `name: my-job`"),
        ("", ", line 1: the file is empty"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    history_file: Path, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(BadFile, match=re.escape(f"{path}{said}")):
        run(Request(history_file, changes=(path,)))
    with pytest.raises(BadFile, match=re.escape(f"{path}{said}")):
        read_cluster(path)


@pytest.mark.parametrize(
    "word", ["2026-99-99", "0000-01-01", "0b_", "._", "9" * 5000, "[x, x, x, x, x, x, x, x, x, x, x]"]
)
def test_a_word_that_is_no_switch_is_refused_in_a_sentence(
    history_file: Path, tmp_path: Path, word: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"moves: {word}\n")
    with pytest.raises(Invalid, match=r"a.yaml: moves: got .{1,60}, want true or false$"):
        run(Request(history_file, changes=(path,)))


def test_times_and_names_need_no_quotes_as_where_they_are_applied(history_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "cohorts: [{name: on}, {name: 010}]\n"
        "maintenance: [{name: works, pool: new, from: 2030-01-01T00:00:00+08:00, until: 2030-01-02T00:00:00+08:00}]\n"
        "cluster: {nodes: [{model: ascend-910b3, devices: 8, pool: new}]}\n"
        "firms: [{name: a, queues: [{name: default, cohort: 010}]}]\n"
    )
    run(Request(history_file, changes=(path,), first=2))


def test_a_cluster_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER)
    described = read_cluster(path)
    assert described.devices == {"gpu": 16}
    assert described.prices_nano_cny == {"gpu": 2_000_000_000}
    assert [node.domains[-1] for node in described.nodes] == ["gpu-0-leaf-0", "gpu-0-leaf-1"]
    with pytest.raises(Invalid) as caught:
        cluster_from({"nodes": [{"model": "x", "devices": -1}], "prices_cny": {"x": "much"}, "colour": 1})
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["nodes[0].devices", "nodes[0].model", "prices_cny.x", "colour"]
    path.write_text(
        "models: {gpu: {speed: 1}}\nnodes: [{model: gpu, devices: 8, count: 150000, colour: 1}, "
        "{model: gpu, devices: 8, count: 150000}]"
    )
    with pytest.raises(Invalid) as caught:
        read_cluster(path)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == [
        "cluster.yaml: models.gpu.speed",
        "cluster.yaml: nodes[0].colour",
        "cluster.yaml: nodes",
    ]
    with pytest.raises(Invalid):
        read_cluster(path, "absent")


@pytest.mark.parametrize(
    ("nodes", "got"),
    [(7, "7"), ([], "'0 nodes'"), (None, "'0 nodes'")],
    ids=["a number", "an empty list", "none"],
)
def test_what_is_no_list_of_nodes_is_told_once(nodes: object, got: str) -> None:
    with pytest.raises(Invalid) as caught:
        cluster_from({"nodes": nodes})
    assert [(problem.field, problem.got) for problem in caught.value.problems] == [("nodes", got)]


def test_of_a_history_with_many_wrong_fields_the_first_are_told_and_the_others_counted(
    tmp_path: Path,
) -> None:
    history = a_history()
    history["jobs"] = [{**history["jobs"][0], "firm": "", "run_ms": 0}] * 70
    wrong = tmp_path / "wrong.json"
    wrong.write_text(history_text(history))
    done = CliRunner().invoke(app, ["simulate", str(wrong)])
    lines = done.stderr.splitlines()
    assert (done.exit_code, len(lines)) == (2, 21)
    assert lines[0].endswith("wrong.json: jobs[0].firm: got '', want a name")
    assert lines[1].endswith(
        "wrong.json: jobs[0].run_ms: got 0, want a whole number from 1 to 140737488355328"
    )
    assert lines[-1] == "        more wrong fields: 120"


def test_firms_and_queues_of_a_history_have_names() -> None:
    history = a_history(1)
    history["queues"][0] |= {"firm": "", "name": ""}
    history["jobs"][0] |= {"firm": "", "queue": ""}
    with pytest.raises(Invalid) as refused:
        history_from_json(json.loads(history_text(history)))
    assert [(wrong.field, wrong.want) for wrong in refused.value.problems] == [
        (field, "a name") for field in ("queues[0].firm", "queues[0].name", "jobs[0].firm", "jobs[0].queue")
    ]
