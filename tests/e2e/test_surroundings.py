"""What a job may say of its surroundings, through every process that has a part in it."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from agents.runtime.isolation import why_no_private_view
from tests.builders.e2e import PYTHON, Site, api_key, key_of, suanli, wait_until

pytestmark = pytest.mark.timeout(240)

SECRET = "hf_Xk29-that-nobody-sees"
# Says what it was given, and stays until the gate is there.
ENTRUSTED = """
import json, os, stat, sys, time
path = "/run/secrets/deep/key"
mode = os.stat(path)
print(json.dumps({"variable": os.environ["HUB_TOKEN"], "file": open(path).read(), "mode": oct(mode.st_mode),
    "mine": mode.st_uid == os.getuid(), "stdin": os.readlink("/proc/self/fd/0"),
    "run": sorted(os.listdir("/run"))}), flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
"""


def set_secret(site: Site, firm: str, name: str, value: str) -> None:
    """As a researcher does, on the command line and through standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "suanli.cli", "secret", "set", name],
        input=value + "\n",
        text=True,
        capture_output=True,
        check=True,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("SUANLI_")},
            "SUANLI_SERVER": site.cluster.api,
            "SUANLI_API_KEY": api_key(site, firm),
        },
    )
    assert value not in done.stdout + done.stderr


def holding(folder: Path, text: str) -> list[str]:
    """Every file below the folder in which the text stands."""
    found = subprocess.run(
        ["grep", "-rlaF", "--", text, str(folder)], capture_output=True, text=True, check=False
    )
    return found.stdout.splitlines()


@pytest.mark.skipif(
    os.geteuid() != 0 or bool(why_no_private_view(())), reason="tasks have no view of their own here"
)
def test_a_secret_reaches_its_task_and_no_disk_no_log_and_no_command_line(site: Site) -> None:
    set_secret(site, "yunhe", "hub-token", SECRET)
    gate = site.gate("entrusted")
    job_id = site.submit(
        "yunhe",
        name="entrusted",
        model="ascend-910b3",
        command=[PYTHON, "-c", ENTRUSTED, str(gate)],
        secrets=[
            {"name": "hub-token", "environment": "HUB_TOKEN"},
            {"name": "hub-token", "file": "/run/secrets/deep/key"},
        ],
    )
    (line,) = site.lines("yunhe", job_id, [0])
    said = json.loads(line)
    assert (said["variable"], said["file"]) == (SECRET, SECRET)
    assert (said["mode"], said["mine"], said["stdin"]) == ("0o100400", True, "/dev/null")
    assert set(os.listdir("/run")) <= set(said["run"])  # what lay there lies there still
    assert not Path("/run/secrets/deep").exists()
    # The line above is the job's own doing: its output is looked for separately.
    files = [path for path in holding(site.folder, SECRET) if ".stdout" not in path]
    assert files == []
    commands = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    assert not any(SECRET.encode() in path.read_bytes() for path in commands if path.exists())
    gate.touch()
    assert site.ended("yunhe", job_id)["state"] == "succeeded"


def test_a_job_whose_secret_is_gone_is_not_prepared_and_says_why(site: Site) -> None:
    set_secret(site, "yunhe", "short-lived", SECRET)
    client = site.people.researchers["yunhe"]
    job_id = site.submit(
        "yunhe",
        name="too-late",
        model="ascend-910b3",
        command="true",
        hold=True,
        retry={"prepare_failed": 0},
        secrets=[{"name": "short-lived", "environment": "TOKEN"}],
    )
    client.delete_secret("short-lived")
    client.release(job_id)
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "prepare_failed")
    assert "the secret short-lived is there no more" in job["detail"]
    assert wait_until(lambda: client.attempts(job_id), "its attempt is shown")[0]["outcome"] == "failed"


def test_a_job_whose_budget_is_used_up_is_stopped_and_not_tried_again(site: Site) -> None:
    # 9.80 CNY a device-hour: two devices have cost a fen within two seconds.
    job_id = site.submit(
        "yunhe",
        name="dear",
        model="ascend-910b3",
        gang={"devices": 2},
        command="echo begun; exec sleep 600",
        budget={"amount_cny": "0.01"},
    )
    job = site.ended("yunhe", job_id)
    client = site.people.researchers["yunhe"]
    assert (job["state"], job["reason"]) == ("failed", "budget_exhausted")
    assert len(client.attempts(job_id)) == 1
    assert float(client.cost(job_id)["held_cny"]) >= 0.01


def test_a_projects_budget_holds_its_jobs_until_its_administrator_gives_more(site: Site) -> None:
    project = {
        "name": "yunhe", "title": "Yunhe Intelligence (云河智能)", "projects": ["thrifty"], "queues": [],
    }  # fmt: skip
    budget = {"firm": "yunhe", "project": "thrifty", "amount_cny": "1"}
    site.people.operator.apply({"firms": [project], "budgets": [budget]})
    client = site.people.researchers["yunhe"]
    held = {"name": "held", "model": "ascend-910b3", "command": "true", "time_limit_seconds": 3600}
    job_id = site.submit("yunhe", project="thrifty", **held)
    wait_until(
        lambda: "budget_exhausted" in [why["reason"] for why in client.explain(job_id)["reasons"]],
        "the planner has looked at the job",
    )
    why = client.explain(job_id)
    assert (
        "may cost 9.80 CNY on ascend-910b3 within its time limit; project thrifty has 1.00" in why["sentence"]
    )
    assert "with a time limit of at most 6 min or with 8.80 CNY more" in str(why["counterfactual"])

    administrator = site.people.administrators["yunhe"]
    caller = {"SUANLI_SERVER": site.cluster.api, "SUANLI_API_KEY": key_of(administrator)}
    done = suanli("budget", "set", "9.80", "--project", "thrifty", **caller)
    assert done.stdout == "yunhe/thrifty has 9.80 CNY left of 9.80.\n", done.stderr
    assert site.ended("yunhe", job_id)["state"] == "succeeded"
    (shown,) = client.budgets()
    assert (shown["held_cny"], Decimal(shown["spent_cny"]) > 0) == ("0.00", True)
    second = site.submit("yunhe", project="thrifty", **held)
    wait_until(lambda: client.explain(second)["counterfactual"], "what is spent is missing for the next")
    client.cancel(second)
    administrator.remove_budget("yunhe", project="thrifty")
    assert client.budgets() == []


def test_a_job_is_tried_again_after_a_line_that_it_names_and_not_after_another(site: Site) -> None:
    retry = {"on_log_patterns": [{"pattern": "HCCL*timeout", "budget": 1}]}
    lost = "echo 'HCCL op: timeout' >&2; exit 9"
    job_id = site.submit("yunhe", name="patient", model="ascend-910b3", command=lost, retry=retry)
    other = site.submit(
        "yunhe", name="final", model="ascend-910b3", command="echo timeout; exit 9", retry=retry
    )
    assert site.ended("yunhe", job_id)["state"] == site.ended("yunhe", other)["state"] == "failed"
    client = site.people.researchers["yunhe"]
    assert [attempt["reason"] for attempt in client.attempts(job_id)] == ["exited_nonzero"] * 2
    assert len(client.attempts(other)) == 1
