"""The verifier's report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from suanli.cli.output import wrapped
from suanli.cli.verify_facts import SIMULATED, fact_rows, headline
from suanli.cli.verify_text import Words
from suanli.evidence.findings import Finding, Verdict
from suanli.evidence.strict_json import printable

_SHOWN = 50
_COLOURS = {"error": "red", "consequence": "yellow", "suspicion": "magenta", "warning": "cyan"}


def _text(value: object) -> str:
    """What came from a bundle, harmless for terminal and markup alike."""
    return escape(printable(str(value)))


class _Printer:
    """Prints lines that fit, and that end where their text ends: a pipe keeps what a terminal does not show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = console.width

    def hanging(self, lead: str, markup: str) -> None:
        """A sentence after its lead, whose further lines begin below its first word."""
        text = Text.from_markup(markup)
        room = max(self._width - cell_len(lead), 1)
        for number, line in enumerate(text.wrap(self._console, room, overflow="fold")):
            line.rstrip()
            before = Text(" " * cell_len(lead) if number else lead)
            self._console.print(before.append_text(line), highlight=False, soft_wrap=True)

    def fact(self, first: str, value: str, style: str) -> None:
        """What a verdict is about; a hash without room in a line stays whole, so that it can be copied."""
        lines = wrapped(value, self._width, first, " " * cell_len(first), cut=False)
        self._console.print(Text(lines, style=style), highlight=False, soft_wrap=True)


def _parts(finding: Finding, words: Words) -> Iterator[tuple[str, str]]:
    """What a finding is about, with the names of its parts."""
    yield words("where"), finding.entity
    if finding.index is not None:
        yield words("index"), str(finding.index)
    yield words("expected"), finding.expected
    yield words("found"), finding.found


def print_verdict(verdict: Verdict, console: Console, words: Words) -> None:
    """The verdict for people: two questions, then what it is about, what was found, what was not shown."""
    colour = "green" if verdict.verified else "red" if verdict.exit_code == 1 else "yellow"
    printer = _Printer(console)
    console.print(f"[bold {colour}]{escape(headline(verdict, words))}[/]", highlight=False)
    for name, answer in (("integrity", verdict.integrity), ("completeness", verdict.completeness)):
        said = f"[green]{words('yes')}[/]" if answer else f"[red]{words('no')}[/]"
        question = words("question", what=words(name), question=words(f"{name}_question"))
        printer.hanging("  ", f"{question}{said}")
    facts = [(printable(str(name)), printable(str(value))) for name, value in fact_rows(verdict.facts, words)]
    width = max(cell_len(name) for name, _ in facts)
    for name, value in facts:
        style = "bold red" if name in SIMULATED else ""
        printer.fact(f"  {name}{' ' * (width - cell_len(name))}    ", value, style)
    _print_findings(verdict, console, printer, words)
    if verdict.steps_missed:
        names = words.listed(words.step(step) for step in verdict.steps_missed)
        console.print(f"[red]{words('missed')}[/red] {names}", highlight=False)
    console.print(f"\n[bold]{words('not_proved')}[/bold]")
    for limit in verdict.not_proved:
        printer.hanging("  - ", _text(limit.text(words.language)))


def _print_findings(verdict: Verdict, console: Console, printer: _Printer, words: Words) -> None:
    if not verdict.findings:
        console.print(f"[green]{words('no_findings')}[/green]")
        return
    console.print(f"\n[bold]{words('findings')}[/bold]")
    for finding in verdict.findings[:_SHOWN]:
        severity = f"[{_COLOURS[finding.severity]}]{words(finding.severity)}[/]"
        printer.hanging("  - ", f"{severity}  [bold]{finding.code}[/bold]  ({words.step(finding.step)})")
        parts = list(_parts(finding, words))
        width = max(cell_len(name) for name, _ in parts)
        for name, value in parts:
            printer.hanging(f"    {name}{' ' * (width - cell_len(name))}  ", _text(value))
    hidden = len(verdict.findings) - _SHOWN + verdict.left_out
    if hidden > 0:
        console.print(words("more", count=hidden), highlight=False)
