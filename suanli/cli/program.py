"""How a program of Typer is run: its help, and what was typed wrongly, are said in the reader's language.

Typer's own texts are English and stand in its code. In Chinese its help is made by a formatter that knows them, and the
width of Chinese characters; what it says of an error is translated when it is shown.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

import typer

from suanli.cli.errors import FAILED
from suanli.cli.output import cells, wrapped
from suanli.sentences.words import is_chinese, said


def run(program: typer.Typer, arguments: Sequence[str] | None = None, name: str | None = None) -> NoReturn:
    """Run a program with its arguments (absent: those of this process); it ends the process."""
    command = typer.main.get_command(program)
    if is_chinese():
        learn(command)
    for one in _with_commands(command):
        # Typer cuts what it makes of a long help, however wide the terminal, and in Chinese finds no blank to cut at.
        one.short_help = _first_sentence(one.help or "")
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(shown(error))
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.stderr.write(said("Aborted!") + "\n")
        sys.exit(FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def shown(error: Any) -> str:
    """What Typer says of a command that was typed wrongly, in the reader's language."""
    option = getattr(error, "option_name", "")
    typed = [part for argument in sys.argv[1:] for part in argument.split("=", 1)]
    if option in {"-o", "--output"} and option in typed[:-1]:  # known to every verb, with these two values
        got = typed[typed.index(option) + 1]
        error.message, error.possibilities = f"{option}: got {got!r}, want json or yaml", None
    text = io.StringIO()
    error.show(text)
    return "\n".join(map(said, text.getvalue().split("\n")))


def learn(command: Any) -> None:
    """Give a program and its commands their Chinese."""
    from suanli.sentences.words_zh_apart_help import ZH_APART_HELP
    from suanli.sentences.words_zh_help import ZH_HELP

    chinese = {**ZH_HELP, **ZH_APART_HELP}
    for one in _with_commands(command):
        one.context_class = _Context
        for part in (one, *one.params):
            if getattr(part, "help", None):
                paragraphs = [" ".join(text.split()) for text in part.help.split("\n\n")]
                part.help = "\n\n".join(chinese.get(text, text) for text in paragraphs)
            if part.name in {"install_completion", "show_completion"}:
                part.callback = _translated(part.callback)


def _first_sentence(text: str) -> str:
    return re.split(r"。|\.(?=\s|$)", " ".join(text.split("\n\n", maxsplit=1)[0].split()), maxsplit=1)[0]


def _with_commands(command: Any) -> Iterator[Any]:
    yield command
    for one in getattr(command, "commands", {}).values():
        yield from _with_commands(one)


def _translated(callback: Callable[..., Any]) -> Callable[..., Any]:
    """A callback of Typer that prints by itself."""

    def called(*given: Any) -> Any:
        out, err = io.StringIO(), io.StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(err):
                return callback(*given)
        finally:
            for stream, text in ((sys.stdout, out), (sys.stderr, err)):
                stream.write("\n".join(map(said, text.getvalue().split("\n"))))

    return called


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc, valid-type]
    """Help in Chinese."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        begin = f"{said(prefix or 'Usage:')}{prog} "
        for typed in ("[OPTIONS]", "COMMAND [ARGS]..."):
            args = args.replace(typed, said(typed))
        self.write(wrapped(args, self.width, begin, " " * cells(begin)) + "\n")

    def write_heading(self, heading: str) -> None:
        super().write_heading(said(heading))

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        self.write(
            "\n\n".join(wrapped(part, self.width, indent, indent) for part in text.split("\n\n")) + "\n"
        )

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        indent = " " * self.current_indent
        column = min(max(cells(name) for name, _ in rows), col_max) + col_spacing
        for name, text in rows:
            beside = " " * (self.current_indent + column)
            if cells(name) > column - col_spacing:
                self.write(f"{indent}{name}\n")
                first = beside
            else:
                first = indent + name + " " * (column - cells(name))
            self.write(wrapped(_row(text), self.width, first, beside) + "\n")


def _row(text: str) -> str:
    """The help of an option, and what Typer adds in brackets."""
    told, bracket, added = text.rpartition("[")
    if not (bracket and added.endswith("]")):
        return said(text)
    return f"{told}[{'; '.join(map(said, added[:-1].split('; ')))}]"


class _Context(typer.Context):
    formatter_class = _Formatter
