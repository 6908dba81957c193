"""Printing: tables and sentences for people, JSON for programs; all of it harmless for a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from stat import S_ISDIR
from textwrap import TextWrapper
from threading import Timer
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import east_asian_width

from suanli.cli.errors import MISUSED, CliError
from suanli.sentences.harmless import harmless, one_line
from suanli.sentences.words import said

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# What is not a terminal has no width: tables are not cut there.
PIPE_WIDTH = 400
# What stays together in a line: blanks, or a wide character (doubled by a NUL) or a word with the brackets that open
# before it and the signs that end behind it.
_PIECE = re.compile(
    r"(?:\s(?!\0))+|(?:[（《「]\0)*(?:[^\0]\0|(?:[^\s\0](?!\0))+)(?:[，。、；：！？）》」]\0|[,.;:!?)\]”])*"
)
_LEAST_WIDTH = 10
_PATIENT_S = 4.0
_LEAST_COLUMN = 6  # of names and sentences, which are folded
_LEAST_HEADING = 4  # two Chinese characters, not one below the other


_ID = re.compile(r"[0-9a-f]{12}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
AS_YAML = "SUANLI_OUTPUT_YAML"  # set by the program itself for `-o yaml`


def print_json(value: Any) -> None:
    """One JSON document (with `-o yaml` one of YAML); both escape control characters themselves."""
    if os.environ.get(AS_YAML):
        import yaml

        sys.stdout.write(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))
        return
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def refuse_existing(*paths: Path, force: bool, option: str = "--output") -> None:
    """Before anything is done that would replace a file, or that has nowhere to go. `paths`: the option's, and what is
    written beside it. Raises CliError.
    """
    if len(set(paths)) < len(paths):
        raise CliError(
            f"{option} {paths[0]} is the name of a file that is written beside it: give another", MISUSED
        )
    for path in paths:
        try:
            found = path.lstat()  # a link that leads nowhere is there, too
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CliError(f"{option}: {path} cannot be written: {why}", MISUSED) from None
        if S_ISDIR(found.st_mode):
            raise CliError(f"{option}: {path} cannot be written: {os.strerror(EISDIR)}", MISUSED)
        if not force and not _passes_on(path):
            raise CliError(f"{path} exists: give another {option}, or --force", MISUSED)


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Unless by `force`, no file is replaced that came after `refuse_existing`. Raises OSError."""
    with path.open("wb" if force or _passes_on(path) else "xb") as file:
        file.write(content)


def _passes_on(path: Path) -> bool:
    """Whether it is a pipe or a device: neither keeps what could be replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def say(text: str) -> None:
    """A line on standard output, in the reader's language."""
    sys.stdout.write(harmless(said(text)) + "\n")


def note(text: str) -> None:
    """A line beside the result, on standard error, in the reader's language."""
    sys.stderr.write(harmless(said(text)) + "\n")
    sys.stderr.flush()


@contextmanager
def saying_later(sentence: str, after_s: float = _PATIENT_S) -> Iterator[None]:
    """A note for who waits so long in the block."""
    timer = Timer(after_s, note, (sentence,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def colours() -> Literal["auto"] | None:
    """What Rich is told of colours: with NO_COLOR there are none, nor bold letters, which Rich would leave."""
    return None if os.environ.get("NO_COLOR") else "auto"


def width_of_output() -> int | None:
    """What Rich is told of the width of standard output: nothing of a terminal's, which it asks itself."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH


def console() -> Console:
    """Rich, late: it takes longer to load than to print."""
    from rich.console import Console

    return Console(
        width=width_of_output(), color_system=colours(), highlight=False, markup=False, emoji=False
    )


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    optional: Iterable[int] = (),
    empty: str = "",
) -> None:
    """A table that fits the terminal where its figures, ids and states do. `right`: columns aligned to the right;
    `optional`: left out where it is empty.
    """
    listed = list(rows)
    if not listed and empty:
        say(empty)
        return
    without = {place for place in optional if all(row[place] in {"", None} for row in listed)}
    kept = [place for place in range(len(columns)) if place not in without]
    shown = [[row[place] for place in kept] for row in listed]
    right = [kept.index(place) for place in right if place in kept]
    table = make_table([columns[place] for place in kept], shown, right=right)
    out = console()
    if out.measure(table, options=out.options.update(width=sys.maxsize)).maximum > out.width:
        _fold_headings(table)
    out.width = max(out.width, least_width(table))
    out.print(table, crop=False)


def least_width(table: Table) -> int:
    """How many places of a terminal it takes at least."""
    return sum((column.min_width or 0) + 2 for column in table.columns)


def _fold_headings(table: Table) -> None:
    """Those of columns that stay whole: Rich does not, and takes the room from names until nothing of them is left."""
    for column in table.columns:
        if column.no_wrap and (least := column.min_width):
            lines = _ByPlaces(least, break_long_words=False).wrap(_by_places(str(column.header)))
            column.header = "\n".join(lines).replace("\0", "")


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    longest: int | None = None,
) -> Table:
    """The table itself. `longest`: cells of more characters are cut, an ellipsis at their end."""
    from rich.table import Table
    from rich.text import Text

    listed = [[one_line(_cut("" if cell is None else str(cell), longest)) for cell in row] for row in rows]
    ours = {position for position, column in enumerate(columns) if column in _OUR_WORDS}
    worded = [
        [said(cell) if position in ours else cell for position, cell in enumerate(row)] for row in listed
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    numbers = set(right)
    for position, column in enumerate(columns):
        # An id that is cut in two cannot be copied, nor a state or a figure read: other columns give way, and where
        # that is not enough the table is wider than the terminal. Rich would cut figures without a sign of it.
        whole = (
            position in numbers
            or column == "STATE"
            or (bool(listed) and all(_ID.fullmatch(row[position]) for row in listed))
        )
        widest = max((cells(row[position]) for row in worded), default=0)
        heading = said(column)
        words = _PIECE.findall(_by_places(heading))
        least_heading = max(min(cells(heading), _LEAST_HEADING), *map(len, words), 0)
        table.add_column(
            Text(heading, no_wrap=False),
            justify="right" if position in numbers else "left",
            overflow="fold",
            no_wrap=whole,
            min_width=max(widest, least_heading) if whole else min(widest, _LEAST_COLUMN),
            header_style="bold",
        )
    for row, words in zip(listed, worded, strict=True):
        table.add_row(*(Text(word, style=_style(cell)) for cell, word in zip(row, words, strict=True)))
    return table


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


# Columns and labels whose values are words of ours; all others are names and figures, which stay as they are.
_OUR_WORDS = frozenset(
    {"", "STATE", "PHASE", "PRIORITY", "WHY", "DETAIL", "ROLE", "QUOTA", "AVAILABLE", "BORROWS AT MOST"}
    | {"LENDS AT MOST", "FOR", "IN FORCE", "SUPPORT", "AT MOST CNY", "STANCE", "LOG INDEX", "CNY", "DISABLED"}
    | {
        "DEVICE MODEL",
        "State",
        "Detail",
        "Cost",
        "To its end",
        "Budget",
        "Queue",
        "Gang",
        "Submitted",
        "Role",
    }
    | {"Reason"}
)
_STYLES = {
    "running": "green",
    "succeeded": "green",
    "connected": "green",
    "failed": "red",
    "lost": "red",
    "faulty": "red",
    "silent": "yellow",
    "queued": "yellow",
    "allocated": "cyan",
    "created": "green",
    "changed": "yellow",
}


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; empty values are left out."""
    shown = [
        (said(name), said(str(value)) if name in _OUR_WORDS else str(value))
        for name, value in fields
        if value not in (None, "")
    ]
    width = max((cells(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *rest = harmless(value).split("\n")
        sys.stdout.write(f"{harmless(name)}{' ' * (width - cells(name))}  {first}\n")
        for line in rest:
            sys.stdout.write(" " * (width + 2) + line + "\n")


def cells(text: str) -> int:
    """How many places of a terminal a text takes."""
    return len(_by_places(text))


def _by_places(text: str) -> str:
    """The text with a NUL behind each wide character: as long as the places that it takes."""
    if text.isascii():
        return text
    return "".join(c + "\0" if east_asian_width(c) in "WF" else c for c in text)


def wrapped(text: str, width: int, first: str = "", rest: str = "", *, cut: bool = True) -> str:
    """Lines of at most `width` places of a terminal, between words and beside wide characters; a word without room in a
    line is `cut`, or stays whole.
    """
    lines = _ByPlaces(
        max(width, _LEAST_WIDTH),
        initial_indent=_by_places(first),
        subsequent_indent=_by_places(rest),
        break_long_words=cut,
    )
    return lines.fill(_by_places(text)).replace("\0", "")


class _ByPlaces(TextWrapper):
    def _split(self, text: str) -> list[str]:
        return _PIECE.findall(text)
