"""The verifier's report on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from suanli.cli.output import PIPE_WIDTH, wrapped
from suanli.cli.verify_facts import SIMULATED, fact_rows, headline
from suanli.cli.verify_text import Words
from suanli.evidence.findings import Finding, Verdict
from suanli.evidence.strict_json import printable

_SHOWN = 50
_COLOURS = {"error": "red", "consequence": "yellow", "suspicion": "magenta", "warning": "cyan"}


def _text(value: object) -> str:
    """What came from a bundle, harmless for terminal and markup alike."""
    return escape(printable(str(value)))


def _hanging(lead: str, markup: str) -> Table:
    """A sentence after its lead, whose further lines begin below its first word."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(lead, Text.from_markup(markup))
    return grid


def _parts(finding: Finding, words: Words) -> Iterator[tuple[str, str]]:
    """What a finding is about, with the names of its parts."""
    yield words("where"), finding.entity
    if finding.index is not None:
        yield words("index"), str(finding.index)
    yield words("expected"), finding.expected
    yield words("found"), finding.found


def _named(parts: Iterable[tuple[str, str]]) -> Table:
    """Names and what they name below each other: a narrow terminal has room for that."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=2)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in parts:
        grid.add_row("", name, _text(value))
    return grid


def print_verdict(verdict: Verdict, console: Console, words: Words) -> None:
    """The verdict for people: two questions, then what it is about, what was found, what was not shown."""
    colour = "green" if verdict.verified else "red" if verdict.exit_code == 1 else "yellow"
    console.print(f"[bold {colour}]{escape(headline(verdict, words))}[/]", highlight=False)
    for name, answer in (("integrity", verdict.integrity), ("completeness", verdict.completeness)):
        said = f"[green]{words('yes')}[/]" if answer else f"[red]{words('no')}[/]"
        question = words("question", what=words(name), question=words(f"{name}_question"))
        console.print(_hanging("  ", f"{question}{said}"))
    facts = [(printable(str(name)), printable(str(value))) for name, value in fact_rows(verdict.facts, words)]
    width = max(cell_len(name) for name, _ in facts)
    place = console.width if console.is_terminal or "COLUMNS" in os.environ else PIPE_WIDTH
    for name, value in facts:
        style = "bold red" if name in SIMULATED else ""
        first = f"  {name}{' ' * (width - cell_len(name))}    "
        # A hash without room in a line stays whole, so that it can be copied.
        lines = wrapped(value, place, first, " " * cell_len(first), cut=False)
        console.print(Text(lines, style=style), highlight=False, soft_wrap=True)
    _print_findings(verdict, console, words)
    if verdict.steps_missed:
        names = words.listed(words.step(step) for step in verdict.steps_missed)
        console.print(f"[red]{words('missed')}[/red] {names}", highlight=False)
    console.print(f"\n[bold]{words('not_proved')}[/bold]")
    for limit in verdict.not_proved:
        console.print(_hanging("  - ", _text(limit.text(words.language))))


def _print_findings(verdict: Verdict, console: Console, words: Words) -> None:
    if not verdict.findings:
        console.print(f"[green]{words('no_findings')}[/green]")
        return
    console.print(f"\n[bold]{words('findings')}[/bold]")
    for finding in verdict.findings[:_SHOWN]:
        severity = f"[{_COLOURS[finding.severity]}]{words(finding.severity)}[/]"
        console.print(
            _hanging("  - ", f"{severity}  [bold]{finding.code}[/bold]  ({words.step(finding.step)})")
        )
        console.print(_named(_parts(finding, words)), highlight=False)
    hidden = len(verdict.findings) - _SHOWN + verdict.left_out
    if hidden > 0:
        console.print(words("more", count=hidden), highlight=False)
