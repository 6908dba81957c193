"""How situations are shown side by side: tables in the reader's language, and files by their bytes."""

import hashlib
from pathlib import Path

from rich.table import Table

TableOfText = tuple[str, list[str], list[list[str]]]  # title, header, rows


def shown(table: TableOfText) -> Table:
    """For a terminal."""
    _, header, rows = table
    made = Table(*header)
    for column in made.columns:
        column.overflow = "fold"
    for column in made.columns[1:]:
        column.justify = "right"
    for row in rows:
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
