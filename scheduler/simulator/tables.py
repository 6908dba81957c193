"""How situations are shown side by side: tables in the reader's language, and files by their bytes."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from rich.table import Table


class TableOfText(NamedTuple):
    """A table in the reader's language; `right`: columns of figures."""

    title: str
    header: list[str]
    rows: list[list[str]]
    right: range = range(0)


def shown(table: TableOfText) -> Table:
    """For a terminal."""
    made = Table(*table.header)
    for number, column in enumerate(made.columns):
        column.overflow = "fold"
        column.justify = "right" if number in table.right else "left"
    for row in table.rows:
        made.add_row(*row)
    return made


def told_time(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def file_of(path: Path) -> dict[str, str]:
    """A file by its bytes, for whoever would run the same again."""
    with path.open("rb") as file:
        return {"file": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
