"""The operator's first view, as code: `python deploy/grafana/dashboard.py` rewrites suanli.json.

`--check` only says whether the file is what this code makes. Every query below is evaluated against a real
Prometheus that scrapes a real cluster, in tests/integration/test_dashboard.py.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "suanli.json"
COLUMNS = 24  # Grafana's grid
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and how its series are named."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: lines over time, or with `now` the newest value in large figures."""

    title: str
    says: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    now: bool = False
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


FIRST_LOOK = Row(
    "At a glance",
    (
        Panel(
            "Devices allocated",
            "Share of all enrolled devices that work for somebody.",
            (Query('sum(suanli_devices{state="allocated"} or suanli_devices * 0) / sum(suanli_devices)'),),
            unit="percentunit",
            width=4,
            now=True,
        ),
        Panel(
            "Nodes connected",
            "Nodes with an open control stream, over all gateways.",
            (Query("sum(suanli_gateway_connected_nodes)"),),
            width=4,
            now=True,
        ),
        Panel(
            "Jobs waiting",
            "Queued jobs, whatever they wait for.",
            (Query('sum(suanli_jobs{state="queued"}) or vector(0)'),),
            width=4,
            now=True,
        ),
        Panel(
            "Entries in the log",
            "Size of the evidence log.",
            (Query("max(suanli_ledger_log_size)"),),
            width=4,
            now=True,
        ),
        Panel(
            "Newest log checkpoint",
            "Its age: how far the published evidence lies behind.",
            (Query("time() - (max(suanli_ledger_checkpoint_timestamp_seconds) > 0)"),),
            unit="s",
            width=4,
            now=True,
        ),
        Panel(
            "Processes answering",
            "Processes that Prometheus reaches, of those it knows.",
            (Query('sum(up{job="suanli"}) / count(up{job="suanli"})'),),
            unit="percentunit",
            width=4,
            now=True,
        ),
    ),
)
WORK = Row(
    "Devices and jobs",
    (
        Panel(
            "Devices by state",
            "Per pool and device model.",
            (Query("sum by (pool, model, state) (suanli_devices)", "{{pool}} {{model}} {{state}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Jobs by state",
            "Jobs that have not ended.",
            (Query("sum by (state) (suanli_jobs)", "{{state}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            "Queues by reason",
            "Waiting jobs by the first reason of the newest cycle.",
            (Query("sum by (queue, reason) (suanli_waiting_jobs)", "{{queue}} {{reason}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            "Budgets",
            "Share of each that is spent in its present period; from 1 on nothing starts that it pays for.",
            (
                Query(
                    "max by (firm, project, period) (suanli_budget_spent_cny / (suanli_budget_cny > 0))",
                    "{{firm}} {{project}} ({{period}})",
                ),
            ),
            unit="percentunit",
            width=12,
        ),
        Panel(
            "Waiting for money",
            "Waiting jobs whose time limit a budget cannot pay for, by queue.",
            (
                Query(
                    'sum by (queue) (suanli_waiting_jobs{reason="budget_exhausted"}) or vector(0)',
                    "{{queue}}",
                ),
            ),
            width=12,
        ),
    ),
)
CYCLE_QUANTILE = (
    "histogram_quantile({}, sum by (le) (rate(suanli_controller_cycle_seconds_bucket[$__rate_interval])))"
)
MACHINERY = Row(
    "Control plane",
    (
        Panel(
            "Cycle",
            "Inbox taken, applied, planned and committed.",
            (
                Query(CYCLE_QUANTILE.format(0.5), "half"),
                Query(CYCLE_QUANTILE.format(0.99), "99 of 100"),
            ),
            unit="s",
        ),
        Panel(
            "Inbox",
            "Age of the oldest message that the controller took.",
            (Query("max(suanli_controller_inbox_lag_seconds)", "lag"),),
            unit="s",
        ),
        Panel(
            "Nodes",
            "Connected nodes by gateway, and nodes by state.",
            (
                Query("sum by (instance) (suanli_gateway_connected_nodes)", "at {{instance}}"),
                Query("sum by (pool, state) (suanli_nodes)", "{{pool}} {{state}}"),
            ),
        ),
        Panel(
            "Memory of processes",
            "Resident memory, shared pages counted in each.",
            (Query('process_resident_memory_bytes{job="suanli"}', "{{process}} {{instance}}"),),
            unit="bytes",
            width=12,
        ),
        Panel(
            "Requests",
            "Answers of the API by status.",
            (Query("sum by (status) (rate(suanli_api_requests_total[$__rate_interval]))", "{{status}}"),),
            unit="reqps",
            width=12,
        ),
    ),
)
EVIDENCE = Row(
    "Evidence",
    (
        Panel(
            "Log size",
            "Entries sequenced.",
            (Query("max(suanli_ledger_log_size)", "entries"),),
        ),
        Panel(
            "Usage intake",
            "Age of the oldest usage window that waits for its log index.",
            (Query("max(suanli_ledger_intake_lag_seconds)", "lag"),),
            unit="s",
        ),
        Panel(
            "Witnesses",
            "Entries that each witness has not cosigned yet.",
            (Query("max by (witness) (suanli_ledger_cosign_lag_entries)", "{{witness}}"),),
        ),
        Panel(
            "Windows stored",
            "Usage windows that gateways verified and stored.",
            (Query("sum(rate(suanli_gateway_windows_stored_total[$__rate_interval]))", "windows"),),
            unit="cps",
        ),
        Panel(
            "Never to be seen",
            "Milliseconds in an hour that a device worked for nobody or for two; refused windows and facts.",
            (
                Query("sum(increase(suanli_ledger_unattributed_device_ms_total[1h]))", "for nobody, ms"),
                Query("sum(increase(suanli_ledger_double_attributed_device_ms_total[1h]))", "for two, ms"),
                Query("sum(increase(suanli_gateway_windows_refused_total[1h])) or vector(0)", "windows"),
                Query("max(suanli_ledger_intake_refused)", "facts"),
            ),
            width=16,
        ),
    ),
)
HOSTS = Row(
    "Hosts",
    (
        Panel(
            "Devices that are well",
            "As the vendor's library says, per host.",
            (Query("sum by (instance) (suanli_agent_device_healthy)", "{{instance}}"),),
        ),
        Panel(
            "Tasks",
            "Tasks on hosts by phase.",
            (Query("sum by (phase) (suanli_agent_tasks)", "{{phase}}"),),
            stacked=True,
        ),
        Panel(
            "Windows at hosts",
            "Usage windows that are signed but not yet in the log.",
            (Query("sum by (instance) (suanli_agent_windows_waiting)", "{{instance}}"),),
        ),
    ),
)
ROWS = (FIRST_LOOK, WORK, MACHINERY, EVIDENCE, HOSTS)


def queries() -> Iterator[tuple[str, str]]:
    """(panel's title, expression) of every query of the dashboard."""
    for row in ROWS:
        for panel in row.panels:
            for query in panel.queries:
                yield panel.title, query.expression


def dashboard() -> dict[str, Any]:
    """What Grafana imports (schema version 39, Grafana 11)."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        panels.append(_heading(row.title, len(panels) + 1, y))
        y += 1
        x = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            height = HEIGHT // 2 if panel.now else HEIGHT
            panels.append(_panel(panel, len(panels) + 1, {"x": x, "y": y, "w": panel.width, "h": height}))
            x += panel.width
        y += HEIGHT // 2 if row.panels[-1].now else HEIGHT
    return {
        "title": "Suanli",
        "uid": "suanli",
        "description": "The operator's first view. Written by deploy/grafana/dashboard.py.",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "tags": ["suanli"],
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _heading(title: str, number: int, y: int) -> dict[str, Any]:
    grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def _panel(panel: Panel, number: int, grid: dict[str, int]) -> dict[str, Any]:
    custom = (
        {}
        if panel.now
        else {
            "custom": {
                "fillOpacity": 20 if panel.stacked else 0,
                "stacking": {"mode": "normal" if panel.stacked else "none"},
            }
        }
    )
    return {
        "id": number,
        "type": "stat" if panel.now else "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, **custom}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
                "instant": panel.now,
                "range": not panel.now,
            }
            for at, query in enumerate(panel.queries)
        ],
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it; exit status 1 when it is stale."""
    if "--check" in arguments:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == text():
            return 0
        print(f"{FILE.name} is stale: run python deploy/grafana/dashboard.py")
        return 1
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
