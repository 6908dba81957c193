"""What lies in deploy/ fits the program: commands, variables, alerts and their runbooks."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from scheduler.app import app
from scheduler.settings import PREFIX, Settings
from tests.architecture.sources import ROOT, committed, text_of

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
CONTROL_PLANE = [unit for unit in UNITS if unit.stem != "suanli-agent"]
# Of compose itself: they choose images and names.
OF_COMPOSE = {"SUANLI_IMAGE"}


def commands() -> set[str]:
    """Verbs of `python -m scheduler`."""
    group = typer.main.get_command(app)
    return set(group.list_commands(group.make_context("scheduler", [], resilient_parsing=True)))  # type: ignore[attr-defined]


def settings() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def options(unit: Path) -> dict[str, list[str]]:
    """Option of a unit file -> its values."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text("utf-8"))
    return content


def ours(services: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    return ((name, service) for name, service in services.items() if name != "postgres")


def test_every_unit_of_the_control_plane_starts_a_command_that_there_is() -> None:
    started = {options(unit)["ExecStart"][0].rpartition("-m scheduler ")[2] for unit in CONTROL_PLANE}
    assert started == {"api", "gateway", "controller", "ledger", "migrate"}
    assert started <= commands()


@pytest.mark.parametrize("unit", CONTROL_PLANE, ids=lambda unit: unit.stem)
def test_a_unit_of_the_control_plane_is_confined(unit: Path) -> None:
    said = options(unit)
    assert said["User"] == ["suanli"]
    for option in ("NoNewPrivileges", "PrivateDevices", "ProtectHome", "ProtectKernelModules", "PrivateTmp"):
        assert said[option] == ["yes"]
    assert said["CapabilityBoundingSet"] == [""]
    assert said["ProtectSystem"] == ["strict"]
    # The planner is compiled while its process runs; none of the others makes code.
    assert ("MemoryDenyWriteExecute" in said) == (unit.stem != "suanli-controller")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_unit_and_finds_it_little_exposed(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    # The programs are not installed here; everything else of the unit is verified.
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8")))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], check=False, capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", copy],
        check=False,
        capture_output=True,
        text=True,
    )
    (exposure,) = re.findall(r"exposure level for \S+: ([0-9.]+)", security.stdout)
    # The agent is root with the host's devices: its tasks need them. The rest has no excuse.
    assert float(exposure) <= (7.0 if unit.stem == "suanli-agent" else 2.0)


def test_the_agents_unit_leaves_tasks_running() -> None:
    said = options(ROOT / "deploy/systemd/suanli-agent.service")
    assert said["KillMode"] == ["process"]
    assert "suanli-agent run" in said["ExecStart"][0]


def test_a_unit_is_given_no_key_but_its_own() -> None:
    given = {
        unit.stem: {value.partition(":")[0] for value in options(unit).get("LoadCredential", ())}
        for unit in UNITS
    }
    ours = {"metrics.token"}  # by which all of them know who reads their metrics
    assert given == {
        "suanli-agent": set(),
        "suanli-api": {"ca.crt", "tunnel.key", "webhook.key", "secrets.keys"} | ours,
        "suanli-controller": {"controller.key", "controller.pub"} | ours,
        "suanli-gateway": {"ca.crt", "ca.key", "server.crt", "server.key", "tunnel.key", "secrets.keys"}
        | ours,
        "suanli-ledger": {"log.key", "controller.pub"} | ours,
        "suanli-migrate": set(),
    }


def test_every_service_of_compose_starts_a_command_that_there_is() -> None:
    services = dict(ours(compose()["services"]))
    started = {tuple(service["command"][:3]): service["command"][3] for service in services.values()}
    assert set(started) == {("python", "-m", "scheduler")}
    verbs = {name: service["command"][3] for name, service in services.items()}
    assert verbs == {name: "migrate" if name == "migration" else name for name in services}
    assert set(verbs.values()) <= commands()


def test_a_service_of_compose_is_confined_and_given_its_own_secrets() -> None:
    content = compose()
    for name, service in ours(content["services"]):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == "10001:10001"
        verb = "migrate" if name == "migration" else name
        assert service["env_file"] == [f"secrets/{verb}.env"]
        assert set(service.get("secrets", ())) <= set(content["secrets"])
        assert set(service["networks"]) <= set(content["networks"])
    holders = {
        secret: [
            name for name, service in content["services"].items() if secret in service.get("secrets", ())
        ]
        for secret in ("log.key", "controller.key", "ca.key")
    }
    assert holders == {"log.key": ["ledger"], "controller.key": ["controller"], "ca.key": ["gateway"]}
    assert content["services"]["api"]["ports"] == ["127.0.0.1:8470:8470"]
    assert "ports" not in content["services"]["postgres"]


def test_every_service_of_compose_uses_volumes_that_are_declared() -> None:
    content = compose()
    used = {
        volume.partition(":")[0]
        for service in content["services"].values()
        for volume in service.get("volumes", ())
        if not volume.startswith("./")  # a folder beside the file
    }
    assert used == set(content["volumes"])


def test_the_image_is_made_of_what_there_is() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text_of("deploy/container/Containerfile"))
    sources = [source for line in copied for source in line.split()]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {"suanli", "scheduler", "agents", "protos", "migrations"} <= set(sources)


def test_no_variable_is_set_that_the_program_does_not_read() -> None:
    unknown = {}
    for path in committed():
        if path.startswith(("deploy/", "helm/")) and not path.endswith((".py", ".json")):
            names = set(re.findall(r"\bSUANLI_[A-Z_]+\b", text_of(path)))
            names = {name for name in names if not name.startswith("SUANLI_AGENT_")}
            if names - settings() - OF_COMPOSE:
                unknown[path] = names - settings() - OF_COMPOSE
    assert unknown == {}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    sections = re.findall(r"(?m)^## (\w+)$", (ROOT / "deploy/runbooks/first.md").read_text("utf-8"))
    assert sorted(alert["alert"] for alert in alerts) == sorted(sections)
    for alert in alerts:
        assert alert["annotations"]["runbook"] == f"deploy/runbooks/first.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in {"warning", "critical"}


def test_the_chart_carries_the_same_alerts() -> None:
    assert text_of("helm/suanli/files/rules.yml") == text_of("deploy/prometheus/rules.yml")


def test_the_dashboards_file_is_what_its_code_makes() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "deploy/grafana/dashboard.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
