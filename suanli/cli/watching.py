"""Watching jobs change: a table that is drawn anew when something happened, and a job's life line by line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from suanli.cli.following import apart, write_text
from suanli.cli.output import note
from suanli.sentences.harmless import harmless, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from suanli.client.client import Client
    from suanli.client.types import Job

# Without an event a table is looked at anew this often (ages grow).
LOOK_S = 5.0
# After an event so long is waited for others, so that a burst is one drawing.
GATHER_S = 0.2
# Characters of a cell: to fold what a job may say of megabytes takes longer than the next drawing is away.
LONGEST_CELL = 500


def watch_jobs(
    client: Client, read: Callable[[], list[Job]], table: Callable[[list[Job]], Table], *, as_json: bool
) -> None:
    """Draw until Ctrl-C. For programs a line of JSON for each job that changed, and where standard output is no
    terminal its line of the table.
    """
    happened = threading.Event()
    failed: list[Exception] = []
    threading.Thread(target=_listen, args=(client, happened, failed), daemon=True).start()
    try:
        if as_json:
            _tell_changes(read, _write_json, happened, failed)
        elif sys.stdout.isatty():
            _draw_on_terminal(read, table, happened, failed)
        else:
            _tell_changes(read, _Lines(table), happened, failed)
    except KeyboardInterrupt:
        note("")


def _listen(client: Client, happened: threading.Event, failed: list[Exception]) -> None:
    from suanli.client.errors import ClientError

    try:
        for _ in client.events():
            happened.set()
    except ClientError as error:
        failed.append(error)
        happened.set()


def _wait(happened: threading.Event, failed: list[Exception]) -> None:
    if happened.wait(LOOK_S):
        threading.Event().wait(GATHER_S)
        happened.clear()
    if failed:
        raise failed[0]


def _draw_on_terminal(
    read: Callable[[], list[Job]],
    table: Callable[[list[Job]], Table],
    happened: threading.Event,
    failed: list[Exception],
) -> None:
    from rich.live import Live

    from suanli.cli.output import console

    with Live(Cut(table(read())), console=console(), auto_refresh=False) as live:
        while True:
            _wait(happened, failed)
            live.update(Cut(table(read())), refresh=True)


class Cut:
    """A table that is drawn anew, whose lines must not be wider than the terminal: one that is cut off shows it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its lines, an ellipsis at the edge of those that go on."""
        from rich.segment import Segment

        from suanli.cli.output import cells, least_width

        width = options.max_width
        whole = options.update_width(max(width, least_width(self._table)))
        for line in console.render_lines(self._table, whole, pad=False):
            goes_on = cells("".join(segment.text for segment in line).rstrip()) > width
            yield from Segment.adjust_line_length(line, width - 1 if goes_on else width)
            yield Segment("…\n" if goes_on else "\n")


def _tell_changes(
    read: Callable[[], list[Job]],
    tell: Callable[[list[Job]], None],
    happened: threading.Event,
    failed: list[Exception],
) -> None:
    """Tell the jobs that changed, the newest last."""
    known: dict[str, Job] = {}
    while True:
        changed = [job for job in reversed(read()) if known.get(job["job_id"]) != job]
        known |= {job["job_id"]: job for job in changed}
        if changed:
            tell(changed)
        _wait(happened, failed)


def _write_json(jobs: list[Job]) -> None:
    for job in jobs:
        write_text(json.dumps(job, ensure_ascii=False, sort_keys=True) + "\n")


class _Lines:
    """Rows of a table that goes on: its headings stand above the first alone."""

    def __init__(self, table: Callable[[list[Job]], Table]) -> None:
        self._table = table
        self._headed = False

    def __call__(self, jobs: list[Job]) -> None:
        from suanli.cli.output import console

        table = self._table(jobs)
        table.show_header = not self._headed
        self._headed = True
        console().print(table)
        sys.stdout.flush()


def follow_life(
    client: Client,
    job: Job,
    words: tuple[Callable[[dict[str, Any]], str], Callable[[Job], str]],
    *,
    quiet: bool,
) -> Job:
    """A line for whatever happens to the job, until it has ended (none where `quiet`); it as it is then.

    `words` say what an event tells, and how far the job is.
    """
    from suanli.cli.moments import local

    told, progress = words
    shown = progress(job)
    for event in apart(client.events(job_id=job["job_id"])):
        if quiet:
            continue
        write_text(one_line(f"{local(event['at'])}  {event['kind']}  {told(event['data'])}".rstrip()) + "\n")
        now = client.job(job["job_id"])
        if progress(now) != shown:
            shown = progress(now)
            write_text(f"  {harmless(shown)}\n")
    return client.job(job["job_id"])
