"""CSV tables, gzip or plain, read row by row with errors that name file, line and column."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

MOST_ROWS = 5_000_000
MOST_LINE_CHARACTERS = 1 << 20
MOST_TOLD = 20  # rows of a table that are wrong
_GZIP = b"\x1f\x8b"

T = TypeVar("T")


class BadTrace(ValueError):
    """A table that cannot be read as what it should be; each sentence names a place."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class WrongRows:
    """The first of what is wrong with a table, in words, and how much more there is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: list[str] = []
        self._more = 0

    def note(self, error: BadTrace) -> None:
        """One more."""
        if len(self._told) < MOST_TOLD:
            self._told += error.sentences
        else:
            self._more += 1

    def refuse(self) -> None:
        """Raises BadTrace where anything is wrong."""
        if self._told:
            more = [f"{self._path}: more wrong rows: {self._more}"] if self._more else []
            raise BadTrace(*self._told, *more)


class TableRow:
    """One row. Asking for a cell that is absent or of the wrong kind raises BadTrace."""

    __slots__ = ("_cells", "_where")

    def __init__(self, cells: Mapping[str, str], where: str) -> None:
        self._cells = cells
        self._where = where

    def text(self, column: str, default: str | None = None) -> str:
        """The cell as it is, without blanks at its ends."""
        value = self._cells.get(column)
        if value is None:
            if default is not None:
                return default
            raise BadTrace(f"{self._where}: no column {column}")
        return value.strip()

    def name(self, column: str, default: str | None = None) -> str:
        """The cell as `text`, which may not be empty where there is such a column."""
        value = self.text(column, default)
        if not value and column in self._cells:
            raise self.wrong(column, "a name")
        return value

    def integer(self, column: str, *, low: int = 0, high: int = 1 << 53) -> int:
        """A whole number within bounds; `12.0` counts as whole."""
        try:
            number = float(self.text(column))
        except ValueError:
            number = math.nan
        if not low <= number <= high or number != int(number):
            raise self.wrong(column, f"a whole number from {low} to {high}")
        return int(number)

    def number(self, column: str, *, low: float = 0.0, high: float = 1e15) -> float:
        """A finite number within bounds."""
        try:
            number = float(self.text(column))
        except ValueError:
            raise self.wrong(column, "a number") from None
        if not math.isfinite(number) or not low <= number <= high:
            raise self.wrong(column, f"a number from {low:g} to {high:g}")
        return number

    def wrong(self, column: str, want: str) -> BadTrace:
        """The error for a cell."""
        got = self.text(column)
        shown = repr(got if len(got) <= 40 else got[:37] + "...")
        return BadTrace(f"{self._where}, column {column}: {shown}, wanted {want}")


class _Ragged(TableRow):
    """A row with more cells than the first line, or fewer: asking for any says so."""

    __slots__ = ()

    def text(self, column: str, default: str | None = None) -> NoReturn:
        """Raises BadTrace."""
        raise BadTrace(self._where)


def read_header(path: Path) -> tuple[str, ...]:
    """The names of the columns; empty for a file that is no table."""
    try:
        with _open(path) as lines:
            first = lines.readline(MOST_LINE_CHARACTERS)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        return ()
    return tuple(name.strip() for name in next(csv.reader([first]), []))


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[TableRow]:
    """Every row, one at a time. Raises BadTrace for missing columns and files that are broken; of a row with too many
    cells or too few, any cell that is asked for does.

    Memory: one row.
    """
    try:
        with _open(path) as lines:
            reader = csv.reader(_bounded(lines, path))
            header = [name.strip() for name in next(reader, [])]
            missing = [column for column in columns if column not in header]
            if missing:
                raise BadTrace(
                    f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'nothing'}"
                )
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if reader.line_num > MOST_ROWS:
                    raise BadTrace(f"{path}: more than {MOST_ROWS} lines")
                if len(cells) == len(header):
                    yield TableRow(dict(zip(header, cells, strict=True)), where)
                else:
                    yield _Ragged(
                        {}, f"{where}: {len(cells)} cells, wanted {len(header)} as in the first line"
                    )
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile, csv.Error) as error:
        raise BadTrace(f"{path}: not a CSV table (gzip or plain): {unreadable(error)}") from None
    except OSError as error:
        raise BadTrace(f"{path}: {error.strerror or error}") from None


def read_each(
    path: Path, columns: tuple[str, ...], read: Callable[[TableRow], T], *, once: str, want: str
) -> list[T]:
    """What `read` makes of each row, of which no two may have one cell in the column `once`, nor may it be empty.

    Raises BadTrace with the first MOST_TOLD rows that are wrong, and how many more there are.
    """
    found: list[T] = []
    seen: set[str] = set()
    wrong = WrongRows(path)
    for row in read_rows(path, columns):
        try:
            cell = row.name(once)
            if cell in seen:
                raise row.wrong(once, want)
            seen.add(cell)
            found.append(read(row))
        except BadTrace as error:
            wrong.note(error)
    wrong.refuse()
    return found


def unreadable(error: Exception) -> str:
    """What is wrong with the bytes of a file, in words."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return "its gzip is broken, or cut off"
    return str(error)


def open_bytes(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """What is in a file, unpacked where it is gzip by its first bytes: people rename files. Raises OSError."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return gzip.GzipFile(path) if packed else path.open("rb")


def _open(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        open_bytes(path), encoding="utf-8-sig", newline=""
    )  # spreadsheets write a mark first


def _bounded(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    while line := lines.readline(MOST_LINE_CHARACTERS):
        if len(line) == MOST_LINE_CHARACTERS:
            raise BadTrace(f"{path}: a line of more than {MOST_LINE_CHARACTERS} characters")
        yield line
