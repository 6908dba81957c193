"""Rows of measurements: shown as a table, written as JSON lines, compared with their goals."""

import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the load generator imports this page, and should measure nothing but its load
    from rich.console import Console

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `peer`: the same figure of another product where one was published, with its source."""

    benchmark: str
    case: str
    metric: str
    value: float
    unit: str
    better: Better = "lower"
    peer: str | None = None
    goal: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest measured value that at least `share` of the values do not exceed (nearest rank).

    Raises ValueError on no values or a share outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError("needs values and a share above 0, at most 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def show(rows: Iterable[Row], console: "Console") -> None:
    """Print the rows as a table, with the machine they were measured on below."""
    from rich.table import Table

    table = Table("benchmark", "case", "metric", "value", "goal", "peer")
    table.columns[3].justify = "right"
    for row in rows:
        colour = {None: "", True: "green", False: "red"}[row.reached]
        goal = "" if row.goal is None else f"{'≤' if row.better == 'lower' else '≥'} {row.goal:g} {row.unit}"
        value = f"{row.value:,.4g} {row.unit}" if row.value < 1000 else f"{row.value:,.0f} {row.unit}"
        shown = f"[{colour}]{value}[/]" if colour else value
        table.add_row(row.benchmark, row.case, row.metric, shown, goal, row.peer or "")
    console.print(table)
    console.print(machine(), style="dim", highlight=False)


def machine() -> str:
    """The machine in one line: figures mean nothing without it."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    processors = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{processors} processors, {memory_gib:.0f} GiB, {system}"


def in_a_folder(path: Path | None) -> Path | None:
    """A file to write rows to, looked at before anything is measured: what is measured takes long."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        from typer import BadParameter

        raise BadParameter(f"got {path}, want a file in a folder that is there and may be written")
    return path


def write_json(rows: Iterable[Row], path: Path) -> None:
    """Write one JSON object a row and line."""
    lines = [json.dumps({**asdict(row), "machine": machine()}, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
