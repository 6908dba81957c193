"""The chapters after the jobs: usage and charges, the log checkpoint, the verdict, what to try next."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from scheduler.demo.cluster import Cluster
from scheduler.demo.people import People
from suanli.client import Client
from suanli.sentences.words import is_chinese, listed, said

BUCKETS = ("allocated", "idle", "reserved", "maintenance", "faulty", "unknown")


def log_head(server: str) -> tuple[int, bool]:
    """Size of the newest published log checkpoint, and whether somebody beside the log signed it."""
    answer = httpx.get(f"{server}/log/checkpoint", timeout=5)
    if answer.status_code != httpx.codes.OK:
        return 0, False
    lines = answer.text.splitlines()
    return int(lines[1]), sum(line.startswith("— ") for line in lines) > 1


def last_log_lines(client: Client, job_id: str, count: int = 15) -> str:
    """The end of a job's output, harmless to print."""
    lines = [str(line["text"]).rstrip("\n") for line in client.logs(job_id)]
    return "\n".join("  | " + "".join(c if c.isprintable() else "?" for c in line) for line in lines[-count:])


def show_usage(console: Console, people: People) -> None:
    """A table a firm: asked for, held, worked, and what it costs. Each firm asks with its own key."""
    for firm, client in people.administrators.items():
        for usage in client.usage()["firms"]:
            console.print(_usage_table(firm, usage))


def _usage_table(firm: str, usage: Mapping[str, Any]) -> Table:
    table = Table(
        title=said(f"{firm} ({usage['name']}), simulated devices"), title_justify="left", title_style="bold"
    )
    table.add_column(said("job"))
    table.add_column(said("device model"))
    # "held" by itself is also the state of a job, which is another word in Chinese.
    held = said("HELD").lower()
    for column in (said("requested"), held, said("live"), said("worked"), said("CNY")):
        table.add_column(column, justify="right")
    for line in usage["lines"]:
        table.add_row(
            line.get("job_name") or line["job_id"],
            line["device_model"],
            *(_device_time(line[f"{measure}_ms"]) for measure in ("requested", "held", "live", "worked")),
            yuan(line["amount_fen"]),
        )
    table.add_section()
    table.add_row(said("total"), *[""] * 5, yuan(usage["total_fen"]))
    for subsidy in usage["subsidies"]:
        program = f"{subsidy['program_id']} v{subsidy['version']}"
        table.add_row(program, *[""] * 5, yuan(-subsidy["amount_fen"]), style="green")
    table.add_row(said("to pay"), *[""] * 5, yuan(usage["net_fen"]), style="bold")
    return table


def show_balance(console: Console, auditor: Client, to: str) -> None:
    """One line: where all the device time until `to` (RFC 3339) went."""
    devices = auditor.balance(to=to)["devices"]
    sums = {bucket: sum(device[f"{bucket}_ms"] for device in devices) for bucket in ("enrolled", *BUCKETS)}
    parts = listed(f"{said(bucket)} {_device_time(sums[bucket])}" for bucket in BUCKETS if sums[bucket])
    console.print(
        said(f"All device time, {len(devices)} devices: {_device_time(sums['enrolled'])} = {parts}"),
        highlight=False,
    )
    console.print(
        said(
            "requested: devices x time limit; held: given to the job; live: a process of it ran; worked: it was busy"
        ),
        style="dim",
    )


def show_log_checkpoint(console: Console, server: str) -> None:
    """The newest log checkpoint with the log's signature and the witness's cosignature."""
    note = httpx.get(f"{server}/log/checkpoint", timeout=5).text
    console.print(
        said("The newest log checkpoint (origin, size, root; signed by the log, cosigned by the witness):")
        + "\n"
    )
    for line in note.splitlines():
        console.print("  " + line, markup=False, highlight=False, soft_wrap=True)
    console.print()


def results(people: People, to: str) -> dict[str, Any]:
    """What the chapters above show, for programs: usage of each firm, device time, the log checkpoint."""
    return {
        "usage": [usage for client in people.administrators.values() for usage in client.usage()["firms"]],
        "devices": people.auditor.balance(to=to)["devices"],
        "log_checkpoint": httpx.get(f"{people.operator.server}/log/checkpoint", timeout=5).text,
    }


def verify(console: Console, bundle: Path, policy: Path) -> bool:
    """Run `suanli verify` as the auditor does: another process, no server, no database; show what it says."""
    console.print("$ suanli verify bundle.zip --policy policy", style="bold", highlight=False)
    command = [sys.executable, "-m", "suanli.cli", "verify", str(bundle), "--policy", str(policy)]
    language = "zh" if is_chinese() else "en"
    environment = {"COLUMNS": str(console.width), "PATH": "/usr/bin:/bin", "SUANLI_LANG": language}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    console.print(done.stdout + done.stderr, markup=False, highlight=True, soft_wrap=True)
    return done.returncode == 0


def show_next(console: Console) -> None:
    """What somebody who liked this does next."""
    for line in (
        "make demo DEMO=--keep     leaves all this running and prints the addresses",
        "make test                 runs every check and test",
        "README.md                 how to run Suanli for real, and submit a job of your own",
        "examples/finetune         the job that you just saw",
    ):
        console.print(f"  {said(line)}", markup=False, highlight=False)


def show_addresses(console: Console, cluster: Cluster, bundle: Path) -> None:
    """How to reach what keeps running."""
    console.print(f"  API       {cluster.api}", highlight=False)
    for name, url in cluster.agent_metrics.items():
        console.print(f"  {name:<9} {url}", highlight=False)
    console.print("\n" + said("As the operator:"), highlight=False)
    console.print(
        f"  export SUANLI_SERVER={cluster.api} SUANLI_API_KEY_FILE={cluster.folder / 'operator.key'}"
    )
    console.print("  .venv/bin/suanli nodes; .venv/bin/suanli jobs; .venv/bin/suanli usage", highlight=False)
    console.print("\n" + said("As the auditor:"), highlight=False)
    console.print(
        f"  .venv/bin/suanli verify {bundle} --policy {cluster.policy}", highlight=False, soft_wrap=True
    )
    console.print("\n" + said("Ctrl-C stops everything."), highlight=False)


def yuan(fen: int) -> str:
    """Fen as yuan with two places."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def _device_time(ms: int | None) -> str:
    if ms is None:
        return "-"
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 3600 else f"{seconds / 3600:.2f} h"
