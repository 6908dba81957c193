"""`suanli verify`: checks a bundle offline by the reader's own policy, and says what it could not show."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suanli.cli.verify_work import processes_for, shown
from suanli.evidence.bundle import ENTRY_TILES
from suanli.evidence.bundle_io import open_bundle
from suanli.evidence.errors import EvidenceError
from suanli.evidence.findings import STEPS, Verdict
from suanli.evidence.policy import parse_policy
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.strict_json import printable
from suanli.evidence.verify import verify

UNREADABLE = 2
"""Exit code when bundle or policy cannot be read at all."""
_SHOWN = 50


def verify_command(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a ZIP file or a folder.")],
    policy: Annotated[
        Path | None,
        typer.Option(help="Your own policy file (C2SP tlog-policy). Without it nothing is verified."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(help="Log checkpoint that you kept from before: this log must extend it."),
    ] = None,
    tolerance_ms: Annotated[
        int, typer.Option(min=0, help="By how much clocks of nodes and controller may differ.")
    ] = 10_000,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes to share the work; absent: as is useful.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Verify a bundle offline.

    Exit code 0: both questions answered with yes under your policy. 1: something is wrong. 2: bundle or
    policy cannot be read. 3: nothing wrong was found, but without a policy nothing is verified.
    """
    settings = VerifySettings(clock_tolerance_ms=tolerance_ms, now_ms=time.time_ns() // 1_000_000)
    try:
        trusted = None if policy is None else parse_policy(policy.read_bytes())
        earlier = None if since is None else since.read_bytes()
        with open_bundle(bundle) as files, shown(Console(stderr=True)) as work:
            entries_bytes = sum(n for path, n in files.sizes().items() if path.startswith(ENTRY_TILES))
            verdict = verify(
                files,
                policy=trusted,
                since=earlier,
                settings=settings,
                parts=processes_for(entries_bytes, processes),
                run=work.run,
                progress=work,
            )
    except (EvidenceError, OSError) as error:
        _unreadable(error, as_json=as_json)
        raise typer.Exit(UNREADABLE) from error
    if as_json:
        typer.echo(json.dumps(verdict.as_json(), ensure_ascii=False, indent=2))
    else:
        print_verdict(verdict, Console(soft_wrap=False))
    raise typer.Exit(verdict.exit_code)


def _unreadable(error: Exception, *, as_json: bool) -> None:
    if as_json:
        value = {"schema": "suanli.verdict.v1", "verified": False, "unreadable": str(error)}
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        Console(stderr=True).print(f"[red]Cannot be read:[/red] {_text(error)}", highlight=False)


def print_verdict(verdict: Verdict, console: Console) -> None:
    """The verdict for people: two questions, then what it is about, what was found, what was not shown."""
    _print_answers(verdict, console)
    _print_facts(verdict.facts, console)
    _print_findings(verdict, console)
    missing = [step for step in STEPS if step not in verdict.steps_run]
    if missing:
        names = ", ".join(f"{step} {STEPS[step]}" for step in missing)
        console.print(f"[red]Steps not reached:[/red] {names}", highlight=False)
    console.print("\n[bold]Not proved[/bold]")
    for limit in verdict.not_proved:
        console.print(f"  - {_text(limit)}", highlight=False)


def _print_answers(verdict: Verdict, console: Console) -> None:
    def answer(good: bool) -> str:
        return "[green]yes[/green]" if good else "[red]NO[/red]"

    if verdict.verified:
        console.print("[bold green]VERIFIED[/bold green] under your policy")
    elif verdict.exit_code == 1:
        console.print("[bold red]NOT VERIFIED[/bold red]: something is wrong")
    else:
        console.print("[bold yellow]NOT VERIFIED[/bold yellow]: no policy was given (--policy)")
    console.print(
        f"  Integrity:    is everything here as it was logged and signed, rightly added up? "
        f"{answer(verdict.integrity)}",
        highlight=False,
    )
    console.print(
        f"  Completeness: is everything here that must be, for every device, all the time?  "
        f"{answer(verdict.completeness)}",
        highlight=False,
    )


def _time(time_ms: object) -> str:
    # Hostile manifests may hold times that no calendar has.
    if not isinstance(time_ms, int) or not 0 <= time_ms < 253_402_300_800_000:
        return f"{time_ms} ms"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object) -> str:
    """What came from a bundle, harmless for terminal and markup alike."""
    return escape(printable(str(value)))


def _print_facts(facts: Mapping[str, Any], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _fact_rows(facts):
        table.add_row(name, value)
    console.print(table, highlight=False)


def _fact_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    start_ms, end_ms = facts["period_ms"]
    yield "Period", f"{_time(start_ms)} to {_time(end_ms)}"
    firm_id = facts["scope"].get("firm_id")
    yield "For", "the auditor" if firm_id is None else f"firm {_text(firm_id)} alone"
    if log := facts.get("log"):
        yield "Log", f"{_text(log['origin'])}, {log['size']} entries, root {log['root']}"
    for name, time_s in facts.get("cosigned_s", {}).items():
        yield "Cosigned", f"{_text(name)} at {_time(time_s * 1000)}"
    if earlier := facts.get("extends"):
        yield "Extends", f"your log checkpoint of {earlier['size']} entries"
    if register := facts.get("register"):
        devices, simulated = register["devices"], register["simulated_devices"]
        yield "Register", f"{devices} devices on {register['nodes']} nodes, sha256 {register['sha256']}"
        if simulated:
            loud = f"{simulated} of {devices} devices are SIMULATED: no real hardware behind them"
            yield "[bold red]SIMULATED[/bold red]", f"[bold red]{loud}[/bold red]"
    yield from _usage_rows(facts)


def _usage_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    windows = facts["windows"]
    isolation = ", ".join(f"{kind} in {count} windows" for kind, count in windows["isolation"].items())
    yield "Windows", f"{windows['checked']} checked"
    yield "Isolation", isolation or "nothing seen"
    hours = [
        f"{name} {time_ms / 3_600_000:.3f} h" for name, time_ms in facts.get("device_time_ms", {}).items()
    ]
    if hours:
        yield "Device time", ", ".join(hours)
    if charges := facts.get("charges_recomputed"):
        sums = f"{_cny(charges['total_fen'])}, {_cny(charges['net_fen'])} after subsidies"
        yield "Recomputed", f"{charges['lines']} lines of {charges['firms']} firms: {sums}"


def _cny(amount_fen: int) -> str:
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d} CNY"


def _print_findings(verdict: Verdict, console: Console) -> None:
    if not verdict.findings:
        console.print("[green]No findings.[/green]")
        return
    table = Table(title="Findings, causes first", title_justify="left")
    for column in ("Step", "Severity", "Code", "Where", "Index", "Expected", "Found"):
        table.add_column(column, overflow="fold")
    colours = {"error": "red", "consequence": "yellow", "suspicion": "magenta", "warning": "cyan"}
    for finding in verdict.findings[:_SHOWN]:
        colour = colours[finding.severity]
        table.add_row(
            f"{finding.step} {STEPS[finding.step]}",
            f"[{colour}]{finding.severity}[/{colour}]",
            finding.code,
            _text(finding.entity),
            "" if finding.index is None else str(finding.index),
            _text(finding.expected),
            _text(finding.found),
        )
    console.print(table, highlight=False)
    hidden = len(verdict.findings) - _SHOWN + verdict.left_out
    if hidden > 0:
        console.print(f"... and {hidden} more; --json shows those that were kept.", highlight=False)
