"""The chart: accepted by helm, closed by default, and refusing values that make no sense."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/suanli"
HELM = Path(sys.executable).parent / "helm"
VALUES = {name: CHART / "ci" / f"{name}-values.yaml" for name in ("minimal", "full")}
# Secrets that are mounted with all of their keys, and what values.yaml says that they hold.
WHOLE_SECRETS = {
    "suanli-gateway-tls": ["ca.crt", "ca.key", "server.crt", "server.key"],
    "suanli-controller-key": ["controller.key", "controller.pub"],
    "suanli-metrics-token": ["metrics.token"],
}
PROCESSES = ("api", "gateway", "controller", "ledger")

Manifest = dict[str, Any]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], check=False, capture_output=True, text=True)


def rendered(values: str, *more: str) -> list[Manifest]:
    run = helm("template", "suanli", CHART, "--namespace", "suanli", "--values", VALUES[values], *more)
    assert run.returncode == 0, run.stderr
    return [document for document in yaml.safe_load_all(run.stdout) if document]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {
        m["metadata"]["name"]: m["spec"]["template"]["spec"]
        for m in manifests
        if m["kind"] in {"Deployment", "Job", "DaemonSet"}
    }


def environment(container: Manifest) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


@pytest.mark.parametrize("values", VALUES)
def test_helm_lints_it_without_a_complaint(values: str) -> None:
    run = helm("lint", "--strict", CHART, "--values", VALUES[values])
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 chart(s) failed" in run.stdout


def test_metrics_are_for_those_who_bear_the_token() -> None:
    manifests = rendered("full", "--set=secrets.metrics=our-token")
    (container,) = pods(manifests)["suanli-agent"]["containers"]
    arguments = [word for word in container["args"] if word.startswith("--metrics")]
    assert arguments == [
        "--metrics=$(NODE_ADDRESS):9090",
        "--metrics-token-file=/run/suanli/metrics/metrics.token",
    ]
    (monitor,) = of_kind(manifests, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "our-token", "key": "metrics.token"}
    served = {name: pod for name, pod in pods(manifests).items() if "migrat" not in name}
    assert len(served) == 5
    for pod in served.values():
        assert "our-token" in {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        (container,) = pod["containers"]
        assert "/run/suanli/metrics" in {mount["mountPath"] for mount in container["volumeMounts"]}
        if "agent" not in container["name"]:
            assert environment(container)["SUANLI_METRICS_TOKEN_FILE"] == "/run/suanli/metrics/metrics.token"
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize("values", VALUES)
def test_helm_renders_every_process(values: str) -> None:
    deployments = of_kind(rendered(values), "Deployment")
    assert set(deployments) == {f"suanli-{process}" for process in PROCESSES}
    assert deployments["suanli-controller"]["spec"]["replicas"] == 2
    assert deployments["suanli-ledger"]["spec"]["replicas"] == 2


def test_every_object_has_a_name_of_its_own() -> None:
    names = [(m["kind"], m["metadata"]["name"]) for m in rendered("full")]
    assert len(names) == len(set(names))


def test_helm_makes_no_secret() -> None:
    assert of_kind(rendered("full"), "Secret") == {}


def test_each_process_sees_its_own_role_of_the_database_only() -> None:
    for name, pod in pods(rendered("full")).items():
        process = name.removeprefix("suanli-")
        if process == "agent":
            continue
        url = environment(pod["containers"][0])["SUANLI_DATABASE_URL"]
        role = "owner" if process == "migration" else process
        assert url == {"secretKeyRef": {"name": "suanli-database", "key": f"{role}-url"}}


def test_each_process_is_given_its_own_keys_only() -> None:
    """As compose gives them."""
    given: dict[str, set[str]] = {}
    for name, pod in pods(rendered("minimal")).items():
        sources = [v["secret"] for v in pod["volumes"] if "secret" in v]
        sources += [s["secret"] for v in pod["volumes"] for s in v.get("projected", {}).get("sources", ())]
        for source in sources:
            secret = source.get("secretName", source.get("name"))
            keys = [item["key"] for item in source.get("items", ())] or WHOLE_SECRETS[secret]
            given.setdefault(name.removeprefix("suanli-"), set()).update(keys)
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text(encoding="utf-8"))["services"]
    assert given == {process: set(services[process]["secrets"]) for process in PROCESSES}


def test_each_process_sees_the_folders_and_settings_that_compose_gives_it() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text(encoding="utf-8"))["services"]
    for process in PROCESSES:
        (container,) = pods(rendered("full"))[f"suanli-{process}"]["containers"]
        assert set(services[process]["environment"]) - set(environment(container)) == set()
        mounts = {
            (mount["name"], mount["mountPath"], mount["readOnly"])
            for mount in container["volumeMounts"]
            if mount["mountPath"].startswith("/srv")
        }
        folders = [volume.split(":") for volume in services[process].get("volumes", ())]
        assert mounts == {
            (name, path, more == ["ro"]) for name, path, *more in folders if path.startswith("/srv")
        }


def test_people_sign_in_at_an_issuer_where_its_file_is_named() -> None:
    for values, has in (("minimal", False), ("full", True)):
        pod = pods(rendered(values))["suanli-api"]
        (container,) = pod["containers"]
        assert ("SUANLI_OIDC_FILE" in environment(container)) is has
        assert (
            {"name": "oidc", "configMap": {"name": "sign-in", "defaultMode": 0o444}} in pod["volumes"]
        ) is has
        assert ("/run/suanli/oidc" in {mount["mountPath"] for mount in container["volumeMounts"]}) is has


def test_the_api_reaches_each_gateway_by_an_address_of_its_own() -> None:
    (container,) = pods(rendered("minimal"))["suanli-gateway"]["containers"]
    assert environment(container)["SUANLI_TUNNEL_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["tunnel"]) == environment(container)["SUANLI_TUNNEL_PORT"]


@pytest.mark.parametrize("values", VALUES)
def test_the_control_plane_runs_confined(values: str) -> None:
    confined = {name: pod for name, pod in pods(rendered(values)).items() if name != "suanli-agent"}
    assert len(confined) == 5
    for pod in confined.values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_nothing_is_open_by_default() -> None:
    policies = of_kind(rendered("minimal"), "NetworkPolicy")
    assert policies["suanli-closed"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    # The api reaches the gateways' tunnels, and nobody else reaches anything.
    open_ = [name for name, policy in policies.items() if policy["spec"].get("ingress")]
    assert open_ == ["suanli-tunnel"]
    (rule,) = policies["suanli-tunnel"]["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    # Names are resolved; nothing else is reached.
    ports = {
        port["port"]
        for policy in policies.values()
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
    }
    assert ports == {53, "tunnel"}
    services = of_kind(rendered("minimal"), "Service").values()
    assert {service["spec"]["type"] for service in services} == {"ClusterIP"}


def test_what_is_named_is_opened_for_its_process_alone() -> None:
    policies = of_kind(rendered("full"), "NetworkPolicy")
    opened = {
        name: (
            policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component"),
            [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]],
        )
        for name, policy in policies.items()
        if policy["spec"].get("ingress")
    }
    assert opened == {
        "suanli-api": ("api", ["http"]),
        "suanli-gateway": ("gateway", ["fleet", "enrolment"]),
        "suanli-metrics": (None, ["metrics"]),
        "suanli-tunnel": ("gateway", ["tunnel"]),
    }


def test_the_migration_runs_before_an_upgrade() -> None:
    job = of_kind(rendered("minimal"), "Job")["suanli-migration"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "migrate"


def test_what_is_optional_is_absent_until_asked_for() -> None:
    optional = {"DaemonSet", "ServiceMonitor", "PrometheusRule"}
    assert {m["kind"] for m in rendered("minimal")} & optional == set()
    assert {m["kind"] for m in rendered("full")} >= optional


def test_further_settings_and_options_are_handed_on() -> None:
    found = pods(rendered("full"))
    assert environment(found["suanli-api"]["containers"][0])["SUANLI_REQUESTS_PER_S"] == "100"
    assert "--place=zone=bj,leaf=rack-7" in found["suanli-agent"]["containers"][0]["args"]


def test_the_operators_guide_names_every_setting() -> None:
    guide = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    for_processes_alone = {"api_worker", "api_socket"}
    named = {f"`{PREFIX}{name.upper()}`" for name in Settings.model_fields if name not in for_processes_alone}
    assert {name for name in named if name not in guide} == set()


def test_the_charts_alerts_are_the_alerts_of_deploy() -> None:
    (rule,) = of_kind(rendered("full"), "PrometheusRule").values()
    deployed = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    assert rule["spec"] == deployed
    assert deployed["groups"]


def test_evidence_outlives_the_release() -> None:
    claims = of_kind(rendered("minimal"), "PersistentVolumeClaim")
    assert {c["metadata"]["annotations"]["helm.sh/resource-policy"] for c in claims.values()} == {"keep"}
    assert set(claims) == {"suanli-log", "suanli-payloads", "suanli-job-logs", "suanli-content"}
    # A claim that the operator made is used as it is.
    assert set(of_kind(rendered("full"), "PersistentVolumeClaim")) == {
        "suanli-payloads",
        "suanli-job-logs",
        "suanli-content",
    }


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("--set=image.repository=", "repository"),
        ("--set=image.tag=latest", "tag"),
        ("--set=image.digest=sha256:short", "digest"),
        ("--set=windowMs=7000", "windowMs"),
        ("--set=controller.replicas=0", "replicas"),
        ("--set=controller.replicas=two", "replicas"),
        ("--set=controler.replicas=2", "controler"),
        ("--set=api.service.type=Everywhere", "type"),
        ("--set=api.service.port=70000", "port"),
        ("--set=logOrigin=two words", "logOrigin"),
        ("--set=database.secretName=", "secretName"),
        ("--set=database.password=hunter2", "password"),
        ("--set=networkPolicy.apiFrom[0].cidr=0.0.0.0/0", "apiFrom"),
        ("--set=ledger.witnesses[0].url=http://witness.example", "witnesses"),
        ("--set=agent.stateFolder=relative", "stateFolder"),
        ("--set=storage.log.size=much", "size"),
        ("--set=api.oidcConfigMap=Sign In", "oidcConfigMap"),
        ("--set=api.webhookNetworks=everywhere", "webhookNetworks"),
        ("--set=secrets.tunnel=", "tunnel"),
        ("--set=gateway.environment.PATH=/tmp", "environment"),
        ("--set=agent.options[0]=sh", "options"),
    ],
)
def test_values_that_make_no_sense_are_refused(setting: str, named: str) -> None:
    run = helm("template", "suanli", CHART, "--values", VALUES["minimal"], setting)
    assert run.returncode != 0
    assert named in run.stderr


def test_an_installation_without_a_log_origin_is_refused() -> None:
    run = helm("template", "suanli", CHART, "--set", "image.repository=registry.example/suanli")
    assert run.returncode != 0
    assert "logOrigin" in run.stderr
