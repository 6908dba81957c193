"""Every query of the dashboard and of the alerts, against a real Prometheus that scrapes a real cluster."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.demo_cluster import RunningCluster, demo_cluster
from tests.builders.prometheus import Prometheus, prometheus_tool, running_prometheus, wait_until

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROCESSES = {"api", "gateway", "controller", "ledger", "agent"}
# Grafana puts in four scrape intervals at least.
RATE_INTERVAL = "10s"
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    """The demo's cluster, with one job that is done, one that runs and one that waits."""
    prometheus_tool("prometheus")
    with demo_cluster(window_ms=1_000) as running:
        people = running.people
        short = people.researchers["yunhe"].submit(a_job("short", "ascend-910b3", 1, "exec true"))
        assert people.researchers["yunhe"].wait(short["job_id"])["state"] == "succeeded"
        long = people.researchers["yunhe"].submit(a_job("long", "mlu370-x8", 8, "exec sleep 600"))
        # One plan for both would seat the firm that has used less, first.
        assert wait_until(
            lambda: people.researchers["yunhe"].job(long["job_id"])["state"] == "running", LIMIT_S
        )
        people.researchers["lantian"].submit(a_job("waits", "mlu370-x8", 1, "exec true"))
        people.operator.set_budget("yunhe", "1000.00", project="research", period="year")
        yield running


@pytest.fixture(scope="module")
def prometheus(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    targets = folder / "targets"
    subprocess.run(
        [sys.executable, DEPLOY / "prometheus/targets.py", cluster.cluster.control, targets / "up.json"],
        check=True,
        capture_output=True,
    )
    agents = [url.removeprefix("http://").removesuffix("/metrics") for url in agent_urls(cluster)]
    groups = [{"targets": agents, "labels": {"process": "agent"}}]
    (targets / "agents.json").write_text(json.dumps(groups), encoding="utf-8")
    with running_prometheus(folder, targets) as running:
        yield running


def agent_urls(cluster: RunningCluster) -> list[str]:
    return list(cluster.cluster.agent_metrics.values())


def a_job(name: str, model: str, devices: int, command: str) -> dict[str, Any]:
    return {
        "name": name,
        "project": "research",
        "kind": "interactive",
        "gang": {"devices": devices, "processes_per_node": 1},
        "variants": [{"model": model, "command": ["/bin/sh", "-c", command]}],
    }


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, query) of the dashboard as it is shipped."""
    shipped = json.loads((DEPLOY / "grafana/suanli.json").read_text(encoding="utf-8"))
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", RATE_INTERVAL))
        for panel in shipped["panels"]
        for target in panel.get("targets", ())
    ]


def alert_rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [prometheus_tool("promtool"), *arguments], check=False, capture_output=True, text=True
    )


def test_prometheus_accepts_the_rules() -> None:
    run = promtool("check", "rules", DEPLOY / "prometheus/rules.yml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(alert_rules())} rules found" in run.stdout


def test_prometheus_accepts_the_configuration() -> None:
    run = promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    cases = DEPLOY / "prometheus/rules.test.yml"
    run = promtool("test", "rules", cases)
    assert run.returncode == 0, run.stdout + run.stderr
    tests = yaml.safe_load(cases.read_text(encoding="utf-8"))["tests"]
    expected = [case for test in tests for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in expected if case.get("exp_alerts")}
    silent = {case["alertname"] for case in expected if not case.get("exp_alerts")}
    alerts = {rule["alert"] for rule in alert_rules()}
    assert (fires, silent) == (alerts, alerts)


def test_prometheus_reaches_every_process(prometheus: Prometheus) -> None:
    def reached() -> set[str]:
        return {s["metric"]["process"] for s in prometheus.query('up{job="suanli"} == 1')}

    assert wait_until(lambda: reached() == PROCESSES, LIMIT_S), reached()


def test_every_query_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    queries = dashboard_queries()
    assert len(queries) > 20

    def silent() -> list[tuple[str, str]]:
        return [
            (panel, query)
            for panel, query in queries
            if not any(not math.isnan(float(s["value"][1])) for s in prometheus.query(query))
        ]

    assert wait_until(lambda: silent() == [], LIMIT_S), silent()


def test_the_dashboard_tells_the_truth_about_devices_and_jobs(prometheus: Prometheus) -> None:
    def devices() -> dict[tuple[str, str, str], float]:
        samples = prometheus.query("sum by (pool, model, state) (suanli_devices)")
        return {
            (s["metric"]["pool"], s["metric"]["model"], s["metric"]["state"]): float(s["value"][1])
            for s in samples
        }

    meant = {("ascend", "ascend-910b3", "idle"): 16.0, ("mixed", "mlu370-x8", "allocated"): 8.0}
    assert wait_until(lambda: devices() == meant, LIMIT_S), devices()

    def waiting() -> float:
        return sum(float(s["value"][1]) for s in prometheus.query("sum(suanli_waiting_jobs)"))

    assert wait_until(lambda: waiting() == 1.0, LIMIT_S), waiting()


def test_a_budget_is_seen_with_what_is_spent_and_held_of_it(
    prometheus: Prometheus, cluster: RunningCluster
) -> None:
    def seen(name: str) -> float:
        labels = 'firm="yunhe", project="research", period="year"'
        return sum(float(s["value"][1]) for s in prometheus.query(f"suanli_budget_{name} {{{labels}}}"))

    assert wait_until(lambda: seen("spent_cny") > 0, LIMIT_S), prometheus.query("suanli_budget_spent_cny")
    (budget,) = cluster.people.operator.budgets()
    assert seen("spent_cny") <= float(budget["spent_cny"])
    # Without a time limit an hour is held: 8 devices at their price.
    assert (seen("cny"), seen("held_cny"), budget["held_cny"]) == (1000.0, 36.8, "36.80")


def test_every_alert_is_evaluated_without_an_error_and_none_fires(prometheus: Prometheus) -> None:
    names = {rule["alert"] for rule in alert_rules()}

    def evaluated() -> bool:
        found = prometheus.rules()
        return found.keys() == names and all(rule["health"] == "ok" for rule in found.values())

    assert wait_until(evaluated, LIMIT_S), prometheus.rules()
    firing = {name for name, rule in prometheus.rules().items() if rule["state"] == "firing"}
    assert firing == set()
