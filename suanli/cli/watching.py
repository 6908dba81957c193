"""Watching jobs change: a table that is drawn anew when something happened, and a job's life line by line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from suanli.cli.following import write_text
from suanli.cli.harmless import harmless
from suanli.cli.output import note

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.types import Job

# Without an event a table is looked at anew this often (ages grow).
LOOK_S = 5.0
# After an event so long is waited for others, so that a burst is one drawing.
GATHER_S = 0.2


def watch_jobs(client: Client, read: Callable[[], list[Job]], table: Callable[[list[Job]], object]) -> None:
    """Draw until Ctrl-C. Where standard output is no terminal, a line of JSON for each job that changed."""
    happened = threading.Event()
    failed: list[Exception] = []
    threading.Thread(target=_listen, args=(client, happened, failed), daemon=True).start()
    draw = _draw_on_terminal if sys.stdout.isatty() else _draw_as_lines
    try:
        draw(read, table, happened, failed)
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
    table: Callable[[list[Job]], object],
    happened: threading.Event,
    failed: list[Exception],
) -> None:
    from rich.live import Live

    from suanli.cli.output import console

    with Live(table(read()), console=console(), auto_refresh=False) as live:  # type: ignore[arg-type]
        while True:
            _wait(happened, failed)
            live.update(table(read()), refresh=True)  # type: ignore[arg-type]


def _draw_as_lines(
    read: Callable[[], list[Job]],
    _table: Callable[[list[Job]], object],
    happened: threading.Event,
    failed: list[Exception],
) -> None:
    known: dict[str, str] = {}
    while True:
        for job in reversed(read()):
            line = json.dumps(job, ensure_ascii=False, sort_keys=True)
            if known.get(job["job_id"]) != line:
                known[job["job_id"]] = line
                write_text(line + "\n")
        _wait(happened, failed)


def follow_life(client: Client, job: Job, progress: Callable[[Job], str], *, quiet: bool) -> Job:
    """A line for whatever happens to the job, until it has ended (none where `quiet`); it as it is then."""
    from suanli.cli.moments import local

    shown = progress(job)
    for event in client.events(job_id=job["job_id"]):
        if quiet:
            continue
        data = json.dumps(event["data"], ensure_ascii=False) if event["data"] else ""
        write_text(harmless(f"{local(event['at'])}  {event['kind']} {data}".rstrip()) + "\n")
        now = client.job(job["job_id"])
        if progress(now) != shown:
            shown = progress(now)
            write_text(f"  {harmless(shown)}\n")
    return client.job(job["job_id"])
